package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// TestLadder: every value of a rung, its defaults, and which way of saying what is done wins where a hostgroup inherits the other.
func TestLadder(t *testing.T) {
	c := mustParse(t, `
networks: {prefixes: [192.0.2.0/24, 203.0.113.0/24]}
mitigation: {probe: {look: 5s, most: 1h}, tolerance: 25%}
sources:
  allow: {prefixes: [198.51.100.7, 198.51.100.0/24, 198.51.100.7], files: [lists/good.txt]}
  block: {prefixes: ["2001:db8::/32"]}
bgp:
  actions:
    rtbh: {kind: blackhole}
    learned: {kind: flowspec, found: true}
hostgroups:
  default:
    ladder:
      - {do: [notify, shadow]}
      - {do: [filter, limit 50k pps, limit 100 mbps, authenticate all, learned], over: 1.5, after: 0s, hold: 2s, classes: ["*_flood"], at_once: {mbps: 100, udp_pps: 1M}}
      - {do: [drop, rtbh, authenticate]}
  heir: {networks: [192.0.2.0/25]}
  plain: {networks: [192.0.2.128/26], actions: [drop]}
  none: {networks: [192.0.2.192/26], ladder: []}
`)
	want := []Rung{
		{Notify: true, Rules: traffic.RulesShadow, Over: 1, After: 3 * time.Second, Hold: time.Minute},
		{
			Rules: traffic.RulesEnforce, LimitPackets: 50_000, LimitBytes: 12_500_000, Challenge: traffic.ChallengeAll, Actions: []string{"learned"},
			Over: 1.5, Hold: 2 * time.Second, Classes: []string{"*_flood"}, AtOnce: traffic.Limits{traffic.BPS: 1e8, traffic.UDPPPS: 1e6},
		},
		{Drop: true, Challenge: traffic.ChallengeSYN, Actions: []string{"rtbh"}, Over: 1, After: 3 * time.Second, Hold: time.Minute},
	}
	ladders := map[string][]Rung{}
	for _, g := range c.Hostgroups {
		ladders[g.Name] = g.Ladder
	}
	if diff := cmp.Diff(map[string][]Rung{"default": want, "heir": want, "plain": nil, "none": nil}, ladders); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := c.Mitigation; got.Probe != (Probe{Look: 5 * time.Second, Most: time.Hour}) || got.Tolerance != 0.25 {
		t.Errorf("mitigation: %+v", got)
	}
	sources := Sources{Allow: prefixes("192.0.2.0/24", "198.51.100.0/24", "198.51.100.7/32", "2001:db8::/32"), Block: prefixes("2001:db8::/32")}
	if diff := cmp.Diff(sources, c.Sources, compareNet); diff != "" {
		t.Errorf("sources (-want +got)\n%s", diff)
	}
	if !c.BGP.Actions[1].Found {
		t.Error("the rules found are not announced")
	}
}
