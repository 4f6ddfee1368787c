package mitigate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

func TestLife(t *testing.T) {
	begun := []string{"record mitigated 192.0.2.1", "block +1m0s 192.0.2.1", "notify ban 192.0.2.1", "suspect true 192.0.2.1"}
	renewed := []string{"record mitigated 192.0.2.1", "block +1m0s 192.0.2.1"}
	cooling := []string{"suspect false 192.0.2.1", "record cooling 192.0.2.1"}
	over := []string{"record over 192.0.2.1", "release 192.0.2.1", "notify unban 192.0.2.1"}
	whole := traffic.Target{Scope: traffic.ScopeGroup, Group: "script"}
	v6 := hostTarget("2001:db8::1")

	tests := []struct {
		name   string
		policy Policy
		acts   []act
	}{
		{"a suspicion that comes to nothing", testPolicy(), []act{
			{0, suspected(victim), []string{"suspect true 192.0.2.1"}},
			{time.Second, suspected(victim), nil},
			{2 * time.Second, cleared(victim), []string{"suspect false 192.0.2.1"}},
			{3 * time.Second, cleared(victim), nil},
		}},
		{"a suspicion outlasts the ban before it", testPolicy(), []act{
			{0, started(victim), begun},
			{time.Second, ended(victim), cooling},
			{2 * time.Second, suspected(victim), []string{"suspect true 192.0.2.1"}},
			{10 * time.Minute, tick, over},
			{11 * time.Minute, cleared(victim), []string{"suspect false 192.0.2.1"}},
		}},
		{"an attack from suspicion to its end", testPolicy(), []act{
			{0, suspected(victim), []string{"suspect true 192.0.2.1"}},
			{time.Second, started(victim), begun[:3]},
			{2 * time.Second, started(victim), nil},
			{20 * time.Second, tick, nil},
			{31 * time.Second, tick, renewed},
			{32 * time.Second, tick, nil},
			{time.Minute, ended(victim), cooling},
			{62 * time.Second, tick, []string{"record cooling 192.0.2.1", "block +1m0s 192.0.2.1"}},
			{601 * time.Second, tick, over},
			{1000 * time.Second, tick, nil},
		}},
		{"a ban outlasts its time while the attack goes on", testPolicy(), []act{
			{0, started(victim), begun},
			{11 * time.Minute, tick, renewed},
			{12 * time.Minute, ended(victim), append([]string{"suspect false 192.0.2.1"}, over...)},
		}},
		{"an attack that comes back while it cools is the same attack, and is not told again", testPolicy(), []act{
			{0, started(victim), begun},
			{10 * time.Second, ended(victim), cooling},
			{20 * time.Second, started(victim), []string{"record mitigated 192.0.2.1", "suspect true 192.0.2.1"}},
			{25 * time.Second, ended(victim), cooling},
			{10 * time.Minute, tick, over},
		}},
		{"ban time 0 ends with the attack", testPolicy(), []act{
			{0, started(inGroup("short")), []string{begun[0], begun[1], begun[3]}},
			{time.Second, ended(inGroup("short")), []string{"suspect false 192.0.2.1", "record over 192.0.2.1", "release 192.0.2.1"}},
		}},
		{"ban time forever ends by hand", testPolicy(), []act{
			{0, started(inGroup("stuck")), []string{begun[0], begun[1], begun[3]}},
			{time.Second, ended(inGroup("stuck")), cooling},
			{1000 * time.Hour, tick, []string{"record cooling 192.0.2.1", "block +1m0s 192.0.2.1"}},
			{1001 * time.Hour, unban("192.0.2.1/32"), []string{"record over 192.0.2.1", "release 192.0.2.1"}},
		}},
		{"a group with a script only", testPolicy(), []act{
			{0, started(inGroup("script")), []string{"record active 192.0.2.1", "notify ban 192.0.2.1", "suspect true 192.0.2.1"}},
			{time.Second, ended(inGroup("script")), cooling},
			{10 * time.Minute, tick, []string{"record over 192.0.2.1", "notify unban 192.0.2.1"}},
		}},
		{"a group without actions", testPolicy(), []act{
			{0, started(inGroup("watch")), []string{"record active (the hostgroup has no action) 192.0.2.1", "suspect true 192.0.2.1"}},
			{time.Second, ended(inGroup("watch")), []string{"suspect false 192.0.2.1", "record over 192.0.2.1"}},
		}},
		{"a group without a policy follows the default one", with(func(p *Policy) { p.Groups["default"] = GroupPolicy{Drop: true} }), []act{
			{0, started(inGroup("unheard")), []string{begun[0], begun[1], begun[3]}},
		}},
		{"the script is given details later", with(func(p *Policy) { p.DetailsAfter = 3 * time.Second }), []act{
			{0, started(victim), begun},
			{2 * time.Second, tick, nil},
			{3 * time.Second, tick, []string{"notify attack_details 192.0.2.1"}},
			{4 * time.Second, tick, nil},
		}},
		{"no details after the ban was lifted", with(func(p *Policy) { p.DetailsAfter = 3 * time.Second }), []act{
			{0, started(victim), begun},
			{time.Second, unban("192.0.2.1/32"), []string{"record active (unbanned by hand a short while ago) 192.0.2.1", "release 192.0.2.1", "notify unban 192.0.2.1"}},
			{3 * time.Second, tick, nil},
		}},
		{"a target on the never-ban list", testPolicy(), []act{
			{0, suspected(hostTarget("192.0.2.53")), nil},
			{0, started(hostTarget("192.0.2.53")), []string{"record active (on the never-ban list) 192.0.2.53"}},
			{0, started(prefixTarget("192.0.2.0/24")), []string{"record active (on the never-ban list) 192.0.2.0/24"}},
			{time.Hour, ended(hostTarget("192.0.2.53")), []string{"record over 192.0.2.53"}},
		}},
		{"a target outside our networks", testPolicy(), []act{
			{0, started(v6), []string{"record active (not wholly inside our networks) 2001:db8::1", "suspect true 2001:db8::1"}},
		}},
		{"a hostgroup as a whole is told about, never dropped", testPolicy(), []act{
			{0, started(whole), []string{"record active hostgroup script", "notify ban hostgroup script", "suspect true hostgroup script"}},
			{0, started(altered(whole, func(t *traffic.Target) { t.Group = "total" })), []string{
				"record active (a hostgroup as a whole is not dropped) hostgroup total", "suspect true hostgroup total"}},
			{time.Minute, func(m *Manager, now time.Time) []Step {
				steps, err := m.UnbanGroup(now, "script")
				if err != nil {
					t.Error(err)
				}
				return steps
			}, []string{"record active (unbanned by hand a short while ago) hostgroup script", "notify unban hostgroup script"}},
		}},
		{"the budget of bans, and the place that becomes free", with(func(p *Policy) { p.MaxActive = 1 }), []act{
			{0, started(victim), begun},
			{0, started(another), []string{"record active (as many bans in force as allowed) 192.0.2.2", "suspect true 192.0.2.2"}},
			{time.Minute, ended(victim), cooling},
			{10 * time.Minute, tick, append(slices.Clone(over), bannedAfterAll("192.0.2.2")...)},
		}},
		{"the budget of new bans a minute", with(func(p *Policy) { p.MaxPerMinute = 1 }), []act{
			{0, started(victim), begun},
			{time.Second, started(another), []string{"record active (as many new bans within a minute as allowed) 192.0.2.2", "suspect true 192.0.2.2"}},
			{59 * time.Second, tick, []string{
				"record mitigated 192.0.2.1", "block +1m0s 192.0.2.1", "record active (as many new bans within a minute as allowed) 192.0.2.2"}},
			{time.Minute, tick, []string{"record mitigated 192.0.2.2", "block +1m0s 192.0.2.2", "notify ban 192.0.2.2"}},
		}},
		{"dry run", with(func(p *Policy) { p.DryRun = true }), []act{
			{0, started(victim), []string{"record active (dry run: nothing is dropped) 192.0.2.1", "suspect true 192.0.2.1"}},
			{time.Minute, ended(victim), []string{"suspect false 192.0.2.1", "record cooling (dry run: nothing is dropped) 192.0.2.1"}},
			{10 * time.Minute, tick, []string{"record over 192.0.2.1"}},
		}},
		{"dry run with the script", with(func(p *Policy) { p.DryRun, p.DryRunNotify = true, true }), []act{
			{0, started(victim), []string{"record active (dry run: nothing is dropped) 192.0.2.1", "notify ban 192.0.2.1", "suspect true 192.0.2.1"}},
			{time.Minute, ended(victim), []string{"suspect false 192.0.2.1", "record cooling (dry run: nothing is dropped) 192.0.2.1"}},
			{10 * time.Minute, tick, []string{"record over 192.0.2.1", "notify unban 192.0.2.1"}},
		}},
		{"a dry run becomes real, and dry again", with(func(p *Policy) { p.DryRun = true }), []act{
			{0, started(victim), []string{"record active (dry run: nothing is dropped) 192.0.2.1", "suspect true 192.0.2.1"}},
			{time.Second, policy(func(*Policy) {}), append([]string{"record active 192.0.2.1"}, begun[:3]...)},
			{2 * time.Second, policy(func(p *Policy) { p.DryRun = true }), []string{
				"record active 192.0.2.1", "release 192.0.2.1", "notify unban 192.0.2.1", "record active (dry run: nothing is dropped) 192.0.2.1"}},
		}},
		{"a dry ban by hand becomes real", with(func(p *Policy) { p.DryRun = true }), []act{
			{0, ban("192.0.2.9/32", 0), []string{"record active (dry run: nothing is dropped) 192.0.2.9"}},
			{time.Second, policy(func(*Policy) {}), []string{"record mitigated 192.0.2.9", "block +1m0s 192.0.2.9", "notify ban 192.0.2.9"}},
			{2 * time.Second, policy(func(p *Policy) { p.DryRun = true }), []string{
				"release 192.0.2.9", "notify unban 192.0.2.9", "record active (dry run: nothing is dropped) 192.0.2.9"}},
		}},
		{"the kill switch lifts, and gives back", testPolicy(), []act{
			{0, started(victim), begun},
			{0, ban("192.0.2.9/32", 0), []string{"record mitigated 192.0.2.9", "block +1m0s 192.0.2.9", "notify ban 192.0.2.9"}},
			{time.Second, policy(func(p *Policy) { p.KillSwitch = true }), []string{
				"record active (the kill switch is on) 192.0.2.1", "release 192.0.2.1", "notify unban 192.0.2.1",
				"record over 192.0.2.9", "release 192.0.2.9", "notify unban 192.0.2.9"}},
			{2 * time.Second, started(another), []string{"record active (the kill switch is on) 192.0.2.2", "suspect true 192.0.2.2"}},
			{3 * time.Second, ban("192.0.2.9/32", 0), []string{
				"record suspected (ban 192.0.2.9: the kill switch is on; turn it off in the configuration and reload first) invalid Prefix"}},
			{4 * time.Second, policy(func(*Policy) {}), []string{
				"record mitigated 192.0.2.1", "block +1m0s 192.0.2.1", "notify ban 192.0.2.1",
				"record mitigated 192.0.2.2", "block +1m0s 192.0.2.2", "notify ban 192.0.2.2"}},
		}},
		{"a reload takes a network away, and puts a host on the never-ban list", testPolicy(), []act{
			{0, started(victim), begun},
			{0, started(another), []string{"record mitigated 192.0.2.2", "block +1m0s 192.0.2.2", "notify ban 192.0.2.2", "suspect true 192.0.2.2"}},
			{0, ban("192.0.2.9/32", 0), []string{"record mitigated 192.0.2.9", "block +1m0s 192.0.2.9", "notify ban 192.0.2.9"}},
			{time.Second, policy(func(p *Policy) {
				p.Contains = func(q netip.Prefix) bool { return q != victim.Prefix }
				p.NeverBan = func(q netip.Prefix) bool { return q == another.Prefix }
			}), []string{
				"suspect false 192.0.2.1", "suspect false 192.0.2.2",
				"record over 192.0.2.1", "release 192.0.2.1", "notify unban 192.0.2.1",
				"record active (on the never-ban list) 192.0.2.2", "release 192.0.2.2", "notify unban 192.0.2.2"}},
			{2 * time.Second, ended(victim), nil},
		}},
		{"a ban by hand with an end", testPolicy(), []act{
			{0, ban("192.0.2.0/28", time.Minute), []string{"record mitigated 192.0.2.0/28", "block +1m0s 192.0.2.0/28", "notify ban 192.0.2.0/28"}},
			{time.Minute, tick, []string{"record over 192.0.2.0/28", "release 192.0.2.0/28", "notify unban 192.0.2.0/28"}},
		}},
		{"a ban by hand without an end", testPolicy(), []act{
			{0, ban("192.0.2.9/32", 0), []string{"record mitigated 192.0.2.9", "block +1m0s 192.0.2.9", "notify ban 192.0.2.9"}},
			{1000 * time.Hour, tick, []string{"record mitigated 192.0.2.9", "block +1m0s 192.0.2.9"}},
			{1001 * time.Hour, unban("192.0.2.9/32"), []string{"record over 192.0.2.9", "release 192.0.2.9", "notify unban 192.0.2.9"}},
		}},
		{"a ban by hand over an automatic one is told once", testPolicy(), []act{
			{0, started(victim), begun},
			{time.Second, ban("192.0.2.1/32", time.Hour), []string{"record mitigated 192.0.2.1"}},
			{2 * time.Second, ended(victim), cooling},
			{time.Hour, tick, []string{"record cooling 192.0.2.1", "block +1m0s 192.0.2.1"}},
			{time.Hour + time.Second, tick, over},
		}},
		{"a ban by hand adds to a script-only one what it lacks", testPolicy(), []act{
			{0, started(inGroup("script")), []string{"record active 192.0.2.1", "notify ban 192.0.2.1", "suspect true 192.0.2.1"}},
			{time.Second, ban("192.0.2.1/32", time.Hour), []string{"record mitigated 192.0.2.1", "block +1m0s 192.0.2.1"}},
		}},
		{"a ban by hand outlasts a detected attack on its target", testPolicy(), []act{
			{0, ban("192.0.2.1/32", time.Minute), []string{"record mitigated 192.0.2.1", "block +1m0s 192.0.2.1", "notify ban 192.0.2.1"}},
			{time.Second, started(victim), []string{"record mitigated 192.0.2.1", "suspect true 192.0.2.1"}},
			{2 * time.Minute, tick, renewed},
			{3 * time.Minute, ended(victim), append([]string{"suspect false 192.0.2.1"}, over...)},
		}},
		{"an unban holds off the next ban for a while", testPolicy(), []act{
			{0, started(victim), begun},
			{time.Minute, unban("192.0.2.1/32"), []string{"record active (unbanned by hand a short while ago) 192.0.2.1", "release 192.0.2.1", "notify unban 192.0.2.1"}},
			{2 * time.Minute, ended(victim), []string{"suspect false 192.0.2.1", "record over 192.0.2.1"}},
			{3 * time.Minute, started(victim), []string{"record active (unbanned by hand a short while ago) 192.0.2.1", "suspect true 192.0.2.1"}},
			{11 * time.Minute, tick, bannedAfterAll("192.0.2.1")},
		}},
		{"an unban by hand without hold-off", with(func(p *Policy) { p.HoldOff = -1 }), []act{
			{0, started(victim), begun},
			{time.Minute, unban("192.0.2.1/32"), append([]string{"record active 192.0.2.1", "release 192.0.2.1", "notify unban 192.0.2.1"}, begun[:3]...)},
		}},
		{"nonsense", testPolicy(), []act{
			{0, ended(victim), nil},
			{0, started(altered(victim, func(t *traffic.Target) { t.Direction = traffic.Internal })), nil},
			{0, started(altered(victim, func(t *traffic.Target) { t.Prefix = netip.Prefix{} })), nil},
			{0, started(altered(victim, func(t *traffic.Target) { t.Prefix = netip.MustParsePrefix("192.0.2.1/24") })), nil},
			{0, started(traffic.Target{Scope: traffic.ScopeGroup}), nil},
			{0, event(traffic.EventKindCount, victim), nil},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := New(tt.policy)
			for i, a := range tt.acts {
				now := start.Add(a.at)
				if diff := cmp.Diff(brief(now, a.do(m, now)), a.want); diff != "" {
					t.Errorf("act %d at +%s (-got +want):\n%s", i, a.at, diff)
				}
			}
		})
	}
}

