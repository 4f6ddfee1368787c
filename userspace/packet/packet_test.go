package packet_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir/userspace/packet"
	. "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

var equateAddr = cmpopts.EquateComparable(netip.Addr{})

// Offsets in an untagged frame.
const (
	atIP         = 14
	atTransport4 = atIP + 20
	atTransport6 = atIP + 40
)

type parseTest struct {
	name  string
	frame []byte
	want  traffic.Reason
	of    Frame                 // where the expected packet comes from, when want is ReasonOK
	but   func(*traffic.Packet) // and in what it differs
}

func (tt *parseTest) packet() traffic.Packet {
	p := traffic.Packet{Length: uint32(len(tt.frame))}
	if tt.want == traffic.ReasonOK {
		p = tt.of.Parsed()
		p.Length = uint32(len(tt.frame))
	}
	if tt.but != nil {
		tt.but(&p)
	}
	return p
}

func runParse(t *testing.T, tests []parseTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := traffic.Packet{SrcPort: 1, Protocol: 2, TCPFlags: 3, Fragment: traffic.FirstFragment, Anomaly: traffic.AnomalyShortTransport}
			if reason := packet.Parse(tt.frame, uint32(len(tt.frame)), &got); reason != tt.want {
				t.Errorf("Parse: got %s, want %s", reason, tt.want)
			}
			if diff := cmp.Diff(tt.packet(), got, equateAddr); diff != "" {
				t.Errorf("packet (-want +got)\n%s", diff)
			}
		})
	}
}

// whole expects everything that the frame says; with a name it becomes a test.
func whole(name string, f Frame) parseTest {
	return parseTest{name: name, frame: f.Bytes(), of: f}
}

func refused(name string, frame []byte, want traffic.Reason) parseTest {
	return parseTest{name: name, frame: frame, want: want}
}

// blind is an anomaly behind which ports and flags cannot be read.
func blind(name string, frame []byte, of Frame, a traffic.Anomaly) parseTest {
	return parseTest{name: name, frame: frame, of: of, but: func(p *traffic.Packet) {
		p.SrcPort, p.DstPort, p.TCPFlags, p.Anomaly = 0, 0, 0, a
		if a != traffic.AnomalyShortTransport {
			p.Protocol = packet.ProtocolUnknown
		}
	}}
}

func fragment(test parseTest, part traffic.Fragment) parseTest {
	test.but = func(p *traffic.Packet) {
		p.Fragment = part
		if part == traffic.LaterFragment {
			p.SrcPort, p.DstPort, p.TCPFlags = 0, 0, 0
		}
	}
	return test
}

func TestParseLink(t *testing.T) {
	tags := func(kinds ...uint16) Mutation {
		return func(f *Frame) {
			for _, k := range kinds {
				VLAN(k, 7)(f)
			}
		}
	}
	three := TCP4(tags(TypeVLAN, TypeQinQOld, TypeQinQ))
	labelled := UDP4(MPLS(8))
	eight := labelled.Bytes()
	runParse(t, []parseTest{
		whole("tcp over ipv4", TCP4()),
		whole("tcp over ipv6", TCP6()),
		whole("one tag", UDP4(tags(TypeVLAN))),
		whole("two tags", UDP6(tags(TypeVLAN, TypeQinQ))),
		whole("three tags of all kinds", three),
		refused("four tags", UDP4(tags(TypeVLAN, TypeVLAN, TypeVLAN, TypeVLAN)).Bytes(), traffic.ReasonVLANDepth),
		refused("a fourth tag that is not there", Cut(UDP4(tags(TypeVLAN, TypeVLAN, TypeVLAN, TypeVLAN)).Bytes(), atIP+12), traffic.ReasonVLANDepth),
		refused("nothing", nil, traffic.ReasonShortEthernet),
		refused("13 bytes", Cut(TCP4().Bytes(), 13), traffic.ReasonShortEthernet),
		refused("an Ethernet header alone", Cut(TCP4().Bytes(), 14), traffic.ReasonShortIPv4),
		refused("3 bytes of a tag", Cut(three.Bytes(), atIP+3), traffic.ReasonShortVLAN),
		refused("3 bytes of a third tag", Cut(three.Bytes(), atIP+11), traffic.ReasonShortVLAN),
		refused("tags alone", Cut(three.Bytes(), atIP+12), traffic.ReasonShortIPv4),
		refused("ARP", TCP4(Ethertype(TypeARP)).Bytes(), traffic.ReasonARP),
		refused("tagged RARP without a body", Cut(TCP4(tags(TypeVLAN), Ethertype(TypeRARP)).Bytes(), atIP+4), traffic.ReasonARP),
		refused("LLDP", TCP4(Ethertype(TypeLLDP)).Bytes(), traffic.ReasonNotIP),
		refused("an 802.3 length", TCP4(Ethertype(0x05ff)).Bytes(), traffic.ReasonNotIP),
		refused("type 0", Set(TCP4().Bytes(), 12, 0, 0), traffic.ReasonNotIP),
		whole("one label", TCP6(MPLS(1))),
		whole("one label, multicast", TCP4(MPLS(1), Ethertype(TypeMPLSMulticast))),
		whole("eight labels", labelled),
		whole("label behind three tags", UDP6(tags(TypeVLAN, TypeQinQ, TypeQinQ), MPLS(2))),
		refused("nine labels", UDP4(MPLS(9)).Bytes(), traffic.ReasonMPLSDepth),
		refused("a ninth label that is not there", Cut(UDP4(MPLS(9)).Bytes(), atIP+32), traffic.ReasonMPLSDepth),
		refused("no label", Cut(eight, atIP), traffic.ReasonShortMPLS),
		refused("3 bytes of an eighth label", Cut(eight, atIP+31), traffic.ReasonShortMPLS),
		refused("nothing behind the bottom label", Cut(eight, atIP+32), traffic.ReasonNotIP),
		refused("no IP behind the bottom label", Set(eight, atIP+32, 0x05), traffic.ReasonNotIP),
		refused("a version nibble alone", Cut(eight, atIP+33), traffic.ReasonShortIPv4),
		refused("an IPv6 version nibble alone", Cut(Set(eight, atIP+32, 0x60), atIP+33), traffic.ReasonShortIPv6),
	})
}

