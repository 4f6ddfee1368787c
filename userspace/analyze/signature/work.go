package signature

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"weir/userspace/traffic"
)

// moreThanAsked is how many rules are looked for beyond the budget, to be named.
const moreThanAsked = 8

// fewNormal is how many normal samples are few: the fewer, the more ordinary traffic speaks for what the host's is.
const fewNormal = 200

// work is one search for a set of rules, and what it is for.
type work struct {
	target   netip.Prefix
	outgoing bool
	options  Options
	pool     pool
}

// Background is an estimate, and ordinary traffic comes in bursts: where it may be doubtfulBackground times as much, what is left may be nothing
// but ordinary, and only a rule that covers as much as worthDoubt of it is believed.
const (
	doubtfulBackground = 1.5
	worthDoubt         = 0.5
)

// chosen is a rule of the set and what it matches of the whole tables.
type chosen struct {
	conditions     []*condition
	attack, normal set
}

// find covers the attack rule by rule, the best for what is left first. For routers it keeps the rules that a search without that
// restriction came to, as far as they can hold them.
func (w *work) find(router bool, begin []chosen) (Set, []chosen) {
	a, n := w.pool.attack, w.pool.normal
	s := newSearch(&w.pool, router, w.options.Collateral)
	wanted := w.options.Coverage * (1 - w.options.Background)
	var rules []chosen
	for _, c := range begin {
		if !slices.ContainsFunc(c.conditions, func(k *condition) bool { return k.kind == payload }) {
			rules = append(rules, c)
			s.left, s.spent = without(s.left, c.attack), either(s.spent, c.normal)
		}
	}
	kept := len(rules) > 0
	for len(rules) < w.options.MaxRules+moreThanAsked {
		covered := 1 - a.weight.share(a.weight.of(s.left, s.left))
		if covered >= wanted {
			break
		}
		c := s.next()
		if c == nil || covered >= w.options.Coverage*(1-doubtfulBackground*w.options.Background) && c.covered < worthDoubt*w.options.Background {
			break
		}
		rule := w.tighten(whole(c.conditions, a, n))
		rules = append(rules, rule)
		s.left, s.spent = without(s.left, rule.attack), either(s.spent, rule.normal)
	}
	if !kept {
		rules = w.polish(rules, *s)
	}
	rules = w.needed(w.merge(rules), wanted)
	return w.report(rules, s), rules
}

// polish finds each rule anew for what only it covers: the first ones were chosen before it was known what others would take off them,
// and are wider than they need to be.
func (w *work) polish(rules []chosen, s search) []chosen {
	a, n := w.pool.attack, w.pool.normal
	if len(rules) < 2 || len(rules) > w.options.MaxRules {
		return rules
	}
	for i := range rules {
		attack, normal := make(set, len(a.all)), make(set, len(n.all))
		for j, c := range rules {
			if j != i {
				attack, normal = either(attack, c.attack), either(normal, c.normal)
			}
		}
		s.left, s.spent = without(a.all, attack), normal
		c := s.next()
		if c == nil {
			continue
		}
		rule := w.tighten(whole(c.conditions, a, n))
		before, after := either(attack, rules[i].attack), either(attack, rule.attack)
		costs, cost := either(normal, rules[i].normal), either(normal, rule.normal)
		if a.weight.of(after, after) >= 0.999*a.weight.of(before, before) && n.weight.of(cost, cost) <= n.weight.of(costs, costs) {
			rules[i] = rule
		}
	}
	return rules
}

// whole returns what conditions match of the whole tables.
func whole(conditions []*condition, a, n *table) chosen {
	c := chosen{conditions, a.all, n.all}
	for _, k := range conditions {
		c.attack, c.normal = both(c.attack, k.attack), both(c.normal, k.normal)
	}
	return c
}

// nearlyAll of what a rule covers has what makes it narrower at no price.
const nearlyAll = 0.995

