package mitigate

import (
	"time"

	"weir/userspace/traffic"
)

// suspect raises the sampling rate of a target, once.
func (m *Manager) suspect(k key, t traffic.Target) {
	if _, known := m.suspects[k]; known || m.neverBan(k) {
		return
	}
	if len(m.suspects) >= m.policy.MaxTracked {
		m.stats.Refused[RefusalMaxTracked]++
		return
	}
	m.suspects[k] = t
	m.steps = append(m.steps, Step{Kind: StepSuspect, Target: t, On: true})
}

func (m *Manager) unsuspect(k key) {
	if t, known := m.suspects[k]; known {
		delete(m.suspects, k)
		m.steps = append(m.steps, Step{Kind: StepSuspect, Target: t})
	}
}

// begin follows a new attack.
func (m *Manager) begin(k key, e traffic.Event, rates traffic.TwoWay) {
	if len(m.attacks) >= m.policy.MaxTracked {
		m.stats.Refused[RefusalMaxTracked]++
		return
	}
	if ask := m.policy.Hooks.Threshold; ask != nil {
		if veto, _ := ask(&e); veto {
			m.stats.Vetoed++
			m.steps = append(m.steps, Step{Kind: StepLog, Target: e.Target, Message: "threshold crossed, but the hook is against it"})
			return
		}
	}
	m.stats.Attacks++
	detected := notAfter(e.At, m.now)
	started := notAfter(e.Started, detected)
	a := &attack{
		key: k, group: e.Target.Group, ongoing: true, updated: m.now,
		Record: traffic.Record{Attack: traffic.Attack{
			ID: m.ids.next(m.now), Target: e.Target, Trip: e.Trip, Phase: traffic.PhaseActive,
			Started: started, Detected: detected, Hosts: e.Hosts,
		}},
		refresh: m.now.Add(m.policy.RuleTime / 2),
	}
	measure(&a.Attack, rates, m.now.Sub(started))
	m.attacks[k] = a
	m.decide(a)
	m.suspect(k, e.Target)
	m.schedule(a)
}

// resume takes an attack that starts while it is being followed: it had ended but its ban still holds, its target was banned by hand, or it was restored.
func (m *Manager) resume(a *attack, e traffic.Event, rates traffic.TwoWay) {
	if a.ongoing && a.confirmBy.IsZero() {
		m.stats.Ignored++
		return
	}
	a.ongoing, a.confirmBy, a.group = true, time.Time{}, e.Target.Group
	a.Attack.Ended = time.Time{}
	a.Attack.Hosts = max(a.Attack.Hosts, e.Hosts)
	if a.Attack.Manual {
		m.stats.Attacks++
		a.Attack.Manual, a.Attack.Trip = false, e.Trip
	}
	measure(&a.Attack, rates, 0)
	a.updated = m.now
	a.Attack.Phase = a.phase()
	if a.Ban.Active() {
		m.record(a)
		m.log(a, "attack goes on")
		if !a.ladder.look.IsZero() {
			a.ladder.passing = *inDirection(&a.Attack, &rates)
			m.move(a)
		}
	} else {
		m.decide(a)
	}
	m.suspect(a.key, e.Target)
	m.schedule(a)
}

// end takes the end of an attack. Its ban stays until its time is over.
func (m *Manager) end(a *attack, at time.Time) {
	a.ongoing, a.confirmBy = false, time.Time{}
	a.Attack.Ended = notAfter(at, m.now)
	if a.Attack.Ended.Before(a.Attack.Detected) {
		a.Attack.Ended = a.Attack.Detected
	}
	m.unsuspect(a.key)
	switch {
	case a.expired(m.now):
		m.lift(a, RefusalNone, "ban lifted: its time is over and the attack has ended")
	case a.Ban.Active():
		a.Attack.Phase = a.phase()
		m.record(a)
		m.log(a, "attack ended, its ban holds on")
		m.schedule(a)
	default:
		m.finish(a, "attack ended")
	}
}

// decide bans the target of an attack, or says why not.
func (m *Manager) decide(a *attack) {
	if a.Ban.Active() || !a.ongoing || !a.confirmBy.IsZero() {
		return
	}
	if why := m.refusal(a); why != RefusalNone {
		m.hold(a, why)
		return
	}
	g := m.policy.group(a.group)
	ban := m.planned(a, &g)
	if m.amended(a, &g, &ban) {
		return
	}
	m.recent = append(m.recent, m.now)
	m.stats.AutoBans++
	m.engage(a, ban)
	if a.Ban.Notified && m.policy.DetailsAfter >= 0 {
		a.details = m.now.Add(m.policy.DetailsAfter)
		m.schedule(a)
	}
}

