package signature

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"weir/userspace/traffic"
)

// kind is the shape of a condition.
type kind uint8

const (
	numbers kind = iota // a value within one of the spans
	flags               // bits
	prefix              // the other side's address
	payload             // bytes behind the transport header
)

// span is the numbers from low to high, both included.
type span struct{ low, high uint32 }

// condition is one thing that a rule may ask of a packet.
type condition struct {
	kind           kind
	field          field  // of numbers and flags
	spans          []span // ordered, apart from each other
	must, not, any uint16 // flags: all of must, none of not, one of any (unless 0)
	prefix         netip.Prefix
	payload        traffic.Payload

	text                  string // as it stands in a rule: what it is known and ordered by
	attack, normal, prior set    // the samples that meet it
	// chance is how likely any payload is to have these bytes, or any address to be in this prefix; 1 for other kinds. Where ordinary
	// traffic comes from and what is in it is not known: all of the prior meets such a condition, by this chance.
	chance float64
}

// usualBits is how unlikely a payload byte of zeros or ones alone is, in bits: these are everywhere.
const usualBits = 2

// chanceOf computes chance. Four bytes and more are taken for equally unlikely.
func (c *condition) chanceOf() float64 {
	if c.kind == prefix {
		return math.Ldexp(1, -min(c.prefix.Bits(), 64))
	}
	if c.kind != payload {
		return 1
	}
	compared := 0
	for i, v := range []byte(c.payload.Value) {
		mask := byte(0xff)
		if c.payload.Mask != "" {
			mask = c.payload.Mask[i]
		}
		n := bits.OnesCount8(mask)
		if v&mask == 0 || v&mask == mask {
			n = min(n, usualBits)
		}
		compared += n
	}
	return math.Ldexp(1, -min(compared, 32))
}

// terms writes spans as a rule has them: values alone, the lack of a few values, or ranges.
func (c *condition) terms() (terms traffic.Terms) {
	missing := gaps(c.spans, c.field.largest())
	wide := func(s span) bool { return s.low != s.high }
	if len(missing) > 0 && len(missing) <= len(c.spans) && !slices.ContainsFunc(missing, wide) {
		for i, s := range missing {
			terms = append(terms, traffic.Term{And: i > 0, Op: traffic.NotEqual, Value: s.low})
		}
		return terms
	}
	for _, s := range c.spans {
		switch {
		case s.low == s.high:
			terms = append(terms, traffic.Term{Op: traffic.Equal, Value: s.low})
		case s.low == 0:
			terms = append(terms, traffic.Term{Op: traffic.LessOrEqual, Value: s.high})
		case s.high == c.field.largest():
			terms = append(terms, traffic.Term{Op: traffic.GreaterOrEqual, Value: s.low})
		default:
			terms = append(terms, traffic.Term{Op: traffic.GreaterOrEqual, Value: s.low}, traffic.Term{And: true, Op: traffic.LessOrEqual, Value: s.high})
		}
	}
	return terms
}

// gaps returns the numbers up to largest that are in no span.
func gaps(spans []span, largest uint32) (missing []span) {
	next := uint32(0)
	for _, s := range spans {
		if s.low > next {
			missing = append(missing, span{next, s.low - 1})
		}
		next = s.high + 1
	}
	if next <= largest {
		missing = append(missing, span{next, largest})
	}
	return missing
}