// tighten adds the protocol, the source port and the length if there is but one, and the TCP flags if they are always the same: normal samples are only samples, and a rule that says what the attack
// is meets less of what they have not shown. Routers, too, look at ports only behind a protocol.
func (w *work) tighten(c chosen) chosen {
	for _, add := range []struct {
		field   field
		most    int
		implied []field // by these, or pointless beside them
	}{{protocol, 3, []field{protocol, tcpFlags, icmpType, icmpCode}}, {sourcePort, 1, []field{sourcePort}}, {length, 1, []field{length, fragments}}} {
		if slices.ContainsFunc(c.conditions, func(k *condition) bool {
			return (k.kind == numbers || k.kind == flags) && slices.Contains(add.implied, k.field)
		}) {
			continue
		}
		list, _ := w.pool.attack.runs(add.field, c.attack)
		var spans []span
		sum := 0.0
		all := w.pool.attack.weight.of(c.attack, c.attack)
		for _, r := range heaviest(list, add.most) {
			if sum < nearlyAll*all {
				sum += r.weight
				spans = append(spans, span{r.value, r.value})
			}
		}
		if sum < nearlyAll*all || len(spans) == 0 {
			continue
		}
		k := condition{kind: numbers, field: add.field, spans: joinSpans(spans)}
		c = whole(insert(c.conditions, w.pool.add(k)), w.pool.attack, w.pool.normal)
	}
	return w.tightenFlags(w.tightenValues(c))
}

// tightenValues puts one value in the place of several where nearly all of what a rule covers has it: the others are chance, or ordinary traffic.
func (w *work) tightenValues(c chosen) chosen {
	for _, f := range []field{sourcePort, destinationPort, length} {
		at := slices.IndexFunc(c.conditions, func(k *condition) bool { return k.kind == numbers && k.field == f })
		if at < 0 || len(c.conditions[at].spans) == 1 && c.conditions[at].spans[0].low == c.conditions[at].spans[0].high {
			continue
		}
		list, total := w.pool.attack.runs(f, c.attack)
		if top := heaviest(list, 1); len(top) == 1 && top[0].weight >= nearlyAll*total {
			k := condition{kind: numbers, field: f, spans: []span{{top[0].value, top[0].value}}}
			c = whole(insert(slices.Delete(slices.Clone(c.conditions), at, at+1), w.pool.add(k)), w.pool.attack, w.pool.normal)
		}
	}
	return c
}

func (w *work) tightenFlags(c chosen) chosen {
	if slices.ContainsFunc(c.conditions, func(k *condition) bool { return k.field == tcpFlags && k.kind == flags }) {
		return c
	}
	const purpose = traffic.FlagSYN | traffic.FlagACK | traffic.FlagRST | traffic.FlagFIN
	t, sums := w.pool.attack, map[uint16]float64{}
	all := t.weight.of(c.attack, c.attack)
	for i, v := range t.column[tcpFlags] {
		if !c.attack.has(i) || !t.has[tcpFlags].has(i) {
			continue
		}
		must := uint16(v) & purpose
		if sums[must] += t.weight.word[i/64]; must != 0 && sums[must] >= nearlyAll*all {
			k := condition{kind: flags, field: tcpFlags, must: must, not: purpose &^ must}
			return whole(insert(c.conditions, w.pool.add(k)), w.pool.attack, w.pool.normal)
		}
	}
	return c
}

// merge makes one rule of two that differ in the values of one field only.
func (w *work) merge(rules []chosen) []chosen {
	for again := true; again; {
		again = false
		for i := 0; i < len(rules); i++ {
			for j := i + 1; j < len(rules); j++ {
				if c := w.union(rules[i].conditions, rules[j].conditions); c != nil {
					rules[i] = whole(c, w.pool.attack, w.pool.normal)
					rules = slices.Delete(rules, j, j+1)
					again = true
					j--
				}
			}
		}
	}
	return rules
}

// union returns conditions that are met by what meets either of two lists; nil: there are none.
func (w *work) union(a, b []*condition) []*condition {
	if len(a) != len(b) {
		return nil
	}
	var mine, other *condition
	var list []*condition
	for _, k := range a {
		if slices.Contains(b, k) {
			list = append(list, k)
			continue
		}
		if mine != nil {
			return nil
		}
		mine = k
	}
	for _, k := range b {
		if !slices.Contains(a, k) {
			other = k
		}
	}
	if mine == nil || mine.kind != numbers || other.kind != numbers || mine.field != other.field {
		return nil
	}
	spans := joinSpans(slices.Concat(mine.spans, other.spans))
	if len(spans) > 2*maxList || spans[0] == (span{0, mine.field.largest()}) {
		return nil
	}
	return insert(list, w.pool.add(condition{kind: numbers, field: mine.field, spans: spans}))
}

