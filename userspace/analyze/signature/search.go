package signature

import (
	"cmp"
	"math"
	"slices"

	"weir/userspace/traffic"
)

// How the search weighs a rule, in shares of the attack that is left. A rule is worth what it covers; a percent of normal traffic costs
// five percent of that. Conditions cost a little, so that needless ones fall away. Ordinary traffic that the host has not had lately
// costs a little too, so that a rule is no wider than the attack only because the host is quiet.
const (
	costNormal     = 5.0
	costOrdinary   = 0.5
	costCondition  = 0.004
	costComparison = 0.002 // each behind the first of a condition
	costUnsteady   = 0.01  // sources change more easily than what an attack is made of, and networks on the way set DSCP and flow labels
	costPayload    = 0.05  // routers cannot look at it
	costBits       = 0.1   // of payload bytes, single ones: they are alike by chance more often than not

	beamWidth   = 12 // of each of two orders
	beamDepth   = 5  // conditions of a rule, besides the target
	leastShare  = 0.01
	leastOfLeft = 0.02
	seeds       = 8
)

// candidate is a rule on the way: conditions, and the samples that meet them all.
type candidate struct {
	conditions            []*condition // ordered by text
	attack, normal, prior set
	covered               float64 // share of the whole attack, without what rules before cover
	cost                  float64 // share of normal traffic, likewise
	ordinary              float64 // share of the prior
	chance                float64 // the product of its conditions'
	worth                 float64
	apart, pure           float64 // what it promises: see narrow
	length                int     // of the text
	price                 float64 // of its conditions
}

// search finds rules over one pool.
type search struct {
	pool          *pool
	router        bool    // conditions of FlowSpec only
	narrowOnly    bool    // no wide networks: too little is known of them
	limit         float64 // of normal traffic
	ordinaryCost  float64
	usable        []*condition
	left          set     // of the attack
	spent         set     // of normal traffic: what rules before match
	train, held   set     // the two halves of normal traffic: what rules are made by, and what the best are checked by
	trained       float64 // the weight of each, as they were at first
	checked       float64
	leftShare     float64
	cheapest      float64 // of normal traffic, for a rule that stops nearly all; 2: there is none
	cheapestShare float64
}

// tries is how often a rule is looked for that also spares the half of normal traffic that it was not made by. Among thousands of rules some
// spare the other half by luck; among a few hardly any does.
const tries = 2

// newSearch halves normal traffic.
func newSearch(p *pool, router bool, limit float64) *search {
	n := p.normal
	s := &search{pool: p, router: router, limit: limit, left: p.attack.all, spent: make(set, len(n.all)), train: make(set, len(n.all)), cheapest: 2,
		ordinaryCost: costOrdinary + max(0, 1-n.effective()/fewNormal)}
	for i := range n.rates {
		if n.rates[i] > 0 && mix(uint64(i)+1)&1 == 0 {
			s.train.add(i)
		}
	}
	s.held = without(n.all, s.train)
	s.trained, s.checked = n.weight.of(s.train, s.train), n.weight.of(s.held, s.held)
	return s
}

// next finds the best rule for what is left of the attack; nil: none is worth it. What a rule turns out to match of the half of normal traffic
// that it was not made by is counted from then on.
func (s *search) next() *candidate {
	a := s.pool.attack
	s.leftShare = a.weight.share(a.weight.of(s.left, s.left))
	if s.leftShare < leastShare {
		return nil
	}
	s.pool.think(s.left, s.train)
	s.choose()
	for _, seed := range seedsOf(s.extend(s.nothing(), true)) {
		s.pool.think(both(seed.attack, s.left), seed.normal)
	}
	s.choose()
	for range tries {
		best := s.best()
		if best == nil {
			return nil
		}
		hit := without(s.held, s.spent)
		for _, k := range best.conditions {
			hit = both(hit, k.normal)
		}
		n := &s.pool.normal.weight
		if part(n.of(hit, hit), s.checked)+s.before(s.held, s.checked) <= s.limit {
			if s.doubtful(best) {
				if !slices.ContainsFunc(best.conditions, (*condition).wide) || s.narrowOnly {
					return nil
				}
				s.narrowOnly = true
				s.choose()
				continue
			}
			s.complete(best)
			return best
		}
		s.train, s.held = either(s.train, hit), without(s.held, hit)
	}
	return nil
}