func TestParseIPv4(t *testing.T) {
	tcp, udp, icmp := TCP4(), UDP4(), ICMP4()
	full := TCP4(Options(40))
	other := UDP4(Upper(SCTP))
	runParse(t, []parseTest{
		whole("udp", udp),
		whole("icmp", icmp),
		whole("sctp has no ports here", other),
		whole("ICMPv6 is nothing in IPv4", UDP4(Upper(traffic.ProtoICMPv6), Payload(0))),
		whole("an IPv6 extension number is a protocol like any other", UDP4(Upper(HopByHop), Payload(0))),
		whole("options", TCP4(Options(4))),
		whole("40 bytes of options", full),
		whole("do not fragment", TCP4(Fragmented4(DontFragment))),
		whole("all flags", TCP4(Flags(0xff))),
		refused("19 bytes", Cut(tcp.Bytes(), atIP+19), traffic.ReasonShortIPv4),
		refused("19 bytes of version 5", Set(Cut(tcp.Bytes(), atIP+19), atIP, 0x55), traffic.ReasonShortIPv4),
		refused("version 6", Set(tcp.Bytes(), atIP, 0x65), traffic.ReasonBadIPv4),
		refused("header of 16 bytes", Set(tcp.Bytes(), atIP, 0x44), traffic.ReasonBadIPv4),
		refused("total length 19", Set(tcp.Bytes(), atIP+2, 0, 19), traffic.ReasonBadIPv4),
		refused("total length within the options", Set(full.Bytes(), atIP+2, 0, 59), traffic.ReasonBadIPv4),
		refused("total length within options that are not there", Set(Cut(full.Bytes(), atIP+20), atIP+2, 0, 59), traffic.ReasonBadIPv4),
		refused("options cut off", Cut(full.Bytes(), atIP+59), traffic.ReasonShortIPv4),
		blind("options alone", Cut(full.Bytes(), atIP+60), full, traffic.AnomalyShortTransport),
		{name: "total length of the header alone", frame: Set(tcp.Bytes(), atIP+2, 0, 20), of: tcp},
		{name: "total length beyond the frame", frame: Set(tcp.Bytes(), atIP+2, 0xff, 0xff), of: tcp},
		blind("no tcp header", Cut(tcp.Bytes(), atTransport4), tcp, traffic.AnomalyShortTransport),
		blind("19 bytes of tcp", Cut(tcp.Bytes(), atTransport4+19), tcp, traffic.AnomalyShortTransport),
		{name: "20 bytes of tcp", frame: Cut(tcp.Bytes(), atTransport4+20), of: tcp},
		blind("7 bytes of udp", Cut(udp.Bytes(), atTransport4+7), udp, traffic.AnomalyShortTransport),
		{name: "8 bytes of udp", frame: Cut(udp.Bytes(), atTransport4+8), of: udp},
		blind("3 bytes of icmp", Cut(icmp.Bytes(), atTransport4+3), icmp, traffic.AnomalyShortTransport),
		{name: "4 bytes of icmp", frame: Cut(icmp.Bytes(), atTransport4+4), of: icmp},
		{name: "nothing behind the header of an unknown protocol", frame: Cut(other.Bytes(), atTransport4), of: other},
		fragment(whole("first fragment", TCP4(Fragmented4(MoreFragments))), traffic.FirstFragment),
		fragment(whole("middle fragment", TCP4(Fragmented4(MoreFragments|1))), traffic.LaterFragment),
		fragment(whole("last fragment", UDP4(Fragmented4(0x1fff))), traffic.LaterFragment),
		fragment(parseTest{name: "later fragment without a byte of payload", frame: Cut(TCP4(Fragmented4(1)).Bytes(), atTransport4), of: tcp}, traffic.LaterFragment),
		{name: "first fragment within the tcp header", frame: Cut(TCP4(Fragmented4(MoreFragments)).Bytes(), atTransport4+8), of: tcp,
			but: func(p *traffic.Packet) {
				p.SrcPort, p.DstPort, p.TCPFlags = 0, 0, 0
				p.Fragment, p.Anomaly = traffic.FirstFragment, traffic.AnomalyShortTransport
			}},
		whole("the reserved bit is no fragment", TCP4(Fragmented4(0x8000))),
	})
}

