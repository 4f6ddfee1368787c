// Package packettest builds frames for tests: a valid one by default, and broken in exactly one place by a mutation.
package packettest

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"weir/userspace/traffic"
)

// Ethertypes (IEEE 802 numbers).
const (
	TypeIPv4          = 0x0800
	TypeARP           = 0x0806
	TypeRARP          = 0x8035
	TypeVLAN          = 0x8100
	TypeIPv6          = 0x86dd
	TypeMPLS          = 0x8847
	TypeMPLSMulticast = 0x8848
	TypeLLDP          = 0x88cc
	TypeQinQ          = 0x88a8
	TypeQinQOld       = 0x9100
)

// IPv6 extension headers and upper layers that have no name in package traffic (IANA).
const (
	HopByHop    = 0
	Routing     = 43
	FragmentV6  = 44
	ESP         = 50
	AH          = 51
	NoNext      = 59
	Destination = 60
	SCTP        = 132
	Mobility    = 135
	HIP         = 139
	Shim6       = 140
)

// Flags and offset of an IPv4 header's fragment field.
const (
	MoreFragments = 0x2000
	DontFragment  = 0x4000
)

// Tag is a VLAN tag (IEEE 802.1Q section 9.6).
type Tag struct {
	Type uint16 // TypeVLAN, TypeQinQ or TypeQinQOld
	ID   uint16
}

// Extension is an IPv6 extension header without its next-header byte.
type Extension struct {
	Type uint8
	Body []byte // all behind the next-header byte: its length decides the header's
}

// Frame describes a frame; the zero value is not useful, begin with one of the functions that return a valid one. Fields of the
// other IP version are left out.
type Frame struct {
	EtherType        uint16 // of the network layer; 0: by the addresses and MPLS
	VLANs            []Tag  // the outermost first
	Labels           int    // MPLS labels, the last of them marked as the bottom of the stack
	Src, Dst         netip.Addr
	Options          []byte      // IPv4 options: a multiple of 4 bytes, at most 40
	Fragment         uint16      // IPv4: flags and offset in units of 8 bytes, as the header has them
	Extensions       []Extension // IPv6, the first first
	Protocol         uint8       // TCP, UDP, ICMP and ICMPv6 get their header, others none
	SrcPort, DstPort uint16
	TCPFlags         uint8
	Payload          []byte
}

// Mutation changes one thing in a Frame.
type Mutation func(*Frame)

// TCP4 returns a SYN from 192.0.2.1:40000 to 198.51.100.7:443, changed by the mutations.
func TCP4(mutations ...Mutation) Frame {
	return build(traffic.ProtoTCP, "192.0.2.1", "198.51.100.7", 443, mutations)
}

// UDP4 returns a datagram from 192.0.2.1:40000 to 198.51.100.7:53, changed by the mutations.
func UDP4(mutations ...Mutation) Frame {
	return build(traffic.ProtoUDP, "192.0.2.1", "198.51.100.7", 53, mutations)
}

// ICMP4 returns an echo request from 192.0.2.1 to 198.51.100.7, changed by the mutations.
func ICMP4(mutations ...Mutation) Frame {
	return build(traffic.ProtoICMP, "192.0.2.1", "198.51.100.7", 0, mutations)
}

// TCP6 returns a SYN from 2001:db8:1::1 port 40000 to 2001:db8:2::7 port 443, changed by the mutations.
func TCP6(mutations ...Mutation) Frame {
	return build(traffic.ProtoTCP, "2001:db8:1::1", "2001:db8:2::7", 443, mutations)
}

// UDP6 returns a datagram from 2001:db8:1::1 port 40000 to 2001:db8:2::7 port 53, changed by the mutations.
func UDP6(mutations ...Mutation) Frame {
	return build(traffic.ProtoUDP, "2001:db8:1::1", "2001:db8:2::7", 53, mutations)
}

// ICMP6 returns an echo request from 2001:db8:1::1 to 2001:db8:2::7, changed by the mutations.
func ICMP6(mutations ...Mutation) Frame {
	return build(traffic.ProtoICMPv6, "2001:db8:1::1", "2001:db8:2::7", 0, mutations)
}

