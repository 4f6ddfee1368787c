package mitigate

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// stored returns what a store would hold of m after a crash.
func stored(m *Manager) []traffic.Record { return m.Attacks() }

func TestRestore(t *testing.T) {
	block := "block +1m0s 192.0.2.1"
	over := []string{"record over 192.0.2.1", "release 192.0.2.1", "notify unban 192.0.2.1"}
	tests := []struct {
		name   string
		before []func(*Manager, time.Time) []Step // one second apart
		policy Policy                             // after the restart, which is at +1h when late, else at +1m
		late   bool
		acts   []act // from the restart on
	}{
		{"a ban is blocked at once and the attack is seen again", []func(*Manager, time.Time) []Step{started(victim)}, testPolicy(), false, []act{
			{time.Second, tick, nil},
			{2 * time.Second, started(victim), []string{"record mitigated 192.0.2.1"}},
			{30 * time.Second, tick, []string{"record mitigated 192.0.2.1", block}},
			{61 * time.Second, tick, []string{"record mitigated 192.0.2.1", block}},
			{20 * time.Minute, ended(victim), append([]string{"suspect false 192.0.2.1"}, over...)},
		}},
		{"an attack that is not seen again is over", []func(*Manager, time.Time) []Step{started(victim)}, testPolicy(), false, []act{
			{61 * time.Second, tick, []string{"suspect false 192.0.2.1", "record cooling 192.0.2.1", "record cooling 192.0.2.1", block}},
			{10 * time.Minute, tick, over},
		}},
		{"its time was over meanwhile, but it may go on", []func(*Manager, time.Time) []Step{started(victim)}, testPolicy(), true, []act{
			{time.Minute, tick, append([]string{"suspect false 192.0.2.1"}, over...)},
		}},
		{"it was cooling and its time is over", []func(*Manager, time.Time) []Step{started(victim), ended(victim)}, testPolicy(), true, []act{
			{time.Minute, tick, nil},
		}},
		{"a ban by hand stays", []func(*Manager, time.Time) []Step{ban("192.0.2.1/32", 0)}, testPolicy(), true, []act{
			{100 * time.Hour, tick, []string{"record mitigated 192.0.2.1", block}},
			{101 * time.Hour, unban("192.0.2.1/32"), over},
		}},
		{"a held attack is not acted on until it is seen again", []func(*Manager, time.Time) []Step{
			policy(func(p *Policy) { p.KillSwitch = true }), started(victim)}, testPolicy(), false, []act{
			{time.Second, tick, nil},
			{2 * time.Second, started(victim), []string{"record mitigated 192.0.2.1", block, "notify ban 192.0.2.1"}},
		}},
		{"an unban by hand is remembered", []func(*Manager, time.Time) []Step{started(victim), unban("192.0.2.1/32")}, testPolicy(), false, []act{
			{2 * time.Second, started(victim), []string{"record active (unbanned by hand a short while ago) 192.0.2.1"}},
			{20 * time.Minute, tick, []string{"record mitigated 192.0.2.1", block, "notify ban 192.0.2.1"}},
		}},
		{"the kill switch was turned on", []func(*Manager, time.Time) []Step{started(victim)}, with(func(p *Policy) { p.KillSwitch = true }), false, []act{
			{2 * time.Second, started(victim), nil},
			{3 * time.Second, policy(func(*Policy) {}), []string{"record mitigated 192.0.2.1", block, "notify ban 192.0.2.1"}},
		}},
		{"the network was taken away", []func(*Manager, time.Time) []Step{started(victim)}, with(func(p *Policy) {
			p.Contains = func(netip.Prefix) bool { return false }
		}), false, nil},
		{"the dry run was turned off", []func(*Manager, time.Time) []Step{
			policy(func(p *Policy) { p.DryRun = true }), ban("192.0.2.1/32", 0)}, testPolicy(), false, nil},
		{"the dry run was turned on", []func(*Manager, time.Time) []Step{started(victim)}, with(func(p *Policy) { p.DryRun = true }), false, []act{
			{2 * time.Second, started(victim), []string{"record active (dry run: nothing is dropped) 192.0.2.1"}},
		}},
	}
	first := map[string][]string{
		"a ban is blocked at once and the attack is seen again": {block, "suspect true 192.0.2.1"},
		"an attack that is not seen again is over":              {block, "suspect true 192.0.2.1"},
		"its time was over meanwhile, but it may go on":         {block, "suspect true 192.0.2.1"},
		"it was cooling and its time is over":                   over,
		"a ban by hand stays":                                   {block},
		"a held attack is not acted on until it is seen again":  {"suspect true 192.0.2.1"},
		"an unban by hand is remembered":                        {"suspect true 192.0.2.1"},
		"the kill switch was turned on": {
			"record active (the kill switch is on) 192.0.2.1", "release 192.0.2.1", "notify unban 192.0.2.1", "suspect true 192.0.2.1"},
		"the network was taken away": over,
		"the dry run was turned off": {"record mitigated 192.0.2.1", block, "notify ban 192.0.2.1"},
		"the dry run was turned on":  {"record active 192.0.2.1", "release 192.0.2.1", "notify unban 192.0.2.1", "suspect true 192.0.2.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := New(testPolicy())
			for i, do := range tt.before {
				do(m, start.Add(time.Duration(i)*time.Second))
			}
			back := start.Add(time.Minute)
			if tt.late {
				back = start.Add(time.Hour)
			}
			records := stored(m)
			m = New(tt.policy)
			if diff := cmp.Diff(brief(back, m.Restore(back, records)), first[tt.name]); diff != "" {
				t.Errorf("restore (-got +want):\n%s", diff)
			}
			for i, a := range tt.acts {
				now := back.Add(a.at)
				if diff := cmp.Diff(brief(now, a.do(m, now)), a.want); diff != "" {
					t.Errorf("act %d at +%s (-got +want):\n%s", i, a.at, diff)
				}
			}
		})
	}
}

