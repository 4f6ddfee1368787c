package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"weir/userspace/traffic"
)

// Sizes of headers in bytes.
const (
	ethernetBytes     = 14
	vlanBytes         = 4
	ipv4Bytes         = 20
	ipv6Bytes         = 40
	ipv6FragmentBytes = 8
	tcpBytes          = 20
	udpBytes          = 8
	icmpBytes         = 8

	// FrameBytesMin is the shortest Ethernet frame without its check sequence.
	FrameBytesMin = 60
)

const (
	etherIPv4         = 0x0800
	etherIPv6         = 0x86dd
	etherVLAN         = 0x8100
	protoIPv6Fragment = 44
	frameHops         = 64 // time to live, hop limit
)

// Frame describes one Ethernet frame with a UDP, TCP, ICMP or ICMPv6 packet in it.
type Frame struct {
	SrcMAC, DstMAC   net.HardwareAddr // 6 bytes; nil is all zero
	VLANs            []uint16         // VLAN identifiers of 0x8100 tags, the outermost first
	Src, Dst         netip.Addr       // both IPv4 or both IPv6
	Protocol         uint8            // traffic.ProtoUDP, ProtoTCP, ProtoICMP or ProtoICMPv6; anything else is a packet without a known transport header
	SrcPort, DstPort uint16
	TCPFlags         uint8
	Fragment         traffic.Fragment // a LaterFragment carries payload only
	Length           int              // of the whole frame without its check sequence; 0 is the shortest that holds the headers
}

// layout says where things are in an encoded frame; 0 is nowhere.
type layout struct {
	network   int // IP header
	transport int // transport header or what stands in its place
	ports     int
	checksum  int // transport checksum
}

// Bytes encodes the frame with all checksums right. It refuses a length that does not hold the headers.
func (f *Frame) Bytes() ([]byte, error) {
	frame, _, err := f.encode()
	return frame, err
}

func (f *Frame) encode() ([]byte, layout, error) {
	at, header, err := f.plan()
	if err != nil {
		return nil, at, fmt.Errorf("build frame: %w", err)
	}
	length := f.Length
	if length == 0 {
		length = max(header, FrameBytesMin)
	}
	if length < header || length-at.network > 0xffff {
		return nil, at, fmt.Errorf("build frame: length %d is outside of %d (the headers) to %d (the largest packet)", length, header, at.network+0xffff)
	}
	b := make([]byte, length)
	f.putEthernet(b)
	if f.Src.Is4() {
		f.putIPv4(b[at.network:])
	} else {
		f.putIPv6(b[at.network:])
	}
	f.putTransport(b, at)
	return b, at, nil
}

// plan works out where the headers go and how many bytes they take together.
func (f *Frame) plan() (at layout, header int, err error) {
	if !f.Src.IsValid() || !f.Dst.IsValid() || f.Src.Is4() != f.Dst.Is4() || f.Src.Is4In6() || f.Dst.Is4In6() {
		return at, 0, fmt.Errorf("source %s and destination %s must both be IPv4 or both IPv6 addresses", f.Src, f.Dst)
	}
	for _, mac := range []net.HardwareAddr{f.SrcMAC, f.DstMAC} {
		if mac != nil && len(mac) != 6 {
			return at, 0, errors.New("a MAC address must have 6 bytes")
		}
	}
	at.network = ethernetBytes + vlanBytes*len(f.VLANs)
	at.transport = at.network + ipv4Bytes
	if f.Src.Is6() {
		at.transport = at.network + ipv6Bytes
		if f.Fragment != traffic.Whole {
			at.transport += ipv6FragmentBytes
		}
	}
	header = at.transport
	if f.Fragment == traffic.LaterFragment {
		return at, header, nil
	}
	switch f.Protocol {
	case traffic.ProtoTCP:
		at.ports, at.checksum, header = at.transport, at.transport+16, header+tcpBytes
	case traffic.ProtoUDP:
		at.ports, at.checksum, header = at.transport, at.transport+6, header+udpBytes
	case traffic.ProtoICMP, traffic.ProtoICMPv6:
		at.checksum, header = at.transport+2, header+icmpBytes
	}
	return at, header, nil
}

func (f *Frame) putEthernet(b []byte) {
	copy(b, f.DstMAC)
	copy(b[6:], f.SrcMAC)
	b = b[12:]
	for _, id := range f.VLANs {
		binary.BigEndian.PutUint16(b, etherVLAN)
		binary.BigEndian.PutUint16(b[2:], id)
		b = b[vlanBytes:]
	}
	if f.Src.Is4() {
		binary.BigEndian.PutUint16(b, etherIPv4)
	} else {
		binary.BigEndian.PutUint16(b, etherIPv6)
	}
}

// putIPv4 writes the header (RFC 791 section 3.1). A later fragment begins at byte 1480 of its datagram.
func (f *Frame) putIPv4(b []byte) {
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	switch f.Fragment {
	case traffic.FirstFragment:
		binary.BigEndian.PutUint16(b[6:], 0x2000)
	case traffic.LaterFragment:
		binary.BigEndian.PutUint16(b[6:], 1480/8)
	}
	b[8], b[9] = frameHops, f.Protocol
	src, dst := f.Src.As4(), f.Dst.As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint16(b[10:], ^fold(sum(b[:ipv4Bytes])))
}

// putIPv6 writes the header (RFC 8200 section 3) and, for a fragment, the fragment header (section 4.5).
func (f *Frame) putIPv6(b []byte) {
	b[0] = 0x60
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-ipv6Bytes))
	b[6], b[7] = f.Protocol, frameHops
	src, dst := f.Src.As16(), f.Dst.As16()
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
	if f.Fragment == traffic.Whole {
		return
	}
	b[6] = protoIPv6Fragment
	b[ipv6Bytes] = f.Protocol
	if f.Fragment == traffic.FirstFragment {
		binary.BigEndian.PutUint16(b[ipv6Bytes+2:], 1)
	} else {
		binary.BigEndian.PutUint16(b[ipv6Bytes+2:], 1480)
	}
}

func (f *Frame) putTransport(b []byte, at layout) {
	if f.Fragment == traffic.LaterFragment {
		return
	}
	t := b[at.transport:]
	switch f.Protocol {
	case traffic.ProtoTCP:
		t[12] = tcpBytes / 4 << 4
		t[13] = f.TCPFlags
		binary.BigEndian.PutUint16(t[14:], 0xffff) // window
	case traffic.ProtoUDP:
		binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
	case traffic.ProtoICMP:
		t[0] = 8 // echo request, RFC 792
	case traffic.ProtoICMPv6:
		t[0] = 128 // echo request, RFC 4443 section 4.1
	}
	if at.ports != 0 {
		binary.BigEndian.PutUint16(b[at.ports:], f.SrcPort)
		binary.BigEndian.PutUint16(b[at.ports+2:], f.DstPort)
	}
	if at.checksum != 0 {
		check := ^fold(f.pseudoSum(len(t)) + sum(t))
		if check == 0 {
			check = 0xffff
		}
		binary.BigEndian.PutUint16(b[at.checksum:], check)
	}
}

// pseudoSum is the sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1); ICMP of IPv4 has none.
func (f *Frame) pseudoSum(length int) uint32 {
	if f.Protocol == traffic.ProtoICMP {
		return 0
	}
	return sum(f.Src.AsSlice()) + sum(f.Dst.AsSlice()) + uint32(f.Protocol) + uint32(length)
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
