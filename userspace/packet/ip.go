package packet

import (
	"encoding/binary"
	"net/netip"

	"weir/userspace/traffic"
)

// IPv6 extension headers (IANA).
const (
	extensionHopByHop    = 0
	extensionRouting     = 43
	extensionFragment    = 44
	extensionAH          = 51
	extensionDestination = 60
	extensionMobility    = 135
	extensionHIP         = 139 // RFC 7401
	extensionShim6       = 140 // RFC 5533
)

// The shortest extension header, and transport headers as far as they must be there, in bytes.
const (
	extensionBytes = 8
	tcpBytes       = 20
	udpBytes       = 8
	icmpBytes      = 4
)

// parseIPv4 reads the header of RFC 791 section 3.1 and the transport header, and returns what is behind the former. The total length
// may exceed what was captured. It writes to p only when the addresses can be read.
func parseIPv4(b []byte, p *traffic.Packet) ([]byte, traffic.Reason) {
	if len(b) < ipv4Bytes {
		return nil, traffic.ReasonShortIPv4
	}
	header := int(b[0]&0xf) * 4
	if b[0]>>4 != 4 || header < ipv4Bytes || int(binary.BigEndian.Uint16(b[2:])) < header {
		return nil, traffic.ReasonBadIPv4
	}
	if len(b) < header {
		return nil, traffic.ReasonShortIPv4
	}
	p.TTL, p.Protocol = b[8], b[9]
	p.Src = netip.AddrFrom4([4]byte(b[12:16]))
	p.Dst = netip.AddrFrom4([4]byte(b[16:20]))
	if fragment := binary.BigEndian.Uint16(b[6:]); fragment&0x3fff != 0 {
		if fragment&0x1fff != 0 {
			p.Fragment = traffic.LaterFragment
			return nil, traffic.ReasonOK
		}
		p.Fragment = traffic.FirstFragment
	}
	b = b[header:]
	parseTransport(b, traffic.ProtoICMP, p)
	return b, traffic.ReasonOK
}

// parseIPv6 is parseIPv4 for the header of RFC 8200 section 3.
func parseIPv6(b []byte, p *traffic.Packet) ([]byte, traffic.Reason) {
	if len(b) < ipv6Bytes {
		return nil, traffic.ReasonShortIPv6
	}
	if b[0]>>4 != 6 {
		return nil, traffic.ReasonBadIPv6
	}
	p.Protocol, p.TTL = b[6], b[7]
	p.Src = netip.AddrFrom16([16]byte(b[8:24]))
	p.Dst = netip.AddrFrom16([16]byte(b[24:40]))
	b = b[ipv6Bytes:]
	if isExtension(p.Protocol) {
		var follows bool
		if b, follows = parseExtensions(b, p); !follows {
			return nil, traffic.ReasonOK
		}
	}
	parseTransport(b, traffic.ProtoICMPv6, p)
	return b, traffic.ReasonOK
}

// isExtension reports whether next is a header that can be walked over. ESP hides what is behind it, and is an upper layer here.
func isExtension(next uint8) bool {
	switch next {
	case extensionHopByHop, extensionRouting, extensionFragment, extensionAH, extensionDestination, extensionMobility, extensionHIP,
		extensionShim6:
		return true
	}
	return false
}

// parseExtensions walks the extension headers (RFC 8200 section 4), the first of which p.Protocol names, and leaves the upper layer's
// number there. It returns what is behind them, and whether a transport header follows.
func parseExtensions(b []byte, p *traffic.Packet) (rest []byte, follows bool) {
	next := p.Protocol
	for depth := 0; isExtension(next); depth++ {
		p.Protocol = ProtocolUnknown
		if depth == ExtensionDepth {
			p.Anomaly = traffic.AnomalyExtensionDepth
			return nil, false
		}
		if len(b) < extensionBytes {
			p.Anomaly = traffic.AnomalyShortExtension
			return nil, false
		}
		length := extensionBytes
		switch next {
		case extensionFragment:
			offset := binary.BigEndian.Uint16(b[2:])
			if offset&0xfff8 != 0 {
				p.Fragment = traffic.LaterFragment
				p.Protocol = b[0]
				return nil, false
			}
			if offset&1 != 0 { // more to come; with neither, it is a whole datagram (RFC 6946)
				p.Fragment = traffic.FirstFragment
			}
		case extensionAH:
			length = (int(b[1]) + 2) * 4 // RFC 4302 section 2.2
		default:
			length = (int(b[1]) + 1) * 8
		}
		if len(b) < length {
			p.Anomaly = traffic.AnomalyShortExtension
			return nil, false
		}
		next = b[0]
		b = b[length:]
	}
	p.Protocol = next
	return b, true
}

// parseTransport reads ports and TCP flags where the protocol has them; icmp is the number of the IP version's own ICMP.
func parseTransport(b []byte, icmp uint8, p *traffic.Packet) {
	switch p.Protocol {
	case traffic.ProtoTCP:
		if len(b) < tcpBytes {
			p.Anomaly = traffic.AnomalyShortTransport
			return
		}
		p.TCPFlags = b[13]
	case traffic.ProtoUDP:
		if len(b) < udpBytes {
			p.Anomaly = traffic.AnomalyShortTransport
			return
		}
	case icmp:
		if len(b) < icmpBytes {
			p.Anomaly = traffic.AnomalyShortTransport
		}
		return
	default:
		return
	}
	p.SrcPort = binary.BigEndian.Uint16(b)
	p.DstPort = binary.BigEndian.Uint16(b[2:])
}
