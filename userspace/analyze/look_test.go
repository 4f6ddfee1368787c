package analyze_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"weir/userspace/analyze"
	"weir/userspace/packet"
	. "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

const ethernet = 14

var at = time.Unix(1_700_000_000, 0)

func TestLook(t *testing.T) {
	hello := []byte("weir says hello")
	options := []byte{2, 4, 0x05, 0xb4, 1, 3, 3, 7, 4, 2, 0, 0} // MSS 1460, window scale, SACK
	withOptions := func(frame []byte) []byte {                  // of a TCP4 without VLAN: the payload gives way to options
		frame = slices.Insert(slices.Clone(frame), ethernet+40, options...)
		frame[ethernet+32] = 8 << 4
		binary.BigEndian.PutUint16(frame[ethernet+2:], uint16(len(frame)-ethernet))
		return frame
	}
	for _, tt := range []struct {
		name  string
		frame []byte
		want  func(*analyze.Seen) // beyond what a SYN or a datagram of 15 bytes has
	}{
		{"IPv4 TCP", TCP4().Bytes(), func(s *analyze.Seen) { s.IPLength, s.TCPAllFlags = 55, traffic.FlagSYN }},
		{"IPv4 UDP", UDP4().Bytes(), func(s *analyze.Seen) { s.IPLength = 43 }},
		{"IPv4 options", UDP4(Options(12)).Bytes(), func(s *analyze.Seen) { s.IPLength = 55 }},
		{"IPv6 UDP", UDP6().Bytes(), func(s *analyze.Seen) { s.IPLength = 63 }},
		{"IPv6 extensions", UDP6(Extended(HopByHop, 1, 16), Extended(Destination, 1, 8), Extended(AH, 1, 12)).Bytes(), func(s *analyze.Seen) { s.IPLength = 99 }},
		{"tags and labels", UDP4(VLAN(TypeVLAN, 1), VLAN(TypeQinQ, 2), MPLS(3)).Bytes(), func(s *analyze.Seen) { s.IPLength = 43 }},
		{"traffic class and flow label", Set(UDP6().Bytes(), ethernet, 0x6b, 0x81, 0x23, 0x45), func(s *analyze.Seen) { s.IPLength, s.DSCP, s.FlowLabel = 63, 46, 0x12345 }},
		{"type of service", Set(UDP4().Bytes(), ethernet+1, 46<<2|1), func(s *analyze.Seen) { s.IPLength, s.DSCP = 43, 46 }},
		{"all TCP flags", Set(TCP4(Flags(0xff)).Bytes(), ethernet+32, 0x5f), func(s *analyze.Seen) { s.IPLength, s.TCPAllFlags = 55, 0xfff }},
		{"window", Set(TCP4().Bytes(), ethernet+34, 0x12, 0x34), func(s *analyze.Seen) { s.IPLength, s.TCPAllFlags, s.TCPWindow = 55, traffic.FlagSYN, 0x1234 }},
		{"TCP options", withOptions(TCP4().Bytes()), func(s *analyze.Seen) { s.IPLength, s.TCPAllFlags, s.TCPOptions = 67, traffic.FlagSYN, 1 }},
		{"forbidden to fragment", UDP4(Fragmented4(DontFragment)).Bytes(), func(s *analyze.Seen) { s.IPLength, s.DontFragment = 43, true }},
		{"first fragment", UDP4(Fragmented4(MoreFragments)).Bytes(), func(s *analyze.Seen) { s.IPLength, s.MoreFragments = 43, true }},
		{"later fragment", UDP4(Fragmented4(MoreFragments | 185)).Bytes(), func(s *analyze.Seen) {
			s.IPLength, s.MoreFragments, s.FragmentOffset, s.Payload, s.PayloadLength = 43, true, 1480, nil, 0
		}},
		{"first fragment in IPv6", UDP6(Fragmented6(0, true)).Bytes(), func(s *analyze.Seen) { s.IPLength, s.MoreFragments = 71, true }},
		{"last fragment in IPv6", UDP6(Extended(HopByHop, 1, 8), Fragmented6(100, false)).Bytes(), func(s *analyze.Seen) {
			s.IPLength, s.FragmentOffset, s.Payload, s.PayloadLength = 79, 800, nil, 0
		}},
		{"ICMP", Set(ICMP4().Bytes(), ethernet+20, 3, 4), func(s *analyze.Seen) {
			s.IPLength, s.ICMPType, s.ICMPCode, s.Payload, s.PayloadLength = 43, 3, 4, cat([]byte{3, 4, 0, 0, 0, 0, 0, 0}, hello), 23
		}},
		{"other protocol", UDP4(Upper(47)).Bytes(), func(s *analyze.Seen) { s.IPLength = 35 }},
		{"padding", append(UDP4(Payload(2)).Bytes(), make([]byte, 16)...), func(s *analyze.Seen) { s.IPLength, s.Payload, s.PayloadLength = 30, []byte{0, 0}, 2 }},
		{"cut in the payload", Cut(UDP4().Bytes(), ethernet+28+4), func(s *analyze.Seen) { s.IPLength, s.Payload = 43, hello[:4] }},
		{"cut in the transport header", Cut(UDP4().Bytes(), ethernet+24), func(s *analyze.Seen) { s.IPLength, s.Payload, s.PayloadLength = 43, nil, 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := analyze.Seen{Time: at, TTL: 64, Payload: hello, PayloadLength: len(hello), Rate: 10}
			tt.want(&want)
			if reason := packet.Parse(tt.frame, 1500, &want.Packet); reason != traffic.ReasonOK {
				t.Fatal(reason)
			}
			got, ok := analyze.Look(tt.frame, traffic.LinkEthernet, 1500, at, 10)
			got.TCPOptions = min(got.TCPOptions, 1)
			if diff := cmp.Diff(want, got, cmpopts.EquateComparable(want.Packet.Src), cmpopts.EquateEmpty()); !ok || diff != "" {
				t.Errorf("seen %t (-want +got)\n%s", ok, diff)
			}
		})
	}
}

