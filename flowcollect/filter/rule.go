package filter

import (
	"errors"
	"fmt"
	"slices"

	"weir/userspace/traffic"
)

// What a rule compares, so that what it does not compare costs one test together.
const (
	needsPort = 1 << iota // either of the two
	needsPorts
	needsTCPFlags
	needsLength
	needsDSCP
	needsFragment
)

// rule is one rule as it is compared: what most rules have stands first, so that it is in the first cache line.
type rule struct {
	flags          uint16
	accept         bool
	anyDst, anySrc bool  // ports of that side are not compared
	fragments      uint8 // bit n: traffic.Fragment n
	dst, dstMask   wide
	src, srcMask   wide
	tcpFlags       [4]uint64
	dscps          uint64
	port           spans
	dstPorts       spans
	srcPorts       spans
	lengths        spans
	family         int       // 4, 6, or 0 for both
	protocols      [4]uint64 // all of them where the rule does not say
}

// span is a range of numbers, both ends included.
type span struct{ from, to uint32 }

// spans are ranges in their order, without overlap.
type spans []span

func (s spans) has(v uint32) bool {
	for _, r := range s {
		if v <= r.to {
			return v >= r.from
		}
	}
	return false
}

// addressed reports whether a packet's addresses are what the rule says.
func (r *rule) addressed(src, dst wide) bool {
	return (dst.hi^r.dst.hi)&r.dstMask.hi|(dst.lo^r.dst.lo)&r.dstMask.lo|(src.hi^r.src.hi)&r.srcMask.hi|(src.lo^r.src.lo)&r.srcMask.lo == 0
}

// concerns reports whether the rule can match a packet of an IP version and protocol.
func (r *rule) concerns(family, protocol int) bool {
	return (r.family == 0 || r.family == family) && r.protocols[protocol>>6]>>(protocol&63)&1 == 1
}

// matches compares what stands behind the addresses, but for the protocol.
func (r *rule) matches(s *subject) bool {
	f, flags := s.flow, r.flags
	if flags&(needsPort|needsPorts) != 0 {
		if !s.ports {
			return false
		}
		if flags&needsPort != 0 && !r.port.has(uint32(f.SrcPort)) && !r.port.has(uint32(f.DstPort)) {
			return false
		}
		if flags&needsPorts != 0 && (!r.anyDst && !r.dstPorts.has(uint32(f.DstPort)) || !r.anySrc && !r.srcPorts.has(uint32(f.SrcPort))) {
			return false
		}
	}
	switch {
	case flags&needsTCPFlags != 0 && (!s.tcp || r.tcpFlags[f.TCPFlags>>6]>>(f.TCPFlags&63)&1 == 0):
	case flags&needsLength != 0 && !r.lengths.has(meanLength(f)):
	case flags&needsDSCP != 0 && r.dscps>>(f.TOS>>2)&1 == 0:
	case flags&needsFragment != 0 && r.fragments>>f.Fragment&1 == 0:
	default:
		return true
	}
	return false
}

// compileRule translates a rule, or says why flow records cannot be filtered by it.
func compileRule(t *traffic.Rule) (rule, error) {
	if err := t.Validate(); err != nil {
		return rule{}, err
	}
	r := rule{}
	if len(t.Actions) != 1 || t.Actions[0].Kind != traffic.RuleAccept && t.Actions[0].Kind != traffic.RuleDiscard {
		return rule{}, errors.New("a flow record is counted or not: expected \"then discard\" or \"then accept\" alone; to count a part, use a script")
	}
	r.accept = t.Actions[0].Kind == traffic.RuleAccept
	for _, c := range []struct {
		name  string
		there bool
	}{
		{"icmp-type", len(t.ICMPTypes) > 0}, {"icmp-code", len(t.ICMPCodes) > 0},
		{"flow-label", len(t.FlowLabels) > 0}, {"payload", len(t.Payload) > 0},
	} {
		if c.there {
			return rule{}, fmt.Errorf("%s: flow records do not tell it", c.name)
		}
	}
	for _, m := range t.Fragments {
		if m.Bits&^(traffic.FragmentIs|traffic.FragmentFirst) != 0 {
			return rule{}, errors.New("fragment: flow records tell is-fragment and first-fragment only")
		}
	}
	r.addresses(t)
	r.upper(t)
	return r, nil
}

