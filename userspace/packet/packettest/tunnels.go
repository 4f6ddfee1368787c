package packettest

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"weir/userspace/traffic"
)

// AllTunnels looks into every kind, at its usual ports.
func AllTunnels(inner bool, depth int) traffic.Tunnels {
	return traffic.Tunnels{
		MPLS: true, PPPoE: true, GRE: true, ERSPAN: true, IPIP: true, VXLAN: []uint16{4789, 8472}, GENEVE: 6081, GTPU: 2152, L2TP: 1701,
		L2TPv3: true, Inner: inner, Depth: depth,
	}
}

// Tunnel is a frame with a packet in a tunnel.
type Tunnel struct {
	Name    string
	Frame   []byte
	Inside  Frame           // the packet inside
	Outside *Frame          // what the tunnel itself goes by; nil: no addresses stand outside
	Only    traffic.Tunnels // the one kind that must be looked into, without Inner and Depth
}

// Ethertypes that mean something only in tunnels, and that of PPPoE sessions.
const (
	typeBridged = 0x6558
	typeERSPAN  = 0x88be
	typeERSPAN3 = 0x22eb
	typePPPoE   = 0x8864
)

// IP protocols of tunnels (IANA).
const (
	IPv4InIP = 4
	IPv6InIP = 41
	GREInIP  = 47
	L2TPInIP = 115
)

// Tunnels are all encapsulations, one inside of each.
func Tunnels() []Tunnel {
	return slices.Concat(withoutOutside(), greTunnels(), ipTunnels(), udpTunnels(), l2tpTunnels())
}

// Doubtful are frames that might be read in two ways.
func Doubtful() map[string][]byte {
	twice := UDP4(Fragmented4(0x8100)) // eight bytes on, its fragment field is a tag
	discovery := Raw(0x8863, PPPoESession(0))
	return map[string][]byte{
		"IPv4 behind labels from 8.0.69":     UDP4(Between("8.0.69.1", "198.51.100.7"), MPLS(1)).Bytes(),
		"IPv6 behind labels from :0800:4500": UDP6(Between("2001:db8:800:4500::1", "2001:db8:2::7"), MPLS(1)).Bytes(),
		"L2TPv3 that fits twice":             UDP4(Upper(L2TPInIP), Carry(L2TPv3(4), twice.Bytes())).Bytes(),
		"pseudo-wire with discovery":         Raw(TypeMPLS, Labels(1), addressed(0x44, discovery)),
	}
}

// inside4 and inside6 are what the tunnels carry: other addresses and ports than those outside.
func inside4(m ...Mutation) Frame {
	return TCP4(append([]Mutation{Between("203.0.113.5", "198.51.100.99"), Flags(traffic.FlagSYN | traffic.FlagACK)}, m...)...)
}

func inside6(m ...Mutation) Frame {
	return UDP6(append([]Mutation{Between("2001:db8:3::5", "2001:db8:2::99")}, m...)...)
}

// Between sets the addresses.
func Between(src, dst string) Mutation {
	return func(f *Frame) { f.Src, f.Dst = netip.MustParseAddr(src), netip.MustParseAddr(dst) }
}

// Carry sets what follows the transport header.
func Carry(parts ...[]byte) Mutation {
	return func(f *Frame) { f.Payload = slices.Concat(parts...) }
}

// Port sets the destination port.
func Port(port uint16) Mutation { return func(f *Frame) { f.DstPort = port } }

// Raw is an Ethernet frame of any type.
func Raw(ethertype uint16, body ...[]byte) []byte {
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}
	return append(binary.BigEndian.AppendUint16(b, ethertype), slices.Concat(body...)...)
}

// Labels is an MPLS label stack.
func Labels(n int) []byte {
	var b []byte
	for i := range n {
		label := uint32(16+i)<<12 | 64
		if i == n-1 {
			label |= 1 << 8
		}
		b = binary.BigEndian.AppendUint32(b, label)
	}
	return b
}

// PPPoESession is the header of RFC 2516 and a PPP protocol number.
func PPPoESession(number uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{0x11, 0, 0x12, 0x34, 0, 60}, number)
}

// GRE is the header of RFC 2784 and 2890, with what its flags ask for.
func GRE(flags, ethertype uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, flags)
	b = binary.BigEndian.AppendUint16(b, ethertype)
	for _, flag := range []uint16{0x8000, 0x2000, 0x1000} {
		if flags&flag != 0 {
			b = append(b, 0xde, 0xad, 0xbe, 0xef)
		}
	}
	return b
}

// addressed changes the destination's first byte, of an Ethernet frame inside a pseudo-wire.
func addressed(first byte, frame []byte) []byte {
	return Set(frame, 0, first, 0x00, 0x5e, 0x90, 0xff, 0xff)
}

// bare is a tunnel that no addresses are outside of.
func bare(name string, only traffic.Tunnels, inside Frame, frame []byte) Tunnel {
	return Tunnel{Name: name, Frame: frame, Inside: inside, Only: only}
}

// within is a tunnel in an IP packet.
func within(name string, only traffic.Tunnels, inside, outside Frame) Tunnel {
	return Tunnel{Name: name, Frame: outside.Bytes(), Inside: inside, Outside: &outside, Only: only}
}

