package sflow

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	oracle "github.com/netsampler/goflow2/v2/decoders/sflow"

	"weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// random is a datagram of version 5 with samples of all kinds and records in any order.
func random(r *rand.Rand) []byte {
	frames := []packettest.Frame{packettest.TCP4(), packettest.UDP4(), packettest.ICMP4(), packettest.TCP6(), packettest.UDP6(packettest.Payload(r.IntN(300)))}
	record := func() []byte {
		switch r.IntN(8) {
		case 0:
			return tagged(recordIPv4, spelledTCP4())
		case 1:
			return tagged(recordIPv6, spelledUDP6())
		case 2:
			return tagged(recordSwitch, words(r.Uint32()%4095, 0, r.Uint32()%4095, 0))
		case 3:
			return tagged(recordRouter, addr([]string{"192.0.2.9", "2001:db8::9"}[r.IntN(2)]), words(r.Uint32()%33, r.Uint32()%33))
		case 4:
			// A single part of a path, since goflow2 reads no more of them.
			return tagged(recordGateway, addr([]string{"192.0.2.10", "2001:db8::10"}[r.IntN(2)]), words(64496, 64500, 64501, 1, 2, 2, 64502, r.Uint32(), 1, 0xfde80001, 100))
		case 5:
			return tagged(9<<12|r.Uint32()%8, make([]byte, r.IntN(9)*4))
		}
		return ethernet(frames[r.IntN(len(frames))])
	}
	records := func() (uint32, []byte) {
		var all []byte
		n := r.IntN(5)
		for range n {
			all = join(all, record())
		}
		return uint32(n), all
	}
	port := func() uint32 { return []uint32{3, 4, 5, 0, internal}[r.IntN(5)] }
	var samples [][]byte
	for range r.IntN(6) {
		n, all := records()
		switch r.IntN(5) {
		case 0:
			samples = append(samples, tagged(sampleFlowExpanded, words(r.Uint32(), 0, port(), r.Uint32()%5, r.Uint32(), 0, 0, port(), r.Uint32()%3, port(), n), all))
		case 1:
			samples = append(samples, tagged(sampleDiscarded, words(r.Uint32(), 0, port(), 0, port(), port(), 258, n), all))
		case 2:
			samples = append(samples, tagged(sampleCounters, words(r.Uint32(), 3, 1), tagged(counterInterface, interfaceCounters())))
		default:
			samples = append(samples, tagged(sampleFlow, words(r.Uint32(), port(), r.Uint32()%5, r.Uint32(), 0, port(), r.Uint32()%3<<30|port(), n), all))
		}
	}
	h := base()
	h.sequence, h.sub = r.Uint32(), r.Uint32()%3
	h.agent = []string{"192.0.2.254", "2001:db8::fe"}[r.IntN(2)]
	return h.with(samples...)
}

// line is what two decoders have to agree about in a sample.
func line(f *traffic.Flow) string {
	packet := fmt.Sprintf("header %x", f.Header)
	if f.Header == nil {
		packet = fmt.Sprintf("%s %d %s %d protocol %d flags %x tos %d length %d", f.Src, f.SrcPort, f.Dst, f.DstPort, f.Protocol, f.TCPFlags, f.TOS, f.Length)
	}
	return fmt.Sprintf("domain %d rate %d %s from %d to %d dropped %t notice %t hop %s as %d %d masks %d %d vlan %d %s",
		f.Domain, f.Rate, f.RateOrigin, f.Input, f.Output, f.Dropped, f.Notice, f.NextHop, f.SrcAS, f.DstAS, f.SrcMask, f.DstMask, f.VLAN, packet)
}