// bannedAfterAll is what follows when a held attack's target is banned after all.
func bannedAfterAll(name string) []string {
	return []string{"record mitigated " + name, "block +1m0s " + name, "notify ban " + name}
}

func TestFigures(t *testing.T) {
	m := New(testPolicy())
	rate := func(packets uint64) traffic.TwoWay {
		return traffic.TwoWay{Incoming: traffic.Counts{Total: traffic.Count{Packets: packets, Bytes: packets * 100}, Flows: packets / 2}, Outgoing: traffic.Counts{Flows: 7}}
	}
	m.Handle(start, traffic.Event{Kind: traffic.EventStarted, Target: victim, At: start, Started: start.Add(-time.Second), Hosts: 1,
		Trip: traffic.Trip{Metric: traffic.PPS, Count: 1000}}, rate(1000))
	m.Update(start.Add(2*time.Second), victim, rate(5000), traffic.Counts{})
	m.Update(start.Add(3*time.Second), victim, rate(400), traffic.Counts{})
	m.Update(start.Add(3*time.Second), another, rate(400), traffic.Counts{})
	m.Handle(start.Add(4*time.Second), traffic.Event{Kind: traffic.EventEnded, Target: victim, At: start.Add(4 * time.Second)}, rate(10))
	m.Update(start.Add(5*time.Second), victim, rate(20), traffic.Counts{})

	got := m.Attacks()
	want := []traffic.Record{{
		Attack: traffic.Attack{
			ID: "20260301T120000.000-0000", Target: victim, Trip: traffic.Trip{Metric: traffic.PPS, Count: 1000}, Phase: traffic.PhaseCooling,
			Started: start.Add(-time.Second), Detected: start, Ended: start.Add(4 * time.Second), Hosts: 1,
			Rate:   rate(20),
			Peak:   traffic.Counts{Total: traffic.Count{Packets: 5000, Bytes: 500_000}, Flows: 2500},
			Volume: traffic.Counts{Total: traffic.Count{Packets: 1000 + 10000 + 400, Bytes: 1_140_000}, Flows: 500 + 5000 + 200},
		},
		Ban: traffic.Ban{Since: start, Until: start.Add(10 * time.Minute), Drop: true, Notified: true, Power: 1000},
	}}
	if diff := cmp.Diff(got, want, cmp.Comparer(samePrefix)); diff != "" {
		t.Errorf("attacks (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(m.Bans(), want, cmp.Comparer(samePrefix)); diff != "" {
		t.Errorf("bans (-got +want):\n%s", diff)
	}
}

func samePrefix(a, b netip.Prefix) bool { return a == b }

func TestHistoryIsBoundedAndNewestFirst(t *testing.T) {
	m := New(with(func(p *Policy) { p.History = 3 }))
	for i := range 5 {
		now := start.Add(time.Duration(i) * time.Second)
		target := hostTarget(fmt.Sprintf("192.0.2.%d", 10+i))
		target.Group = "watch"
		m.Handle(now, traffic.Event{Kind: traffic.EventStarted, Target: target, At: now}, flood)
		if i != 2 {
			m.Handle(now, traffic.Event{Kind: traffic.EventEnded, Target: target, At: now}, flood)
		}
	}
	var got []string
	for _, r := range m.Attacks() {
		got = append(got, r.Attack.Target.String()+" "+r.Attack.Phase.String())
	}
	want := []string{"192.0.2.14 over", "192.0.2.13 over", "192.0.2.12 active", "192.0.2.11 over"}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("attacks (-got +want):\n%s", diff)
	}
}