// addresses compiles the conditions on family and addresses.
func (r *rule) addresses(t *traffic.Rule) {
	r.family = t.Family()
	if p := t.Destination; p.IsValid() {
		r.dst, r.dstMask = widen(p.Addr()), mask(p.Bits(), t.DestinationOffset, p.Addr().Is4())
	}
	if p := t.Source; p.IsValid() {
		r.src, r.srcMask = widen(p.Addr()), mask(p.Bits(), t.SourceOffset, p.Addr().Is4())
	}
}

// mask has a one for each bit of an address that is compared: those behind the offset up to the length of the prefix. An IPv4 address is
// the last 32 bits; rules of the other family are not compared with it.
func mask(bits int, offset uint8, is4 bool) wide {
	from := int(offset)
	if is4 {
		from, bits = 96, bits+96
	}
	ones := func(n int) wide { // the first n bits
		switch {
		case n <= 0:
			return wide{}
		case n <= 64:
			return wide{^uint64(0) << (64 - n), 0}
		}
		return wide{^uint64(0), ^uint64(0) << (128 - n)}
	}
	all, before := ones(bits), ones(from)
	return wide{all.hi &^ before.hi, all.lo &^ before.lo}
}

// upper compiles the conditions on what stands behind the addresses.
func (r *rule) upper(t *traffic.Rule) {
	set(&r.protocols, func(n uint32) bool { return t.Protocols.Match(n) })
	if len(t.Ports) > 0 {
		r.flags |= needsPort
		r.port = spansOf(t.Ports, 0xffff)
	}
	if len(t.DestinationPorts)+len(t.SourcePorts) > 0 {
		r.flags |= needsPorts
		r.anyDst, r.anySrc = len(t.DestinationPorts) == 0, len(t.SourcePorts) == 0
		r.dstPorts, r.srcPorts = spansOf(t.DestinationPorts, 0xffff), spansOf(t.SourcePorts, 0xffff)
	}
	if len(t.TCPFlags) > 0 {
		r.flags |= needsTCPFlags
		set(&r.tcpFlags, func(n uint32) bool { return t.TCPFlags.Match(uint16(n)) })
	}
	if len(t.Lengths) > 0 {
		r.flags |= needsLength
		r.lengths = spansOf(t.Lengths, 0xffff)
	}
	if len(t.DSCPs) > 0 {
		r.flags |= needsDSCP
		for n := range uint32(64) {
			if t.DSCPs.Match(n) {
				r.dscps |= 1 << n
			}
		}
	}
	if len(t.Fragments) > 0 {
		r.flags |= needsFragment
		for n, bits := range []uint16{traffic.Whole: 0, traffic.FirstFragment: traffic.FragmentFirst, traffic.LaterFragment: traffic.FragmentIs} {
			if t.Fragments.Match(bits) {
				r.fragments |= 1 << n
			}
		}
	}
}

// set fills a set of the numbers below 256.
func set(bits *[4]uint64, has func(uint32) bool) {
	for n := range uint32(256) {
		if has(n) {
			bits[n>>6] |= 1 << (n & 63)
		}
	}
}

// spansOf are the numbers up to largest that terms hold for. Between the numbers that terms compare with, they say the same for all.
func spansOf(terms traffic.Terms, largest uint32) spans {
	edges := []uint32{0}
	for _, t := range terms {
		edges = append(edges, t.Value, t.Value+1)
	}
	slices.Sort(edges)
	edges = slices.Compact(edges)
	var all spans
	for i, from := range edges {
		to := largest
		if i+1 < len(edges) {
			to = edges[i+1] - 1
		}
		switch last := len(all) - 1; {
		case from > largest || !terms.Match(from):
		case last >= 0 && all[last].to+1 == from:
			all[last].to = to
		default:
			all = append(all, span{from, to})
		}
	}
	return all
}