// doubtful reports whether a rule may well cost a good part of what it covers, by what is known of normal traffic. Where that is next to
// nothing, every rule is that does not cover much. How many packets are known says nothing of wide networks: who else is in them is known by clients.
func (s *search) doubtful(c *candidate) bool {
	const times, much, timesUsual = 4, 0.05, 2
	n := s.pool.normal
	known := n.effective()
	if known < fewNormal {
		// What is little, or is more usual than that with other hosts, may be ordinary traffic of which nothing is known.
		return c.covered < max(much, timesUsual*c.ordinary)
	}
	hit := without(n.all, s.spent)
	for _, k := range c.conditions {
		hit = both(hit, k.normal)
		if k.wide() {
			known = min(known, float64(n.others))
		}
	}
	_, most := wilson(n.weight.share(n.weight.of(hit, hit)), known)
	return c.covered < times*most
}

// nothing is the rule without conditions, to begin with.
func (s *search) nothing() []*candidate {
	return []*candidate{{attack: s.left, normal: s.train, prior: s.pool.prior.all, chance: 1}}
}

// best finds the worthiest rule that keeps the limit, going on from the most promising ones, condition by condition.
func (s *search) best() *candidate {
	var best *candidate
	spent := s.before(s.train, s.trained)
	beam := s.nothing()
	for range beamDepth {
		level := s.extend(beam, false)
		for _, c := range level {
			if c.covered >= 0.9 && c.cost < s.cheapest {
				s.cheapest, s.cheapestShare = c.cost, c.covered
			}
			if c.covered >= leastShare && c.cost+spent <= s.limit && (best == nil || better(c, best)) {
				best = c
			}
		}
		if beam = s.narrow(level); len(beam) == 0 {
			break
		}
	}
	return best
}

// before is the share of a half that the rules so far match.
func (s *search) before(half set, weight float64) float64 {
	return part(s.pool.normal.weight.of(s.spent, half), weight)
}

// choose takes the conditions that matter for what is left; of those that do the same there, the cheapest.
func (s *search) choose() {
	a := s.pool.attack
	s.usable = s.usable[:0]
	known := map[uint64]int{}
	const unlikely = 1.0 / (1 << 16) // a byte or two are nothing to go by where normal traffic cannot say who else has them
	unknown := s.pool.normal.effective() < fewNormal
	for _, k := range s.pool.list {
		if s.router && k.kind == payload || s.narrowOnly && k.wide() || unknown && k.kind == payload && k.chance > unlikely {
			continue
		}
		hit := both(s.left, k.attack)
		if share := a.weight.share(a.weight.of(hit, hit)); share < leastShare || share < leastOfLeft*s.leftShare {
			continue
		}
		does := hash(hit, k.normal, k.prior) ^ math.Float64bits(k.chance)
		at, found := known[does]
		if !found {
			known[does] = len(s.usable)
			s.usable = append(s.usable, k)
			continue
		}
		if o := s.usable[at]; cmp.Or(cmp.Compare(k.price(), o.price()), cmp.Compare(len(k.text), len(o.text)), cmp.Compare(k.text, o.text)) < 0 {
			s.usable[at] = k
		}
	}
}

// better orders rules: the worthier, then fewer conditions, then the shorter text, then the text.
func better(a, b *candidate) bool { return compare(a, b) < 0 }

func compare(a, b *candidate) int {
	return cmp.Or(cmp.Compare(b.worth, a.worth), cmp.Compare(len(a.conditions), len(b.conditions)),
		cmp.Compare(a.length, b.length), slices.CompareFunc(a.conditions, b.conditions, byText))
}