// planned is the ban that an attack is about to get: by its hostgroup's ladder, or by its actions.
func (m *Manager) planned(a *attack, g *GroupPolicy) traffic.Ban {
	ban := traffic.Ban{Drop: g.Drop && a.Attack.Target.Scope != traffic.ScopeGroup, Notified: g.Notify}
	if held := m.banTime(a, g); held >= 0 {
		ban.Until = m.now.Add(held)
	}
	if len(g.Ladder) > 0 {
		rung, why := m.firstRung(a, g)
		a.climb(g, &ban, rung, why, m.now)
	}
	return ban
}

// climb puts a ban that is not in force yet on a rung.
func (a *attack) climb(g *GroupPolicy, ban *traffic.Ban, rung int, why string, now time.Time) {
	a.Ban = traffic.Ban{}
	a.take(g, rung, now, why, false)
	ban.Drop, ban.Response, ban.Notified = a.Ban.Drop, a.Ban.Response, g.Ladder[rung].Notify
	a.Ban = traffic.Ban{}
}

// amended asks the hooks about a ban, and takes over what they change; true: they are against it, and the attack is held.
func (m *Manager) amended(a *attack, g *GroupPolicy, ban *traffic.Ban) (held bool) {
	hooks := &m.policy.Hooks
	if hooks.Attack != nil {
		if veto, why := hooks.Attack(&a.Attack); veto {
			m.holdBecause(a, RefusalHook, why)
			return true
		}
	}
	if hooks.Mitigate == nil {
		return false
	}
	plan := a.Record
	plan.Ban = *ban
	plan.Ban.Since, plan.Ban.DryRun = m.now, m.policy.DryRun
	change := hooks.Mitigate(&plan)
	if change.Veto {
		m.holdBecause(a, RefusalHook, change.Why)
		return true
	}
	if change.Rung > 0 && change.Rung <= len(g.Ladder) {
		a.climb(g, ban, change.Rung-1, "the hook: "+change.Why, m.now)
	}
	if change.Drop != nil {
		ban.Drop = *change.Drop && a.Attack.Target.Scope != traffic.ScopeGroup
	}
	if change.Notify != nil {
		ban.Notified = *change.Notify
	}
	if t := change.BanTime; t != nil {
		ban.Until = time.Time{}
		if *t > 0 {
			ban.Until = m.now.Add(*t)
		}
	}
	ban.Communities = change.Communities
	return false
}

// holdBecause holds an attack for a reason with words of its own.
func (m *Manager) holdBecause(a *attack, why Refusal, words string) {
	if words != "" && !a.refused[why] {
		a.words = words
	}
	m.hold(a, why)
}

// refusal says which guard keeps the attack's target from being banned automatically.
func (m *Manager) refusal(a *attack) Refusal {
	m.forget()
	g := m.policy.group(a.group)
	host := a.Attack.Target.Scope != traffic.ScopeGroup
	switch {
	case m.neverBan(a.key):
		return RefusalNeverBan
	case !m.ours(a.key):
		return RefusalNotOurs
	case m.policy.KillSwitch:
		return RefusalKillSwitch
	case len(g.Ladder) == 0 && !g.Drop && !g.Notify && !g.Announce:
		return RefusalNoAction
	case len(g.Ladder) == 0 && !host && !g.Notify && !g.Announce:
		return RefusalGroup
	case m.now.Before(m.holdOff[a.key]):
		return RefusalHoldOff
	case m.bans >= m.policy.MaxActive:
		return RefusalMaxActive
	case len(m.recent) >= m.policy.MaxPerMinute:
		return RefusalMaxPerMinute
	}
	return RefusalNone
}

func (m *Manager) neverBan(k key) bool { return k.prefix.IsValid() && m.policy.NeverBan(k.prefix) }

// ours reports whether the target may be banned at all: a prefix inside our networks, or a hostgroup that there is.
func (m *Manager) ours(k key) bool {
	if k.prefix.IsValid() {
		return m.policy.Contains(k.prefix)
	}
	_, known := m.policy.Groups[k.group]
	return known || k.group == fallbackGroup
}