func TestStats(t *testing.T) {
	m := New(with(func(p *Policy) { p.MaxActive, p.MaxTracked = 1, 2 }))
	for _, target := range []traffic.Target{victim, another, hostTarget("192.0.2.3")} {
		event(traffic.EventStarted, target)(m, start)
	}
	suspected(hostTarget("192.0.2.4"))(m, start)
	ban("198.51.100.0/24", 0)(m, start)
	m.Tick(start.Add(30 * time.Second))
	got := m.Stats()
	want := Stats{Bans: 1, Dropping: 1, Attacks: 2, AutoBans: 1, Renewals: 1}
	want.Phases[traffic.PhaseMitigated], want.Phases[traffic.PhaseActive] = 1, 1
	want.Refused[RefusalMaxActive], want.Refused[RefusalMaxTracked], want.Refused[RefusalNotOurs] = 1, 2, 1
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("stats (-got +want):\n%s", diff)
	}
}

func TestManualRefusals(t *testing.T) {
	tests := []struct {
		name   string
		prefix netip.Prefix
		out    bool
		in     bool
		d      time.Duration
		want   string
	}{
		{"everything", netip.MustParsePrefix("0.0.0.0/0"), true, true, 0, "ban 0.0.0.0/0: not wholly inside our networks; ban a prefix within the configured networks"},
		{"everything in IPv6", netip.MustParsePrefix("::/0"), true, true, 0, "ban ::/0: not wholly inside our networks"},
		{"never-ban list", netip.MustParsePrefix("192.0.2.48/29"), true, true, 0, "ban 192.0.2.48/29: on the never-ban list; ban a prefix that holds nothing"},
		{"both directions are over the budget of one", netip.MustParsePrefix("192.0.2.1/32"), true, true, 0, "ban 192.0.2.1: as many bans in force as allowed; unban something first, or raise the limit of 1"},
		{"host bits", netip.MustParsePrefix("192.0.2.1/24"), true, false, 0, "ban 192.0.2.1/24: host bits are set; did you mean 192.0.2.0/24 or 192.0.2.1?"},
		{"no prefix", netip.Prefix{}, true, false, 0, "ban: no address given"},
		{"no direction", netip.MustParsePrefix("192.0.2.1/32"), false, false, 0, "ban 192.0.2.1: no direction given"},
		{"negative", netip.MustParsePrefix("192.0.2.1/32"), true, false, -time.Second, "ban 192.0.2.1: negative duration -1s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := New(with(func(p *Policy) { p.MaxActive = 1 }))
			steps, err := m.Ban(start, Request{Prefix: tt.prefix, Outgoing: tt.out, Incoming: tt.in, For: tt.d})
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error %v; want one that begins %q", err, tt.want)
			}
			if len(steps) != 0 || len(m.Bans()) != 0 {
				t.Errorf("a refused ban has taken steps %v, bans %v", steps, m.Bans())
			}
		})
	}
}