// joinSpans returns the union of spans, ordered and apart from each other.
func joinSpans(spans []span) (joined []span) {
	spans = slices.Clone(spans)
	slices.SortFunc(spans, func(a, b span) int { return cmp.Or(cmp.Compare(a.low, b.low), cmp.Compare(a.high, b.high)) })
	for _, s := range spans {
		if n := len(joined); n > 0 && s.low <= joined[n-1].high {
			joined[n-1].high = max(joined[n-1].high, s.high)
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

func (c *condition) masks() (masks traffic.Masks) {
	if c.must != 0 {
		masks = append(masks, traffic.Mask{Bits: c.must})
	}
	if c.any != 0 {
		masks = append(masks, traffic.Mask{And: len(masks) > 0, Any: true, Bits: c.any})
	}
	if c.not != 0 {
		masks = append(masks, traffic.Mask{And: len(masks) > 0, Not: true, Any: c.not&(c.not-1) != 0, Bits: c.not})
	}
	return masks
}

// apply adds the condition to a rule.
func (c *condition) apply(r *traffic.Rule, outgoing bool) {
	switch c.kind {
	case numbers:
		terms, _ := r.Terms(c.field.componentType())
		*terms = c.terms()
	case flags:
		masks, _ := r.Masks(c.field.componentType())
		*masks = c.masks()
	case prefix:
		if outgoing {
			r.Destination = c.prefix
		} else {
			r.Source = c.prefix
		}
	case payload:
		r.Payload = append(r.Payload, c.payload)
	}
}

// key tells conditions apart.
func (c *condition) key() string {
	b := []byte{byte(c.kind), byte(c.field), byte(c.must), byte(c.must >> 8), byte(c.not), byte(c.not >> 8), byte(c.any), byte(c.any >> 8)}
	switch c.kind {
	case numbers:
		for _, s := range c.spans {
			b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, s.low), s.high)
		}
	case prefix:
		a := c.prefix.Addr().As16()
		b = append(append(b, a[:]...), byte(c.prefix.Bits()))
	case payload:
		b = append(append(binary.LittleEndian.AppendUint16(b, c.payload.Offset), c.payload.Value...), c.payload.Mask...)
	}
	return string(b)
}

// words writes the condition as it stands in a rule's text.
func (c *condition) words() string {
	r := traffic.Rule{Actions: []traffic.RuleAction{{Kind: traffic.RuleAccept}}}
	c.apply(&r, false)
	return strings.TrimSuffix(r.String(), " then accept")
}

// price is what the condition costs in the search.
func (c *condition) price() float64 {
	switch {
	case c.kind == payload && c.payload.Mask != "":
		return costBits
	case c.kind == payload:
		return costPayload
	case c.kind == prefix || c.kind == numbers && (c.field == dscp || c.field == flowLabel):
		return costUnsteady
	case c.kind == numbers:
		return costCondition + costComparison*float64(len(c.terms())-1)
	}
	return costCondition
}

// together reports whether two conditions can stand in one rule.
func (c *condition) together(o *condition) bool {
	switch {
	case c.kind != o.kind:
		return true
	case c.kind == payload:
		// Overlapping bytes say the same twice.
		return int(c.payload.Offset)+len(c.payload.Value) <= int(o.payload.Offset) || int(o.payload.Offset)+len(o.payload.Value) <= int(c.payload.Offset)
	case c.kind == prefix:
		return false
	}
	return c.field != o.field
}

// meets returns the samples of a table that meet the condition.
func (c *condition) meets(t *table) set {
	m := make(set, len(t.all))
	switch c.kind {
	case numbers:
		list := t.order[c.field]
		for _, s := range c.spans {
			at, _ := slices.BinarySearchFunc(list, s.low, func(e sorted, v uint32) int { return cmp.Compare(e.value, v) })
			for ; at < len(list) && list[at].value <= s.high; at++ {
				m.add(int(list[at].at))
			}
		}
	case flags:
		for i, v := range t.column[c.field] {
			b := uint16(v)
			if t.has[c.field].has(i) && b&c.must == c.must && b&c.not == 0 && (c.any == 0 || b&c.any != 0) {
				m.add(i)
			}
		}
	case prefix:
		for i, a := range t.far {
			if a.IsValid() && c.prefix.Contains(a) {
				m.add(i)
			}
		}
	case payload:
		for i := range t.facts {
			if t.rates[i] > 0 && transport(&t.facts[i].Packet) && c.payload.Match(t.facts[i].Payload) {
				m.add(i)
			}
		}
	}
	return m
}

// wide reports whether a condition is a network that any client may be in.
func (c *condition) wide() bool {
	least := 8
	if c.prefix.Addr().Is6() {
		least = 32
	}
	return c.kind == prefix && c.prefix.Bits() <= least
}
