// Package packet reads the addresses, ports and flags of a frame: the user-space twin of bpf/parse.h and bpf/tunnel.h, rule for rule.
package packet

import (
	"encoding/binary"

	"weir/userspace/traffic"
)

// How deep the parser follows what may be nested: the bounds of bpf/abi.h.
const (
	VLANDepth      = 3
	MPLSDepth      = 8
	ExtensionDepth = 8
)

// ProtocolUnknown stands in Packet.Protocol where a broken chain of IPv6 extension headers hides the upper layer.
const ProtocolUnknown = 255

// Ethertypes (IEEE 802 numbers).
const (
	etherIPv4      = 0x0800
	etherARP       = 0x0806
	etherRARP      = 0x8035
	etherVLAN      = 0x8100
	etherIPv6      = 0x86dd
	etherMPLS      = 0x8847
	etherMPLSMany  = 0x8848
	etherDiscovery = 0x8863 // PPPoE before there is a session
	etherPPPoE     = 0x8864
	etherQinQ      = 0x88a8
	etherQinQOld   = 0x9100
)

// Header lengths in bytes.
const (
	ethernetBytes = 14
	tagBytes      = 4
	labelBytes    = 4
	ipv4Bytes     = 20
	ipv6Bytes     = 40
)

// Parse reads an Ethernet frame, of which frame may hold only the beginning; wireLength is its length on the wire in bytes,
// without the frame check sequence. It fills in p and returns traffic.ReasonOK, or the reason why the addresses cannot be read;
// p then holds the length and nothing else. What is broken behind readable addresses is p.Anomaly. It looks into no tunnel, does not
// allocate, and keeps nothing of frame.
func Parse(frame []byte, wireLength uint32, p *traffic.Packet) traffic.Reason {
	*p = traffic.Packet{Length: wireLength}
	if len(frame) < ethernetBytes {
		return traffic.ReasonShortEthernet
	}
	return parseType(binary.BigEndian.Uint16(frame[12:]), frame[ethernetBytes:], p)
}

// ParseIP is Parse for a packet without a link layer: b begins with an IPv4 or IPv6 header, told apart by the version. A b that is
// empty or of another version is traffic.ReasonNotIP. wireLength is the packet's whole length in bytes.
func ParseIP(b []byte, wireLength uint32, p *traffic.Packet) traffic.Reason {
	*p = traffic.Packet{Length: wireLength}
	return parseType(version(b), b, p)
}

// parseType goes on behind an ethertype.
func parseType(ethertype uint16, b []byte, p *traffic.Packet) (reason traffic.Reason) {
	if isTag(ethertype) {
		if ethertype, b, reason = skipTags(ethertype, b); reason != traffic.ReasonOK {
			return reason
		}
	}
	if ethertype == etherMPLS || ethertype == etherMPLSMany {
		if b, reason = skipLabels(b); reason != traffic.ReasonOK {
			return reason
		}
		ethertype = version(b)
	}
	_, reason = parseNetwork(ethertype, b, p)
	return reason
}

// parseNetwork reads what is behind an ethertype that is neither tags' nor labels', and returns what is behind the IP header, where a
// whole transport header or something unknown follows.
func parseNetwork(ethertype uint16, b []byte, p *traffic.Packet) ([]byte, traffic.Reason) {
	switch ethertype {
	case etherIPv4:
		return parseIPv4(b, p)
	case etherIPv6:
		return parseIPv6(b, p)
	case etherARP, etherRARP:
		return nil, traffic.ReasonARP
	}
	return nil, traffic.ReasonNotIP
}

func isTag(ethertype uint16) bool {
	return ethertype == etherVLAN || ethertype == etherQinQ || ethertype == etherQinQOld
}

// skipTags goes behind VLAN tags, the first of which ethertype names, and returns the ethertype that they end with.
func skipTags(ethertype uint16, b []byte) (uint16, []byte, traffic.Reason) {
	for depth := 0; isTag(ethertype); depth++ {
		if depth == VLANDepth {
			return 0, nil, traffic.ReasonVLANDepth
		}
		if len(b) < tagBytes {
			return 0, nil, traffic.ReasonShortVLAN
		}
		ethertype = binary.BigEndian.Uint16(b[2:])
		b = b[tagBytes:]
	}
	return ethertype, b, traffic.ReasonOK
}

// skipLabels goes behind an MPLS label stack (RFC 3032 section 2.1).
func skipLabels(b []byte) ([]byte, traffic.Reason) {
	for range MPLSDepth {
		if len(b) < labelBytes {
			return nil, traffic.ReasonShortMPLS
		}
		bottom := b[2]&1 != 0
		b = b[labelBytes:]
		if bottom {
			return b, traffic.ReasonOK
		}
	}
	return nil, traffic.ReasonMPLSDepth
}

// version returns the ethertype of the IP version that the first four bits name, which is all that MPLS leaves to go by; 0: none.
func version(b []byte) uint16 {
	if len(b) > 0 {
		switch b[0] >> 4 {
		case 4:
			return etherIPv4
		case 6:
			return etherIPv6
		}
	}
	return 0
}
