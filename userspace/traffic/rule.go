package traffic

import (
	"net/netip"
	"slices"
)

// Rule says which packets are meant and what happens to them: Weir's only language for traffic filters. It holds what a BGP flow
// specification can say (RFC 8955, RFC 8956), and payload bytes, which only XDP can match. A packet matches when every condition that
// is set matches it; a condition that is not set matches everything. docs/RULES.md describes the text form.
//
// The zero Rule is not valid: a rule has at least one condition and one action.
type Rule struct {
	// Version is 4 or 6 where the rule is for one IP version and no prefix says which. 0: the prefixes or other conditions say it, or
	// the rule is for both, which XDP can do and BGP cannot. See Family.
	Version uint8

	Destination, Source netip.Prefix // zero: any address. Both of one IP version, masked, never IPv4-mapped
	// IPv6 only (RFC 8956 section 3.1): the first bits of an address that are not compared. The prefix' length still counts from the
	// first bit of the address, and its bits before the offset are zero. 0: an ordinary prefix.
	DestinationOffset, SourceOffset uint8

	Protocols        Terms // IP protocol; in IPv6 the upper-layer protocol behind all extension headers
	Ports            Terms // source or destination port of TCP or UDP
	DestinationPorts Terms
	SourcePorts      Terms
	ICMPTypes        Terms // ICMP or ICMPv6
	ICMPCodes        Terms
	TCPFlags         Masks // the lower 12 bits of bytes 13 and 14 of the TCP header
	Lengths          Terms // bytes of the IP packet: IPv4 total length; IPv6 payload length + 40. No link-layer header
	DSCPs            Terms // the upper six bits of the traffic class
	Fragments        Masks // FragmentDont, FragmentIs, FragmentFirst, FragmentLast
	FlowLabels       Terms // IPv6 only

	Payload []Payload // XDP only: bytes behind the transport header; all of them must match

	Actions []RuleAction
}

// Operator compares a packet's value with a term's. Its bits are those of a FlowSpec numeric operator (RFC 8955 section 4.2.1.1).
type Operator uint8

// The comparisons; False and True do not look at the value.
const (
	False          Operator = 0
	Equal          Operator = 1
	Greater        Operator = 2
	GreaterOrEqual Operator = Greater | Equal
	Less           Operator = 4
	LessOrEqual    Operator = Less | Equal
	NotEqual       Operator = Less | Greater
	True           Operator = Less | Greater | Equal
)

// Term is one comparison of a packet's value.
type Term struct {
	And   bool // also the term before must match; false: either is enough. False in the first term
	Op    Operator
	Value uint32 // 0 where the operator does not look at it
}

// Terms are comparisons joined by and and or, and binding tighter: a or b and c is a or (b and c). No terms match everything.
type Terms []Term

// Match reports whether the terms hold for a packet's value.
func (t Terms) Match(value uint32) bool {
	return joined(t, func(t Term) (bool, bool) {
		hit := t.Op&Less != 0 && value < t.Value || t.Op&Greater != 0 && value > t.Value || t.Op&Equal != 0 && value == t.Value
		return t.And, hit || t.Op == True
	})
}

// Mask is one comparison of a packet's bits.
type Mask struct {
	And  bool   // also the mask before must match; false: either is enough. False in the first mask
	Not  bool   // the opposite
	Any  bool   // one of Bits is enough; false: all of them must be set
	Bits uint16 // no bits: Any never matches, else it always does
}

// Masks are comparisons of bits joined by and and or, as in Terms. No masks match everything.
type Masks []Mask

// Match reports whether the masks hold for a packet's bits.
func (m Masks) Match(bits uint16) bool {
	return joined(m, func(m Mask) (bool, bool) {
		if m.Any {
			return m.And, (bits&m.Bits != 0) != m.Not
		}
		return m.And, (bits&m.Bits == m.Bits) != m.Not
	})
}

// joined is the or of the ands.
func joined[T any](terms []T, check func(T) (and, hit bool)) bool {
	group := len(terms) == 0
	for i, t := range terms {
		and, hit := check(t)
		switch {
		case i > 0 && and:
			group = group && hit
		case group && i > 0:
			return true
		default:
			group = hit
		}
	}
	return group
}

// Bits of Rule.Fragments (RFC 8955 section 4.2.2.12). A packet that is not a fragment has none but FragmentDont; IPv6 does not have that one.
const (
	FragmentDont  = 1 << iota // the IPv4 header forbids fragmentation
	FragmentIs                // a fragment other than the first
	FragmentFirst             // the first of several
	FragmentLast              // the last of several
)

// Payload is a run of bytes of a packet behind its transport header (TCP with options, UDP; else behind the IP header).
// In a later fragment there is no transport header, and no payload matches.
type Payload struct {
	Offset uint16 // bytes from the end of the transport header
	Value  string // 1 to MaxPayloadBytes bytes
	Mask   string // as long as Value: which bits are compared; Value has no others. Empty: all of them
}

// What a Payload can hold: bounds that an XDP program can check.
const (
	MaxPayloadBytes  = 16
	MaxPayloadOffset = 1500
)

// Match reports whether the payload of a packet, starting behind the transport header, has the bytes.
func (p Payload) Match(payload []byte) bool {
	if len(payload) < int(p.Offset)+len(p.Value) {
		return false
	}
	for i := range len(p.Value) {
		b := payload[int(p.Offset)+i]
		if p.Mask != "" {
			b &= p.Mask[i]
		}
		if b != p.Value[i] {
			return false
		}
	}
	return true
}

