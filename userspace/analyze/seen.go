// Package analyze looks at sampled packets of an attack and says what the attack is made of.
package analyze

import (
	"time"

	"weir/userspace/traffic"
)

// Seen is one sampled packet with everything that a rule can match on. Fields that the packet does not have are 0.
type Seen struct {
	Time           time.Time
	Packet         traffic.Packet
	TTL            uint8 // hop limit in IPv6
	DSCP           uint8
	IPLength       uint16 // IPv4 total length; IPv6 payload length + 40, at most 65535. What the header says, not what was sampled
	TCPWindow      uint16
	TCPOptions     uint32 // a hash of the kinds of all options in their order, and of the MSS; 0: there are none
	FragmentOffset uint16 // bytes, not units of eight
	DontFragment   bool
	MoreFragments  bool
	TCPAllFlags    uint16 // the lower 12 bits of bytes 13 and 14 of the TCP header
	ICMPType       uint8  // of ICMP or ICMPv6
	ICMPCode       uint8
	FlowLabel      uint32
	// What traffic.Payload matches: the bytes behind the TCP or UDP header, else behind the IP header (so that ICMP's payload begins with its
	// type), as far as they were sampled and without Ethernet's padding. A part of the frame that was looked at. A later fragment has none.
	Payload       []byte
	PayloadLength int    // on the wire, by the IP header
	Rate          uint32 // one packet in Rate was sampled; at least 1
}

// Facts is what a rule can look at, without bits that a header has no room for. A payload that was sampled in part is matched as far as it goes.
func (s *Seen) Facts() traffic.Facts {
	return traffic.Facts{
		Packet: s.Packet, IPLength: uint32(s.IPLength), TCPFlags: s.TCPAllFlags & 0xfff, ICMPType: s.ICMPType, ICMPCode: s.ICMPCode, DSCP: s.DSCP & 63,
		Fragments: traffic.FragmentBits(s.DontFragment, s.MoreFragments, s.FragmentOffset), FlowLabel: s.FlowLabel & 0xfffff, Payload: s.Payload,
	}
}
