package packettest

import (
	"encoding/binary"
	"slices"

	"weir/userspace/traffic"
)

// VXLAN is the header of RFC 7348; next is the protocol of its generic extension, 0: none.
func VXLAN(next byte) []byte {
	flags := byte(0x08)
	if next != 0 {
		flags |= 0x04
	}
	return []byte{flags, 0, 0, next, 0, 0, 42, 0}
}

// GENEVE is the header of RFC 8926 with as many words of options.
func GENEVE(ethertype uint16, options int) []byte {
	b := binary.BigEndian.AppendUint16([]byte{byte(options), 0}, ethertype)
	return append(append(b, 0, 0, 42, 0), make([]byte, 4*options)...)
}

// GTPU is the header of a G-PDU (3GPP TS 29.281 section 5.1) with sequence number and extension headers of so many words each.
func GTPU(sequence bool, extensions ...int) []byte {
	b := []byte{0x30, 255, 0, 0, 0, 0, 0, 1}
	if sequence {
		b[0] |= 2
	}
	if len(extensions) > 0 {
		b[0] |= 4
	}
	if b[0]&7 == 0 {
		return b
	}
	const container = 0x85
	b = append(b, 0, 1, 0, 0)
	for _, words := range extensions {
		b[len(b)-1] = container
		b = append(b, make([]byte, 4*words)...)
		b[len(b)-4*words] = byte(words)
	}
	return b
}

// L2TP is a data header of RFC 2661; flags ask for length (0x4000), sequence numbers (0x0800) and an offset (0x0200).
func L2TP(flags uint16, offset int) []byte {
	b := binary.BigEndian.AppendUint16(nil, flags|2)
	if flags&0x4000 != 0 {
		b = append(b, 0, 99)
	}
	b = append(b, 0, 1, 0, 2)
	if flags&0x0800 != 0 {
		b = append(b, 0, 3, 0, 4)
	}
	if flags&0x0200 != 0 {
		b = binary.BigEndian.AppendUint16(b, uint16(offset))
		b = append(b, make([]byte, offset)...)
	}
	return b
}

// L2TPv3 is the session of RFC 3931 section 4.1 with as many bytes of cookie and sublayer.
func L2TPv3(more int) []byte {
	return append([]byte{0, 0, 0, 7}, slices.Repeat([]byte{0xc0, 0x01, 0xca, 0xfe}, more/4)...)
}

func udpTunnels() []Tunnel {
	vxlan, geneve, gtpu := traffic.Tunnels{VXLAN: []uint16{4789, 8472}}, traffic.Tunnels{GENEVE: 6081}, traffic.Tunnels{GTPU: 2152}
	four, six, tagged := inside4(), inside6(), inside4(VLAN(TypeVLAN, 9))
	to := func(port uint16, carried ...[]byte) Frame { return UDP4(Port(port), Carry(carried...)) }
	return []Tunnel{
		within("VXLAN", vxlan, four, to(4789, VXLAN(0), four.Bytes())),
		within("VXLAN at another port, in IPv6", vxlan, tagged, UDP6(Port(8472), Carry(VXLAN(0), tagged.Bytes()))),
		within("VXLAN that names IPv4", vxlan, four, to(4789, VXLAN(1), four.Network())),
		within("VXLAN that names IPv6", vxlan, six, to(4789, VXLAN(2), six.Network())),
		within("VXLAN that names Ethernet", vxlan, six, to(4789, VXLAN(3), six.Bytes())),
		within("GENEVE", geneve, six, to(6081, GENEVE(typeBridged, 0), six.Bytes())),
		within("GENEVE with options", geneve, four, to(6081, GENEVE(TypeIPv4, 63), four.Network())),
		within("GTP-U", gtpu, four, to(2152, GTPU(false), four.Network())),
		within("GTP-U with sequence", gtpu, six, to(2152, GTPU(true), six.Network())),
		within("GTP-U with extensions", gtpu, four, UDP6(Port(2152), Carry(GTPU(false, 1, 2), four.Network()))),
		within("GTP-U with four extensions", gtpu, four, to(2152, GTPU(true, 1, 1, 255, 1), four.Network())),
	}
}

func l2tpTunnels() []Tunnel {
	two, three, both := traffic.Tunnels{L2TP: 1701}, traffic.Tunnels{L2TPv3: true}, traffic.Tunnels{L2TP: 1701, L2TPv3: true}
	four, six, tagged := inside4(), inside6(), inside4(VLAN(TypeQinQ, 9), VLAN(TypeVLAN, 8))
	to := func(carried ...[]byte) Frame { return UDP4(Port(1701), Carry(carried...)) }
	over := func(carried ...[]byte) Frame { return UDP4(Upper(L2TPInIP), Carry(carried...)) }
	all := []byte{0xff, 3}
	return []Tunnel{
		within("L2TP", two, four, to(L2TP(0, 0), all, []byte{0, 0x21}, four.Network())),
		within("L2TP with a short protocol number", two, four, to(L2TP(0x4000, 0), []byte{0x21}, four.Network())),
		within("L2TP with all options", two, six, to(L2TP(0x4a00, 255), all, []byte{0, 0x57}, six.Network())),
		within("L2TP back", two, four, UDP4(Port(50000), func(f *Frame) { f.SrcPort = 1701 }, Carry(L2TP(0, 0), []byte{0, 0x21}, four.Network()))),
		within("L2TPv3", three, four, over(L2TPv3(0), four.Bytes())),
		within("L2TPv3 with sublayer", three, six, over(L2TPv3(4), six.Bytes())),
		within("L2TPv3 with cookie", three, four, over(L2TPv3(8), four.Bytes())),
		within("L2TPv3 with cookie and sublayer", three, six, UDP6(Upper(L2TPInIP), Carry(L2TPv3(12), six.Bytes()))),
		within("L2TPv3 with tags", three, tagged, over(L2TPv3(0), tagged.Bytes())),
		within("L2TPv3 over UDP", both, six, to([]byte{0, 3, 0, 0}, L2TPv3(4), six.Bytes())),
	}
}
