package analyze

import (
	"encoding/binary"
	"math"
	"time"

	"weir/userspace/packet"
	"weir/userspace/traffic"
)

// What Look walks over behind what package packet has already accepted.
const (
	protoICMP6      = traffic.ProtoICMPv6
	headerFragment  = 44
	headerAH        = 51
	ipv4Header      = 20
	ipv6Header      = 40
	tcpHeader       = 20
	udpHeader       = 8
	moreFragments   = 0x2000
	dontFragment    = 0x4000
	offsetMask      = 0x1fff
	optionEnd       = 0
	optionNop       = 1
	optionMSS       = 2
	ethernetHeader  = 14
	ethertypeMPLS   = 0x8847
	ethertypeMPLS2  = 0x8848
	ethertypeVLAN   = 0x8100
	ethertypeQinQ   = 0x88a8
	ethertypeQinQ91 = 0x9100
)

// Look reads one sampled frame that begins with the given link layer and has wireLength bytes on the wire, of which frame may hold only the
// first; one packet in rate was sampled (0 is taken for 1). False: there are no IP addresses to be read, and the Seen is empty. Seen.Payload is
// a part of frame: it is good for as long as the frame is not overwritten. Nothing is allocated.
func Look(frame []byte, link traffic.Link, wireLength uint32, at time.Time, rate uint32) (Seen, bool) {
	s := Seen{Time: at, Rate: max(rate, 1)}
	if packet.ParseLink(link, frame, wireLength, &s.Packet) != traffic.ReasonOK {
		return Seen{}, false
	}
	ip := network(link, frame)
	s.TTL = s.Packet.TTL
	switch {
	case s.Packet.Src.Is4() && len(ip) >= ipv4Header:
		s.lookIPv4(ip)
	case s.Packet.Src.Is6() && len(ip) >= ipv6Header:
		s.lookIPv6(ip)
	}
	return s, true
}

// network returns the frame from its IP header on. It is called with what the parser has accepted, and walks the same way.
func network(link traffic.Link, b []byte) []byte {
	ethertype := uint16(0) // none: an IP header follows
	switch header := 0; link {
	case traffic.LinkEthernet, traffic.LinkSLL, traffic.LinkSLL2:
		where := 12
		if header = ethernetHeader; link == traffic.LinkSLL {
			header, where = 16, 14
		} else if link == traffic.LinkSLL2 {
			header, where = 20, 0
		}
		if len(b) < header {
			return nil
		}
		ethertype, b = binary.BigEndian.Uint16(b[where:]), b[header:]
	case traffic.LinkNull:
		b = b[min(4, len(b)):]
	case traffic.LinkMPLS:
		ethertype = ethertypeMPLS
	case traffic.LinkPPP:
		if len(b) >= 2 && b[0] == 0xff && b[1] == 0x03 {
			b = b[2:]
		}
		if len(b) < 2 {
			return nil
		}
		number, length := uint16(b[0]), 1
		if b[0]&1 == 0 {
			number, length = binary.BigEndian.Uint16(b), 2
		}
		if b = b[length:]; number == 0x0281 || number == 0x0283 {
			ethertype = ethertypeMPLS
		}
	}
	for (ethertype == ethertypeVLAN || ethertype == ethertypeQinQ || ethertype == ethertypeQinQ91) && len(b) >= 4 {
		ethertype, b = binary.BigEndian.Uint16(b[2:]), b[4:]
	}
	for bottom := ethertype != ethertypeMPLS && ethertype != ethertypeMPLS2; !bottom && len(b) >= 4; b = b[4:] {
		bottom = b[2]&1 != 0
	}
	return b
}

func (s *Seen) lookIPv4(b []byte) {
	header := int(b[0]&0xf) * 4
	s.IPLength = binary.BigEndian.Uint16(b[2:])
	s.DSCP = b[1] >> 2
	fragment := binary.BigEndian.Uint16(b[6:])
	s.DontFragment, s.MoreFragments = fragment&dontFragment != 0, fragment&moreFragments != 0
	s.FragmentOffset = fragment & offsetMask * 8
	if len(b) >= header && int(s.IPLength) >= header {
		s.lookTransport(b[header:], int(s.IPLength)-header, traffic.ProtoICMP)
	}
}

func (s *Seen) lookIPv6(b []byte) {
	length := int(binary.BigEndian.Uint16(b[4:]))
	s.IPLength = uint16(min(length+ipv6Header, math.MaxUint16))
	s.DSCP = uint8(binary.BigEndian.Uint16(b) >> 6 & 0x3f)
	s.FlowLabel = binary.BigEndian.Uint32(b) & 0xfffff
	if s.Packet.Protocol == packet.ProtocolUnknown {
		return
	}
	next := b[6]
	for b = b[ipv6Header:]; next != s.Packet.Protocol || s.Packet.Fragment != traffic.Whole && !s.fragmented(); {
		header := 0
		if len(b) >= 8 {
			header = 8 * (int(b[1]) + 1)
		}
		switch {
		case header == 0:
			return
		case next == headerFragment:
			header = 8
			field := binary.BigEndian.Uint16(b[2:])
			s.FragmentOffset, s.MoreFragments = field&^7, field&1 != 0
		case next == headerAH:
			header = (int(b[1]) + 2) * 4
		}
		if header > len(b) {
			return
		}
		next, b, length = b[0], b[header:], length-header
	}
	s.lookTransport(b, length, protoICMP6)
}

func (s *Seen) fragmented() bool { return s.FragmentOffset != 0 || s.MoreFragments }

// lookTransport reads what is behind the IP header, which has length bytes on the wire.
func (s *Seen) lookTransport(b []byte, length int, icmp uint8) {
	if s.Packet.Fragment == traffic.LaterFragment || s.Packet.Anomaly != traffic.AnomalyNone || length < 0 {
		return
	}
	b = b[:min(len(b), length)] // what is behind it is Ethernet's padding
	header := 0
	switch s.Packet.Protocol {
	case traffic.ProtoTCP:
		if len(b) < tcpHeader {
			return
		}
		s.TCPAllFlags = binary.BigEndian.Uint16(b[12:]) & 0xfff
		s.TCPWindow = binary.BigEndian.Uint16(b[14:])
		if header = int(b[12]>>4) * 4; header < tcpHeader {
			return
		}
		s.TCPOptions = optionsHash(b[tcpHeader:min(header, len(b))])
	case traffic.ProtoUDP:
		header = udpHeader
	case icmp:
		if len(b) >= 2 {
			s.ICMPType, s.ICMPCode = b[0], b[1]
		}
	}
	s.PayloadLength = max(length-header, 0)
	if len(b) > header {
		s.Payload = b[header:]
	}
}

// optionsHash tells option layouts apart: FNV-1a of the kinds in their order, and of the maximum segment size. Values that change from packet to
// packet, such as time stamps, are left out.
func optionsHash(b []byte) uint32 {
	if len(b) == 0 {
		return 0
	}
	const basis, prime = 2166136261, 16777619
	hash := uint32(basis)
	for len(b) > 0 {
		length := 1
		if b[0] != optionEnd && b[0] != optionNop {
			if length = len(b); length >= 2 && b[1] >= 2 {
				length = min(length, int(b[1]))
			}
		}
		used := 1
		if b[0] == optionMSS && length == 4 {
			used = 4
		}
		for _, c := range b[:used] {
			hash = (hash ^ uint32(c)) * prime
		}
		if b[0] == optionEnd {
			break
		}
		b = b[length:]
	}
	return max(hash, 1)
}
