package traffic

import "net/netip"

// Facts is everything of one packet that a rule can look at. What the packet does not have is zero.
type Facts struct {
	Packet    Packet
	IPLength  uint32 // bytes of the IP packet: IPv4 total length; IPv6 payload length + 40
	TCPFlags  uint16 // the lower 12 bits of bytes 13 and 14 of the TCP header; Packet holds only 8 of them
	ICMPType  uint8
	ICMPCode  uint8
	DSCP      uint8  // the upper six bits of the traffic class
	Fragments uint16 // FragmentDont, FragmentIs, FragmentFirst, FragmentLast
	FlowLabel uint32 // IPv6 only
	Payload   []byte // behind the TCP header with its options, or the UDP header; of other protocols behind the IP header. As much as was captured
}

// FragmentBits returns what a rule's Fragments look at. offset is in any unit: only whether it is 0 matters.
func FragmentBits(dontFragment, moreFragments bool, offset uint16) (bits uint16) {
	if dontFragment {
		bits |= FragmentDont
	}
	switch {
	case offset != 0 && moreFragments:
		bits |= FragmentIs
	case offset != 0:
		bits |= FragmentIs | FragmentLast
	case moreFragments:
		bits |= FragmentFirst
	}
	return bits
}

// Match reports whether every condition of the rule holds for a packet. Conditions on a header that the packet does not have, or that
// is cut off, never hold, not even negated ones: ports are met by TCP and UDP only, TCP flags by TCP, types and codes by ICMP, and
// none of them, nor payload, by a fragment behind the first.
func (r *Rule) Match(f *Facts) bool {
	p := &f.Packet
	six := p.Dst.Is6()
	if family := r.Family(); family != 0 && (family == 6) != six {
		return false
	}
	if len(r.FlowLabels) > 0 && !six {
		return false
	}
	return contains(r.Destination, r.DestinationOffset, p.Dst) && contains(r.Source, r.SourceOffset, p.Src) &&
		r.Protocols.Match(uint32(p.Protocol)) &&
		r.Lengths.Match(f.IPLength) && r.DSCPs.Match(uint32(f.DSCP)) && r.Fragments.Match(f.Fragments) && r.FlowLabels.Match(f.FlowLabel) &&
		r.matchTransport(f, six)
}

// matchTransport checks what stands in the transport header and behind it.
func (r *Rule) matchTransport(f *Facts, six bool) bool {
	p := &f.Packet
	broken := p.Anomaly == AnomalyShortTransport || p.Anomaly == AnomalyShortExtension || p.Anomaly == AnomalyExtensionDepth
	readable := p.Fragment != LaterFragment && !broken
	tcp := readable && p.Protocol == ProtoTCP
	if len(r.Ports)+len(r.DestinationPorts)+len(r.SourcePorts) > 0 && !tcp && !(readable && p.Protocol == ProtoUDP) {
		return false
	}
	if len(r.TCPFlags) > 0 && !tcp {
		return false
	}
	if len(r.ICMPTypes)+len(r.ICMPCodes) > 0 && !(readable && (p.Protocol == ProtoICMP && !six || p.Protocol == ProtoICMPv6 && six)) {
		return false
	}
	if len(r.Payload) > 0 && !readable {
		return false
	}
	from, to := uint32(p.SrcPort), uint32(p.DstPort)
	if !r.DestinationPorts.Match(to) || !r.SourcePorts.Match(from) || !r.Ports.Match(from) && !r.Ports.Match(to) ||
		!r.TCPFlags.Match(f.TCPFlags) || !r.ICMPTypes.Match(uint32(f.ICMPType)) || !r.ICMPCodes.Match(uint32(f.ICMPCode)) {
		return false
	}
	for i := range r.Payload {
		if !r.Payload[i].Match(f.Payload) {
			return false
		}
	}
	return true
}

// contains reports whether a prefix holds an address, bits before the offset not compared. The zero prefix holds all.
func contains(p netip.Prefix, offset uint8, a netip.Addr) bool {
	if offset == 0 || !p.Addr().Is6() {
		return !p.IsValid() || p.Contains(a)
	}
	if !a.Is6() {
		return false
	}
	masked, _ := maskOffset(netip.PrefixFrom(a.WithZone(""), p.Bits()), offset)
	return masked == p
}
