package traffic

import "net/netip"

// Fragment says which part of an IP datagram a packet carries.
type Fragment uint8

// An IPv6 fragment header with offset 0 and no more fragments (RFC 6946) is a Whole datagram.
const (
	Whole Fragment = iota
	FirstFragment
	LaterFragment
)

// TCP flag bits (RFC 9293 section 3.1).
const (
	FlagFIN = 1 << iota
	FlagSYN
	FlagRST
	FlagPSH
	FlagACK
	FlagURG
	FlagECE
	FlagCWR
)

// IP protocol numbers that Weir counts by name (IANA).
const (
	ProtoICMP   = 1
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoICMPv6 = 58
)

// Packet is one parsed frame. Ports are 0 where the packet has none or they cannot be read (later fragments, truncated headers).
// Src and Dst are plain IPv4 (never IPv4-mapped) or IPv6 addresses without zone.
type Packet struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
	Protocol         uint8 // the upper-layer protocol behind all IPv6 extension headers
	TCPFlags         uint8
	TTL              uint8 // the time to live of IPv4, the hop limit of IPv6
	Fragment         Fragment
	Anomaly          Anomaly // what is broken behind the addresses, 0 when nothing is
	Length           uint32  // frame bytes on the wire without FCS
}

// SYN reports a TCP packet that opens a connection: SYN without ACK.
func (p *Packet) SYN() bool {
	return p.Protocol == ProtoTCP && p.TCPFlags&(FlagSYN|FlagACK) == FlagSYN
}
