package mitigate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"weir/userspace/traffic"
)

// world plays the daemon: it does what the Manager says and checks that it may be said.
type world struct {
	t       testing.TB
	m       *Manager
	now     time.Time
	policy  Policy
	never   map[netip.Prefix]bool
	blocked map[traffic.Target]time.Time
	told    map[traffic.Target]bool
	disk    map[string]traffic.Record
}

const worldMaxActive = 3

func newWorld(t testing.TB) *world {
	w := &world{
		t: t, now: start, never: map[netip.Prefix]bool{},
		blocked: map[traffic.Target]time.Time{}, told: map[traffic.Target]bool{}, disk: map[string]traffic.Record{},
	}
	w.policy = with(func(p *Policy) {
		p.MaxActive, p.MaxPerMinute, p.DetailsAfter = worldMaxActive, 5, time.Second
		p.Groups = maps.Clone(p.Groups)
		p.Groups["ladder"] = ladderPolicy(func(g *GroupPolicy) { g.Ladder[1].Drop = true }).Groups[fallbackGroup]
		p.Probe = Probe{Look: 10 * time.Second, Most: time.Minute}
		p.NeverBan = func(q netip.Prefix) bool {
			for n := range w.never {
				if n.Overlaps(q) {
					return true
				}
			}
			return false
		}
	})
	w.m = New(w.policy)
	return w
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("at +%s: %s", w.now.Sub(start), fmt.Sprintf(format, args...))
}

func (w *world) take(steps []Step) {
	w.t.Helper()
	for _, s := range steps {
		w.checkTimes(s)
		switch s.Kind {
		case StepRecord:
			w.disk[s.Attack.ID] = s.Record
		case StepBlock:
			if w.never[s.Target.Prefix] || w.policy.KillSwitch || w.policy.DryRun {
				w.fail("block %s: on the never-ban list, under the kill switch, or in a dry run", s.Target)
			}
			if !s.Until.After(w.now) {
				w.fail("block %s until %s: not in the future", s.Target, s.Until)
			}
			if s.Target.Scope == traffic.ScopeGroup {
				w.fail("block hostgroup %s as a whole", s.Target)
			}
			w.blocked[s.Target] = s.Until
			if len(w.blocked) > worldMaxActive {
				w.fail("%d targets are blocked", len(w.blocked))
			}
		case StepRelease:
			if _, ok := w.blocked[s.Target]; !ok {
				w.fail("release %s: was not blocked", s.Target)
			}
			delete(w.blocked, s.Target)
		case StepNotify:
			if told := w.told[s.Target]; told != (s.Action != ActionBan) {
				w.fail("notify %s of %s: the script was told of a ban: %t", s.Action, s.Target, told)
			}
			w.told[s.Target] = s.Action != ActionUnban
		}
	}
}

func (w *world) checkTimes(s Step) {
	w.t.Helper()
	if s.Kind == StepSuspect {
		return
	}
	last := time.Time{}
	for i, at := range []time.Time{s.Attack.Started, s.Attack.Detected, s.Ban.Since, s.Ban.Lifted, w.now} {
		if at.IsZero() {
			continue
		}
		if at.Before(last) {
			w.fail("time %d of %+v goes back", i, s.Record)
		}
		last = at
	}
	if e := s.Attack.Ended; !e.IsZero() && (e.Before(s.Attack.Detected) || e.After(w.now)) {
		w.fail("%s ended at %s, out of bounds", s.Target, e)
	}
}

// check compares what the Manager says of itself with what it has said to do.
func (w *world) check() {
	w.t.Helper()
	drops := 0
	for _, r := range w.m.Bans() {
		if !r.Ban.Drops() {
			continue
		}
		drops++
		until, ok := w.blocked[r.Attack.Target]
		if !ok {
			w.fail("%s is said to be dropped and is not", r.Attack.Target)
		}
		if !until.After(w.now) {
			w.fail("the kernel's rule for %s ran out at %s", r.Attack.Target, until)
		}
	}
	if drops != len(w.blocked) {
		w.fail("%d bans drop, %d targets are blocked", drops, len(w.blocked))
	}
	if s := w.m.Stats(); s.Bans != len(w.m.Bans()) || s.Dropping != drops {
		w.fail("stats tell of %d bans and %d drops; there are %d and %d", s.Bans, s.Dropping, len(w.m.Bans()), drops)
	}
	for id, r := range w.disk {
		if r.Attack.Phase == traffic.PhaseOver {
			delete(w.disk, id)
		}
	}
}

// restart kills the Manager and starts another from what is on disk.
func (w *world) restart() {
	var records []traffic.Record
	for _, r := range w.disk {
		records = append(records, r)
	}
	w.m = New(w.policy)
	w.take(w.m.Restore(w.now, records))
}

