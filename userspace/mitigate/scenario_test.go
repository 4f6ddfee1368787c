package mitigate

import (
	"fmt"
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

var (
	start   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ours    = netip.MustParsePrefix("192.0.2.0/24")
	never   = netip.MustParsePrefix("192.0.2.53/32")
	victim  = hostTarget("192.0.2.1")
	another = hostTarget("192.0.2.2")
	flood   = traffic.TwoWay{Incoming: traffic.Counts{
		Total: traffic.Count{Packets: 50000, Bytes: 5_000_000}, UDP: traffic.Count{Packets: 50000, Bytes: 5_000_000}}}
)

func hostTarget(addr string) traffic.Target {
	a := netip.MustParseAddr(addr)
	return traffic.Target{Prefix: netip.PrefixFrom(a, a.BitLen()), Group: "web", Direction: traffic.Incoming}
}

func prefixTarget(prefix string) traffic.Target {
	return traffic.Target{Scope: traffic.ScopePrefix, Prefix: netip.MustParsePrefix(prefix), Group: "web"}
}

// testPolicy is what most tests run under: a ban lasts ten minutes.
func testPolicy() Policy {
	return Policy{
		Groups: map[string]GroupPolicy{
			"web":    {Drop: true, Notify: true, BanTime: 10 * time.Minute},
			"script": {Notify: true, BanTime: 10 * time.Minute},
			"watch":  {},
			"short":  {Drop: true},
			"stuck":  {Drop: true, BanTime: Forever},
			"total":  {Drop: true},
		},
		Manual:       GroupPolicy{Drop: true, Notify: true},
		DetailsAfter: -1,
		NeverBan:     func(p netip.Prefix) bool { return p.Overlaps(never) },
		Contains:     func(p netip.Prefix) bool { return p.Bits() >= ours.Bits() && ours.Contains(p.Addr()) },
	}
}

func with(change func(*Policy)) Policy {
	p := testPolicy()
	change(&p)
	return p
}

// brief writes steps in a form to compare: what happens to whom.
func brief(now time.Time, steps []Step) []string {
	var out []string
	for _, s := range steps {
		line := s.Kind.String()
		switch s.Kind {
		case StepRecord:
			line += " " + s.Attack.Phase.String()
			if s.Held != "" {
				line += " (" + s.Held + ")"
			}
		case StepBlock:
			line += " +" + s.Until.Sub(now).String()
		case StepNotify:
			line += " " + s.Action
		case StepSuspect:
			line += fmt.Sprintf(" %t", s.On)
		case StepLog:
			continue
		}
		out = append(out, line+" "+s.Target.String())
	}
	return out
}

// act is one thing that happens in a test, at a time after its start, and what the Manager has to make of it.
type act struct {
	at   time.Duration
	do   func(*Manager, time.Time) []Step
	want []string
}

func event(kind traffic.EventKind, t traffic.Target) func(*Manager, time.Time) []Step {
	return func(m *Manager, now time.Time) []Step {
		return m.Handle(now, traffic.Event{Kind: kind, Target: t, At: now, Started: now.Add(-time.Second), Hosts: 1}, flood)
	}
}

type does = func(*Manager, time.Time) []Step

func suspected(t traffic.Target) does { return event(traffic.EventSuspected, t) }
func cleared(t traffic.Target) does   { return event(traffic.EventCleared, t) }
func started(t traffic.Target) does   { return event(traffic.EventStarted, t) }
func ended(t traffic.Target) does     { return event(traffic.EventEnded, t) }

func tick(m *Manager, now time.Time) []Step { return m.Tick(now) }

func policy(change func(*Policy)) func(*Manager, time.Time) []Step {
	return func(m *Manager, now time.Time) []Step { return m.SetPolicy(now, with(change)) }
}

func ban(prefix string, d time.Duration) func(*Manager, time.Time) []Step {
	return func(m *Manager, now time.Time) []Step {
		steps, err := m.Ban(now, Request{Prefix: netip.MustParsePrefix(prefix), Incoming: true, For: d, Reason: "test"})
		if err != nil {
			return []Step{{Kind: StepRecord, Record: traffic.Record{Held: err.Error()}}}
		}
		return steps
	}
}

func unban(prefix string) func(*Manager, time.Time) []Step {
	return func(m *Manager, now time.Time) []Step {
		steps, err := m.Unban(now, netip.MustParsePrefix(prefix))
		if err != nil {
			return []Step{{Kind: StepRecord, Record: traffic.Record{Held: err.Error()}}}
		}
		return steps
	}
}

func altered(t traffic.Target, change func(*traffic.Target)) traffic.Target {
	change(&t)
	return t
}

func inGroup(group string) traffic.Target {
	return altered(victim, func(t *traffic.Target) { t.Group = group })
}
