// Package mitigate is the life of an attack: from what the detector says and what the policy allows it decides what is blocked, for how long, and who is told.
package mitigate

import (
	"cmp"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// attack is one attack that is being followed, or one ban by hand.
type attack struct {
	traffic.Record
	key       key
	group     string    // the hostgroup whose policy holds; empty for a ban by hand that no threshold was crossed for
	ongoing   bool      // the detector says that it is over a threshold
	confirmBy time.Time // restored: over by then unless the detector sees it again; zero: seen
	why       Refusal   // behind Held
	words     string    // of a hook, behind RefusalHook
	refused   [RefusalCount]bool
	refresh   time.Time // when the record, and the kernel's rule with it, is renewed
	details   time.Time // when the script is given the details; zero: not, or done
	updated   time.Time // of Rate
	ladder    position
}

// expired reports whether nothing holds the ban any more.
func (a *attack) expired(now time.Time) bool {
	return a.Ban.Active() && !a.ongoing && !a.Ban.Until.IsZero() && !now.Before(a.Ban.Until) && !a.mayBeHidden()
}

// phase says where the attack is in its life, by what is true of it.
func (a *attack) phase() traffic.Phase {
	switch {
	case !a.ongoing && !a.Ban.Active():
		return traffic.PhaseOver
	case !a.ongoing && !a.Attack.Manual:
		return traffic.PhaseCooling
	case a.Ban.Mitigates():
		return traffic.PhaseMitigated
	}
	return traffic.PhaseActive
}

// Manager follows all attacks. Its methods return the steps to take, in order. It is not safe for concurrent use.
type Manager struct {
	policy   Policy
	now      time.Time // never goes back
	due      time.Time // when Tick has something to do; zero: never
	ids      ids
	attacks  map[key]*attack
	suspects map[key]traffic.Target
	holdOff  map[key]time.Time
	again    map[key]again // of targets whose attack was hidden until a moment ago
	recent   []time.Time   // when the automatic bans of the last minute began
	bans     int           // in force
	history  []traffic.Record
	stats    Stats
	steps    []Step
}

// New returns a Manager without attacks.
func New(p Policy) *Manager {
	return &Manager{
		policy:   p.withDefaults(),
		attacks:  map[key]*attack{},
		suspects: map[key]traffic.Target{},
		holdOff:  map[key]time.Time{},
		again:    map[key]again{},
	}
}

// Handle takes what the detector has seen, with the target's rates now.
func (m *Manager) Handle(now time.Time, e traffic.Event, rates traffic.TwoWay) []Step {
	m.enter(now)
	k := keyOf(e.Target)
	a := m.attacks[k]
	switch {
	case !valid(e.Target):
		m.stats.Ignored++
	case e.Kind == traffic.EventSuspected:
		m.suspect(k, e.Target)
	case e.Kind == traffic.EventCleared:
		if a == nil || !a.ongoing {
			m.unsuspect(k)
		}
	case e.Kind == traffic.EventStarted && a == nil:
		m.begin(k, e, rates)
	case e.Kind == traffic.EventStarted:
		m.resume(a, e, rates)
	case e.Kind == traffic.EventEnded && a != nil && a.ongoing:
		m.end(a, e.At)
	default:
		m.stats.Ignored++
	}
	return m.leave()
}

// Tick does what is due: it renews kernel rules, lifts bans whose time is over, and bans what a guard held back and does so no longer.
// Between two deadlines it costs one comparison.
func (m *Manager) Tick(now time.Time) []Step {
	m.enter(now)
	if m.due.IsZero() || m.now.Before(m.due) {
		return nil
	}
	m.due = time.Time{}
	m.forget()
	for _, a := range m.sorted() {
		m.tick(a)
	}
	return m.leave()
}

// tick does what is due for one attack and notes when something is due again.
func (m *Manager) tick(a *attack) {
	if !a.confirmBy.IsZero() && !m.now.Before(a.confirmBy) {
		m.stats.Unconfirmed++
		m.end(a, m.now)
		if a.Attack.Phase == traffic.PhaseOver {
			return
		}
	}
	if a.expired(m.now) {
		m.lift(a, RefusalNone, "ban lifted: its time is over and the attack has ended")
		return
	}
	if a.why.temporary() {
		m.decide(a)
	}
	m.move(a)
	if !a.details.IsZero() && !m.now.Before(a.details) {
		a.details = time.Time{}
		m.notify(a, ActionDetails)
	}
	// Renewing a little early lets the rules of many bans be renewed by one pass.
	if early := m.policy.RuleTime / 8; !m.now.Before(a.refresh.Add(-early)) {
		m.renew(a)
	}
	m.schedule(a)
}

// renew persists the attack's figures and prolongs its kernel rule.
func (m *Manager) renew(a *attack) {
	a.refresh = m.now.Add(m.policy.RuleTime / 2)
	m.record(a)
	if a.Ban.Drops() {
		m.stats.Renewals++
		m.block(a)
	}
}

// Update keeps the figures of a target's attack current: rates are per second, since the last Update; passing is what of them, in the attack's
// direction, nothing holds back. Targets that are not under attack are ignored.
func (m *Manager) Update(now time.Time, target traffic.Target, rates traffic.TwoWay, passing traffic.Counts) []Step {
	m.enter(now)
	a := m.attacks[keyOf(target)]
	if a == nil {
		return nil
	}
	if a.ongoing || a.Attack.Manual {
		measure(&a.Attack, rates, m.now.Sub(a.updated))
	} else {
		a.Attack.Rate = rates
	}
	a.updated = m.now
	a.ladder.passing = passing
	m.move(a)
	if a.expired(m.now) {
		m.wake(m.now)
	}
	return m.leave()
}

// Describe keeps what a target's attack is made of. Targets that are not under attack are ignored.
func (m *Manager) Describe(now time.Time, target traffic.Target, is *traffic.Analysis) []Step {
	m.enter(now)
	if a := m.attacks[keyOf(target)]; a != nil {
		a.Attack.Analysis = is
		m.record(a)
		m.move(a)
	}
	return m.leave()
}

// Attacks returns the attacks being followed and those remembered, newest first.
func (m *Manager) Attacks() []traffic.Record {
	out := slices.Clone(m.history)
	for _, a := range m.attacks {
		out = append(out, a.Record)
	}
	return newestFirst(out)
}

// Bans returns the attacks whose ban is in force, newest first.
func (m *Manager) Bans() []traffic.Record {
	var out []traffic.Record
	for _, a := range m.attacks {
		if a.Ban.Active() {
			out = append(out, a.Record)
		}
	}
	return newestFirst(out)
}

func newestFirst(rs []traffic.Record) []traffic.Record {
	slices.SortFunc(rs, func(a, b traffic.Record) int { return cmp.Compare(b.Attack.ID, a.Attack.ID) })
	return rs
}

// sorted returns the attacks being followed, oldest first: what is decided must not depend on the order of a map.
func (m *Manager) sorted() []*attack {
	out := make([]*attack, 0, len(m.attacks))
	for _, a := range m.attacks {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b *attack) int { return cmp.Compare(a.Attack.ID, b.Attack.ID) })
	return out
}

