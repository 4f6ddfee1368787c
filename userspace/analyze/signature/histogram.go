package signature

import (
	"cmp"
	"math"
	"slices"
	"time"

	"weir/userspace/analyze"
	"weir/userspace/traffic"
)

// histograms count packets by one field at a time. A count is never less than the truth, so that bounds hold.
type histograms struct {
	at        time.Time // when the counts were last aged
	total     float64
	evidence  float64 // how many samples were seen, old ones in part: how sure shares are
	values    [4]top  // by toppedFields
	lengths   [98]float64
	flags     [64]float64 // of TCP, without ECE and CWR
	dscps     [64]float64
	fragments [16]float64
}

func toppedFields() [4]field { return [4]field{protocol, sourcePort, destinationPort, icmpType} }

const lengthBucket = 16 // bytes; the last bucket has all that are longer

// top counts the values that come most often (Metwally, Agrawal and El Abbadi, "Efficient computation of frequent and top-k elements in
// data streams", 2005): a value that is not there has come no more often than the smallest count.
type top struct {
	list [64]counted
	used int
}

type counted struct {
	value uint32
	count float64
}

func (t *top) add(value uint32, weight float64) {
	least := 0
	for i := range t.list[:t.used] {
		if t.list[i].value == value {
			t.list[i].count += weight
			return
		}
		if t.list[i].count < t.list[least].count {
			least = i
		}
	}
	if t.used < len(t.list) {
		t.list[t.used] = counted{value, weight}
		t.used++
		return
	}
	t.list[least] = counted{value, t.list[least].count + weight}
}

// absent is the most that a value may have come that is not in the list.
func (t *top) absent() float64 {
	if t.used < len(t.list) {
		return 0
	}
	least := t.list[0].count
	for _, c := range t.list {
		least = min(least, c.count)
	}
	return least
}

func (t *top) count(value uint32) float64 {
	for _, c := range t.list[:t.used] {
		if c.value == value {
			return c.count
		}
	}
	return t.absent()
}

// matching is the most that values may have come for which terms hold; false: there is no telling.
func (t *top) matching(terms traffic.Terms) (sum float64, known bool) {
	single := !slices.ContainsFunc(terms, func(t traffic.Term) bool { return t.And || t.Op != traffic.Equal })
	if !single && t.used == len(t.list) {
		return 0, false
	}
	if single {
		for _, term := range terms {
			sum += t.count(term.Value)
		}
		return sum, true
	}
	for _, c := range t.list[:t.used] {
		if terms.Match(c.value) {
			sum += c.count
		}
	}
	return sum, true
}

func (t *top) scale(by float64) {
	for i := range t.list[:t.used] {
		t.list[i].count *= by
	}
}

func (t *top) merge(o *top) {
	mine := t.absent()
	var list []counted
	for _, c := range t.list[:t.used] {
		list = append(list, counted{c.value, c.count + o.count(c.value)})
	}
	for _, c := range o.list[:o.used] {
		if !slices.ContainsFunc(t.list[:t.used], func(m counted) bool { return m.value == c.value }) {
			list = append(list, counted{c.value, c.count + mine})
		}
	}
	slices.SortFunc(list, func(a, b counted) int { return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.value, b.value)) })
	t.used = copy(t.list[:], list)
}

// age halves the counts for every half-life that has passed. Time that goes back changes nothing.
func (h *histograms) age(now time.Time, halfLife time.Duration) {
	passed := now.Sub(h.at)
	if h.at.IsZero() {
		h.at = now
		return
	}
	if passed < halfLife/64 {
		return
	}
	h.scale(math.Exp2(-passed.Seconds() / halfLife.Seconds()))
	h.at = now
}

func (h *histograms) scale(by float64) {
	h.total *= by
	h.evidence *= by
	for i := range h.values {
		h.values[i].scale(by)
	}
	for _, l := range [][]float64{h.lengths[:], h.flags[:], h.dscps[:], h.fragments[:]} {
		for i := range l {
			l[i] *= by
		}
	}
}

func (h *histograms) add(s *analyze.Seen, weight float64, halfLife time.Duration) {
	h.age(s.Time, halfLife)
	h.total += weight
	h.evidence++
	p := &s.Packet
	h.values[0].add(uint32(p.Protocol), weight)
	h.lengths[min(int(s.IPLength)/lengthBucket, len(h.lengths)-1)] += weight
	h.dscps[s.DSCP&63] += weight
	h.fragments[traffic.FragmentBits(s.DontFragment, s.MoreFragments, s.FragmentOffset)&15] += weight
	if !transport(p) {
		return
	}
	switch p.Protocol {
	case traffic.ProtoTCP, traffic.ProtoUDP:
		h.values[1].add(uint32(p.SrcPort), weight)
		h.values[2].add(uint32(p.DstPort), weight)
		if p.Protocol == traffic.ProtoTCP {
			h.flags[s.TCPAllFlags&ordinaryFlags] += weight
		}
	case traffic.ProtoICMP, traffic.ProtoICMPv6:
		h.values[3].add(uint32(s.ICMPType), weight)
	}
}

func (h *histograms) merge(o *histograms, halfLife time.Duration) {
	other := *o
	if h.at.Before(other.at) {
		h.age(other.at, halfLife)
	} else {
		other.age(h.at, halfLife)
	}
	h.total += other.total
	h.evidence += other.evidence
	for i := range h.values {
		h.values[i].merge(&other.values[i])
	}
	mine, others := [][]float64{h.lengths[:], h.flags[:], h.dscps[:], h.fragments[:]}, [][]float64{other.lengths[:], other.flags[:], other.dscps[:], other.fragments[:]}
	for i, l := range mine {
		for j := range l {
			l[j] += others[i][j]
		}
	}
}

// bound returns the share of packets that the rarest of a rule's conditions holds for, at most.
func (h *histograms) bound(r *traffic.Rule) float64 {
	if h.total <= 0 {
		return 1
	}
	least := h.total
	for i, f := range toppedFields() {
		if terms, _ := r.Terms(f.componentType()); len(*terms) > 0 {
			if sum, known := h.values[i].matching(*terms); known {
				least = min(least, sum)
			}
		}
	}
	sum := 0.0
	for i, w := range h.lengths {
		meets := i == len(h.lengths)-1
		for n := range lengthBucket {
			meets = meets || r.Lengths.Match(uint32(i*lengthBucket+n))
		}
		if meets {
			sum += w
		}
	}
	least = min(least, sum)
	beyond := slices.ContainsFunc(r.TCPFlags, func(m traffic.Mask) bool { return m.Bits&^ordinaryFlags != 0 })
	if len(r.TCPFlags) > 0 && !beyond {
		least = min(least, matchingBits(h.flags[:], r.TCPFlags))
	}
	least = min(least, matchingBits(h.fragments[:], r.Fragments))
	sum = 0
	for v, w := range h.dscps {
		if r.DSCPs.Match(uint32(v)) {
			sum += w
		}
	}
	return min(least, sum) / h.total
}

func matchingBits(counts []float64, masks traffic.Masks) (sum float64) {
	for v, w := range counts {
		if masks.Match(uint16(v)) {
			sum += w
		}
	}
	return sum
}
