package signature

import (
	"cmp"
	"net/netip"
	"slices"

	"weir/userspace/traffic"
)

// How far the search for conditions goes. The figures bound time and memory whatever the samples are.
const (
	maxValues   = 6    // single values of a field
	maxList     = 8    // values of a field in one condition
	minShare    = 0.02 // a value that fewer of the samples have is no condition by itself
	maxPrefixes = 8    // of one length
	again       = 5    // normal samples that have a value which is left out
)

// pool is every condition thought of so far.
type pool struct {
	attack, normal, prior *table
	known                 map[string]*condition // by key
	thought               map[uint64]bool       // of which samples, by hash
	list                  []*condition
}

// add enters a condition unless it is known, and returns it.
func (p *pool) add(c condition) *condition {
	key := c.key()
	if k := p.known[key]; k != nil {
		return k
	}
	k := c
	k.text = c.words()
	k.attack, k.normal, k.prior, k.chance = c.meets(p.attack), c.meets(p.normal), p.prior.all, c.chanceOf()
	if c.kind == numbers || c.kind == flags {
		k.prior = c.meets(p.prior)
	}
	p.known[key] = &k
	p.list = append(p.list, &k)
	return &k
}

// think adds conditions that fit the attack's samples in some, as against the normal ones that meet the same conditions as some does.
func (p *pool) think(some, normal set) {
	h := hash(some, normal)
	weight := p.attack.weight.of(some, some)
	if weight == 0 || p.thought[h] {
		return
	}
	p.thought[h] = true
	for f := range numberCount {
		p.numbers(f, some, normal, weight)
	}
	p.flags(some, weight)
	p.fragments()
	p.prefixes(some, weight)
	p.payloads(some)
}

// run is a value and what the samples that have it weigh.
type run struct {
	value  uint32
	weight float64
}

// runs returns the values of a field within a set, in their order, and what they weigh together.
func (t *table) runs(f field, some set) (list []run, total float64) {
	for _, e := range t.order[f] {
		if !some.has(int(e.at)) {
			continue
		}
		w := t.weight.word[e.at/64]
		total += w
		if n := len(list); n > 0 && list[n-1].value == e.value {
			list[n-1].weight += w
			continue
		}
		list = append(list, run{e.value, w})
	}
	return list, total
}

// heaviest returns the n values of the most weight, the smaller value first among equals.
func heaviest(list []run, n int) []run {
	top := slices.Clone(list)
	slices.SortFunc(top, func(a, b run) int { return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.value, b.value)) })
	return top[:min(n, len(top))]
}

func (p *pool) numbers(f field, some, normal set, weight float64) {
	list, total := p.attack.runs(f, some)
	if total < minShare*weight {
		return
	}
	add := func(spans ...span) {
		if spans = joinSpans(spans); len(spans) > 1 || spans[0] != (span{0, f.largest()}) {
			p.add(condition{kind: numbers, field: f, spans: spans})
		}
	}
	var values []span
	sum := 0.0
	for i, r := range heaviest(list, maxList) {
		if r.weight < minShare*weight {
			break
		}
		if i < maxValues {
			add(span{r.value, r.value})
		}
		sum += r.weight
		if values = append(values, span{r.value, r.value}); len(values) > 1 && sum >= 0.9*total {
			add(values...)
		}
	}
	if f == protocol || f == icmpType || f == icmpCode || f == flowLabel || f == dscp {
		return // an interval of names says nothing
	}
	low, high := list[0].value, list[len(list)-1].value
	add(span{low, high})
	low1, high1 := quantile(list, 0.01*total), quantile(list, 0.99*total)
	add(span{low1, high1})
	add(span{low, f.largest()})
	add(span{0, high})
	usual, all := p.normal.runs(f, normal)
	for _, other := range p.alternatives(f, usual, all) {
		above, below := apart(list, total, other.runs, other.total)
		add(span{above, f.largest()})
		add(span{0, below})
		if above <= below {
			add(span{above, below})
		}
	}
	// What normal traffic has again and again and the attack has not, left out. What a few samples have says nothing of the next ones.
	if f != length {
		var out []span
		least := max(minShare*all, again*p.normal.weight.total/max(1, p.normal.effective()))
		for _, r := range heaviest(usual, maxList) {
			at, found := slices.BinarySearchFunc(list, r.value, func(e run, v uint32) int { return cmp.Compare(e.value, v) })
			if r.weight >= least && (!found || list[at].weight/total < r.weight/all/2) {
				out = append(out, span{r.value, r.value})
				add(gaps(joinSpans(out), f.largest())...)
			}
		}
	}
}

// usual is a field's values in what is not the attack.
type usual struct {
	runs  []run
	total float64
}

// alternatives returns what an attack's values are held against: normal traffic that is alike so far, if there is any, and all of it.
func (p *pool) alternatives(f field, alike []run, total float64) []usual {
	all, sum := p.normal.runs(f, p.normal.all)
	list := []usual{{all, sum}}
	if total > 0 && total < sum {
		list = append(list, usual{alike, total})
	}
	return list
}

