package signature

import (
	"cmp"
	"math"
	"math/bits"
	"net/netip"
	"slices"

	"weir/userspace/analyze"
	"weir/userspace/traffic"
)

// field is what a condition of numbers or bits looks at.
type field uint8

const (
	protocol field = iota
	sourcePort
	destinationPort
	icmpType
	icmpCode
	length
	dscp
	flowLabel
	numberCount // the fields before are numbers, those behind are bits

	tcpFlags  = numberCount
	fragments = numberCount + 1
	allCount  = numberCount + 2
)

// componentType is the field's number in FlowSpec, by which a Rule finds it.
func (f field) componentType() uint8 {
	return [allCount]uint8{3, 6, 5, 7, 8, 10, 11, 13, 9, 12}[f]
}

// largest is the largest value of a field of numbers.
func (f field) largest() uint32 {
	return [numberCount]uint32{255, 65535, 65535, 255, 255, 65535, 63, 0xfffff}[f]
}

// maxRates is how many different sampling rates are kept apart: more are rounded to powers of two, of which there are no more than that.
const maxRates = 32

// table holds samples by column, so that a condition is checked against all of them at once.
type table struct {
	facts  []traffic.Facts // nil Payload and invalid addresses where the sets have room but no sample
	rates  []uint32        // as they came, 0 where there is no sample
	seen   []*analyze.Seen
	weight weights
	all    set
	column [allCount][]uint32
	has    [allCount]set // which samples have the field at all
	order  [numberCount][]sorted
	far    []netip.Addr // the address of the other side
	by     []int32      // the samples, ordered by it
	others int          // different addresses of the other side
}

// sorted is one sample's value, in a list ordered by value.
type sorted struct {
	value uint32
	at    int32
}

// newTable sorts samples by their rate, and begins a new word of the sets with each rate.
func newTable(samples []analyze.Seen, outgoing bool) *table {
	list := make([]*analyze.Seen, len(samples))
	for i := range samples {
		list[i] = &samples[i]
	}
	rounded := roundedRate(samples)
	slices.SortStableFunc(list, func(a, b *analyze.Seen) int { return cmp.Compare(rounded(a.Rate), rounded(b.Rate)) })
	t := &table{}
	place := make([]int, len(list))
	next := 0
	for i, s := range list {
		if i > 0 && rounded(s.Rate) != rounded(list[i-1].Rate) {
			next = (next + 63) / 64 * 64
		}
		place[i] = next
		next++
	}
	words := (next + 63) / 64
	t.facts, t.rates, t.seen = make([]traffic.Facts, next), make([]uint32, next), make([]*analyze.Seen, next)
	t.far, t.all = make([]netip.Addr, next), make(set, words)
	t.weight.word = make([]float64, words)
	for f := range t.column {
		t.column[f], t.has[f] = make([]uint32, next), make(set, words)
	}
	for i, s := range list {
		at := place[i]
		t.facts[at], t.seen[at], t.rates[at] = s.Facts(), s, max(s.Rate, 1)
		t.weight.word[at/64] = rounded(s.Rate)
		t.weight.total += rounded(s.Rate)
		t.all.add(at)
		t.far[at] = s.Packet.Src
		if outgoing {
			t.far[at] = s.Packet.Dst
		}
		t.fill(at)
	}
	if len(list) > 0 && rounded(list[0].Rate) == rounded(list[len(list)-1].Rate) {
		t.weight.same = rounded(list[0].Rate)
	}
	t.sort(place)
	return t
}

// fill writes a sample's columns. Which fields a packet has is what traffic.Rule.Match says.
func (t *table) fill(at int) {
	f := &t.facts[at]
	p := &f.Packet
	put := func(f field, v uint32) {
		t.column[f][at] = v
		t.has[f].add(at)
	}
	put(protocol, uint32(p.Protocol))
	put(length, f.IPLength)
	put(dscp, uint32(f.DSCP))
	put(fragments, uint32(f.Fragments))
	six := p.Dst.Is6()
	if six {
		put(flowLabel, f.FlowLabel)
	}
	if !transport(p) {
		return
	}
	if p.Protocol == traffic.ProtoTCP || p.Protocol == traffic.ProtoUDP {
		put(sourcePort, uint32(p.SrcPort))
		put(destinationPort, uint32(p.DstPort))
	}
	switch {
	case p.Protocol == traffic.ProtoTCP:
		put(tcpFlags, uint32(f.TCPFlags))
	case p.Protocol == traffic.ProtoICMP && !six, p.Protocol == traffic.ProtoICMPv6 && six:
		put(icmpType, uint32(f.ICMPType))
		put(icmpCode, uint32(f.ICMPCode))
	}
}

// transport reports whether what stands in and behind the transport header can be matched; see traffic.Rule.Match.
func transport(p *traffic.Packet) bool {
	return p.Fragment != traffic.LaterFragment &&
		p.Anomaly != traffic.AnomalyShortTransport && p.Anomaly != traffic.AnomalyShortExtension && p.Anomaly != traffic.AnomalyExtensionDepth
}

// sort makes the ordered list of each field of numbers.
func (t *table) sort(places []int) {
	for f := range t.order {
		list := make([]sorted, 0, len(places))
		for _, at := range places {
			if t.has[f].has(at) {
				list = append(list, sorted{t.column[f][at], int32(at)})
			}
		}
		slices.SortFunc(list, func(a, b sorted) int { return cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(a.at, b.at)) })
		t.order[f] = list
	}
	t.by = make([]int32, len(places))
	for i, at := range places {
		t.by[i] = int32(at)
	}
	slices.SortFunc(t.by, func(a, b int32) int { return cmp.Or(t.far[a].Compare(t.far[b]), cmp.Compare(a, b)) })
	for i, at := range t.by {
		if i == 0 || t.far[at] != t.far[t.by[i-1]] {
			t.others++
		}
	}
}

// roundedRate returns what a sample counts for by its rate.
func roundedRate(samples []analyze.Seen) func(uint32) float64 {
	different := map[uint32]bool{}
	for i := range samples {
		if different[samples[i].Rate] = true; len(different) > maxRates {
			return func(rate uint32) float64 { return math.Ldexp(1, bits.Len32(max(rate, 1))-1) }
		}
	}
	return func(rate uint32) float64 { return float64(max(rate, 1)) }
}

// matched returns which samples a rule matches, by the rule itself.
func (t *table) matched(r *traffic.Rule) set {
	m := make(set, len(t.all))
	for i := range t.facts {
		if t.rates[i] > 0 && r.Match(&t.facts[i]) {
			m.add(i)
		}
	}
	return m
}

// exact returns the weight of a set by the rates as they came.
func (t *table) exact(s set) float64 {
	sum := 0.0
	for i, x := range s {
		for ; x != 0; x &= x - 1 {
			sum += float64(t.rates[i*64+bits.TrailingZeros64(x)])
		}
	}
	return sum
}

// count returns how many samples are in a set.
func (s set) count() (n int) {
	for _, x := range s {
		n += bits.OnesCount64(x)
	}
	return n
}
