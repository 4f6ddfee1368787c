package netflow

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

func TestRecord(t *testing.T) {
	want9, want10 := recorded(traffic.NetFlow9, 10), recorded(traffic.IPFIX, 10)
	// IPFIX does not say since when its uptimes count: how long the flow took is known, and that it is exported now.
	want10.Start, want10.End = at(-20).UnixNano(), at(0).UnixNano()
	fields, values := wide()
	want6 := traffic.Flow{
		Packet: traffic.Packet{Src: netip.MustParseAddr("2001:db8:1::1"), Dst: netip.MustParseAddr("2001:db8:2::7"), SrcPort: 40000, DstPort: 443,
			Protocol: traffic.ProtoTCP, TCPFlags: 0x1b},
		Packets: 10, Bytes: 6000, Start: at(-25).UnixNano(), End: at(-5).UnixNano(), Rate: 1, Source: traffic.IPFIX, Side: traffic.SideIngress,
		EndReason: traffic.EndDetected, TOS: 0xb8, VLAN: 20, Exporter: exporter(), Domain: 7, Input: 3, Output: 4, SrcAS: 64500, DstAS: 64501,
		NextHop: netip.MustParseAddr("2001:db8::9"), SrcMask: 48, DstMask: 56,
	}
	for _, tt := range []struct {
		name string
		data []byte
		want []traffic.Flow
	}{
		{"version 9", v9(0, 0, setOf(0, announce(256, plain()...)), setOf(256, record(10), u16(0))), []traffic.Flow{want9}},
		{"template in one datagram with two sets", v9(0, 0, setOf(0, announce(256, plain()...), announce(300, plain()...)), setOf(256, record(10)), setOf(300, record(10), record(10))),
			[]traffic.Flow{want9, want9, want9}},
		{"IPFIX", ipfix(0, 0, setOf(2, announce(256, plain()...)), setOf(256, record(10))), []traffic.Flow{want10}},
		{"IPv6", ipfix(0, 0, setOf(2, announce(256, fields...)), setOf(256, values, values)), []traffic.Flow{want6, want6}},
		{"variable length in front", ipfix(0, 0, setOf(2, announce(256, append([]uint16{82, variable}, plain()...)...)), setOf(256, text([]byte("eth0")), record(10), text(nil), record(10))),
			[]traffic.Flow{want10, want10}},
		{"variable length behind", ipfix(0, 0, setOf(2, announce(256, append(plain(), 82, variable)...)), setOf(256, record(10), text(make([]byte, 300)), u8(0, 0, 0))), []traffic.Flow{want10}},
		{"filled up", v9(0, 0, setOf(0, announce(256, plain()...), u32(0)), setOf(256, record(10)), make([]byte, 40)), []traffic.Flow{want9}},
		{"reserved sets", ipfix(0, 0, setOf(2, announce(256, plain()...)), setOf(9, u32(1)), setOf(256, record(10))), []traffic.Flow{want10}},
		{"nothing", ipfix(0, 0), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, take(t, session(), 0, tt.data), same()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// with is a record of 10 packets and 1000 bytes with what is asked about it.
func with(fields []uint16, values ...[]byte) []byte {
	fields = append([]uint16{ieSource4, 4, ieDestination4, 4, iePackets, 4, ieOctets, 4, ieSourcePort, 2, ieDestinationPort, 2, ieProtocol, 1}, fields...)
	return ipfix(0, 0, setOf(2, announceAny(256, fields...)), setOf(256, ip("192.0.2.1"), ip("198.51.100.7"), u32(10, 1000), u16(40000, 443), u8(17), join(values...)))
}

// One field more, and what is different by it.
func TestFields(t *testing.T) {
	usual := take(t, session(), 0, with(nil))[0]
	for _, tt := range []struct {
		name   string
		data   []byte
		differ func(f *traffic.Flow)
	}{
		{"ICMP has no ports", with([]uint16{ieProtocol, 1}, u8(1)), func(f *traffic.Flow) { f.Protocol, f.SrcPort, f.DstPort = 1, 0, 0 }},
		{"few bytes of a counter", with([]uint16{iePackets, 3}, sized(70000, 3)), func(f *traffic.Flow) { f.Packets = 70000 }},
		{"many bytes of a counter", with([]uint16{iePackets, 12}, sized(7, 12)), func(f *traffic.Flow) { f.Packets = 7 }},
		{"variable length of a counter", with([]uint16{iePackets, variable}, text(u16(300))), func(f *traffic.Flow) { f.Packets = 300 }},
		{"forwarded", with([]uint16{ieForwarding, 1}, u8(64)), func(*traffic.Flow) {}},
		{"dropped", with([]uint16{ieForwarding, 1}, u8(130)), func(f *traffic.Flow) { f.Dropped = true }},
		{"consumed", with([]uint16{ieForwarding, 1}, u8(192)), func(*traffic.Flow) {}},
		{"dropped, of four bytes", with([]uint16{ieForwarding, 4}, u32(130)), func(f *traffic.Flow) { f.Dropped = true }},
		{"dropped, in the first of four", with([]uint16{ieForwarding, 4}, u32(130<<24)), func(f *traffic.Flow) { f.Dropped = true }},
		{"later fragment", with([]uint16{ieFragmentOffset, 2}, u16(185)), func(f *traffic.Flow) { f.Fragment, f.SrcPort, f.DstPort = traffic.LaterFragment, 0, 0 }},
		{"first fragment", with([]uint16{ieFragmentOffset, 2, ieFragmentFlags, 1}, u16(0), u8(0x20)), func(f *traffic.Flow) { f.Fragment = traffic.FirstFragment }},
		{"do not fragment", with([]uint16{ieFragmentFlags, 1}, u8(0x40)), func(*traffic.Flow) {}},
		{"ingress", with([]uint16{ieDirection, 1}, u8(0)), func(f *traffic.Flow) { f.Side = traffic.SideIngress }},
		{"neither side", with([]uint16{ieDirection, 1}, u8(255)), func(*traffic.Flow) {}},
		{"active timeout", with([]uint16{ieEndReason, 1}, u8(2)), func(f *traffic.Flow) { f.EndReason = traffic.EndActive }},
		{"no reason", with([]uint16{ieEndReason, 1}, u8(77)), func(*traffic.Flow) {}},
		{"ports of TCP and UDP", with([]uint16{ieUDPSource, 2, ieTCPSource, 2, ieUDPDestination, 2, ieTCPDestination, 2}, u16(53, 0, 5353, 0)), func(f *traffic.Flow) { f.SrcPort, f.DstPort = 53, 5353 }},
		{"next hops", with([]uint16{ieNextHop4, 4, ieNextHopBGP4, 4}, ip("192.0.2.9"), ip("192.0.2.10")), func(f *traffic.Flow) { f.NextHop = netip.MustParseAddr("192.0.2.9") }},
		{"BGP's next hop", with([]uint16{ieNextHop4, 4, ieNextHopBGP6, 16}, ip("0.0.0.0"), ip("2001:db8::9")), func(f *traffic.Flow) { f.NextHop = netip.MustParseAddr("2001:db8::9") }},
		{"VLAN of a priority tag", with([]uint16{ieVLAN, 2}, u16(0x6014)), func(f *traffic.Flow) { f.VLAN = 20 }},
		{"physical interfaces", with([]uint16{ieInputPhysical, 4, ieOutputPhysical, 4, ieOutput, 2}, u32(5, 6), u16(7)), func(f *traffic.Flow) { f.Input, f.Output = 5, 7 }},
		{"interfaces", with([]uint16{ieInput, 2, ieOutput, 3}, u16(5), sized(7, 3)), func(f *traffic.Flow) { f.Input, f.Output = 5, 7 }},
		{"autonomous systems of two bytes", with([]uint16{ieSourceAS, 2, ieDestinationAS, 2}, u16(64500, 64501)), func(f *traffic.Flow) { f.SrcAS, f.DstAS = 64500, 64501 }},
		{"hop limit", with([]uint16{ieTTL, 1}, u8(64)), func(f *traffic.Flow) { f.TTL = 64 }},
		{"totals beside", with([]uint16{ieOctetsTotal, 8, iePacketsTotal, 8}, u64(1e9, 1e6)), func(*traffic.Flow) {}},
		{"what leaves beside", with([]uint16{iePostOctets, 8, iePostPackets, 8}, u64(1e9, 1e6)), func(*traffic.Flow) {}},
		{"another's element", with([]uint16{0x8000 | iePackets, 4, 0, 9, ieTOS, 1}, u32(1e6), u8(4)), func(f *traffic.Flow) { f.TOS = 4 }},
		{"address of another length", with([]uint16{ieSource4, 5}, make([]byte, 5)), func(*traffic.Flow) {}},
		{"addresses of variable length", with([]uint16{ieSource4, variable, ieDestination4, variable, ieNextHopBGP4, variable, ieNextHopBGP6, variable},
			text(ip("192.0.2.8")), text(ip("198.51.100.8")), text(ip("192.0.2.9")), text(nil)), func(f *traffic.Flow) {
			f.Src, f.Dst, f.NextHop = netip.MustParseAddr("192.0.2.8"), netip.MustParseAddr("198.51.100.8"), netip.MustParseAddr("192.0.2.9")
		}},
		{"field of no length", with([]uint16{iePackets, 0}), func(*traffic.Flow) {}},
		{"IPv6 fields that are zero", with([]uint16{ieSource6, 16, ieDestination6, 16, ieSourceMask6, 1, ieSourceMask4, 1}, make([]byte, 33), u8(24)), func(f *traffic.Flow) { f.SrcMask = 24 }},
		{"IPv4 fields beside", with([]uint16{ieSource6, 16, ieDestination6, 16}, ip("2001:db8::1"), ip("2001:db8::2")), func(f *traffic.Flow) {
			f.Src, f.Dst = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
		}},
		{"IPv6 from nowhere, by the version", with([]uint16{ieIPVersion, 1, ieSource6, 16, ieDestination6, 16}, u8(6), make([]byte, 16), ip("ff02::1")), func(f *traffic.Flow) {
			f.Src, f.Dst = netip.MustParseAddr("::"), netip.MustParseAddr("ff02::1")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := usual
			tt.differ(&want)
			if diff := cmp.Diff([]traffic.Flow{want}, take(t, session(), 0, tt.data), same()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// of is a message with one record.
func of(fields []uint16, values ...[]byte) []byte {
	return ipfix(0, 0, setOf(2, announceAny(256, fields...)), setOf(256, join(values...)))
}

// What firewalls and address translators export beside flows tells of no traffic.
func TestNoTraffic(t *testing.T) {
	ends := []uint16{ieSource4, 4, ieDestination4, 4}
	addresses := join(ip("192.0.2.1"), ip("198.51.100.7"))
	for _, tt := range []struct {
		name string
		data []byte
	}{
		{"NAT event", of(append(ends, 230, 1, ieEndMilliseconds, 8), addresses, u8(4), u64(0))},
		{"ASA: denied", v9(0, 0, setOf(0, announce(256, append(ends, 233, 1, 33002, 2)...)), setOf(256, addresses, u8(3), u16(1001)))},
		{"ASA: created", of(append(ends, 233, 1, ieInitiatorOctets, 4, ieResponderOctets, 4), addresses, u8(1), u32(0, 0))},
		{"no addresses", of([]uint16{iePackets, 4, ieOctets, 4}, u32(10, 1000))},
		{"one address", of([]uint16{ieSource4, 4, iePackets, 4}, ip("192.0.2.1"), u32(10))},
		{"addresses of two kinds", of([]uint16{ieSource4, 4, ieDestination6, 16, ieIPVersion, 1, iePackets, 4}, ip("192.0.2.1"), ip("2001:db8::1"), u8(4), u32(10))},
		{"a frame that nobody can read", of([]uint16{ieFrameSection, 20}, make([]byte, 20))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := session()
			if got := take(t, s, 0, tt.data); len(got) != 0 || s.Health(noon()).Skipped != 1 {
				t.Errorf("told %+v, skipped %d", got, s.Health(noon()).Skipped)
			}
		})
	}
}

// A record of both ways of a connection is two flows: Cisco ASA (231, 232, 298, 299), and RFC 5103.
func TestBothWays(t *testing.T) {
	fields := []uint16{ieSource4, 4, ieDestination4, 4, ieSourcePort, 2, ieDestinationPort, 2, ieProtocol, 1, ieInput, 2, ieOutput, 2}
	values := join(ip("192.0.2.1"), ip("198.51.100.7"), u16(40000, 443), u8(6), u16(3, 4))
	there := traffic.Flow{
		Packet: traffic.Packet{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("198.51.100.7"), SrcPort: 40000, DstPort: 443, Protocol: 6},
		Start:  noon().UnixNano(), End: noon().UnixNano(), Rate: 1, Source: traffic.IPFIX, Exporter: exporter(), Domain: 7, Input: 3, Output: 4,
	}
	back := there
	back.Src, back.Dst, back.SrcPort, back.DstPort, back.Input, back.Output = there.Dst, there.Src, 443, 40000, 4, 3
	counted := func(f traffic.Flow, packets, octets uint64, flags uint8) traffic.Flow {
		f.Packets, f.Bytes, f.TCPFlags = packets, octets, flags
		return f
	}
	for _, tt := range []struct {
		name string
		data []byte
		want []traffic.Flow
	}{
		{"packets and bytes", of(append(fields, 231, 8, 232, 8, 298, 8, 299, 8), values, u64(1000, 90000, 10, 60)), []traffic.Flow{counted(there, 10, 1000, 0), counted(back, 60, 90000, 0)}},
		{"bytes alone", of(append(fields, 231, 4, 232, 4), values, u32(1501, 100)), []traffic.Flow{counted(there, 2, 1501, 0), counted(back, 1, 100, 0)}},
		{"no answer", of(append(fields, 231, 4, 232, 4), values, u32(1501, 0)), []traffic.Flow{counted(there, 2, 1501, 0)}},
		{"nothing but answers", of(append(fields, 231, 4, 232, 4), values, u32(0, 100)), []traffic.Flow{counted(back, 1, 100, 0)}},
		{"RFC 5103", of(append(fields, 1, 4, 2, 4, 6, 1, 0x8001, 4, 0, reverse, 0x8002, 4, 0, reverse, 0x8006, 1, 0, reverse), values, u32(1000, 10), u8(2), u32(90000, 60), u8(18)),
			[]traffic.Flow{counted(there, 10, 1000, 2), counted(back, 60, 90000, 18)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.data = join(tt.data)
			s := session()
			var got []traffic.Flow
			if err := s.Decode(tt.data, noon(), func(f *traffic.Flow) {
				got = append(got, *f)
				f.Rate, f.Packets, f.Src = 1000, 0, netip.Addr{} // whoever is told may change it
			}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, same()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Records that hold the beginning of a sampled packet are read like captured ones.
func TestFrames(t *testing.T) {
	frame := packettest.TCP4(packettest.Payload(500)).Bytes()
	var p traffic.Packet
	if reason := session().opts.Frame(traffic.LinkEthernet, frame, uint32(len(frame)), &p); reason != traffic.ReasonOK {
		t.Fatal(reason)
	}
	short := uint32(len(frame))
	withoutEthernet := p
	withoutEthernet.Length -= 14
	for _, tt := range []struct {
		name string
		data []byte
		want traffic.Packet
		link traffic.Link
	}{
		{"Juniper inline: 315 of variable length", of([]uint16{ieInput, 4, ieFrameSize, 2, ieFrameSection, variable}, u32(3), u16(uint16(short)), text(frame[:128])), p, traffic.LinkEthernet},
		{"NetFlow Lite: 104 of fixed length", of([]uint16{ieInput, 4, ieFrameSize, 2, 102, 2, 103, 2, ieLayer2Section, 64}, u32(3), u16(uint16(short), 0, 64), frame[:64]), p, traffic.LinkEthernet},
		{"313 begins with IP", of([]uint16{ieInput, 4, ieFrameSize, 2, ieHeaderSection, 100}, u32(3), u16(uint16(short-14)), frame[14:114]), withoutEthernet, traffic.LinkIP},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := take(t, session(), 0, tt.data)
			if len(got) != 1 {
				t.Fatalf("told %d records", len(got))
			}
			f := got[0]
			if diff := cmp.Diff(tt.want, f.Packet, same()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if f.Packets != 1 || f.Bytes != uint64(tt.want.Length) || len(f.Header) < 64 || f.Link != tt.link || f.Input != 3 || f.Start != noon().UnixNano() {
				t.Errorf("told %+v", f)
			}
		})
	}
	s := session(func(o *Options) { o.Frame = nil })
	if got := take(t, s, 0, of([]uint16{ieFrameSection, variable}, text(frame))); len(got) != 0 || s.Health(noon()).Skipped != 1 {
		t.Errorf("without a parser, told %+v", got)
	}
}

// Counters that are never reset count for what came since the flow was told last.
func TestTotals(t *testing.T) {
	exported := uint64(exportedAt(0)) * 1000
	message := func(packets, octets uint64, start uint64, why uint8) []byte {
		return of([]uint16{ieSource4, 4, ieDestination4, 4, iePacketsTotal, 8, ieOctetsTotal, 8, ieStartMilliseconds, 8, ieEndReason, 1},
			ip("192.0.2.1"), ip("198.51.100.7"), u64(packets, octets, exported-start), u8(why))
	}
	s := session()
	for i, tt := range []struct {
		packets, octets, start uint64
		why                    uint8
		want                   uint64
	}{
		{10, 1000, 60_000, 2, 10},
		{25, 2500, 60_000, 2, 15},
		{25, 2500, 60_000, 2, 0}, // nothing came
		{7, 700, 50_000, 2, 7},   // another flow
		{30, 3000, 60_000, 3, 5}, // its end
		{4, 400, 10_000, 3, 4},
		{4, 400, 10_000, 3, 4}, // and again, since it has ended
	} {
		var got uint64
		for _, f := range take(t, s, i, message(tt.packets, tt.octets, tt.start, tt.why)) {
			got += f.Packets
			if f.Bytes != f.Packets*100 {
				t.Errorf("record %d: %d bytes in %d packets", i+1, f.Bytes, f.Packets)
			}
		}
		if got != tt.want {
			t.Errorf("record %d: %d packets, want %d", i+1, got, tt.want)
		}
	}
}

// The estimate of the active timeout follows the flows of the last minutes.
func TestLongest(t *testing.T) {
	message := func(seconds int, took uint64, why uint8) []byte {
		exported := uint64(exportedAt(seconds)) * 1000
		return ipfix(0, seconds, setOf(2, announce(256, ieSource4, 4, ieDestination4, 4, iePackets, 4, ieStartMilliseconds, 8, ieEndMilliseconds, 8, ieEndReason, 1)),
			setOf(256, ip("192.0.2.1"), ip("198.51.100.7"), u32(1), u64(exported-took*1000, exported), u8(why)))
	}
	s := session()
	for _, tt := range []struct {
		seconds int
		took    uint64
		why     uint8
		want    time.Duration
	}{
		{0, 300, 0, 300 * time.Second},
		{10, 60, 2, time.Minute}, // a flow that goes on says more than others
		{20, 900, 3, time.Minute},
		{700, 30, 2, time.Minute},
		{1400, 30, 2, 30 * time.Second},
	} {
		take(t, s, tt.seconds, message(tt.seconds, tt.took, tt.why))
		if got := only(t, s).Longest; got != tt.want {
			t.Errorf("after %d s: %s, want %s", tt.seconds, got, tt.want)
		}
	}
}