// quantile returns the value that has the weight below it.
func quantile(list []run, weight float64) uint32 {
	for _, r := range list {
		if weight -= r.weight; weight <= 0 {
			return r.value
		}
	}
	return list[len(list)-1].value
}

// apart returns the values between which two distributions differ most: from above on (to the end) the attack has the most more than
// the others, and likewise up to below.
func apart(list []run, total float64, other []run, otherTotal float64) (above, below uint32) {
	above, below = list[0].value, list[len(list)-1].value
	if otherTotal == 0 {
		return above, below
	}
	attack, normal, most, least := 0.0, 0.0, 0.0, 0.0
	at := 0
	for _, r := range list {
		for at < len(other) && other[at].value < r.value {
			normal += other[at].weight
			at++
		}
		if d := normal/otherTotal - attack/total; d > most {
			most, above = d, r.value
		}
		attack += r.weight
		upTo := normal
		if at < len(other) && other[at].value == r.value {
			upTo += other[at].weight
		}
		if d := attack/total - upTo/otherTotal; d > least {
			least, below = d, r.value
		}
	}
	return above, below
}

// The flags that say what a TCP segment is for. ECE, CWR and the bits beyond are set by ordinary stacks as they like.
const ordinaryFlags = traffic.FlagFIN | traffic.FlagSYN | traffic.FlagRST | traffic.FlagPSH | traffic.FlagACK | traffic.FlagURG

func (p *pool) flags(some set, weight float64) {
	var counted [1 << 12]float64
	together := 0.0
	every, none := uint16(0xfff), uint16(0xfff)
	t := p.attack
	for i, v := range t.column[tcpFlags] {
		if some.has(i) && t.has[tcpFlags].has(i) {
			w := t.weight.word[i/64]
			counted[v&0xfff] += w
			together += w
			every &= uint16(v)
			none &^= uint16(v)
		}
	}
	if together < minShare*weight {
		return
	}
	add := func(must, not uint16) {
		if must|not != 0 {
			p.add(condition{kind: flags, field: tcpFlags, must: must, not: not})
		}
	}
	add(every&ordinaryFlags, 0)
	add(0, none&ordinaryFlags)
	add(every&ordinaryFlags, none&ordinaryFlags)
	add(traffic.FlagSYN, traffic.FlagACK)
	add(traffic.FlagSYN|traffic.FlagACK, 0)
	// What answers a connection that was never asked for: reflectors send both.
	p.add(condition{kind: flags, field: tcpFlags, any: traffic.FlagSYN | traffic.FlagRST})
	p.add(condition{kind: flags, field: tcpFlags, any: traffic.FlagSYN | traffic.FlagRST | traffic.FlagFIN})
	for bit := uint16(1); bit < 1<<12; bit <<= 1 {
		if every&bit != 0 {
			add(bit, 0)
		}
		if none&bit&ordinaryFlags != 0 {
			add(0, bit)
		}
	}
	var list []run
	for v, w := range counted {
		if w >= minShare*weight {
			list = append(list, run{uint32(v), w})
		}
	}
	for _, r := range heaviest(list, maxValues) {
		v := uint16(r.value)
		add(v&ordinaryFlags, ordinaryFlags&^v)
		if v&^ordinaryFlags != 0 {
			add(v, ordinaryFlags&^v)
		}
	}
}

func (p *pool) fragments() {
	const broken = traffic.FragmentIs | traffic.FragmentFirst
	add := func(must, not, any uint16) {
		p.add(condition{kind: flags, field: fragments, must: must, not: not, any: any})
	}
	add(traffic.FragmentIs, 0, 0)
	add(traffic.FragmentFirst, 0, 0)
	add(0, 0, broken)
	add(0, broken, 0)
	if !p.six() {
		add(traffic.FragmentDont, 0, 0)
		add(0, traffic.FragmentDont, 0)
	}
}

// six reports whether the samples are IPv6; all of them are of one version.
func (p *pool) six() bool {
	return slices.ContainsFunc(p.attack.far, func(a netip.Addr) bool { return a.Is6() })
}

// prefixes adds those that many of the samples come from (or, of an outgoing attack, go to).
func (p *pool) prefixes(some set, weight float64) {
	lengths := []int{8, 16, 24, 32}
	if p.six() {
		lengths = []int{32, 48, 64, 128}
	}
	type heavy struct {
		prefix netip.Prefix
		weight float64
	}
	for _, n := range lengths {
		var list []heavy
		var now heavy
		take := func() {
			if now.weight >= minShare*weight {
				list = append(list, now)
			}
		}
		for _, at := range p.attack.by {
			if !some.has(int(at)) {
				continue
			}
			if a := p.attack.far[at]; !now.prefix.IsValid() || !now.prefix.Contains(a) {
				take()
				now = heavy{}
				now.prefix, _ = a.Prefix(n) // n is a length that the IP version has
			}
			now.weight += p.attack.weight.word[at/64]
		}
		take()
		slices.SortFunc(list, func(a, b heavy) int {
			return cmp.Or(cmp.Compare(b.weight, a.weight), a.prefix.Addr().Compare(b.prefix.Addr()))
		})
		for _, h := range list[:min(len(list), maxPrefixes)] {
			p.add(condition{kind: prefix, prefix: h.prefix})
		}
	}
}