// Options are told apart by their kinds and the MSS, not by what changes from packet to packet.
func TestOptions(t *testing.T) {
	look := func(options ...byte) uint32 {
		frame := slices.Insert(TCP4().Bytes(), ethernet+40, options...)
		frame[ethernet+32] = byte(5+len(options)/4) << 4
		binary.BigEndian.PutUint16(frame[ethernet+2:], uint16(len(frame)-ethernet))
		s, _ := analyze.Look(frame, traffic.LinkEthernet, uint32(len(frame)), at, 1)
		return s.TCPOptions
	}
	stamp := []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	later := []byte{1, 1, 8, 10, 0, 0, 9, 9, 0, 0, 9, 9}
	if a, b := look(stamp...), look(later...); a != b || a == 0 {
		t.Errorf("time stamps make options %x and %x; want the same", a, b)
	}
	for name, pair := range map[string][2][]byte{
		"MSS":   {{2, 4, 5, 0xb4}, {2, 4, 5, 0xb0}},
		"order": {{1, 3, 3, 7}, {3, 3, 7, 1}},
		"none":  {{1, 1, 1, 1}, nil},
	} {
		if a, b := look(pair[0]...), look(pair[1]...); a == b {
			t.Errorf("%s makes no difference: %x", name, a)
		}
	}
}

func TestLookRefuses(t *testing.T) {
	for name, frame := range map[string][]byte{"nothing": nil, "ARP": UDP4(Ethertype(TypeARP)).Bytes(), "cut": Cut(UDP4().Bytes(), 30)} {
		if s, ok := analyze.Look(frame, traffic.LinkEthernet, 60, at, 1); ok || !cmp.Equal(s, analyze.Seen{}, cmpopts.EquateComparable(s.Packet.Src)) {
			t.Errorf("%s is seen as %+v", name, s)
		}
	}
}

