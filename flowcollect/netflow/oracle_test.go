package netflow

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	oracle "github.com/netsampler/goflow2/v2/decoders/netflow"

	"weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// seen is what two decoders have to agree on.
type seen struct {
	Src, Dst       string
	Ports          [2]uint16
	Protocol       uint8
	Packets, Bytes uint64
}

// theirs is what goflow2 reads in a datagram, sorted; false when it cannot read all of it.
func theirs(t *testing.T, templates oracle.NetFlowTemplateSystem, b []byte) ([]seen, bool) {
	t.Helper()
	var nine oracle.NFv9Packet
	var ten oracle.IPFIXPacket
	if oracle.DecodeMessageVersion(bytes.NewBuffer(b), templates, &nine, &ten) != nil {
		return nil, false
	}
	var out []seen
	for _, set := range append(nine.FlowSets, ten.FlowSets...) {
		switch s := set.(type) {
		case oracle.RawFlowSet:
			return nil, false
		case oracle.DataFlowSet:
			for _, r := range s.Records {
				if one, ok := theirRecord(t, r.Values); ok {
					out = append(out, one)
				}
			}
		}
	}
	return ordered(out), true
}

func theirRecord(t *testing.T, fields []oracle.DataField) (s seen, ok bool) {
	t.Helper()
	inner := map[uint16]string{}
	for _, f := range fields {
		raw, is := f.Value.([]byte)
		if !is || f.PenProvided {
			continue
		}
		address := func() string {
			a, valid := netip.AddrFromSlice(raw)
			if !valid {
				t.Fatalf("address %x", raw)
			}
			if a.IsUnspecified() {
				return "" // of the other kind
			}
			return a.String()
		}
		number := func() (n uint64) {
			for _, b := range raw {
				n = n<<8 | uint64(b)
			}
			return n
		}
		switch f.Type {
		case ieSource4, ieDestination4:
			inner[f.Type] = address()
		case ieSource6:
			s.Src = address()
		case ieDestination6:
			s.Dst = address()
		case ieSourcePort:
			s.Ports[0] = uint16(number())
		case ieDestinationPort:
			s.Ports[1] = uint16(number())
		case ieProtocol:
			s.Protocol = uint8(number())
		case iePackets:
			s.Packets = number()
		case ieOctets:
			s.Bytes = number()
		}
	}
	// A record with both is of IPv4 carried in IPv6 (SRv6), and counts for what is outside.
	s.Src, s.Dst = cmp.Or(s.Src, inner[ieSource4]), cmp.Or(s.Dst, inner[ieDestination4])
	if s.Protocol == traffic.ProtoICMP || s.Protocol == traffic.ProtoICMPv6 {
		s.Ports = [2]uint16{} // type and code
	}
	return s, s.Src != "" && s.Dst != "" && (s.Packets > 0 || s.Bytes > 0)
}

func ours(flows []traffic.Flow) (out []seen) {
	for i := range flows {
		f := &flows[i]
		out = append(out, seen{f.Src.String(), f.Dst.String(), [2]uint16{f.SrcPort, f.DstPort}, f.Protocol, f.Packets, f.Bytes})
	}
	return ordered(out)
}

func ordered(all []seen) []seen {
	slices.SortFunc(all, func(a, b seen) int {
		return cmp.Or(cmp.Compare(a.Src, b.Src), cmp.Compare(a.Dst, b.Dst), cmp.Compare(a.Ports[0], b.Ports[0]), cmp.Compare(a.Ports[1], b.Ports[1]),
			cmp.Compare(a.Packets, b.Packets), cmp.Compare(a.Bytes, b.Bytes))
	})
	return all
}

// TestAgainstGoflow2: records are the same in both decoders, whatever the fields around them are.
func TestAgainstGoflow2(t *testing.T) {
	wideFields, wideRecord := wide()
	rest := []uint16{371, variable, ieInput, 2, ieVLAN, 2}
	for name, datagrams := range map[string][][]byte{
		"v9":           {v9(0, 7, setOf(0, announce(256, plain()...)), setOf(256, repeat(20, record(10))...)), v9(1, 7, setOf(256, record(3), record(1<<31)))},
		"v9 redefined": {v9(0, 7, setOf(0, announce(256, plain()...)), setOf(256, record(10))), v9(1, 7, setOf(0, announce(256, wideFields...)), setOf(256, wideRecord))},
		"ipfix":        {ipfix(0, 7, setOf(2, announce(256, plain()...)), setOf(256, record(10))), ipfix(1, 7, setOf(256, repeat(5, record(7))...))},
		"ipfix wide":   {ipfix(0, 7, setOf(2, announce(300, wideFields...)), setOf(300, repeat(9, wideRecord)...))},
		"ipfix variable": {ipfix(0, 7, setOf(2, announce(256, append(plain(), rest...)...)),
			setOf(256, join(record(4), text([]byte("eth0")), u16(1, 2)), join(record(5), text(make([]byte, 300)), u16(3, 4))))},
	} {
		t.Run(name, func(t *testing.T) {
			s, templates := session(), newOracle()
			for i, b := range datagrams {
				want, ok := theirs(t, templates, b)
				if !ok || len(want) == 0 {
					t.Fatalf("datagram %d: goflow2 reads %v, %t", i, want, ok)
				}
				if diff := gocmp.Diff(ours(take(t, s, i, b)), want); diff != "" {
					t.Errorf("datagram %d (-got +want)\n%s", i, diff)
				}
			}
		})
	}
}

