package investigate

import (
	"net/netip"
	"testing"

	"weir/userspace/analyze"
	"weir/userspace/traffic"
)

// talk is a packet of a conversation with the victim.
func talk(other string, protocol uint8, port uint16, rate uint32) analyze.Seen {
	return analyze.Seen{Rate: rate, Packet: traffic.Packet{Src: netip.MustParseAddr(other), Dst: victim().Prefix.Addr(), Protocol: protocol, DstPort: port, SrcPort: uint16(40000 + rate)}}
}

// TestSplit: what goes on as before is no part of an attack, unless that would be most of it.
func TestSplit(t *testing.T) {
	normal := []analyze.Seen{talk("198.51.100.7", 6, 443, 1), talk("198.51.100.8", 17, 53, 1), talk("2001:db8:f::7", 6, 443, 1)}
	attack := talk("203.0.113.1", 17, 443, 80)
	for _, tt := range []struct {
		name    string
		samples []analyze.Seen
		old     int
		share   float64
	}{
		{"all is new", []analyze.Seen{attack, attack}, 0, 0},
		{"the same client, from another port of his", []analyze.Seen{attack, talk("198.51.100.7", 6, 443, 20)}, 1, 0.2},
		{"the same client, another protocol or port of ours", []analyze.Seen{attack, talk("198.51.100.7", 17, 443, 20), talk("198.51.100.7", 6, 80, 20)}, 0, 0},
		{"a neighbour in the client's /64", []analyze.Seen{attack, talk("2001:db8:f::99", 6, 443, 20)}, 1, 0.2},
		{"too much to be true", []analyze.Seen{attack, talk("198.51.100.8", 17, 53, 100)}, 0, 0},
	} {
		got, familiar, share := split(tt.samples, normal, traffic.Incoming)
		if len(familiar) != tt.old || len(got)+len(familiar) != len(tt.samples) || share != tt.share {
			t.Errorf("%s: %d of the attack, %d familiar, share %v; want %d and %v", tt.name, len(got), len(familiar), share, tt.old, tt.share)
		}
	}
	answer := func(port uint16, far uint16) analyze.Seen {
		s := talk("198.51.100.9", 17, port, 1)
		s.Packet.SrcPort = far
		return s
	}
	if _, familiar, _ := split([]analyze.Seen{answer(2000, 53), answer(3000, 123), attack}, []analyze.Seen{answer(4000, 53)}, traffic.Incoming); len(familiar) != 1 || familiar[0].Packet.SrcPort != 53 {
		t.Errorf("of a resolver's answers to any port, and of another service of his: %v are familiar, want the former", familiar)
	}
	out := talk("198.51.100.8", 17, 53, 1)
	out.Packet.Src, out.Packet.Dst, out.Packet.SrcPort, out.Packet.DstPort = out.Packet.Dst, out.Packet.Src, 53, 4711
	if _, familiar, _ := split([]analyze.Seen{out, attack, attack}, []analyze.Seen{out}, traffic.Outgoing); len(familiar) != 1 {
		t.Errorf("of what we send: %d familiar", len(familiar))
	}
	if got, familiar, share := split(nil, normal, traffic.Incoming); len(got)+len(familiar) != 0 || share != 0 {
		t.Errorf("of nothing: %d and %d", len(got), len(familiar))
	}
}
