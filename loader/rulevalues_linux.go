package loader

import (
	"slices"

	"weir/userspace/traffic"
)

// span is the values from first to last.
type span struct{ first, last uint32 }

// values is a set of them: spans in order that do not touch. nil is no condition; an empty set matches nothing.
type values []span

func (v values) count() (n int) {
	for _, s := range v {
		n += int(s.last-s.first) + 1
	}
	return n
}

// each calls f with every value.
func (v values) each(f func(uint32)) {
	for _, s := range v {
		for x := s.first; ; x++ {
			f(x)
			if x == s.last {
				break
			}
		}
	}
}

// valuesWhere is the set of those values up to largest for which match holds. match changes at the given values only.
func valuesWhere(at []uint32, largest uint32, match func(uint32) bool) values {
	slices.Sort(at)
	at = slices.Compact(at)
	v := values{}
	for i, first := range at {
		if first > largest {
			break
		}
		last := largest
		if i+1 < len(at) && at[i+1] <= largest {
			last = at[i+1] - 1
		}
		switch {
		case !match(first):
		case len(v) > 0 && v[len(v)-1].last+1 == first:
			v[len(v)-1].last = last
		default:
			v = append(v, span{first, last})
		}
	}
	return v
}

func termValues(t traffic.Terms, largest uint32) values {
	if len(t) == 0 {
		return nil
	}
	at := make([]uint32, 1, 2*len(t)+1)
	for _, term := range t {
		at = append(at, term.Value, term.Value+1)
	}
	return valuesWhere(at, largest, t.Match)
}

func maskValues(m traffic.Masks, largest uint32) values {
	if len(m) == 0 {
		return nil
	}
	at := make([]uint32, largest+1)
	for i := range at {
		at[i] = uint32(i)
	}
	return valuesWhere(at, largest, func(v uint32) bool { return m.Match(uint16(v)) })
}

// possibleFragments are those sets of fragment bits that packets have.
func possibleFragments() []uint32 {
	const dont, is, first, last = traffic.FragmentDont, traffic.FragmentIs, traffic.FragmentFirst, traffic.FragmentLast
	return []uint32{0, dont, is, is | dont, first, first | dont, is | last, is | last | dont}
}

func fragmentValues(m traffic.Masks) values {
	if len(m) == 0 {
		return nil
	}
	v := values{}
	for _, bits := range possibleFragments() {
		if m.Match(uint16(bits)) {
			v = append(v, span{bits, bits})
		}
	}
	return v
}

// and is the intersection; nil is everything.
func (v values) and(w values) values {
	if v == nil {
		return w
	}
	if w == nil {
		return v
	}
	both := values{}
	for i, j := 0, 0; i < len(v) && j < len(w); {
		if s := (span{max(v[i].first, w[j].first), min(v[i].last, w[j].last)}); s.first <= s.last {
			both = append(both, s)
		}
		if v[i].last < w[j].last {
			i++
		} else {
			j++
		}
	}
	return both
}

// not is all other values up to largest.
func (v values) not(largest uint32) values {
	others, next := values{}, uint32(0)
	for _, s := range v {
		if s.first > next {
			others = append(others, span{next, s.first - 1})
		}
		next = s.last + 1
	}
	if next <= largest {
		others = append(others, span{next, largest})
	}
	return others
}

// partition divides the values of a field into classes that none of the sets tells apart. Class 0 is in no set.
type partition struct {
	starts []uint32 // of the segments
	class  []uint16
}

func newPartition(sets []values) partition {
	p := partition{starts: []uint32{0}}
	for _, v := range sets {
		for _, s := range v {
			p.starts = append(p.starts, s.first, s.last+1)
		}
	}
	slices.Sort(p.starts)
	p.starts = slices.Compact(p.starts)
	p.class = make([]uint16, len(p.starts))
	next := uint16(1)
	for _, v := range sets {
		split := map[uint16]uint16{}
		p.within(v, func(i int) {
			to, ok := split[p.class[i]]
			if !ok {
				to, next = next, next+1
				split[p.class[i]] = to
			}
			p.class[i] = to
		})
	}
	return p
}

// within calls f with every segment of a set.
func (p *partition) within(v values, f func(segment int)) {
	for _, s := range v {
		i, _ := slices.BinarySearch(p.starts, s.first)
		for ; i < len(p.starts) && p.starts[i] <= s.last; i++ {
			f(i)
		}
	}
}

// of returns the classes that a set is made of, in order.
func (p *partition) of(v values) []uint32 {
	var classes []uint32
	p.within(v, func(i int) { classes = append(classes, uint32(p.class[i])) })
	slices.Sort(classes)
	return slices.Compact(classes)
}

// each calls f with every value of a field and its class.
func (p *partition) each(largest uint32, f func(value uint32, class uint16)) {
	for i, start := range p.starts {
		last := largest
		if i+1 < len(p.starts) {
			last = min(last, p.starts[i+1]-1)
		}
		for v := start; v <= last; v++ {
			f(v, p.class[i])
		}
	}
}

// maxSets bounds the work of dividing a field into classes.
const maxSets = 1024

// setTable is the different sets of one field that rules have.
type setTable struct {
	all       []values
	numbers   map[string]int
	shared    map[*span]int // of long sets, which rules share: their values are read once
	partition partition
	classes   [][]uint32 // by number
}

// longSet is from how many spans on a set is known by where it is.
const longSet = 8

// id returns the number of a set.
func (t *setTable) id(v values) int {
	if len(v) >= longSet {
		if n, ok := t.shared[&v[0]]; ok {
			return n
		}
	}
	if t.numbers == nil {
		t.numbers, t.shared = map[string]int{}, map[*span]int{}
	}
	b := make([]byte, 0, 64)
	for _, s := range v {
		b = append(b, byte(s.first), byte(s.first>>8), byte(s.first>>16), byte(s.last), byte(s.last>>8), byte(s.last>>16))
	}
	n, ok := t.numbers[string(b)]
	if !ok {
		n = len(t.all)
		t.all = append(t.all, v)
		t.numbers[string(b)] = n
	}
	if len(v) >= longSet {
		t.shared[&v[0]] = n
	}
	return n
}

// divide makes the classes.
func (t *setTable) divide() {
	if len(t.all) == 0 {
		return
	}
	t.partition = newPartition(t.all)
	t.classes = make([][]uint32, len(t.all))
	for i, v := range t.all {
		t.classes[i] = t.partition.of(v)
	}
}

// classesOf returns the classes that a set is made of.
func (t *setTable) classesOf(v values) []uint32 { return t.classes[t.id(v)] }