func withoutOutside() []Tunnel {
	mpls, ppp := traffic.Tunnels{MPLS: true}, traffic.Tunnels{PPPoE: true}
	four, six := inside4(), inside6()
	tagged := inside4(VLAN(TypeVLAN, 7))
	word := []byte{0, 0, 0, 9}
	return []Tunnel{
		bare("pseudo-wire with control word", mpls, four, Raw(TypeMPLS, Labels(2), word, four.Bytes())),
		bare("pseudo-wire with control word, IPv6", mpls, six, Raw(TypeMPLSMulticast, Labels(1), word, six.Bytes())),
		bare("pseudo-wire without control word", mpls, four, Raw(TypeMPLS, Labels(2), four.Bytes())),
		bare("pseudo-wire without control word, IPv6", mpls, six, Raw(TypeMPLS, Labels(2), six.Bytes())),
		bare("pseudo-wire with tags and no control word", mpls, tagged, Raw(TypeMPLS, Labels(8), tagged.Bytes())),
		bare("pseudo-wire to an address of 4", mpls, four, Raw(TypeMPLS, Labels(2), addressed(0x44, four.Bytes()))),
		bare("pseudo-wire to an address of 4f", mpls, four, Raw(TypeMPLS, Labels(2), Set(addressed(0x4f, four.Bytes()), 2, 0xff))),
		bare("pseudo-wire to an address of 6", mpls, six, Raw(TypeMPLS, Labels(2), addressed(0x60, six.Bytes()))),
		bare("pseudo-wire to an address of c", mpls, six, Raw(TypeMPLS, Labels(2), addressed(0xc8, six.Bytes()))),
		bare("pseudo-wire behind a tag", mpls, four, Raw(TypeVLAN, []byte{0, 5, 0x88, 0x47}, Labels(1), word, four.Bytes())),
		bare("PPPoE", ppp, four, Raw(typePPPoE, PPPoESession(0x21), four.Network())),
		bare("PPPoE with tags and IPv6", ppp, six, Raw(TypeQinQ, []byte{0, 5, 0x81, 0, 0, 6, 0x88, 0x64}, PPPoESession(0x57), six.Network())),
		bare("PPPoE with a short protocol number", ppp, four, Raw(typePPPoE, PPPoESession(0x2145)[:7], four.Network())),
		bare("PPPoE with MPLS", ppp, six, Raw(typePPPoE, PPPoESession(0x281), Labels(3), six.Network())),
	}
}

func greTunnels() []Tunnel {
	gre, span := traffic.Tunnels{GRE: true}, traffic.Tunnels{ERSPAN: true}
	four, six := inside4(), inside6()
	over := func(carried ...[]byte) Frame { return UDP4(Upper(GREInIP), Carry(carried...)) }
	over6 := func(carried ...[]byte) Frame {
		return UDP6(Extended(Destination, 1, 8), Upper(GREInIP), Carry(carried...))
	}
	second := []byte{0x10, 5, 0, 1, 0, 0, 0, 0}
	third := []byte{0x20, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}
	return []Tunnel{
		within("GRE", gre, four, over(GRE(0, TypeIPv4), four.Network())),
		within("GRE with key", gre, six, over(GRE(0x2000, TypeIPv6), six.Network())),
		within("GRE with checksum, key and sequence", gre, four, over6(GRE(0xb000, TypeIPv4), four.Network())),
		within("GRE with Ethernet", gre, six, over(GRE(0x2000, typeBridged), six.Bytes())),
		within("GRE with a tag", gre, six, over(GRE(0, TypeVLAN), []byte{0, 5, 0x86, 0xdd}, six.Network())),
		within("GRE with MPLS", gre, four, over(GRE(0, TypeMPLS), Labels(2), four.Network())),
		within("ERSPAN I", span, four, over(GRE(0, typeERSPAN), four.Bytes())),
		within("ERSPAN II", span, six, over(GRE(0x1000, typeERSPAN), second, six.Bytes())),
		within("ERSPAN III", span, four, over(GRE(0x1000, typeERSPAN3), third, four.Bytes())),
		within("ERSPAN III of IP with the platform's part", span, four,
			over(GRE(0x1000, typeERSPAN3), Set(third, 10, 2<<2, 1), make([]byte, 8), four.Network())),
	}
}

func ipTunnels() []Tunnel {
	on := traffic.Tunnels{IPIP: true}
	four, six := inside4(Options(8)), inside6(Extended(HopByHop, 1, 8))
	return []Tunnel{
		within("4in4", on, four, UDP4(Upper(IPv4InIP), Carry(four.Network()))),
		within("6in4", on, six, UDP4(Upper(IPv6InIP), Options(4), Carry(six.Network()))),
		within("4in6", on, four, UDP6(Upper(IPv4InIP), Carry(four.Network()))),
		within("6in6", on, six, UDP6(Extended(Routing, 1, 24), Upper(IPv6InIP), Carry(six.Network()))),
		within("6in4 of a first fragment", on, six, UDP4(Upper(IPv6InIP), Fragmented4(MoreFragments), Carry(six.Network()))),
	}
}
