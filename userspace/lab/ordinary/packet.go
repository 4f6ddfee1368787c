package ordinary

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"weir/userspace/traffic"
)

const (
	ethernetBytes = 14
	ipv4Bytes     = 20
	ipv6Bytes     = 40
	udpBytes      = 8
	tcpBytes      = 20

	etherIPv4    = 0x0800
	etherIPv6    = 0x86dd
	dontFragment = 0x4000
)

// packet is what a frame is made of.
type packet struct {
	src, dst netip.AddrPort
	protocol uint8 // traffic.ProtoTCP or traffic.ProtoUDP
	ttl      uint8
	dscp     uint8
	label    uint32 // IPv6
	payload  []byte
	tcp      segment
}

// segment is what TCP's header says (RFC 9293 section 3.1).
type segment struct {
	flags    uint8
	seq, ack uint32
	window   uint16
	options  []byte // a multiple of 4 bytes
}

// frame encodes the packet. IPv4 packets of TCP are not to be fragmented; others have an identification by chance.
func (p *packet) frame(random *rand.Rand) []byte {
	transport := udpBytes + len(p.payload)
	if p.protocol == traffic.ProtoTCP {
		transport = tcpBytes + len(p.tcp.options) + len(p.payload)
	}
	network := ipv4Bytes
	if p.src.Addr().Is6() {
		network = ipv6Bytes
	}
	b := make([]byte, ethernetBytes+network+transport)
	ip, upper := b[ethernetBytes:], b[ethernetBytes+network:]
	if p.src.Addr().Is4() {
		binary.BigEndian.PutUint16(b[12:], etherIPv4)
		p.putIPv4(ip, random)
	} else {
		binary.BigEndian.PutUint16(b[12:], etherIPv6)
		p.putIPv6(ip, transport)
	}
	binary.BigEndian.PutUint16(upper, p.src.Port())
	binary.BigEndian.PutUint16(upper[2:], p.dst.Port())
	at := 6
	if p.protocol == traffic.ProtoTCP {
		at = 16
		p.putTCP(upper)
	} else {
		binary.BigEndian.PutUint16(upper[4:], uint16(transport))
		copy(upper[udpBytes:], p.payload)
	}
	check := ^fold(sum(p.src.Addr().AsSlice()) + sum(p.dst.Addr().AsSlice()) + uint32(p.protocol) + uint32(transport) + sum(upper))
	if check == 0 && p.protocol == traffic.ProtoUDP {
		check = 0xffff // 0 would say that there is none
	}
	binary.BigEndian.PutUint16(upper[at:], check)
	return b
}

// putIPv4 writes the header (RFC 791 section 3.1) of a packet that is all of b.
func (p *packet) putIPv4(b []byte, random *rand.Rand) {
	b[0], b[1] = 0x45, p.dscp<<2
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[4:], uint16(random.Uint32()))
	if p.protocol == traffic.ProtoTCP {
		binary.BigEndian.PutUint16(b[6:], dontFragment)
	}
	b[8], b[9] = p.ttl, p.protocol
	copy(b[12:], p.src.Addr().AsSlice())
	copy(b[16:], p.dst.Addr().AsSlice())
	binary.BigEndian.PutUint16(b[10:], ^fold(sum(b[:ipv4Bytes])))
}

// putIPv6 writes the header (RFC 8200 section 3).
func (p *packet) putIPv6(b []byte, transport int) {
	binary.BigEndian.PutUint32(b, 6<<28|uint32(p.dscp)<<22|p.label&0xfffff)
	binary.BigEndian.PutUint16(b[4:], uint16(transport))
	b[6], b[7] = p.protocol, p.ttl
	copy(b[8:], p.src.Addr().AsSlice())
	copy(b[24:], p.dst.Addr().AsSlice())
}

func (p *packet) putTCP(b []byte) {
	binary.BigEndian.PutUint32(b[4:], p.tcp.seq)
	binary.BigEndian.PutUint32(b[8:], p.tcp.ack)
	header := tcpBytes + len(p.tcp.options)
	b[12], b[13] = byte(header/4)<<4, p.tcp.flags
	binary.BigEndian.PutUint16(b[14:], p.tcp.window)
	copy(b[tcpBytes:], p.tcp.options)
	copy(b[header:], p.payload)
}

// sum adds up b as 16-bit words in network byte order, without carry folding: 64 KiB fit.
func sum(b []byte) uint32 {
	var s uint32
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

// fold brings a sum down to 16 bits in one's complement arithmetic (RFC 1071).
func fold(s uint32) uint16 {
	s = s&0xffff + s>>16
	return uint16(s&0xffff + s>>16)
}
