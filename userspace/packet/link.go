package packet

import (
	"encoding/binary"

	"weir/userspace/traffic"
)

// PPP protocol numbers (IANA "PPP Numbers").
const (
	pppIPv4     = 0x0021
	pppIPv6     = 0x0057
	pppMPLS     = 0x0281
	pppMPLSMany = 0x0283
)

// ParseLink is Parse for what begins with any of the link layers that captures and exporters hand over; wireLength counts the link layer
// as it was captured. What cannot begin with an IP packet is traffic.ReasonNotIP.
func ParseLink(link traffic.Link, frame []byte, wireLength uint32, p *traffic.Packet) traffic.Reason {
	if link == traffic.LinkEthernet {
		return Parse(frame, wireLength, p)
	}
	*p = traffic.Packet{Length: wireLength}
	ethertype, b, reason := skipLink(link, frame)
	if reason != traffic.ReasonOK {
		return reason
	}
	return parseType(ethertype, b, p)
}

// skipLink goes behind a link layer's header and returns the ethertype that stands for what is there.
func skipLink(link traffic.Link, b []byte) (uint16, []byte, traffic.Reason) {
	header, at := 0, 0 // the header's length in bytes, and where in it the ethertype is
	switch link {
	case traffic.LinkEthernet:
		header, at = ethernetBytes, 12
	case traffic.LinkSLL:
		header, at = 16, 14
	case traffic.LinkSLL2:
		header, at = 20, 0
	case traffic.LinkIP:
		return version(b), b, traffic.ReasonOK
	case traffic.LinkMPLS:
		return etherMPLS, b, traffic.ReasonOK
	case traffic.LinkPPP:
		return skipPPP(b)
	case traffic.LinkNull: // the family's number differs between systems; the version behind it does not
		const family = 4
		if len(b) < family {
			return 0, nil, traffic.ReasonShortEthernet
		}
		return version(b[family:]), b[family:], traffic.ReasonOK
	default:
		return 0, nil, traffic.ReasonNotIP
	}
	if len(b) < header {
		return 0, nil, traffic.ReasonShortEthernet
	}
	return binary.BigEndian.Uint16(b[at:]), b[header:], traffic.ReasonOK
}

// skipPPP goes behind a PPP header: address and control bytes, which may be left out, and a protocol number of two bytes, or of one
// where it is compressed (RFC 1661 section 6.5: only the last byte of a number is odd).
func skipPPP(b []byte) (uint16, []byte, traffic.Reason) {
	if len(b) >= 2 && b[0] == 0xff && b[1] == 0x03 {
		b = b[2:]
	}
	if len(b) < 2 {
		return 0, nil, traffic.ReasonShortTunnel
	}
	number, header := uint16(b[0]), 1
	if b[0]&1 == 0 {
		number, header = binary.BigEndian.Uint16(b), 2
	}
	switch b = b[header:]; number {
	case pppIPv4:
		return etherIPv4, b, traffic.ReasonOK
	case pppIPv6:
		return etherIPv6, b, traffic.ReasonOK
	case pppMPLS, pppMPLSMany:
		return etherMPLS, b, traffic.ReasonOK
	}
	return 0, nil, traffic.ReasonNotIP
}
