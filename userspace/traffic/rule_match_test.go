package traffic

import (
	"net/netip"
	"testing"
)

// TestRuleMatch holds a packet that a rule is meant for against the rule, and then the same packet changed in one respect.
func TestRuleMatch(t *testing.T) {
	four := Facts{Packet: Packet{Src: netip.MustParseAddr("198.51.100.9"), Dst: netip.MustParseAddr("203.0.113.7"), SrcPort: 53, DstPort: 4000, Protocol: ProtoUDP},
		IPLength: 1200, DSCP: 46, Fragments: FragmentDont, Payload: []byte{0x12, 0x34, 0x80, 0x00}}
	six := Facts{Packet: Packet{Src: netip.MustParseAddr("2001:db8:2::1234:0:0:1"), Dst: netip.MustParseAddr("2001:db8:1::7"), SrcPort: 443, DstPort: 4000, Protocol: ProtoTCP,
		TCPFlags: FlagSYN}, IPLength: 60, TCPFlags: FlagSYN | 0x100, FlowLabel: 77}
	ping := Facts{Packet: Packet{Src: four.Packet.Src, Dst: four.Packet.Dst, Protocol: ProtoICMP}, IPLength: 84, ICMPType: 8, Payload: []byte{8, 0}}
	same := func(*Facts) {}
	for _, tt := range []struct {
		name, rule string
		base       Facts
		change     func(*Facts)
		want       bool
	}{
		{"destination", "destination 203.0.113.0/24", four, same, true},
		{"another destination", "destination 203.0.113.0/24", four, func(f *Facts) { f.Packet.Dst = netip.MustParseAddr("203.0.114.1") }, false},
		{"source", "source 198.51.100.0/24", four, same, true},
		{"another source", "source 198.51.100.8/32", four, same, false},
		{"prefix of the other version", "source ::/0", four, same, false},
		{"source behind an offset", "source ::1234:0:0:0/64-80", six, same, true},
		{"other bits behind the offset", "source ::1235:0:0:0/64-80", six, same, false},
		{"offset against IPv4", "source ::1234:0:0:0/64-80", four, same, false},
		{"family", "family ipv6 protocol tcp", six, same, true},
		{"the other family", "family ipv4 protocol tcp", six, same, false},
		{"both families", "protocol udp", four, same, true},
		{"protocol", "protocol tcp,gre", four, same, false},
		{"either port, source", "port 53", four, same, true},
		{"either port, destination", "port >=4000&<=4001", four, same, true},
		{"a range that only both ports together meet", "port >53&<4000", four, same, false},
		{"destination port", "destination-port 53", four, same, false},
		{"source port", "source-port 53", four, same, true},
		{"no ports in ICMP", "destination-port 0", ping, same, false},
		{"no ports in ICMP, negated", "destination-port !=53", ping, same, false},
		{"no ports in SCTP", "destination-port 4000", four, func(f *Facts) { f.Packet.Protocol = 132 }, false},
		{"no ports in later fragments", "source-port 0", four, func(f *Facts) { f.Packet.Fragment, f.Packet.SrcPort = LaterFragment, 0 }, false},
		{"no ports in a cut header", "source-port 0", four, func(f *Facts) { f.Packet.Anomaly, f.Packet.SrcPort = AnomalyShortTransport, 0 }, false},
		{"first fragments have ports", "source-port 53", four, func(f *Facts) { f.Packet.Fragment = FirstFragment }, true},
		{"icmp type", "icmp-type 8 icmp-code 0", ping, same, true},
		{"icmp code", "icmp-code 1", ping, same, false},
		{"icmp type of UDP", "icmp-type 0", four, same, false},
		{"ICMP in IPv6 is no ICMP", "icmp-type 0", six, func(f *Facts) { f.Packet.Protocol = ProtoICMP }, false},
		{"icmpv6 type", "icmp-type 0", six, func(f *Facts) { f.Packet.Protocol = ProtoICMPv6 }, true},
		{"tcp flags", "tcp-flags syn&!ack", six, same, true},
		{"all twelve bits", "tcp-flags 0x100", six, same, true},
		{"tcp flags of UDP", "tcp-flags !ack", four, same, false},
		{"length", "length >=1200&<=1300", four, same, true},
		{"another length", "length <1200", four, same, false},
		{"dscp", "dscp ef", four, same, true},
		{"another dscp", "dscp 0", four, same, false},
		{"fragment bits", "fragment dont-fragment&!is-fragment", four, same, true},
		{"no fragment", "fragment is-fragment", four, same, false},
		{"a later fragment", "fragment is-fragment", four, func(f *Facts) { f.Fragments, f.Packet.Fragment = FragmentIs|FragmentLast, LaterFragment }, true},
		{"flow label", "flow-label 77", six, same, true},
		{"no flow label in IPv4", "flow-label 0", four, same, false},
		{"payload", "payload 0:12&2:8000/8000", four, same, true},
		{"payload differs", "payload 1:12", four, same, false},
		{"payload too short", "payload 3:0000", four, same, false},
		{"payload of a later fragment", "payload 0:12", four, func(f *Facts) { f.Packet.Fragment = LaterFragment }, false},
		{"payload of ICMP begins with its header", "payload 0:0800", ping, same, true},
		{"payload within a broken tunnel's packet", "payload 0:12", four, func(f *Facts) { f.Packet.Protocol, f.Packet.Anomaly = 47, AnomalyBrokenTunnel }, true},
		{"one of several conditions fails", "protocol udp source-port 53 length 40", four, same, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ParseRule(tt.rule + " then discard")
			if err != nil {
				t.Fatal(err)
			}
			f := tt.base
			tt.change(&f)
			if got := r.Match(&f); got != tt.want {
				t.Errorf("%s: got %v, want %v", r, got, tt.want)
			}
		})
	}
}

func TestFragmentBits(t *testing.T) {
	for _, tt := range []struct {
		dont, more bool
		offset     uint16
		want       uint16
	}{
		{false, false, 0, 0}, {true, false, 0, FragmentDont}, {false, true, 0, FragmentFirst},
		{false, true, 185, FragmentIs}, {false, false, 185, FragmentIs | FragmentLast}, {true, true, 1, FragmentDont | FragmentIs},
	} {
		if got := FragmentBits(tt.dont, tt.more, tt.offset); got != tt.want {
			t.Errorf("%+v: got %#x", tt, got)
		}
	}
}