// hold notes why nothing is done. Each reason is counted, persisted and said once per attack: two budgets that take turns must not fill the log.
func (m *Manager) hold(a *attack, why Refusal) {
	a.why, a.Held, a.HeldUntil = why, refusalTexts[why], time.Time{}
	if why == RefusalHook && a.words != "" {
		a.Held += ": " + a.words
	}
	switch {
	case why == RefusalHoldOff:
		a.HeldUntil = m.holdOff[a.key]
	case why == RefusalMaxPerMinute:
		a.HeldUntil = m.recent[0].Add(time.Minute)
	}
	a.Attack.Phase = a.phase()
	m.schedule(a)
	if a.refused[why] {
		return
	}
	a.refused[why] = true
	m.stats.Refused[why]++
	m.record(a)
	m.log(a, "attack held: nothing is done about it")
}

// engage puts a ban in force; ban.Notified says whether the script is wanted.
func (m *Manager) engage(a *attack, ban traffic.Ban) {
	ban.Since, ban.DryRun = m.now, m.policy.DryRun
	ban.Notified = ban.Notified && (!ban.DryRun || m.policy.DryRunNotify)
	rate := inDirection(&a.Attack, &a.Attack.Rate)
	ban.Power = rate.Total.Packets
	m.bans++
	a.Ban, a.why, a.Held, a.HeldUntil = ban, RefusalNone, "", time.Time{}
	if ban.DryRun {
		a.Held = dryRunText
	}
	a.refused = [RefusalCount]bool{}
	a.refresh = m.now.Add(m.policy.RuleTime / 2)
	a.details = time.Time{}
	a.Attack.Phase = a.phase()
	m.record(a)
	if a.Ban.Drops() {
		m.block(a)
	}
	if ban.Notified {
		m.notify(a, ActionBan)
	}
	m.log(a, "target banned")
	m.schedule(a)
}

// lift takes a ban off. An attack that goes on is followed further, held for the reason why; one that has ended is over.
func (m *Manager) lift(a *attack, why Refusal, message string) {
	dropped := a.Ban.Drops()
	m.remember(a)
	m.bans--
	m.stats.Lifted++
	a.Ban.Lifted = m.now
	a.details = time.Time{}
	a.why, a.Held, a.HeldUntil = why, refusalTexts[why], time.Time{}
	if why == RefusalHoldOff {
		a.HeldUntil = m.holdOff[a.key]
	}
	if why != RefusalNone && a.ongoing && !a.refused[why] {
		a.refused[why] = true
		m.stats.Refused[why]++
	}
	if a.Attack.Phase = a.phase(); a.Attack.Phase == traffic.PhaseOver {
		m.close(a)
	}
	m.record(a)
	if dropped {
		m.steps = append(m.steps, Step{Kind: StepRelease, Target: a.Attack.Target, Record: a.Record})
	}
	if a.Ban.Notified {
		m.notify(a, ActionUnban)
	}
	m.log(a, message)
	m.wake(m.now) // someone else may have waited for the place
}

// finish ends the life of an attack that has no ban.
func (m *Manager) finish(a *attack, message string) {
	a.Attack.Phase = traffic.PhaseOver
	m.close(a)
	m.record(a)
	m.log(a, message)
}

// close moves an attack that is over from those being followed to those remembered.
func (m *Manager) close(a *attack) {
	if a.Attack.Ended.IsZero() {
		a.Attack.Ended = m.now
	}
	a.Held, a.HeldUntil, a.why = "", time.Time{}, RefusalNone
	delete(m.attacks, a.key)
	if over := len(m.history) + 1 - m.policy.History; over > 0 {
		m.history = append(m.history[:0], m.history[over:]...)
	}
	m.history = append(m.history, a.Record)
}

func (m *Manager) record(a *attack) {
	m.steps = append(m.steps, Step{Kind: StepRecord, Target: a.Attack.Target, Record: a.Record})
}

func (m *Manager) block(a *attack) {
	m.steps = append(m.steps, Step{Kind: StepBlock, Target: a.Attack.Target, Record: a.Record, Until: m.now.Add(m.policy.RuleTime)})
}

func (m *Manager) notify(a *attack, action string) {
	m.steps = append(m.steps, Step{Kind: StepNotify, Target: a.Attack.Target, Record: a.Record, Action: action})
}

func (m *Manager) log(a *attack, message string) {
	m.steps = append(m.steps, Step{Kind: StepLog, Target: a.Attack.Target, Record: a.Record, Message: message})
}

// notAfter returns t, or limit when t is unknown or later: no attack ends before it begins, whatever the clocks say.
func notAfter(t, limit time.Time) time.Time {
	if t.IsZero() || t.After(limit) {
		return limit
	}
	return t
}