var worldTargets = func() []traffic.Target {
	var out []traffic.Target
	for i := range 6 {
		out = append(out, hostTarget(fmt.Sprintf("192.0.2.%d", i)))
	}
	out[4].Direction, out[5].Group = traffic.Outgoing, "short"
	out[2].Group, out[3].Group = "ladder", "ladder"
	return append(out, prefixTarget("192.0.2.0/29"), hostTarget("198.51.100.1"), traffic.Target{Scope: traffic.ScopeGroup, Group: "script"})
}()

// act does one thing chosen by three bytes.
func (w *world) act(what, which, how byte) {
	w.t.Helper()
	w.now = w.now.Add(time.Duration(how%25) * time.Second)
	target := worldTargets[int(which)%len(worldTargets)]
	e := traffic.Event{Target: target, At: w.now.Add(-time.Duration(how%3) * time.Millisecond), Started: w.now.Add(-time.Duration(how) * time.Second)}
	switch what % 12 {
	case 0, 1, 2:
		e.Kind = traffic.EventStarted
		w.take(w.m.Handle(w.now, e, flood))
	case 3, 4:
		e.Kind = traffic.EventEnded
		w.take(w.m.Handle(w.now, e, flood))
	case 5:
		e.Kind = traffic.EventKind(how % 5)
		w.take(w.m.Handle(w.now, e, flood))
	case 6:
		steps, err := w.m.Ban(w.now, Request{Prefix: target.Prefix, Incoming: how&1 == 0, Outgoing: how&2 == 0, For: time.Duration(how/4) * 20 * time.Second})
		if (err == nil) != (len(steps) > 0) {
			w.fail("ban: error %v and %d steps", err, len(steps))
		}
		w.take(steps)
	case 7:
		steps, err := w.m.Unban(w.now, target.Prefix)
		if (err == nil) != (len(steps) > 0) {
			w.fail("unban: error %v and %d steps", err, len(steps))
		}
		w.take(steps)
	case 8:
		w.policy.KillSwitch, w.policy.DryRun, w.policy.DryRunNotify = how%8 == 0, how%8 == 1, how&16 != 0
		clear(w.never)
		if how%8 == 2 && target.Prefix.IsValid() {
			w.never[target.Prefix] = true
		}
		if g := w.policy.Groups["ladder"]; how%8 == 3 {
			all := ladderPolicy().Groups[fallbackGroup].Ladder
			g.Ladder = all[:int(how/8)%(len(all)+1)]
			w.policy.Groups["ladder"] = g
		}
		w.take(w.m.SetPolicy(w.now, w.policy))
	case 9:
		w.restart()
	case 10:
		w.take(w.m.Update(w.now, target, flood, incoming(uint64(how)*20).Incoming))
	}
	w.take(w.m.Tick(w.now))
	w.check()
}

// settle lets everything come to its end: all attacks end, all bans by hand are lifted, all times run out.
func (w *world) settle() {
	w.t.Helper()
	for _, target := range worldTargets {
		w.take(w.m.Handle(w.now, traffic.Event{Kind: traffic.EventEnded, Target: target, At: w.now}, flood))
	}
	for range 200 {
		w.now = w.now.Add(20 * time.Second)
		for _, r := range w.m.Bans() { // nothing arrives any more
			w.take(w.m.Update(w.now, r.Attack.Target, traffic.TwoWay{}, traffic.Counts{}))
		}
		w.take(w.m.Tick(w.now))
		w.check()
	}
	for _, r := range w.m.Bans() {
		if !r.Ban.Manual {
			w.fail("the automatic ban of %s is still in force", r.Attack.Target)
		}
		if steps, err := w.m.Unban(w.now, r.Attack.Target.Prefix); err == nil { // the other direction may have been lifted with it
			w.take(steps)
		}
	}
	if len(w.blocked) > 0 || len(w.m.Bans()) > 0 || len(w.disk) > 0 && w.open() {
		w.fail("left in the end: blocked %v, bans %v", w.blocked, w.m.Bans())
	}
	for target, told := range w.told {
		if told {
			w.fail("the script was told of the ban of %s and never of its end", target)
		}
	}
}

func (w *world) open() bool {
	for _, r := range w.disk {
		if r.Attack.Phase != traffic.PhaseOver {
			return true
		}
	}
	return false
}

func TestRandomLives(t *testing.T) {
	for seed := range uint64(80) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			w := newWorld(t)
			for range 400 {
				w.act(byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()))
			}
			w.settle()
		})
	}
}

func FuzzLives(f *testing.F) {
	f.Add([]byte{0, 0, 1, 6, 0, 9, 3, 0, 2, 9, 0, 0})
	f.Add([]byte{0, 8, 1, 8, 0, 1, 8, 0, 3, 7, 8, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newWorld(t)
		for ; len(data) >= 3; data = data[3:] {
			w.act(data[0], data[1], data[2])
		}
		w.settle()
	})
}
