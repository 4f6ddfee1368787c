package signature

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"weir/userspace/analyze"
	"weir/userspace/traffic"
)

// pack keeps what a rule, or evidence, can look at.
func pack(key float64, s *analyze.Seen) kept {
	p := &s.Packet
	k := kept{
		key: key, time: s.Time.UnixNano(), src: p.Src.As16(), dst: p.Dst.As16(), ports: [2]uint16{p.SrcPort, p.DstPort}, length: s.IPLength,
		window: s.TCPWindow, options: s.TCPOptions, label: s.FlowLabel, frame: p.Length, rate: s.Rate, offset: s.FragmentOffset, allFlags: s.TCPAllFlags,
		payloadSize: uint16(min(max(s.PayloadLength, 0), 0xffff)), protocol: p.Protocol, anomaly: uint8(p.Anomaly), ttl: s.TTL, dscp: s.DSCP,
		icmp: [2]uint8{s.ICMPType, s.ICMPCode},
	}
	for _, x := range []struct {
		bit uint8
		is  bool
	}{{keptFour, p.Dst.Is4()}, {keptDont, s.DontFragment}, {keptMore, s.MoreFragments}, {keptFirst, p.Fragment == traffic.FirstFragment}, {keptLater, p.Fragment == traffic.LaterFragment}} {
		if x.is {
			k.bits |= x.bit
		}
	}
	k.payloadKept = uint8(copy(k.payload[:], s.Payload))
	return k
}

// unpack returns samples in the order of their time.
func unpack(list []kept) []analyze.Seen {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b kept) int { return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.key, b.key)) })
	all := make([]analyze.Seen, len(list))
	for i := range list {
		k := &list[i]
		src, dst := netip.AddrFrom16(k.src), netip.AddrFrom16(k.dst)
		if k.bits&keptFour != 0 {
			src, dst = src.Unmap(), dst.Unmap()
		}
		fragment := traffic.Whole
		switch {
		case k.bits&keptFirst != 0:
			fragment = traffic.FirstFragment
		case k.bits&keptLater != 0:
			fragment = traffic.LaterFragment
		}
		all[i] = analyze.Seen{
			Time: time.Unix(0, k.time).UTC(), TTL: k.ttl, DSCP: k.dscp, IPLength: k.length, TCPWindow: k.window, TCPOptions: k.options, FragmentOffset: k.offset,
			DontFragment: k.bits&keptDont != 0, MoreFragments: k.bits&keptMore != 0, TCPAllFlags: k.allFlags, ICMPType: k.icmp[0], ICMPCode: k.icmp[1],
			FlowLabel: k.label, PayloadLength: int(k.payloadSize), Rate: 1,
			Packet: traffic.Packet{Src: src, Dst: dst, SrcPort: k.ports[0], DstPort: k.ports[1], Protocol: k.protocol, TCPFlags: uint8(k.allFlags), TTL: k.ttl,
				Fragment: fragment, Anomaly: traffic.Anomaly(k.anomaly), Length: k.frame},
		}
		if k.payloadKept > 0 {
			all[i].Payload = k.payload[:k.payloadKept:k.payloadKept]
		}
	}
	return all
}
