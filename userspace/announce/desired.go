package announce

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"weir/userspace/traffic"
)

// wish is a prefix or rule that somebody is to be told, before it is known who.
type wish struct {
	owner, action string
	prefix        netip.Prefix // what is announced, or the destination of rule
	rule          *traffic.Rule
	to            []Attributes
}

// kindOfWish tells wishes apart: an action announces a prefix once, however many attacks are on it.
type kindOfWish struct {
	action string
	prefix netip.Prefix
	rule   int // 0: none; else its number in the action, from 1
}

// maker collects what is wanted and what is refused.
type maker struct {
	policy  *Policy
	guards  Guards
	seen    map[kindOfWish]bool
	wishes  []wish
	refused []Refused
	found   []traffic.Rule // that the analysis of the attack in hand has found, for routers

	communities []uint32 // that a hook has added to what is announced about it
}

// Desired returns all that is to be announced: by the bans in force among records, and what was announced by hand. Bans that are over, dry or
// not begun announce nothing. The result depends on what is given, not on its order: what was announced by hand comes first, then
// the oldest bans, so that new ones are what a maximum holds back. What shares memory with the arguments must not be changed.
func Desired(records []traffic.Record, byHand []traffic.Announcement, p Policy, g Guards) ([]traffic.Announcement, []Refused) {
	if p.Suspended {
		return nil, nil
	}
	m := newMaker(&p, g)
	active := inForce(records)
	m.seen, m.wishes = make(map[kindOfWish]bool, len(active)), make([]wish, 0, len(active))
	for _, r := range active {
		m.found, m.communities = found(&r.Attack), r.Ban.Communities
		for _, name := range m.responses(r) {
			m.act(r.Attack.ID, name, r.Attack.Target)
		}
	}
	m.found, m.communities = nil, nil
	m.aggregate()
	automatic := m.wishes
	m.wishes = nil
	for _, a := range sortedByKey(byHand) {
		m.spelled(a)
	}
	return m.assign(append(m.wishes, automatic...))
}

func newMaker(p *Policy, g Guards) *maker {
	if g.Contains == nil {
		g.Contains = func(netip.Prefix) bool { return false }
	}
	if g.NeverBan == nil {
		g.NeverBan = func(netip.Prefix) bool { return false }
	}
	if g.Network == nil {
		g.Network = func(netip.Addr) (netip.Prefix, bool) { return netip.Prefix{}, false }
	}
	if g.Group == nil {
		g.Group = func(netip.Addr) (string, bool) { return "", false }
	}
	return &maker{policy: p, guards: g, seen: map[kindOfWish]bool{}}
}

// inForce returns the records whose ban is in force, oldest first.
func inForce(records []traffic.Record) []*traffic.Record {
	var active []*traffic.Record
	for i := range records {
		if r := &records[i]; r.Ban.Active() && !r.Ban.DryRun {
			active = append(active, r)
		}
	}
	slices.SortFunc(active, func(a, b *traffic.Record) int {
		s, t := &a.Attack.Target, &b.Attack.Target
		return cmp.Or(
			a.Ban.Since.Compare(b.Ban.Since), cmp.Compare(a.Attack.ID, b.Attack.ID),
			cmp.Compare(s.Scope, t.Scope), s.Prefix.Compare(t.Prefix), cmp.Compare(s.Group, t.Group), cmp.Compare(s.Direction, t.Direction),
		)
	})
	return active
}

func sortedByKey(byHand []traffic.Announcement) []traffic.Announcement {
	keys := make(map[string]traffic.Announcement, len(byHand))
	for _, a := range byHand {
		keys[a.Key()] = a
	}
	sorted := make([]traffic.Announcement, 0, len(keys))
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		sorted = append(sorted, keys[key])
	}
	return sorted
}

// responses returns the names of what is done about an attack: those of the rung that it is on, or else of its hostgroup.
func (m *maker) responses(r *traffic.Record) []string {
	if r.Ban.Response != nil {
		return r.Ban.Response.Announce
	}
	return m.actions(r.Attack.Target)
}

// found are the rules for routers of an attack's analysis. One that cannot be read is of another version, which will find it again.
func found(a *traffic.Attack) (rules []traffic.Rule) {
	if a.Analysis == nil {
		return nil
	}
	for _, r := range a.Analysis.Router.Rules {
		if rule, err := traffic.ParseRule(r.Rule); err == nil {
			rules = append(rules, rule)
		}
	}
	return rules
}