// needed leaves out rules without which the others are enough, and orders the rest: what covers the most first.
func (w *work) needed(rules []chosen, wanted float64) []chosen {
	a := w.pool.attack.weight
	weight := func(c chosen) float64 { return a.of(c.attack, c.attack) }
	slices.SortStableFunc(rules, func(x, y chosen) int { return cmp.Compare(weight(y), weight(x)) })
	together := func(without int) float64 {
		sum := make(set, len(w.pool.attack.all))
		for i, c := range rules {
			if i != without {
				sum = either(sum, c.attack)
			}
		}
		return a.share(a.of(sum, sum))
	}
	for i := len(rules) - 1; i >= 0 && len(rules) > 1; i-- {
		if all, fewer := together(-1), together(i); fewer == all || fewer >= wanted {
			rules = slices.Delete(rules, i, i+1)
		}
	}
	return rules
}

// report measures the rules by what rules match, at the rates as they came.
func (w *work) report(rules []chosen, s *search) Set {
	a, n := w.pool.attack, w.pool.normal
	var out Set
	attack, normal := make(set, len(a.all)), make(set, len(n.all))
	var list []traffic.Rule
	for i, c := range rules {
		r := w.rule(c.conditions)
		hit, cost := a.matched(&r), n.matched(&r)
		found := w.measure(hit, cost, []traffic.Rule{r})
		found.Rule = r
		found.Text = describe(&found)
		if i >= w.options.MaxRules {
			out.Left = append(out.Left, found)
			continue
		}
		out.Rules = append(out.Rules, found)
		attack, normal = either(attack, hit), either(normal, cost)
		list = append(list, r)
	}
	sum := w.measure(attack, normal, list)
	out.Coverage, out.Collateral, out.CollateralAtMost = sum.Coverage, sum.Collateral, sum.CollateralAtMost
	out.Why = w.shortfall(&out, s)
	if out.Coverage < worthwhile {
		out.Indistinguishable = true
		out.Left = append(out.Rules, out.Left...)
		out.Rules, out.Coverage, out.Collateral, out.CollateralAtMost = nil, 0, 0, 0
	}
	return out
}

// rule makes the rule of conditions.
func (w *work) rule(conditions []*condition) traffic.Rule {
	r := traffic.Rule{Actions: slices.Clone(w.options.Actions)}
	if w.outgoing {
		r.Source = w.target.Masked()
	} else {
		r.Destination = w.target.Masked()
	}
	for _, k := range conditions {
		k.apply(&r, w.outgoing)
	}
	slices.SortFunc(r.Payload, func(x, y traffic.Payload) int { return cmp.Compare(x.Offset, y.Offset) })
	return r.Canonical()
}

// measure returns the shares of what rules match together.
func (w *work) measure(attack, normal set, rules []traffic.Rule) Found {
	a, n := w.pool.attack, w.pool.normal
	share := func(t *table, s set) float64 {
		all := t.exact(t.all)
		if all == 0 {
			return 0
		}
		return t.exact(s) / all
	}
	var f Found
	f.Collateral = share(n, normal)
	background := w.options.Background
	f.Coverage = min(1, max(0, (share(a, attack)-background*f.Collateral)/(1-background)))
	f.CoverageAtLeast, _ = wilson(f.Coverage, a.effective()*(1-background))
	_, f.CollateralAtMost = wilson(f.Collateral, n.effective())
	if w.options.Baseline != nil {
		f.CollateralAtMost = max(f.Collateral, min(f.CollateralAtMost, w.options.Baseline.Bound(rules)))
	}
	return f
}

// shortfall says in a sentence why a set does less than was asked for; empty: it does not.
func (w *work) shortfall(found *Set, s *search) string {
	if found.Coverage >= w.options.Coverage {
		return ""
	}
	limit := percent(w.options.Collateral)
	if len(found.Left) > 0 {
		return fmt.Sprintf("%d rules stop %s of the attack; %d more did not fit in the budget", len(found.Rules), percent(found.Coverage), len(found.Left))
	}
	cost := "no rule stops 90 % of it"
	if s.cheapest <= 1 {
		cost = fmt.Sprintf("a rule that stops %s of it would stop %s of normal traffic, too", percent(s.cheapestShare), percent(s.cheapest))
	}
	if found.Coverage < worthwhile {
		return fmt.Sprintf("the attack looks like normal traffic: rules that cost at most %s of that stop %s of the attack; %s", limit, percent(found.Coverage), cost)
	}
	return fmt.Sprintf("rules that cost at most %s of normal traffic stop %s of the attack, and the rest looks like normal traffic; %s", limit, percent(found.Coverage), cost)
}
