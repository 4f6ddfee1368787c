package mitigate

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// Restore takes over what was in force before a restart: it is called once, before any event. Bans are blocked again at once and the script is not
// told a second time. Attacks go on, and are over unless the detector sees them again within the policy's Confirm; until then nothing new is done about them.
// What the policy no longer allows is lifted. Records of attacks that are over are only remembered.
func (m *Manager) Restore(now time.Time, records []traffic.Record) []Step {
	m.enter(now)
	records = slices.Clone(records)
	slices.SortFunc(records, func(a, b traffic.Record) int { return cmp.Compare(a.Attack.ID, b.Attack.ID) })
	for _, r := range records {
		m.ids.seen(r.Attack.ID)
		k := keyOf(r.Attack.Target)
		switch {
		case !valid(r.Attack.Target) || r.Attack.ID == "" || r.Attack.Phase >= traffic.PhaseCount:
			m.stats.Unreadable++
		case r.Attack.Phase == traffic.PhaseOver:
			m.history = append(m.history, r)
		case m.attacks[k] != nil:
			m.stats.Unreadable++ // two lives of one target: the older one is kept
		default:
			m.adopt(k, r)
		}
	}
	if over := len(m.history) - m.policy.History; over > 0 {
		m.history = slices.Clone(m.history[over:])
	}
	return m.leave()
}

// adopt follows an attack of a former run.
func (m *Manager) adopt(k key, r traffic.Record) {
	shift(&r, m.now)
	a := &attack{
		Record: r, key: k, group: r.Attack.Target.Group, updated: m.now,
		ongoing: !r.Attack.Manual && r.Attack.Phase != traffic.PhaseCooling,
		refresh: m.now.Add(m.policy.RuleTime / 2),
	}
	if on := r.Ban.Response; on != nil {
		a.ladder = position{rung: max(on.Rung-1, 0), hold: DefaultHold}
		if ladder := m.policy.group(a.group).Ladder; a.ladder.rung < len(ladder) {
			a.ladder.hold = ladder[a.ladder.rung].hold()
		}
	}
	if a.ongoing {
		a.confirmBy = m.now.Add(m.policy.Confirm)
	}
	m.attacks[k] = a
	if m.now.Before(r.HeldUntil) && !a.Ban.Lifted.IsZero() {
		m.holdOff[k], a.why = r.HeldUntil, RefusalHoldOff
	}
	if !a.Ban.Active() && !a.ongoing {
		m.finish(a, "attack ended")
		return
	}
	if a.Ban.Active() {
		m.bans++
		m.stats.Restored++
	}
	a.Attack.Phase = a.phase()
	since := a.Ban.Since
	m.review(a)
	if m.attacks[k] == nil {
		return
	}
	if a.Ban.Drops() && a.Ban.Since.Equal(since) {
		m.block(a)
	}
	if a.ongoing {
		m.suspect(k, a.Attack.Target)
	}
	m.schedule(a)
}

// shift moves a ban from the future to now: the clock was wrong when it was written, or is now, and a ban must not hold for years.
func shift(r *traffic.Record, now time.Time) {
	ahead := r.Ban.Since.Sub(now)
	if r.Ban.Since.IsZero() || ahead <= 0 {
		return
	}
	r.Ban.Since = now
	if !r.Ban.Until.IsZero() {
		r.Ban.Until = r.Ban.Until.Add(-ahead)
	}
}

// SetPolicy puts a new policy in force: bans that it forbids (kill switch, never-ban list, networks no longer ours) are lifted, those that it would make
// dry or real are made so, the others stay as they are, and attacks that were held are decided about again.
func (m *Manager) SetPolicy(now time.Time, p Policy) []Step {
	m.enter(now)
	m.policy = p.withDefaults()
	for _, k := range slices.SortedFunc(maps.Keys(m.suspects), compareKeys) {
		if m.neverBan(k) || !m.ours(k) {
			m.unsuspect(k)
		}
	}
	for _, a := range m.sorted() {
		m.review(a)
	}
	if over := len(m.history) - m.policy.History; over > 0 {
		m.history = slices.Clone(m.history[over:])
	}
	m.wake(m.now)
	return m.leave()
}

// review holds an attack against the policy.
func (m *Manager) review(a *attack) {
	b := &a.Ban
	switch {
	case !m.ours(a.key):
		// No traffic of it will be counted any more: neither its end nor anything else would be seen.
		a.ongoing = false
		if b.Active() {
			m.lift(a, RefusalNotOurs, "ban lifted: not wholly inside our networks any more")
		} else {
			m.finish(a, "attack ended: not wholly inside our networks any more")
		}
	case b.Active() && m.policy.KillSwitch:
		m.lift(a, RefusalKillSwitch, "ban lifted: the kill switch is on")
	case b.Active() && m.neverBan(a.key):
		m.lift(a, RefusalNeverBan, "ban lifted: on the never-ban list")
	case a.expired(m.now):
		m.lift(a, RefusalNone, "ban lifted: its time is over and the attack has ended")
	case b.Active() && b.DryRun != m.policy.DryRun:
		m.remake(a)
	case b.Active() && !b.Manual:
		m.regroup(a)
	default:
		m.decide(a)
	}
}

// regroup gives a ban the response that its hostgroup has now: its ladder, or its actions, may be another than when it began.
func (m *Manager) regroup(a *attack) {
	g := m.policy.group(a.group)
	r := a.Ban.Response
	switch {
	case len(g.Ladder) == 0 && r == nil:
	case len(g.Ladder) == 0:
		dropped := a.Ban.Drops()
		a.Ban.Response, a.Ban.Drop = nil, g.Drop && a.Attack.Target.Scope != traffic.ScopeGroup
		a.Attack.Phase = a.phase()
		m.record(a)
		if a.Ban.Drops() && !dropped {
			m.block(a)
		} else if dropped && !a.Ban.Drops() {
			m.steps = append(m.steps, Step{Kind: StepRelease, Target: a.Attack.Target, Record: a.Record})
		}
	case r == nil:
		rung, why := m.firstRung(a, &g)
		m.respond(a, rung, why, false)
	default:
		rung := max(min(r.Rung, len(g.Ladder)), 1) - 1
		if a.ladder.rung = min(a.ladder.rung, rung); !g.Ladder[rung].is(r) {
			m.respond(a, rung, "the configuration has changed", false)
		}
	}
}

// is reports whether a rung is what a response does.
func (r *Rung) is(now *traffic.Response) bool {
	return r.Rules == now.Rules && r.LimitPackets == now.LimitPackets && r.LimitBytes == now.LimitBytes && r.Challenge == now.Challenge &&
		slices.Equal(r.Announce, now.Announce)
}

// remake makes a dry ban real or a real one dry.
func (m *Manager) remake(a *attack) {
	again := a.Ban
	if !again.Manual {
		m.lift(a, RefusalNone, "ban lifted: the dry run was turned on or off")
		m.decide(a)
		return
	}
	m.pause(a)
	again.Drop, again.Notified = m.policy.Manual.Drop, m.policy.Manual.Notify
	m.engage(a, again)
}

// pause undoes a ban by hand that is engaged again in the same breath.
func (m *Manager) pause(a *attack) {
	m.bans--
	dropped, notified := a.Ban.Drops(), a.Ban.Notified
	a.Ban.Lifted = m.now
	if dropped {
		m.steps = append(m.steps, Step{Kind: StepRelease, Target: a.Attack.Target, Record: a.Record})
	}
	if notified {
		m.notify(a, ActionUnban)
	}
}