// seedsOf returns what the attack may be made of: kinds of traffic to look at by themselves, the largest first.
func seedsOf(level []*candidate) []*candidate {
	var list []*candidate
	for _, c := range level {
		k := c.conditions[0]
		single := k.kind == numbers && len(k.spans) == 1 && k.spans[0].low == k.spans[0].high && k.field != dscp && k.field != flowLabel
		if single || k.kind == flags && (k.must|k.any != 0) && k.must != traffic.FragmentDont {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b *candidate) int { return cmp.Compare(b.covered, a.covered) })
	return list[:min(len(list), seeds)]
}

// extend returns every rule of one condition more that still covers something, without sets unless they are asked for. Of rules that do
// the same, only the best is there.
func (s *search) extend(beam []*candidate, sets bool) []*candidate {
	a, n, o := &s.pool.attack.weight, &s.pool.normal.weight, &s.pool.prior.weight
	type same struct{ covered, cost, ordinary float64 }
	known := map[same]int{}
	var level []*candidate
	for _, b := range beam {
		free := without(b.normal, s.spent)
		for _, k := range s.usable {
			if !b.takes(k) {
				continue
			}
			covered := a.share(a.of(b.attack, k.attack))
			if covered < leastShare || covered < leastOfLeft*s.leftShare {
				continue
			}
			c := candidate{covered: covered, cost: part(n.of(free, k.normal), s.trained), chance: b.chance * k.chance, length: b.length + len(k.text) + 1}
			c.ordinary = c.chance * o.share(o.of(b.prior, k.prior))
			if len(b.conditions) > 0 && c.covered == b.covered && c.cost == b.cost && c.ordinary == b.ordinary {
				continue // it says nothing new
			}
			c.worth = s.worth(&c, b, k)
			key := same{c.covered, c.cost, c.ordinary}
			at, found := known[key]
			if found && level[at].worth > c.worth {
				continue
			}
			c.conditions = insert(b.conditions, k)
			switch {
			case !found:
				known[key] = len(level)
				level = append(level, &c)
			case better(&c, level[at]):
				level[at] = &c
			}
		}
	}
	for _, c := range level {
		share := c.covered / s.leftShare
		c.apart = share - c.cost - s.ordinaryCost*c.ordinary
		c.pure = share * share / (share + 20*c.cost + 4*s.ordinaryCost*c.ordinary)
		if sets {
			s.complete(c)
		}
	}
	return level
}

// takes reports whether a condition can be added.
func (c *candidate) takes(k *condition) bool {
	for _, has := range c.conditions {
		if has == k || !has.together(k) {
			return false
		}
	}
	return true
}

func byText(a, b *condition) int { return cmp.Compare(a.text, b.text) }

func insert(list []*condition, k *condition) []*condition {
	at, _ := slices.BinarySearchFunc(list, k, byText)
	longer := make([]*condition, 0, len(list)+1)
	return append(append(append(longer, list[:at]...), k), list[at:]...)
}

// worth weighs a rule that is b and one condition more.
func (s *search) worth(c, b *candidate, k *condition) float64 {
	c.price = b.price + k.price()
	return c.covered/s.leftShare - costNormal*c.cost - s.ordinaryCost*c.ordinary - c.price
}

// narrow keeps the rules to go on from: those that tell attack and normal traffic apart best, and those that are purest.
func (s *search) narrow(level []*candidate) []*candidate {
	var beam []*candidate
	for _, by := range []func(*candidate) float64{func(c *candidate) float64 { return c.apart }, func(c *candidate) float64 { return c.pure }} {
		slices.SortFunc(level, func(a, b *candidate) int {
			if x, y := by(a), by(b); x != y {
				return cmp.Compare(y, x)
			}
			return compare(a, b)
		})
		for _, c := range level[:min(beamWidth, len(level))] {
			if !slices.Contains(beam, c) {
				s.complete(c)
				beam = append(beam, c)
			}
		}
	}
	return beam
}

// complete computes the sets of a rule: attack without what rules before cover; normal of the half to train by.
func (s *search) complete(c *candidate) {
	c.attack, c.normal, c.prior = s.left, s.train, s.pool.prior.all
	for _, k := range c.conditions {
		c.attack, c.normal, c.prior = both(c.attack, k.attack), both(c.normal, k.normal), both(c.prior, k.prior)
	}
}