func build(protocol uint8, src, dst string, port uint16, mutations []Mutation) Frame {
	f := Frame{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), Protocol: protocol, Payload: []byte("weir says hello")}
	if port != 0 {
		f.SrcPort, f.DstPort = 40000, port
	}
	if protocol == traffic.ProtoTCP {
		f.TCPFlags = traffic.FlagSYN
	}
	for _, m := range mutations {
		m(&f)
	}
	return f
}

// Bytes encodes the frame without check sequence. Checksums are 0, but for the IPv4 header's.
func (f Frame) Bytes() []byte {
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}
	for _, t := range f.VLANs {
		b = binary.BigEndian.AppendUint16(b, t.Type)
		b = binary.BigEndian.AppendUint16(b, t.ID)
	}
	b = binary.BigEndian.AppendUint16(b, f.etherType())
	for i := range f.Labels {
		label := uint32(16+i)<<12 | 64
		if i == f.Labels-1 {
			label |= 1 << 8
		}
		b = binary.BigEndian.AppendUint32(b, label)
	}
	return append(b, f.Network()...)
}

// Network encodes the frame from the IP header on.
func (f Frame) Network() []byte {
	if f.Src.Is4() {
		return f.ipv4()
	}
	return f.ipv6()
}

// Parsed is what a parser must make of the frame when nothing in it is broken and it is not fragmented.
func (f Frame) Parsed() traffic.Packet {
	return traffic.Packet{
		Src: f.Src, Dst: f.Dst, SrcPort: f.SrcPort, DstPort: f.DstPort, Protocol: f.Protocol, TCPFlags: f.TCPFlags,
		TTL: 64, Length: uint32(len(f.Bytes())),
	}
}

func (f Frame) etherType() uint16 {
	switch {
	case f.EtherType != 0:
		return f.EtherType
	case f.Labels > 0:
		return TypeMPLS
	case f.Src.Is4():
		return TypeIPv4
	}
	return TypeIPv6
}

// ipv4 follows RFC 791 section 3.1.
func (f Frame) ipv4() []byte {
	transport := f.transport()
	header := 20 + len(f.Options)
	b := make([]byte, 20, header+len(transport))
	b[0] = 4<<4 | byte(header/4)
	binary.BigEndian.PutUint16(b[2:], uint16(header+len(transport)))
	binary.BigEndian.PutUint16(b[6:], f.Fragment)
	b[8], b[9] = 64, f.Protocol
	copy(b[12:], f.Src.AsSlice())
	copy(b[16:], f.Dst.AsSlice())
	b = append(b, f.Options...)
	binary.BigEndian.PutUint16(b[10:], checksum(b))
	return append(b, transport...)
}

// ipv6 follows RFC 8200 section 3.
func (f Frame) ipv6() []byte {
	next := f.Protocol
	rest := f.transport()
	for _, e := range slices.Backward(f.Extensions) {
		rest = slices.Concat([]byte{next}, e.Body, rest)
		next = e.Type
	}
	b := make([]byte, 8, 40+len(rest))
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(len(rest)))
	b[6], b[7] = next, 64
	b = append(b, f.Src.AsSlice()...)
	b = append(b, f.Dst.AsSlice()...)
	return append(b, rest...)
}

func (f Frame) transport() []byte {
	var b []byte
	switch f.Protocol {
	case traffic.ProtoTCP:
		b = make([]byte, 20)
		b[12], b[13] = 5<<4, f.TCPFlags
	case traffic.ProtoUDP:
		b = make([]byte, 8)
		binary.BigEndian.PutUint16(b[4:], uint16(8+len(f.Payload)))
	case traffic.ProtoICMP:
		b = []byte{8, 0, 0, 0, 0, 0, 0, 0}
	case traffic.ProtoICMPv6:
		b = []byte{128, 0, 0, 0, 0, 0, 0, 0}
	}
	if f.Protocol == traffic.ProtoTCP || f.Protocol == traffic.ProtoUDP {
		binary.BigEndian.PutUint16(b, f.SrcPort)
		binary.BigEndian.PutUint16(b[2:], f.DstPort)
	}
	return append(b, f.Payload...)
}

// checksum is the internet checksum (RFC 1071) of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum&0xffff + sum>>16
	return ^uint16(sum + sum>>16)
}
