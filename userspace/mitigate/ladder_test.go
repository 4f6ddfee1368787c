package mitigate

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// climber is a manager with one attack on a ladder, and its clock.
type climber struct {
	t     *testing.T
	m     *Manager
	now   time.Time
	steps []Step
}

// ladderPolicy has four responses, and a threshold of 1000 packets a second.
func ladderPolicy(edits ...func(*GroupPolicy)) Policy {
	p := testPolicy()
	g := GroupPolicy{BanTime: time.Minute, Ladder: []Rung{
		{Rules: traffic.RulesShadow},
		{Rules: traffic.RulesEnforce, Notify: true, After: 2 * time.Second, Hold: 30 * time.Second},
		{Rules: traffic.RulesEnforce, LimitPackets: 500, After: 3 * time.Second, Over: 2, Hold: 30 * time.Second},
		{Drop: true, Announce: []string{"rtbh"}, Hides: true, After: 5 * time.Second, Hold: time.Minute},
	}}
	g.Ladder[3].AtOnce[traffic.PPS] = 1e6
	g.Limits[traffic.ScopeHost][traffic.Incoming][traffic.PPS] = 1000
	for _, edit := range edits {
		edit(&g)
	}
	p.Groups = map[string]GroupPolicy{fallbackGroup: g}
	p.Probe = Probe{Look: 10 * time.Second, Most: 5 * time.Minute}
	return p
}

func attacked(t *testing.T, p Policy, pps uint64) *climber {
	c := &climber{t: t, m: New(p), now: start}
	c.steps = c.m.Handle(c.now, traffic.Event{
		Kind: traffic.EventStarted, Target: victim, At: start, Started: start, Hosts: 1, Trip: traffic.Trip{Metric: traffic.PPS, Limit: 1000, Value: float64(pps), Window: time.Second},
	}, incoming(pps))
	return c
}

func incoming(pps uint64) traffic.TwoWay {
	return traffic.TwoWay{Incoming: traffic.Counts{Total: traffic.Count{Packets: pps, Bytes: 100 * pps}}}
}

// pass has so much pass for so many seconds.
func (c *climber) pass(pps uint64, seconds int) {
	for range seconds {
		c.now = c.now.Add(time.Second)
		c.steps = append(c.steps, c.m.Update(c.now, victim, incoming(pps), incoming(pps).Incoming)...)
		c.steps = append(c.steps, c.m.Tick(c.now)...)
	}
}

func (c *climber) end() {
	c.steps = append(c.steps, c.m.Handle(c.now, traffic.Event{Kind: traffic.EventEnded, Target: victim, At: c.now}, traffic.TwoWay{})...)
}

func (c *climber) ban() traffic.Ban {
	c.t.Helper()
	bans := c.m.Bans()
	if len(bans) != 1 {
		c.t.Fatalf("%d bans, want one", len(bans))
	}
	return bans[0].Ban
}

// on checks the rung, from 1, and how it was come by.
func (c *climber) on(rung int, why string) {
	c.t.Helper()
	b := c.ban()
	last := b.Response.History[len(b.Response.History)-1]
	if b.Response.Rung != rung || last.Rung != rung || !strings.Contains(last.Why, why) {
		c.t.Errorf("after %s: on rung %d because %q, want %d because %q", c.now.Sub(start), b.Response.Rung, last.Why, rung, why)
	}
}

// did takes out the steps so far of some kinds, in short.
func (c *climber) did(kinds ...StepKind) []string {
	var out []string
	for _, s := range c.steps {
		for _, k := range kinds {
			if s.Kind == k {
				out = append(out, strings.TrimSpace(k.String()+" "+s.Action))
			}
		}
	}
	c.steps = nil
	return out
}

// TestLadder climbs while too much passes, each rung after its own time, and comes down one by one when it is calm.
func TestLadder(t *testing.T) {
	c := attacked(t, ladderPolicy(), 5000)
	c.on(1, "5000")
	if b := c.ban(); b.Drops() || !b.Mitigates() || b.Notified {
		t.Errorf("on the first rung: %+v", b)
	}
	c.pass(5000, 2)
	c.on(1, "")
	c.pass(5000, 1)
	c.on(2, "still passing for 2s: pps 5000 > 1000")
	if diff := cmp.Diff([]string{"notify ban"}, c.did(StepBlock, StepRelease, StepNotify)); diff != "" {
		t.Errorf("the script (-want +got)\n%s", diff)
	}
	c.pass(1500, 20)
	c.on(2, "") // over the threshold, not over twice the threshold
	c.pass(2500, 4)
	c.on(3, "pps 2500 > 2000")
	c.pass(2500, 6)
	c.on(4, "pps 2500 > 1000")
	if b := c.ban(); !b.Drops() || c.m.Attacks()[0].Attack.Phase != traffic.PhaseMitigated {
		t.Errorf("on the last rung: %+v", b)
	}
	if diff := cmp.Diff([]string{"block"}, c.did(StepBlock, StepRelease)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	c.pass(0, 62)
	c.on(3, "calm for 1m0s")
	if b := c.ban(); b.Drops() || !b.Response.Probing {
		t.Errorf("while it is tried: %+v", b)
	}
	if got := c.did(StepRelease); len(got) != 1 {
		t.Errorf("got %q, want one release", got)
	}
	c.pass(0, 10)
	if c.ban().Response.Probing {
		t.Error("still trying after its time")
	}
	c.pass(0, 100)
	c.on(1, "calm for")
	if got := c.m.Stats(); got.Escalations != 3 || got.Deescalations != 3 {
		t.Errorf("%d up and %d down, want 3 and 3", got.Escalations, got.Deescalations)
	}
	c.end()
	c.pass(0, 1)
	if bans := c.m.Bans(); len(bans) != 0 {
		t.Errorf("still banned: %v", bans)
	}
}

// TestProbe: an attack that is still there when its blackhole ends has it back at once, for twice as long each time, up to the most.
func TestProbe(t *testing.T) {
	c := attacked(t, ladderPolicy(), 2e6)
	c.on(4, "pps 2000000 > 1000000")
	held := func() time.Duration {
		from := c.now
		for c.ban().Response.Rung == 4 {
			c.pass(0, 1)
			if c.now.Sub(from) > time.Hour {
				t.Fatal("held for ever")
			}
		}
		return c.now.Sub(from).Round(10 * time.Second)
	}
	var got []time.Duration
	for i := range 5 {
		got = append(got, held())
		if i == 0 {
			c.end() // nobody sees it, so the detector says that it is over
		}
		c.pass(3000, 1)
		c.on(4, "it is still there: pps 3000 > 1000")
	}
	want := []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("held for (-want +got)\n%s", diff)
	}
	if n := len(c.m.Attacks()); n != 1 {
		t.Errorf("%d attacks, want one: it is the same", n)
	}
}