func TestRestoreRefusesNonsense(t *testing.T) {
	sound := traffic.Record{Attack: traffic.Attack{ID: "20260301T120000.000-0007", Target: victim, Phase: traffic.PhaseMitigated},
		Ban: traffic.Ban{Since: start, Until: start.Add(time.Hour), Drop: true}}
	change := func(f func(*traffic.Record)) traffic.Record {
		r := sound
		f(&r)
		return r
	}
	m := New(testPolicy())
	steps := m.Restore(start, []traffic.Record{
		change(func(r *traffic.Record) { r.Attack.ID = "" }),
		change(func(r *traffic.Record) { r.Attack.Target.Prefix = netip.Prefix{} }),
		change(func(r *traffic.Record) { r.Attack.Phase = traffic.PhaseCount }),
		change(func(r *traffic.Record) { r.Attack.ID = "20260301T120000.000-0008" }), // the same target a second time
		sound,
	})
	if diff := cmp.Diff(brief(start, steps), []string{"block +1m0s 192.0.2.1", "suspect true 192.0.2.1"}); diff != "" {
		t.Errorf("restore (-got +want):\n%s", diff)
	}
	if got := m.Stats(); got.Unreadable != 4 || got.Restored != 1 {
		t.Errorf("stats: %d unreadable, %d restored; want 4 and 1", got.Unreadable, got.Restored)
	}
	ban("192.0.2.9/32", 0)(m, start)
	if id := m.Attacks()[0].Attack.ID; id != "20260301T120000.000-0009" {
		t.Errorf("first identifier after the restart is %s: not behind all that were restored", id)
	}
}

func TestRestoreFromTheFuture(t *testing.T) {
	m := New(testPolicy())
	ban("192.0.2.1/32", time.Hour)(m, start.AddDate(1, 0, 0))
	records := stored(m)
	m = New(testPolicy())
	m.Restore(start, records)
	got := m.Bans()[0].Ban
	if !got.Since.Equal(start) || !got.Until.Equal(start.Add(time.Hour)) {
		t.Errorf("ban from %s until %s; want an hour from %s", got.Since, got.Until, start)
	}
}