// Family is the rule's IP version: 4, 6, or 0 where nothing in the rule says it.
func (r *Rule) Family() int {
	for _, p := range []netip.Prefix{r.Destination, r.Source} {
		switch {
		case !p.IsValid():
		case p.Addr().Is4():
			return 4
		default:
			return 6
		}
	}
	if r.Version == 0 && len(r.FlowLabels) > 0 {
		return 6
	}
	return int(r.Version)
}

// Condition names one condition of a rule: its word in the text form, and its FlowSpec component type (IANA "Flow Spec Component Types"),
// 0 where FlowSpec has none.
type Condition struct {
	Name string
	Type uint8
}

// condition is what a rule can say of a packet, and where it is kept. max is the largest value of terms, or all bits of masks.
type condition struct {
	Condition
	max   uint32
	terms func(*Rule) *Terms // one of the two, or neither: prefixes and payload
	masks func(*Rule) *Masks
}

// conditions lists them all, in the order of FlowSpec, which is the text form's.
func conditions() []condition {
	return []condition{
		{Condition: Condition{"destination", 1}},
		{Condition: Condition{"source", 2}},
		{Condition{"protocol", 3}, 0xff, func(r *Rule) *Terms { return &r.Protocols }, nil},
		{Condition{"port", 4}, 0xffff, func(r *Rule) *Terms { return &r.Ports }, nil},
		{Condition{"destination-port", 5}, 0xffff, func(r *Rule) *Terms { return &r.DestinationPorts }, nil},
		{Condition{"source-port", 6}, 0xffff, func(r *Rule) *Terms { return &r.SourcePorts }, nil},
		{Condition{"icmp-type", 7}, 0xff, func(r *Rule) *Terms { return &r.ICMPTypes }, nil},
		{Condition{"icmp-code", 8}, 0xff, func(r *Rule) *Terms { return &r.ICMPCodes }, nil},
		{Condition{"tcp-flags", 9}, 0xfff, nil, func(r *Rule) *Masks { return &r.TCPFlags }},
		{Condition{"length", 10}, 0xffff, func(r *Rule) *Terms { return &r.Lengths }, nil},
		{Condition{"dscp", 11}, 0x3f, func(r *Rule) *Terms { return &r.DSCPs }, nil},
		{Condition{"fragment", 12}, 0xf, nil, func(r *Rule) *Masks { return &r.Fragments }},
		{Condition{"flow-label", 13}, 0xfffff, func(r *Rule) *Terms { return &r.FlowLabels }, nil},
		{Condition: Condition{"payload", 0}},
	}
}

// EachTerms calls f with every condition of numbers that is set, in FlowSpec order, and the largest number that it can be compared with.
func (r *Rule) EachTerms(f func(c Condition, t Terms, largest uint32)) {
	for _, c := range conditions() {
		if c.terms != nil && len(*c.terms(r)) > 0 {
			f(c.Condition, *c.terms(r), c.max)
		}
	}
}

// EachMasks calls f with every condition of bits that is set, in FlowSpec order, and all bits that it can be compared with.
func (r *Rule) EachMasks(f func(c Condition, m Masks, all uint16)) {
	for _, c := range conditions() {
		if c.masks != nil && len(*c.masks(r)) > 0 {
			f(c.Condition, *c.masks(r), uint16(c.max))
		}
	}
}

// Terms returns where the terms of a FlowSpec component type are kept and the largest number that they can be compared with; nil: the type has none.
func (r *Rule) Terms(componentType uint8) (t *Terms, largest uint32) {
	for _, c := range conditions() {
		if c.terms != nil && c.Type == componentType {
			return c.terms(r), c.max
		}
	}
	return nil, 0
}

// Masks returns where the masks of a FlowSpec component type are kept and all bits that they can be compared with; nil: the type has none.
func (r *Rule) Masks(componentType uint8) (m *Masks, all uint16) {
	for _, c := range conditions() {
		if c.masks != nil && c.Type == componentType {
			return c.masks(r), uint16(c.max)
		}
	}
	return nil, 0
}

// Canonical returns the rule in the one form of all that mean the same bytes on the wire: what has no influence is zero, and actions
// stand in the order of their kinds. Rules are compared in it; ParseRule and FlowSpec return it.
func (r Rule) Canonical() Rule {
	if r.Destination.IsValid() || r.Source.IsValid() || len(r.FlowLabels) > 0 && r.Version == 6 {
		r.Version = 0
	}
	r.Destination, r.DestinationOffset = maskOffset(r.Destination, r.DestinationOffset)
	r.Source, r.SourceOffset = maskOffset(r.Source, r.SourceOffset)
	for _, c := range conditions() {
		switch {
		case c.terms != nil:
			t := c.terms(&r)
			*t = slices.Clone(*t)
			for i := range *t {
				(*t)[i].And = (*t)[i].And && i > 0
				if op := (*t)[i].Op; op == True || op == False {
					(*t)[i].Value = 0
				}
			}
			*t = nilIfEmpty(*t)
		case c.masks != nil:
			m := c.masks(&r)
			*m = nilIfEmpty(slices.Clone(*m))
			if len(*m) > 0 {
				(*m)[0].And = false
			}
		}
	}
	r.Payload = nilIfEmpty(slices.Clone(r.Payload))
	for i := range r.Payload {
		r.Payload[i] = r.Payload[i].canonical()
	}
	r.Actions = canonicalActions(r.Actions)
	return r
}

// Equal reports whether two rules have the same canonical form.
func (r Rule) Equal(o Rule) bool { return r.String() == o.String() }

func nilIfEmpty[S ~[]E, E any](s S) S {
	if len(s) == 0 {
		return nil
	}
	return s
}