func TestUnbanErrors(t *testing.T) {
	m := New(testPolicy())
	ban("192.0.2.0/28", 0)(m, start)
	for prefix, want := range map[string]string{
		"192.0.2.1/32":        "unban 192.0.2.1: not banned itself; in force nearby, to be unbanned by their own names: 192.0.2.0/28",
		"192.0.2.77/32":       "unban 192.0.2.77: not banned; see the list of bans",
		"192.0.2.1/28":        "unban 192.0.2.1/28: host bits are set; did you mean 192.0.2.0/28 or 192.0.2.1?",
		"::ffff:192.0.2.0/24": "unban ::ffff:192.0.2.0/24: host bits are set; did you mean ::/24 or ::ffff:192.0.2.0?",
	} {
		if _, err := m.Unban(start, netip.MustParsePrefix(prefix)); err == nil || err.Error() != want {
			t.Errorf("unban %s: error %v, want %s", prefix, err, want)
		}
	}
	mapped := netip.PrefixFrom(netip.MustParseAddr("::ffff:192.0.2.0"), 96+28)
	if _, err := m.Unban(start, mapped); err != nil {
		t.Errorf("unban by an IPv4-mapped prefix: %v", err)
	}
}

func TestIdentifiersSortAsTheyAreMade(t *testing.T) {
	var i ids
	i.seen("20260301T120000.000-0041")
	i.seen("garbage")
	i.seen("20260301T120000.000-00x1")
	i.seen("20261301T120000.000-0001")
	if got, want := i.next(start), "20260301T120000.000-0042"; got != want {
		t.Errorf("first identifier %s, want %s", got, want)
	}
	last := ""
	for n := range 3 * idPerTick {
		now := start
		if n%7 == 0 {
			now = start.Add(-time.Hour) // the clock goes back
		}
		id := i.next(now)
		if id <= last {
			t.Fatalf("identifier %s after %s", id, last)
		}
		last = id
	}
}
