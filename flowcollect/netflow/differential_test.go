package netflow

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	oracle "github.com/netsampler/goflow2/v2/decoders/netflow"
	legacy "github.com/netsampler/goflow2/v2/decoders/netflowlegacy"

	"weir/userspace/traffic"
)

// guarded are goflow2's templates without those of no length: with one of them it reads records of nothing for ever (as of 2.2.6).
type guarded struct{ oracle.NetFlowTemplateSystem }

var errNothing = errors.New("a template of no length")

func (g guarded) AddTemplate(version uint16, domain uint32, id uint16, template any) error {
	var fields []oracle.Field
	switch t := template.(type) {
	case oracle.TemplateRecord:
		fields = t.Fields
	case oracle.NFv9OptionsTemplateRecord:
		fields = append(t.Scopes[:len(t.Scopes):len(t.Scopes)], t.Options...)
	case oracle.IPFIXOptionsTemplateRecord:
		fields = append(t.Scopes[:len(t.Scopes):len(t.Scopes)], t.Options...)
	}
	if !slices.ContainsFunc(fields, func(f oracle.Field) bool { return f.Length > 0 }) {
		return errNothing
	}
	return g.NetFlowTemplateSystem.AddTemplate(version, domain, id, template)
}

func newOracle() oracle.NetFlowTemplateSystem { return guarded{oracle.CreateTemplateSystem()} }

// What hangs goflow2 is refused by its guard, and here.
func TestNothing(t *testing.T) {
	for name, b := range map[string][]byte{
		"v9":                  v9(0, 7, setOf(0, announce(256)), setOf(256, u32(1, 2))),
		"v9, no length":       v9(0, 7, setOf(0, announce(256, ieOctets, 0)), setOf(256, u32(1, 2))),
		"v9 options":          v9(0, 7, setOf(1, announceOptions9(256, 1, 1, 0, ieSamplingInterval, 0)), setOf(256, u32(1, 2))),
		"IPFIX, no length":    ipfix(0, 7, setOf(2, announce(256, ieOctets, 0, iePackets, 0)), setOf(256, u32(1, 2))),
		"IPFIX options":       ipfix(0, 7, setOf(3, announceOptions10(256, 1, ieInput, 0)), setOf(256, u32(1, 2))),
		"of no fields at all": v9(0, 7, setOf(1, announceOptions9(256, 0)), setOf(256, u32(1, 2))),
	} {
		if _, ok := theirs(t, newOracle(), b); ok {
			t.Errorf("%s: goflow2 reads it, past its guard", name)
		}
		s := session()
		if got := take(t, s, 0, b); len(got) != 0 || s.Health(noon()).Refused != 1 || s.Health(noon()).Templates != 0 {
			t.Errorf("%s: told %+v, %+v", name, got, s.Health(noon()))
		}
	}
}

// TestVersion5AgainstGoflow2: all that version 5 has, in records of chance.
func TestVersion5AgainstGoflow2(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 300 {
		var records [][]byte
		for range 1 + r.IntN(30) {
			b := record5(1 + r.Uint32N(1<<20))
			for _, at := range []int{0, 4, 8, 12, 14, 32, 34, 37, 38, 39, 40, 42, 44, 45} { // addresses to masks, without counters and times
				b[at], b[at+1] = byte(r.Uint32()), byte(r.Uint32())
			}
			records = append(records, b)
		}
		data := v5(0, uint16(r.Uint32()), records...)
		var theirs legacy.PacketNetFlowV5
		if err := legacy.DecodeMessageVersion(bytes.NewBuffer(data), &theirs); err != nil {
			t.Fatal(err)
		}
		var want []traffic.Flow
		for i := range theirs.Records {
			p := &theirs.Records[i]
			f := traffic.Flow{
				Packet:  traffic.Packet{Src: addressOf(p.SrcAddr), Dst: addressOf(p.DstAddr), SrcPort: p.SrcPort, DstPort: p.DstPort, Protocol: p.Proto, TCPFlags: p.TCPFlags},
				Packets: uint64(p.DPkts), Bytes: uint64(p.DOctets), Input: uint32(p.Input), Output: uint32(p.Output), TOS: p.Tos,
				SrcAS: uint32(p.SrcAS), DstAS: uint32(p.DstAS), SrcMask: p.SrcMask, DstMask: p.DstMask, Exporter: exporter(),
				Source: traffic.NetFlow5, Domain: uint32(theirs.EngineType)<<8 | uint32(theirs.EngineId), NextHop: addressOf(p.NextHop),
			}
			if f.Protocol == traffic.ProtoICMP {
				f.SrcPort, f.DstPort = 0, 0
			}
			f.Rate, f.RateOrigin = headerRate(theirs.SamplingInterval)
			f.Start = noon().UnixNano() - int64(int32(theirs.SysUptime-p.First))*1e6
			f.End = noon().UnixNano() - int64(int32(theirs.SysUptime-p.Last))*1e6
			want = append(want, f)
		}
		if diff := gocmp.Diff(take(t, session(), 0, data), want, same()); diff != "" {
			t.Fatalf("(-got +want)\n%s", diff)
		}
	}
}