// actions returns the names of what is done about a target. One that was banned by hand, where no threshold names a hostgroup,
// belongs to that of its first address.
func (m *maker) actions(t traffic.Target) []string {
	group := t.Group
	if group == "" && t.Scope != traffic.ScopeGroup && t.Prefix.IsValid() {
		group, _ = m.guards.Group(t.Prefix.Addr())
	}
	if names, ok := m.policy.Groups[group]; ok {
		return names
	}
	return m.policy.Groups[fallbackGroup]
}

// act wishes what an action announces about a target.
func (m *maker) act(owner, name string, t traffic.Target) {
	a, ok := m.policy.Actions[name]
	switch {
	case !ok:
		m.refuse(Refused{Owner: owner, Action: name, Route: t.String(), Why: NoAction,
			Detail: "there is no action " + name + "; add it to the configuration"})
	case t.Direction > traffic.Outgoing || !a.Directions[t.Direction]:
	case t.Scope == traffic.ScopeGroup:
		for _, prefix := range a.GroupPrefixes {
			m.wish(owner, name, &a, netip.Prefix{}, prefix)
		}
	default:
		m.wish(owner, name, &a, t.Prefix, m.widened(t.Prefix, &a))
	}
}

// widened returns the prefix that is announced for a target.
func (m *maker) widened(target netip.Prefix, a *Action) netip.Prefix {
	if !target.IsValid() {
		return target
	}
	length := a.Length[family(target.Addr())]
	if length == LengthNetwork {
		network, ok := m.guards.Network(target.Addr())
		if !ok {
			return target
		}
		length = network.Bits()
	}
	if length <= 0 || length >= target.Bits() {
		return target
	}
	return netip.PrefixFrom(target.Addr(), length).Masked()
}

// wish takes what an action announces about a target, which is zero for a hostgroup as a whole, if the guards let it.
func (m *maker) wish(owner, name string, a *Action, target, prefix netip.Prefix) {
	if why := m.guard(a, target, prefix); why != nil {
		why.Owner, why.Action = owner, name
		m.refuse(*why)
		return
	}
	if a.Kind != FlowSpec {
		m.add(kindOfWish{name, prefix, 0}, wish{owner: owner, action: name, prefix: prefix, to: a.Announcements})
		return
	}
	rules := a.Rules
	if a.Found {
		rules = slices.Concat(a.Rules, m.found)
	}
	for i := range rules {
		rule := rules[i]
		if version := rule.Family(); version != 0 && version != 4+2*family(prefix.Addr()) {
			continue // meant for targets of the other IP version
		}
		rule.Version, rule.Destination, rule.DestinationOffset = 0, prefix, 0
		if why := m.guardRule(&rule); why != nil {
			why.Owner, why.Action = owner, name
			m.refuse(*why)
			continue
		}
		m.add(kindOfWish{name, prefix, i + 1}, wish{owner: owner, action: name, prefix: prefix, rule: &rule, to: a.Announcements})
	}
}

func (m *maker) add(k kindOfWish, w wish) {
	if m.seen[k] {
		return
	}
	m.seen[k] = true
	if len(m.communities) > 0 {
		w.to = slices.Clone(w.to)
		for i := range w.to {
			w.to[i].Communities = slices.Compact(slices.Sorted(slices.Values(slices.Concat(w.to[i].Communities, m.communities))))
		}
	}
	m.wishes = append(m.wishes, w)
}

func (m *maker) refuse(r Refused) { m.refused = append(m.refused, r) }

// spelled wishes what was announced by hand, past the same guards: networks may have changed since.
func (m *maker) spelled(a traffic.Announcement) {
	if why := m.guardSpelled(a); why != nil {
		m.refuse(*why)
		return
	}
	w := wish{owner: Manual, prefix: a.Prefix, rule: a.Rule}
	if w.rule != nil {
		w.prefix = w.rule.Destination
	}
	to := Attributes{
		Peers: a.Peers, Communities: a.Communities, LargeCommunities: a.LargeCommunities, ExtendedCommunities: a.ExtendedCommunities,
		LocalPref: a.LocalPref, MED: a.MED, Prepend: a.Prepend,
	}
	to.NextHop[family(w.prefix.Addr())] = a.NextHop
	w.to = []Attributes{to}
	m.wishes = append(m.wishes, w)
}
