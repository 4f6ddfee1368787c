// Package respond keeps the rules that the rungs of ladders ask for: which are in force, what each has met, and which are proven.
package respond

import (
	"cmp"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// Purpose is what an automatic rule is there for.
type Purpose uint8

const (
	Filter Purpose = iota // an analysis has found it
	Limit                 // the whole target is limited
	Count                 // in shadow: it counts all that arrives, which other rules are held against
)

// Rule is a rule that a rung of a ladder has put in force.
type Rule struct {
	ID      uint64
	Attack  string // its identifier
	Text    string // of Rule
	Target  traffic.Target
	Rule    traffic.Rule
	Purpose Purpose
	Shadow  bool // it counts, and does nothing else
	Proven  bool // in shadow at first, and then in force: live traffic has confirmed it
	Since   time.Time
	Rate    traffic.Count // that it has met per second, as of the last reading

	coverage, collateral float64 // as the analysis has measured them
	normal               int     // the ordinary samples that collateral was measured on

	hits traffic.Count // since the rule's number was first used
	upTo time.Time     // of hits; zero: they were never read
}

// key tells rules apart.
type key struct{ attack, text string }

func (r *Rule) key() key { return key{r.Attack, r.Text} }

// Book is the automatic rules. One goroutine uses it.
type Book struct {
	room    int
	list    []*Rule
	refused map[key]bool // were taken out by hand
	left    []*Rule
}

// New returns an empty book for a kernel that has room for so many rules.
func New(room int) *Book { return &Book{room: room, refused: map[key]bool{}} }

// Rules returns the rules, in the order in which they are to be looked at. They are the book's own.
func (b *Book) Rules() []*Rule { return b.list }

// Left returns the rules that there is no room for, those that stop least first.
func (b *Book) Left() []*Rule { return b.left }

// Want makes the rules those that the bans in force ask for, beside so many by hand, and reports whether anything has changed: what is new has a
// number from next. Of an attack, filters come before its limit, so that what they drop does not use it up.
func (b *Book) Want(now time.Time, bans []traffic.Record, byHand int, next func() uint64) (changed bool) {
	known := map[key]*Rule{}
	for _, r := range b.list {
		known[r.key()] = r
	}
	bans = slices.Clone(bans)
	slices.SortFunc(bans, func(x, y traffic.Record) int { return cmp.Compare(x.Attack.ID, y.Attack.ID) })
	var wanted []*Rule
	for i := range bans {
		for _, r := range rulesOf(&bans[i]) {
			if b.refused[r.key()] {
				continue
			}
			if old := known[r.key()]; old != nil {
				shadow := r.Shadow && !old.Proven
				changed = changed || old.Shadow != shadow
				old.Shadow, old.coverage, old.collateral, old.normal = shadow, r.coverage, r.collateral, r.normal
				r = old
			}
			wanted = append(wanted, r)
		}
	}
	wanted = b.fitting(wanted, byHand)
	for _, r := range wanted {
		if r.Since.IsZero() {
			r.ID, r.Since = next(), now
		}
	}
	changed = changed || !slices.Equal(wanted, b.list)
	b.list = wanted
	return changed
}

// fitting leaves out what there is no room for: the rules that stop least.
func (b *Book) fitting(wanted []*Rule, byHand int) []*Rule {
	b.left = nil
	over := len(wanted) + byHand - b.room
	if over <= 0 {
		return wanted
	}
	worst := slices.SortedStableFunc(slices.Values(wanted), func(x, y *Rule) int { return cmp.Compare(x.coverage, y.coverage) })
	b.left = worst[:min(over, len(worst))]
	out := make(map[*Rule]bool, len(b.left))
	for _, r := range b.left {
		out[r] = true
	}
	return slices.DeleteFunc(wanted, func(r *Rule) bool { return out[r] })
}

// rulesOf are the rules that a ban's response asks for.
func rulesOf(r *traffic.Record) []*Rule {
	t, response := r.Attack.Target, r.Ban.Response
	if response == nil || t.Scope == traffic.ScopeGroup {
		return nil
	}
	var out []*Rule
	add := func(rule traffic.Rule, why Purpose, shadow bool) *Rule {
		a := &Rule{Attack: r.Attack.ID, Text: rule.String(), Target: t, Rule: rule, Purpose: why, Shadow: shadow, coverage: 1}
		out = append(out, a)
		return a
	}
	if is := r.Attack.Analysis; response.Rules != traffic.RulesUnused && is != nil {
		for _, m := range is.Rules.Rules {
			rule, err := traffic.ParseRule(m.Rule)
			if err != nil {
				continue // an analysis writes what it can read; another version may have written this one
			}
			a := add(rule, Filter, response.Rules == traffic.RulesShadow)
			a.coverage, a.collateral, a.normal = m.Coverage, m.Collateral, is.Normal
		}
		if response.Rules == traffic.RulesShadow && len(out) > 0 {
			add(whole(t, traffic.RuleAction{Kind: traffic.RuleDiscard}), Count, true)
		}
	}
	var limits []traffic.RuleAction
	if response.LimitBytes > 0 {
		limits = append(limits, traffic.RuleAction{Kind: traffic.RuleRateBytes, Rate: float32(response.LimitBytes)})
	}
	if response.LimitPackets > 0 {
		limits = append(limits, traffic.RuleAction{Kind: traffic.RuleRatePackets, Rate: float32(response.LimitPackets)})
	}
	if len(limits) > 0 {
		add(whole(t, limits...), Limit, false)
	}
	return out
}

// whole is a rule that every packet to an attacked target meets, or from an attacking one.
func whole(t traffic.Target, actions ...traffic.RuleAction) traffic.Rule {
	rule := traffic.Rule{Destination: t.Prefix, Actions: actions}
	if t.Direction == traffic.Outgoing {
		rule.Destination, rule.Source = rule.Source, rule.Destination
	}
	return rule
}

// Remove takes rules out by their numbers, or all of them, for as long as their attacks last.
func (b *Book) Remove(ids []uint64, all bool) {
	b.list = slices.DeleteFunc(b.list, func(r *Rule) bool {
		if !all && !slices.Contains(ids, r.ID) {
			return false
		}
		b.refused[r.key()] = true
		return true
	})
}

// Forget drops what is kept of an attack that is over.
func (b *Book) Forget(attack string) {
	for k := range b.refused {
		if k.attack == attack {
			delete(b.refused, k)
		}
	}
}