func TestLookDoesNotAllocate(t *testing.T) {
	frame := TCP6(VLAN(TypeVLAN, 1), Extended(HopByHop, 1, 8)).Bytes()
	if n := testing.AllocsPerRun(100, func() { analyze.Look(frame, traffic.LinkEthernet, 100, at, 1) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// FuzzLook holds Look to package packet for what both read, to gopacket where that reads a plain packet, and to its own bounds.
func FuzzLook(f *testing.F) {
	links := []func([]byte) []byte{
		func(b []byte) []byte { return b },
		func(b []byte) []byte { return b[ethernet:] },
		func(b []byte) []byte { return cat([]byte{0xff, 3, 0, 0x21}, b[ethernet:]) },
		func(b []byte) []byte { return cat([]byte{0, 1, 0x01, 64}, b[ethernet:]) },
		func(b []byte) []byte { return cat(make([]byte, 14), []byte{8, 0}, b[ethernet:]) },
		func(b []byte) []byte { return cat([]byte{8, 0}, make([]byte, 18), b[ethernet:]) },
		func(b []byte) []byte { return cat([]byte{2, 0, 0, 0}, b[ethernet:]) },
	}
	for link, wrap := range links {
		for _, m := range []Frame{TCP4(), UDP4(Options(8)), ICMP4(), UDP4(Fragmented4(MoreFragments)), TCP6(), UDP6(Extended(AH, 2, 12), Fragmented6(8, true)), UDP6(Extended(Destination, 9, 8))} {
			f.Add(uint8(link), wrap(m.Bytes()))
		}
	}
	f.Fuzz(func(t *testing.T, link uint8, frame []byte) {
		var want traffic.Packet
		reason := packet.ParseLink(traffic.Link(link), frame, 2000, &want)
		got, ok := analyze.Look(frame, traffic.Link(link), 2000, at, 0)
		switch {
		case ok != (reason == traffic.ReasonOK) || ok && got.Packet != want:
			t.Fatalf("seen %t, %+v; want %s, %+v", ok, got.Packet, reason, want)
		case !ok:
			return
		case got.TTL != want.TTL || got.Rate != 1 || len(got.Payload) > got.PayloadLength || got.PayloadLength > 1<<16:
			t.Fatalf("inconsistent: %+v", got)
		case want.Fragment == traffic.LaterFragment && (got.Payload != nil || got.FragmentOffset == 0):
			t.Fatalf("a later fragment: %+v", got)
		case want.Fragment == traffic.FirstFragment && !got.MoreFragments, int(got.IPLength) >= len(frame) && uint8(got.TCPAllFlags) != want.TCPFlags:
			t.Fatalf("flags are lost: %+v", got)
		}
		analyze.Analyze([]analyze.Seen{got, got}, traffic.Incoming, nil)
		if traffic.Link(link) == traffic.LinkEthernet {
			compare(t, frame, got)
		}
	})
}

// compare holds what is seen to gopacket's reading of a whole TCP or UDP packet right behind an IPv4 header.
func compare(t *testing.T, frame []byte, got analyze.Seen) {
	found := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy).Layers()
	if len(found) < 3 {
		return
	}
	ip, isIP := found[1].(*layers.IPv4)
	if !isIP || got.Packet.Fragment != traffic.Whole || ip.Length == 0 || int(ip.Length) != len(frame)-ethernet {
		return
	}
	if got.DSCP != ip.TOS>>2 || got.IPLength != ip.Length || got.DontFragment != (ip.Flags&layers.IPv4DontFragment != 0) {
		t.Fatalf("%+v, want %+v", got, ip)
	}
	if tcp, isTCP := found[2].(*layers.TCP); isTCP && len(tcp.Contents) >= 20 && len(tcp.Contents) == int(tcp.DataOffset)*4 {
		if got.TCPWindow != tcp.Window || string(got.Payload) != string(tcp.Payload) {
			t.Fatalf("%+v, want %+v", got, tcp)
		}
	}
}

func cat(parts ...[]byte) []byte { return slices.Concat(parts...) }