// forget drops what no longer counts for the budget of new bans, and hold-offs that are over.
func (m *Manager) forget() {
	m.recent = slices.DeleteFunc(m.recent, func(t time.Time) bool { return m.now.Sub(t) >= time.Minute })
	for k, until := range m.holdOff {
		if !m.now.Before(until) {
			delete(m.holdOff, k)
		}
	}
	for k, last := range m.again {
		if !m.now.Before(last.until) {
			delete(m.again, k)
		}
	}
}

func (m *Manager) enter(now time.Time) {
	if now.After(m.now) {
		m.now = now
	}
}

func (m *Manager) leave() []Step {
	steps := m.steps
	m.steps = nil
	return steps
}

// wake makes Tick look again at t at the latest.
func (m *Manager) wake(t time.Time) {
	if !t.IsZero() && (m.due.IsZero() || t.Before(m.due)) {
		m.due = t
	}
}

// schedule makes Tick look again when the attack's next deadline comes.
func (m *Manager) schedule(a *attack) {
	m.wake(a.refresh)
	m.wake(a.details)
	m.wake(a.confirmBy)
	if a.Ban.Active() && !a.ongoing && !a.mayBeHidden() {
		m.wake(a.Ban.Until)
	}
	if a.why.temporary() {
		m.wake(a.HeldUntil)
	}
}
