package mitigate

import (
	"fmt"
	"path"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// mostHistory bounds how many steps on a ladder a record tells of.
const mostHistory = 32

// position is where an attack is on its hostgroup's ladder, and what is known of how well that serves.
type position struct {
	passing traffic.Counts // per second, as last measured
	rung    int            // index in the ladder
	over    time.Time      // since when more passes than the next rung waits for; zero: it does not
	calm    time.Time      // since when what passes is calm; zero: it is not
	hold    time.Duration  // how long calm must last before the rung below is tried
	look    time.Time      // the end of a try; zero: there is none
	from    int            // the rung that a try has left
}

// again is what is kept of a ban that has hidden an attack, for when it shows that the attack is still there.
type again struct {
	until time.Time
	hold  time.Duration // of the ban
	rung  int
}

// mayBeHidden reports whether an attack that nobody sees may still be there: behind a response that keeps it from us, or since a
// moment ago none does any more.
func (a *attack) mayBeHidden() bool {
	r := a.Ban.Response
	return r != nil && (r.Hides && a.ladder.rung > 0 || !a.ladder.look.IsZero())
}

// firstRung is where a ban that is about to begin stands on its ladder: on the first rung that is meant for it, or where it was needed last.
func (m *Manager) firstRung(a *attack, g *GroupPolicy) (rung int, why string) {
	a.ladder = position{passing: *inDirection(&a.Attack, &a.Attack.Rate)}
	if last, ok := m.again[a.key]; ok && m.now.Before(last.until) && last.rung < len(g.Ladder) {
		return last.rung, "the attack was still there when its response ended"
	}
	rung = -1
	for i := range g.Ladder {
		switch r := &g.Ladder[i]; {
		case !r.eligible(&a.Attack):
		case rung < 0:
			rung, why = i, a.Attack.Trip.String()
		default:
			if text := exceeds(&a.ladder.passing, &r.AtOnce, 1); text != "" {
				rung, why = i, text
			}
		}
	}
	return max(rung, 0), why
}

// eligible reports whether a rung is meant for an attack. What an attack is, is not known at first.
func (r *Rung) eligible(a *traffic.Attack) bool {
	if len(r.Classes) == 0 {
		return true
	}
	if a.Analysis == nil {
		return false
	}
	return slices.ContainsFunc(r.Classes, func(pattern string) bool {
		ok, err := path.Match(pattern, a.Analysis.Class)
		return ok && err == nil
	})
}

// onLadder reports whether the attack's response is one of its hostgroup's ladder.
func (m *Manager) onLadder(a *attack) bool {
	return a.Ban.Active() && !a.Ban.Manual && a.Ban.Response != nil && len(m.policy.group(a.group).Ladder) > 0
}

// move takes a step on the ladder if what passes, or what has become known of the attack, asks for one.
func (m *Manager) move(a *attack) {
	if !m.onLadder(a) {
		return
	}
	g := m.policy.group(a.group)
	p := &a.ladder
	limits := g.limits(&a.Attack)
	rung, why := p.atOnce(a, g.Ladder)
	if !p.look.IsZero() && m.tried(a, &limits, rung) {
		return
	}
	if rung > p.rung {
		m.respond(a, rung, why, false)
		return
	}
	next := p.next(a, g.Ladder)
	if next > 0 {
		r := &g.Ladder[next]
		if why := a.toothless(); why != "" {
			m.respond(a, next, why, false)
			return
		}
		if why := exceeds(&p.passing, &limits, r.Over); why == "" {
			p.over = time.Time{}
		} else if p.over.IsZero() {
			p.over = m.now
		}
		if !p.over.IsZero() && m.now.Sub(p.over) >= r.After {
			m.respond(a, next, fmt.Sprintf("still passing for %s: %s", m.now.Sub(p.over).Round(time.Millisecond), exceeds(&p.passing, &limits, r.Over)), false)
			return
		}
	}
	clear := g.Clear
	if clear == 0 {
		clear = DefaultClear
	}
	if exceeds(&p.passing, &limits, clear) != "" {
		p.calm = time.Time{}
		return
	}
	if p.calm.IsZero() {
		p.calm = m.now
	}
	below := p.below(a, g.Ladder)
	if wait := p.calm.Add(p.hold); below < 0 || m.now.Before(wait) || !p.look.IsZero() {
		m.wake(wait)
		return
	}
	from, hold := p.rung, p.hold
	m.respond(a, below, fmt.Sprintf("calm for %s: the weaker response is tried", m.now.Sub(p.calm).Round(time.Millisecond)), true)
	p.from, p.hold, p.look = from, hold, m.now.Add(m.policy.Probe.Look)
	m.wake(p.look)
}

// tried ends the try of a weaker response: at once if the attack is still there, which it reports, or else when its time is over.
func (m *Manager) tried(a *attack, limits *traffic.Limits, atOnce int) bool {
	p := &a.ladder
	if excess := exceeds(&p.passing, limits, 1); excess != "" {
		back := min(max(p.from, atOnce), len(m.policy.group(a.group).Ladder)-1)
		hold := min(2*p.hold, m.policy.Probe.Most)
		m.respond(a, back, fmt.Sprintf("it is still there: %s; held for %s now", excess, hold), false)
		p.hold = hold
		return true
	}
	if !m.now.Before(p.look) {
		p.look, p.calm, p.hold = time.Time{}, m.now, m.policy.group(a.group).Ladder[p.rung].hold()
		changed := *a.Ban.Response
		changed.Probing = false
		a.Ban.Response = &changed
		m.record(a)
	}
	return false
}

// atOnce returns the highest rung that what passes goes straight to.
func (p *position) atOnce(a *attack, ladder []Rung) (rung int, why string) {
	for i := len(ladder) - 1; i > p.rung; i-- {
		if ladder[i].eligible(&a.Attack) {
			if why := exceeds(&p.passing, &ladder[i].AtOnce, 1); why != "" {
				return i, "at once: " + why
			}
		}
	}
	return -1, ""
}

// next is the rung above that is meant for the attack; -1: there is none.
func (p *position) next(a *attack, ladder []Rung) int {
	for i := p.rung + 1; i < len(ladder); i++ {
		if ladder[i].eligible(&a.Attack) {
			return i
		}
	}
	return -1
}

// below is the rung below that is meant for the attack; -1: there is none.
func (p *position) below(a *attack, ladder []Rung) int {
	for i := min(p.rung, len(ladder)) - 1; i >= 0; i-- {
		if ladder[i].eligible(&a.Attack) {
			return i
		}
	}
	return -1
}

// toothless says why a response that has nothing but rules can do nothing; "": it can, or that is not known yet.
func (a *attack) toothless() string {
	r, is := a.Ban.Response, a.Attack.Analysis
	if a.Ban.Drop || r.Rules == traffic.RulesUnused || r.LimitPackets > 0 || r.LimitBytes > 0 || r.Challenge != traffic.ChallengeNone || len(r.Announce) > 0 ||
		is == nil || len(is.Rules.Rules) > 0 {
		return ""
	}
	return "no rule stops it: " + is.Rules.Why
}

// respond puts a rung in force, for the reason why.
func (m *Manager) respond(a *attack, rung int, why string, probing bool) {
	g := m.policy.group(a.group)
	before, dropped := a.Ban.Response, a.Ban.Drops()
	if before != nil && rung > a.ladder.rung {
		m.stats.Escalations++
	} else if before != nil && rung < a.ladder.rung {
		m.stats.Deescalations++
	}
	a.take(&g, rung, m.now, why, probing)
	tell := g.Ladder[rung].Notify && !a.Ban.Notified && (!a.Ban.DryRun || m.policy.DryRunNotify)
	a.Ban.Notified = a.Ban.Notified || tell
	a.Attack.Phase = a.phase()
	m.record(a)
	switch {
	case a.Ban.Drops() && !dropped:
		m.block(a)
	case dropped && !a.Ban.Drops():
		m.steps = append(m.steps, Step{Kind: StepRelease, Target: a.Attack.Target, Record: a.Record})
	}
	if tell {
		m.notify(a, ActionBan)
	}
	m.log(a, "response changed")
	m.schedule(a)
}

// take notes a rung as the one that is in force.
func (a *attack) take(g *GroupPolicy, rung int, now time.Time, why string, probing bool) {
	r := &g.Ladder[rung]
	var history []traffic.RungChange
	if a.Ban.Response != nil {
		history = a.Ban.Response.History
	}
	history = append(slices.Clone(history), traffic.RungChange{At: now, Rung: rung + 1, Why: why})
	if over := len(history) - mostHistory; over > 0 {
		history = append(history[:1], history[1+over:]...) // how it began stays
	}
	a.Ban.Drop = r.Drop && a.Attack.Target.Scope != traffic.ScopeGroup
	a.Ban.Response = &traffic.Response{
		Rung: rung + 1, Rungs: len(g.Ladder), Since: now, Rules: r.Rules, LimitPackets: r.LimitPackets, LimitBytes: r.LimitBytes,
		Challenge: r.Challenge, Announce: r.Announce, Hides: r.Hides, Probing: probing, History: history,
	}
	a.ladder = position{passing: a.ladder.passing, rung: rung, hold: r.hold()}
}

func (r *Rung) hold() time.Duration {
	if r.Hold == 0 {
		return DefaultHold
	}
	return r.Hold
}

// limits are the thresholds that hold for an attack's target.
func (g *GroupPolicy) limits(a *traffic.Attack) traffic.Limits {
	l := g.Limits[a.Target.Scope][a.Target.Direction&1]
	if !l.Any() && a.Trip.Limit > 0 {
		l[a.Trip.Metric] = a.Trip.Limit
	}
	return l
}

// exceeds says which rate is over so many times its limit, with the arithmetic; "": none is.
func exceeds(c *traffic.Counts, limits *traffic.Limits, times float64) string {
	if times == 0 {
		times = 1
	}
	for metric, limit := range limits {
		m := traffic.Metric(metric)
		if value := float64(m.Of(c)); limit > 0 && value > limit*times {
			return fmt.Sprintf("%s %.0f > %.0f", m, value/m.Scale(), limit*times/m.Scale())
		}
	}
	return ""
}

// remember keeps, when a ban ends that has hidden its attack, how long it was: if the attack shows again, the next one is longer.
func (m *Manager) remember(a *attack) {
	g := m.policy.group(a.group)
	hides := a.Ban.Response == nil && g.Hides || a.Ban.Response != nil && a.Ban.Response.Hides
	if !hides || a.Ban.Manual || a.Ban.DryRun {
		return
	}
	m.again[a.key] = again{until: m.now.Add(m.policy.Probe.Look), hold: a.Ban.Until.Sub(a.Ban.Since), rung: a.ladder.rung}
	m.wake(m.now.Add(m.policy.Probe.Look))
}

// banTime is how long the ban of an attack holds at least: twice as long as the one before, if that has not helped.
func (m *Manager) banTime(a *attack, g *GroupPolicy) time.Duration {
	last, ok := m.again[a.key]
	if !ok || !m.now.Before(last.until) || g.BanTime <= 0 {
		return g.BanTime
	}
	return max(g.BanTime, min(2*last.hold, m.policy.Probe.Most))
}