// theirs is what goflow2 reads in a datagram, put into the same lines; ok is false when goflow2 refuses it.
func theirs(b []byte) (lines []string, ok bool) {
	var p oracle.Packet
	if err := oracle.DecodeMessageVersion(bytes.NewBuffer(bytes.Clone(b)), &p); err != nil {
		return nil, false
	}
	value := func(format, v uint32) uint32 {
		if format != 0 || v == internal {
			return 0
		}
		return v
	}
	for _, s := range p.Samples {
		f := traffic.Flow{Domain: p.SubAgentId, RateOrigin: traffic.RateHeader, Rate: 1}
		var records []oracle.FlowRecord
		switch x := s.(type) {
		case oracle.FlowSample:
			f.Rate, f.Input, f.Output, f.Dropped = x.SamplingRate, value(x.Input>>30, x.Input&internal), value(x.Output>>30, x.Output&internal), x.Output>>30 == 1
			records = x.Records
		case oracle.ExpandedFlowSample:
			f.Rate, f.Input, f.Output, f.Dropped = x.SamplingRate, value(x.InputIfFormat, x.InputIfValue), value(x.OutputIfFormat, x.OutputIfValue), x.OutputIfFormat == 1
			records = x.Records
		case oracle.DropSample:
			f.Input, f.Output, f.Dropped, f.Notice = value(0, x.Input), value(0, x.Output), true, true
			records = x.Records
		default:
			continue
		}
		if f.Rate == 0 {
			f.Rate, f.RateOrigin = 1, traffic.RateUnknown
		}
		if fill(&f, records) {
			lines = append(lines, line(&f))
		}
	}
	return lines, true
}

// fill puts goflow2's records into a Flow, and reports whether they have a packet: the first header, else the last sampled_ipv4, else
// the last sampled_ipv6.
func fill(f *traffic.Flow, records []oracle.FlowRecord) (found bool) {
	var hop, bgp netip.Addr
	var four *oracle.SampledIPv4
	var base *oracle.SampledIPBase
	var tos uint32
	for _, r := range records {
		switch x := r.Data.(type) {
		case oracle.SampledHeader:
			if f.Header == nil {
				f.Header = x.HeaderData[:x.OriginalLength]
			}
		case oracle.SampledIPv4:
			four = &x
		case oracle.SampledIPv6:
			base, tos = &x.SampledIPBase, x.Priority
		case oracle.ExtendedSwitch:
			f.VLAN = uint16(x.SrcVlan)
		case oracle.ExtendedRouter:
			hop, _ = netip.AddrFromSlice(x.NextHop)
			f.SrcMask, f.DstMask = uint8(x.SrcMaskLen), uint8(x.DstMaskLen)
		case oracle.ExtendedGateway:
			if !bgp.IsValid() {
				bgp, _ = netip.AddrFromSlice(x.NextHop)
			}
			f.SrcAS, f.DstAS = x.SrcAS, x.ASPath[len(x.ASPath)-1]
		}
	}
	if f.NextHop = hop; !hop.IsValid() {
		f.NextHop = bgp
	}
	if f.Header != nil {
		return true
	}
	if four != nil {
		base, tos = &four.SampledIPBase, four.Tos
	}
	if base == nil {
		return false
	}
	f.Src, _ = netip.AddrFromSlice(base.SrcIP)
	f.Dst, _ = netip.AddrFromSlice(base.DstIP)
	f.Protocol, f.SrcPort, f.DstPort, f.TCPFlags = uint8(base.Protocol), uint16(base.SrcPort), uint16(base.DstPort), uint8(base.TcpFlags)
	f.Length, f.TOS = base.Length, uint8(tos)
	return true
}

// Both decoders read the same in thousands of datagrams.
func TestAgainstGoflow2(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 5))
	compared := 0
	for range 3000 {
		b := random(r)
		want, ok := theirs(b)
		if !ok {
			t.Fatalf("goflow2 refuses %x", b)
		}
		flows, err := decode(session(), b)
		if err != nil {
			t.Fatalf("refused, but goflow2 reads it: %v\n%x", err, b)
		}
		var got []string
		for i := range flows {
			got = append(got, line(&flows[i]))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-goflow2 +got)\n%s\n%x", diff, b)
		}
		compared += len(got)
	}
	if compared < 3000 {
		t.Errorf("only %d samples compared", compared)
	}
}