func TestParseIPv6(t *testing.T) {
	tcp, udp, icmp := TCP6(), UDP6(), ICMP6()
	mapped := func(f *Frame) { f.Src = netip.MustParseAddr("::ffff:192.0.2.1") }
	runParse(t, []parseTest{
		whole("udp", udp),
		whole("icmp", icmp),
		whole("ICMP is nothing in IPv6", UDP6(Upper(traffic.ProtoICMP), Payload(0))),
		whole("ESP is the end", UDP6(Upper(ESP), Payload(0))),
		whole("no next header is the end", UDP6(Upper(NoNext), Payload(0))),
		whole("an IPv4-mapped address stays IPv6", UDP6(mapped)),
		refused("39 bytes", Cut(tcp.Bytes(), atIP+39), traffic.ReasonShortIPv6),
		refused("39 bytes of version 4", Set(Cut(tcp.Bytes(), atIP+39), atIP, 0x40), traffic.ReasonShortIPv6),
		refused("version 4", Set(tcp.Bytes(), atIP, 0x40), traffic.ReasonBadIPv6),
		{name: "payload length 0", frame: Set(tcp.Bytes(), atIP+4, 0, 0), of: tcp},
		{name: "payload length beyond the frame", frame: Set(tcp.Bytes(), atIP+4, 0xff, 0xff), of: tcp},
		blind("no tcp header", Cut(tcp.Bytes(), atTransport6), tcp, traffic.AnomalyShortTransport),
		blind("19 bytes of tcp", Cut(tcp.Bytes(), atTransport6+19), tcp, traffic.AnomalyShortTransport),
		{name: "20 bytes of tcp", frame: Cut(tcp.Bytes(), atTransport6+20), of: tcp},
		blind("7 bytes of udp", Cut(udp.Bytes(), atTransport6+7), udp, traffic.AnomalyShortTransport),
		{name: "8 bytes of udp", frame: Cut(udp.Bytes(), atTransport6+8), of: udp},
		blind("3 bytes of icmp", Cut(icmp.Bytes(), atTransport6+3), icmp, traffic.AnomalyShortTransport),
		{name: "4 bytes of icmp", frame: Cut(icmp.Bytes(), atTransport6+4), of: icmp},
	})
}