// TestProbeOfActions: without a ladder, a blackhole that has not helped comes back for twice as long.
func TestProbeOfActions(t *testing.T) {
	p := ladderPolicy(func(g *GroupPolicy) { *g = GroupPolicy{Announce: true, Hides: true, BanTime: time.Minute} })
	c := attacked(t, p, 5000)
	var got []time.Duration
	for i := range 6 {
		b := c.ban()
		got = append(got, b.Until.Sub(b.Since))
		c.end()
		c.now = b.Until
		c.steps = c.m.Tick(c.now)
		if len(c.m.Bans()) != 0 {
			t.Fatalf("round %d: still banned", i)
		}
		if i == 4 {
			c.now = c.now.Add(time.Minute) // longer than anybody looks
		}
		c.now = c.now.Add(time.Second)
		c.m.Handle(c.now, traffic.Event{Kind: traffic.EventStarted, Target: victim, At: c.now, Started: c.now, Hosts: 1}, incoming(5000))
	}
	want := []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute, time.Minute}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("banned for (-want +got)\n%s", diff)
	}
}

// TestToothless: where no rule stops an attack, the next rung is taken as soon as that is known.
func TestToothless(t *testing.T) {
	c := attacked(t, ladderPolicy(), 5000)
	c.m.Describe(c.now, victim, &traffic.Analysis{Rules: traffic.RuleSet{Why: "it looks like ordinary traffic"}})
	c.on(2, "no rule stops it: it looks like ordinary traffic")
	c.pass(1, 1)
	c.on(3, "no rule stops it") // which has a limit besides
	c.pass(1, 5)
	c.on(3, "")
}

// TestClasses: a rung that is for some classes is passed over by others.
func TestClasses(t *testing.T) {
	p := ladderPolicy(func(g *GroupPolicy) {
		g.Ladder[1].Classes = []string{"*_amplification"}
		g.Ladder[0].After, g.Ladder[2].After, g.Ladder[2].Over = 0, time.Second, 1
	})
	c := attacked(t, p, 5000)
	c.m.Describe(c.now, victim, &traffic.Analysis{Class: "syn_flood", Rules: traffic.RuleSet{Rules: []traffic.MeasuredRule{{}}}})
	c.pass(5000, 2)
	c.on(3, "")

	c = attacked(t, p, 5000)
	c.m.Describe(c.now, victim, &traffic.Analysis{Class: "dns_amplification", Rules: traffic.RuleSet{Rules: []traffic.MeasuredRule{{}}}})
	c.pass(5000, 3)
	c.on(2, "")
}

// TestLadderIsRestored: a restart and a reload leave an attack on its rung, and a reload that changes the rung changes the response.
func TestLadderIsRestored(t *testing.T) {
	p := ladderPolicy()
	c := attacked(t, p, 2e6)
	records := c.m.Attacks()
	c.m = New(p)
	steps := c.m.Restore(c.now, records)
	c.on(4, "")
	if b := c.ban(); !b.Drops() {
		t.Error("nothing is dropped after a restart")
	}
	if len(steps) == 0 {
		t.Error("no step is taken after a restart")
	}
	c.m.SetPolicy(c.now, p)
	c.on(4, "pps 2000000")
	c.m.SetPolicy(c.now, ladderPolicy(func(g *GroupPolicy) { g.Ladder = g.Ladder[:2] }))
	c.on(2, "the configuration has changed")
	if b := c.ban(); b.Drops() {
		t.Error("still dropping")
	}
	c.m.SetPolicy(c.now, ladderPolicy(func(g *GroupPolicy) { g.Ladder, g.Drop = nil, true }))
	if b := c.ban(); b.Response != nil || !b.Drops() {
		t.Errorf("without a ladder: %+v", b)
	}
	c.m.SetPolicy(c.now, p)
	c.on(4, "pps 2000000 > 1000000")
	if len(c.m.Attacks()) != 1 || len(c.m.Bans()) != 1 {
		t.Error("the attack was lost")
	}
}