// TestRealExporters: what routers have exported is read without error, and as goflow2 reads it.
func TestRealExporters(t *testing.T) {
	files, err := filepath.Glob("../../../shared/data/exporters/*.pcap")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("the collection of captures is not here")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s, templates := session(), newOracle()
			compared := 0
			eachDatagram(t, file, func(at time.Time, b []byte) {
				pending := s.Health(at).UnknownTemplate
				flows, err := decode(s, at, b)
				if err != nil {
					t.Errorf("%x: %v", b[:min(len(b), 40)], err)
				}
				want, ok := theirs(t, templates, b)
				if h := s.Health(at); !ok || h.UnknownTemplate != pending || h.Decoded > 0 {
					return // what waited for a template is told later here, and never there
				}
				compared += len(want)
				if diff := gocmp.Diff(ours(flows), want); diff != "" {
					t.Errorf("(-got +want)\n%s", diff)
				}
			})
			t.Logf("%d records compared; %+v", compared, s.Health(time.Now()).Counts)
		})
	}
}

// eachDatagram is the UDP payloads of a capture that are NetFlow.
func eachDatagram(t *testing.T, file string, see func(at time.Time, b []byte)) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		udp, ok := gopacket.NewPacket(data, r.LinkType(), gopacket.Default).Layer(layers.LayerTypeUDP).(*layers.UDP)
		if !ok || len(udp.Payload) < 4 {
			continue
		}
		if version := binary.BigEndian.Uint16(udp.Payload); version == 9 || version == 10 {
			see(info.Timestamp, udp.Payload)
		}
	}
}

// TestRecordsDoNotAllocate: nothing is allocated for a record, whatever its version and what it holds.
func TestRecordsDoNotAllocate(t *testing.T) {
	wideFields, wideRecord := wide()
	frame := packettest.TCP4(packettest.Payload(500)).Bytes()
	both := []uint16{ieSource4, 4, ieDestination4, 4, iePacketsTotal, 4, ieStartMilliseconds, 8, 231, 4, 232, 4, ieSamplerID, 1}
	bothRecord := join(shortRecord(3), u64(uint64(exportedAt(-5))*1000), u32(1000, 2000), u8(5))
	for name, datagrams := range map[string][2][]byte{
		"v5":                {nil, v5(0, 0, repeat(30, record5(10))...)},
		"v9":                {v9(0, 0, setOf(0, announce(256, plain()...))), v9(1, 0, setOf(256, repeat(28, record(10))...))},
		"ipfix":             {ipfix(0, 0, setOf(2, announce(256, plain()...))), ipfix(0, 0, setOf(256, repeat(28, record(10))...))},
		"wide":              {ipfix(0, 0, setOf(2, announce(256, wideFields...))), ipfix(0, 0, setOf(256, repeat(9, wideRecord)...))},
		"variable":          {ipfix(0, 0, setOf(2, announce(256, append(plain(), 371, variable)...))), ipfix(0, 0, setOf(256, join(record(1), text(frame))))},
		"frames":            {ipfix(0, 0, setOf(2, announce(256, ieFrameSize, 2, ieFrameSection, variable))), ipfix(0, 0, setOf(256, u16(uint16(len(frame))), text(frame[:128])))},
		"both ways":         {ipfix(0, 0, setOf(2, announce(256, both...))), ipfix(0, 0, setOf(256, repeat(9, bothRecord)...))},
		"template repeated": {nil, v9(1, 0, setOf(0, announce(256, plain()...)), setOf(256, repeat(20, record(10))...))},
	} {
		s := session()
		emit := func(*traffic.Flow) {}
		if datagrams[0] != nil {
			if err := s.Decode(datagrams[0], noon(), emit); err != nil {
				t.Fatal(err)
			}
		}
		if got := testing.AllocsPerRun(100, func() {
			if err := s.Decode(datagrams[1], noon(), emit); err != nil {
				t.Fatal(err)
			}
		}); got != 0 {
			t.Errorf("%s: %g allocations a datagram, want none", name, got)
		}
	}
}