func TestParseExtensions(t *testing.T) {
	all := UDP6(Extended(HopByHop, 1, 8), Extended(Destination, 1, 24), Extended(Routing, 1, 16), Extended(AH, 1, 12),
		Extended(Mobility, 1, 8), Extended(HIP, 1, 40), Extended(Shim6, 1, 8), Fragmented6(0, false))
	eight := TCP6(Extended(Destination, 8, 8))
	nine := TCP6(Extended(Destination, 9, 8))
	long := UDP6(Extended(Routing, 1, 2048))
	first := UDP6(Extended(HopByHop, 1, 8), Fragmented6(0, true), Extended(Destination, 1, 8))
	later := UDP6(Extended(HopByHop, 1, 8), Fragmented6(185, false))
	hidden := UDP6(Fragmented6(185, true), Extended(Destination, 1, 8))
	ah := UDP6(Extended(AH, 1, 28))
	twice := UDP6(Fragmented6(0, true), Fragmented6(0, false))
	split := UDP6(Fragmented6(0, true), Fragmented6(1, false))
	cut := UDP6(Extended(Destination, 2, 8))
	firstOf := func(name string, frame []byte, a traffic.Anomaly) parseTest {
		test := blind(name, frame, first, a)
		anomaly := test.but
		test.but = func(p *traffic.Packet) { anomaly(p); p.Fragment = traffic.FirstFragment }
		return test
	}
	runParse(t, []parseTest{
		whole("one of each", all),
		whole("eight", eight),
		whole("a routing header of 2048 bytes", long),
		whole("an authentication header of 28 bytes", ah),
		blind("nine", nine.Bytes(), nine, traffic.AnomalyExtensionDepth),
		blind("a ninth that is not there", Cut(nine.Bytes(), atTransport6+64), nine, traffic.AnomalyExtensionDepth),
		blind("nothing of the first", Cut(cut.Bytes(), atTransport6), cut, traffic.AnomalyShortExtension),
		blind("7 bytes of the first", Cut(cut.Bytes(), atTransport6+7), cut, traffic.AnomalyShortExtension),
		blind("7 bytes of the second", Cut(cut.Bytes(), atTransport6+15), cut, traffic.AnomalyShortExtension),
		blind("7 bytes of the eighth", Cut(eight.Bytes(), atTransport6+63), eight, traffic.AnomalyShortExtension),
		blind("all extensions, no transport", Cut(eight.Bytes(), atTransport6+64), eight, traffic.AnomalyShortTransport),
		blind("a length one byte beyond the frame", Cut(long.Bytes(), atTransport6+2047), long, traffic.AnomalyShortExtension),
		blind("a length that ends with the frame", Cut(long.Bytes(), atTransport6+2048), long, traffic.AnomalyShortTransport),
		blind("an authentication header one byte beyond the frame", Cut(ah.Bytes(), atTransport6+27), ah, traffic.AnomalyShortExtension),
		blind("an authentication header cut within 8 bytes", Cut(ah.Bytes(), atTransport6+7), ah, traffic.AnomalyShortExtension),
		blind("an authentication header of 8 bytes and no transport", Cut(Set(ah.Bytes(), atTransport6+1, 0), atTransport6+8), ah, traffic.AnomalyShortTransport),
		blind("7 bytes of a fragment header", Cut(twice.Bytes(), atTransport6+7), twice, traffic.AnomalyShortExtension),
		whole("a fragment header without fragments", UDP6(Fragmented6(0, false))),
		fragment(whole("first fragment", first), traffic.FirstFragment),
		firstOf("first fragment, then cut off", Cut(first.Bytes(), atTransport6+16), traffic.AnomalyShortExtension),
		fragment(whole("later fragment", later), traffic.LaterFragment),
		fragment(parseTest{name: "later fragment without a byte of payload", frame: Cut(later.Bytes(), atTransport6+16), of: later}, traffic.LaterFragment),
		{name: "an extension header behind a later fragment's stays", frame: hidden.Bytes(), of: hidden, but: func(p *traffic.Packet) {
			p.Fragment, p.Protocol, p.SrcPort, p.DstPort = traffic.LaterFragment, Destination, 0, 0
		}},
		fragment(whole("first fragment of what claims to be whole", twice), traffic.FirstFragment),
		fragment(whole("later fragment within a first", split), traffic.LaterFragment),
		{name: "the reserved bits of a fragment header", frame: Set(UDP6(Fragmented6(0, false)).Bytes(), atTransport6+3, 0x06), of: UDP6()},
	})
}

func TestParseIP(t *testing.T) {
	for _, tt := range []struct {
		name string
		b    []byte
		want traffic.Reason
		of   Frame
	}{
		{"ipv4", TCP4().Network(), traffic.ReasonOK, TCP4()},
		{"ipv6", UDP6().Network(), traffic.ReasonOK, UDP6()},
		{"nothing", nil, traffic.ReasonNotIP, Frame{}},
		{"version 5", Set(TCP4().Network(), 0, 0x55), traffic.ReasonNotIP, Frame{}},
		{"19 bytes of ipv4", Cut(TCP4().Network(), 19), traffic.ReasonShortIPv4, Frame{}},
		{"39 bytes of ipv6", Cut(TCP6().Network(), 39), traffic.ReasonShortIPv6, Frame{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := traffic.Packet{}
			if tt.want == traffic.ReasonOK {
				want = tt.of.Parsed()
			}
			want.Length = 1500
			got := traffic.Packet{SrcPort: 1}
			if reason := packet.ParseIP(tt.b, 1500, &got); reason != tt.want {
				t.Errorf("ParseIP: got %s, want %s", reason, tt.want)
			}
			if diff := cmp.Diff(want, got, equateAddr); diff != "" {
				t.Errorf("packet (-want +got)\n%s", diff)
			}
		})
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	frame := UDP6(VLAN(TypeVLAN, 1), MPLS(2), Extended(Destination, 3, 16)).Bytes()
	var p traffic.Packet
	if n := testing.AllocsPerRun(100, func() { packet.Parse(frame, 1, &p) }); n != 0 {
		t.Errorf("allocations per packet: got %v, want 0", n)
	}
}