func addressOf(n legacy.IPAddress) netip.Addr {
	return netip.AddrFrom4([4]byte(u32(uint32(n))))
}

// chance is a template of chance and records of it: what a flow needs, in any order and length, among fields that nobody reads.
func chance(r *rand.Rand, id uint16, ipfix bool) (template []byte, record func() []byte) {
	type one struct {
		element, length uint16
		enterprise      uint32
	}
	version := []one{{ieSource4, 4, 0}, {ieDestination4, 4, 0}}
	if r.IntN(2) == 0 {
		version = []one{{ieSource6, 16, 0}, {ieDestination6, 16, 0}}
	}
	size := func(most uint16) uint16 { return 1 + uint16(r.Uint32N(uint32(most))) }
	fields := append(version, one{iePackets, size(8), 0}, one{ieOctets, size(8), 0}, one{ieProtocol, 1, 0}, one{ieSourcePort, 2, 0}, one{ieDestinationPort, 2, 0})
	for range r.IntN(12) {
		filler := one{uint16(500 + r.IntN(1000)), size(40), 0}
		if r.IntN(8) == 0 {
			filler.length = 0
		}
		if ipfix && r.IntN(3) == 0 {
			filler.length = variable
		}
		if ipfix && r.IntN(4) == 0 {
			filler.element, filler.enterprise = uint16(r.Uint32N(20)), 9
		}
		fields = append(fields, filler)
	}
	r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	template = u16(id, uint16(len(fields)))
	for _, f := range fields {
		if f.enterprise != 0 {
			template = join(template, u16(f.element|0x8000, f.length), u32(f.enterprise))
			continue
		}
		template = join(template, u16(f.element, f.length))
	}
	return template, func() (b []byte) {
		for _, f := range fields {
			content := make([]byte, f.length)
			if f.length == variable {
				content = make([]byte, r.IntN(300))
			}
			for i := range content {
				content[i] = byte(r.Uint32())
			}
			if f.enterprise == 0 && (f.element == ieProtocol || f.element == iePackets) {
				content[len(content)-1] |= 1 // no record of nothing
			}
			if f.length == variable {
				content = text(content)
			}
			b = append(b, content...)
		}
		return b
	}
}

// TestChanceAgainstGoflow2: templates and records of chance, redefined now and then, are the same in both decoders.
func TestChanceAgainstGoflow2(t *testing.T) {
	for _, version := range []string{"v9", "ipfix"} {
		t.Run(version, func(t *testing.T) {
			r := rand.New(rand.NewPCG(9, 10))
			s, templates := session(), newOracle()
			ids := []uint16{256, 300, 65535}
			records := map[uint16]func() []byte{}
			compared := 0
			for range 2000 {
				var sets [][]byte
				for range 1 + r.IntN(3) {
					id := ids[r.IntN(len(ids))]
					if records[id] == nil || r.IntN(5) == 0 {
						var template []byte
						template, records[id] = chance(r, id, version == "ipfix")
						if version == "ipfix" {
							sets = append(sets, setOf(2, template))
						} else {
							sets = append(sets, setOf(0, template))
						}
					}
					var content []byte
					for range 1 + r.IntN(4) {
						content = append(content, records[id]()...)
					}
					sets = append(sets, setOf(id, content))
				}
				b := v9(0, 0, sets...)
				if version == "ipfix" {
					b = ipfix(0, 0, sets...)
				}
				want, ok := theirs(t, templates, b)
				if !ok {
					t.Fatalf("goflow2 does not read %x", b)
				}
				compared += len(want)
				if diff := gocmp.Diff(ours(take(t, s, 0, b)), want); diff != "" {
					t.Fatalf("%x (-got +want)\n%s", b, diff)
				}
			}
			if compared < 5000 {
				t.Errorf("%d records compared", compared)
			}
			sane(t, s)
		})
	}
}
