package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"weir/userspace/api/weirpb"
	"weir/userspace/lab"
)

// TestLadder: a flood is met by a limit at once, then by the rules that were found against it, which stop it and spare what else goes to
// its target; a limit of the kernel's that is not enough is followed by a blackhole, and when that is tried without and the flood is gone, all ends.
func TestLadder(t *testing.T) {
	b := newBed(t)
	p := b.joinPeer(t, "")
	d := startDaemon(t, b.router, "", fmt.Sprintf(`
interfaces: [{name: out, mode: native, role: host}]
networks: {prefixes: [192.0.2.0/24]}
memory: {cells: 64MB}
sampling: {rate: 100, suspect_rate: 10}
hostgroups:
  default:
    %s
    quiet: 500ms
    ban_time: 1s
    ladder:
      - {do: [filter, limit 3k pps]}
  other:
    networks: [%s/32]
    ladder:
      - {do: [limit 9k pps]}
      - {do: [rtbh], after: 1s, hold: 2s}
bgp:
  router_id: %s
  as: %d
  peers: [{name: upstream, address: %s, as: %d, local_address: %s, connect_retry: 1s}]
  actions: {rtbh: {kind: blackhole, next_hop: {ipv4: %s, ipv6: off}, communities: [blackhole, no-export]}}
`, hostThreshold, otherAddr, ourEnd, ourAS, peerEnd, peerAS, ourEnd, nextHop))
	ordinary := b.use(t, b.victim, victimAddr)

	const pps = 20_000
	f := flood(t, pps, lab.FloodOptions{
		Host: b.world, Frame: frame(t, b.world, b.router, "out", worldAddr, victimAddr), Sources: lab.Addresses{Spread: lab.Random, Prefix: prefixes(spoofed)[0]},
	})
	d.response(t, victimAddr, 1)
	until(t, "rules against the flood and a limit", func() bool { return len(d.rules(t)) >= 2 })
	rules := d.rules(t)
	if last := rules[len(rules)-1]; !last.GetAutomatic() || !strings.HasSuffix(last.GetRule(), "then rate-packets 3000") {
		t.Errorf("the limit: %v", last)
	}
	if first := rules[0]; !first.GetAutomatic() || first.GetShadow() || !strings.Contains(first.GetRule(), "then discard") || first.GetAttackId() == "" {
		t.Errorf("a rule that was found: %v", first)
	}
	t.Logf("the first rule was in force %s after the detection", rules[0].GetSince().AsTime().Sub(d.attacks(t)[0].GetDetected().AsTime()).Round(time.Millisecond))
	until(t, "the rule to stop the flood", func() bool {
		before := received(t, b.victim)
		f.more(t, pps/2)
		return received(t, b.victim)-before < pps/40
	})
	served(t, "requests that the rules do not name", ordinary)
	shown := d.weir(t, "attacks", "show", d.attacks(t)[0].GetId()).out
	for _, part := range []string{"1 of 1: filter, limit 3000 pps", "rung 1, because pps", "drops"} {
		if !strings.Contains(shown, part) {
			t.Errorf("weir attacks show: no %q in\n%s", part, shown)
		}
	}
	f.stop(t)
	until(t, "the rules to go with the attack", func() bool { return len(d.rules(t)) == 0 && len(d.bans(t)) == 0 })

	mark := p.changes.mark()
	f = flood(t, pps, lab.FloodOptions{
		Host: b.world, Frame: frame(t, b.world, b.router, "out", worldAddr, otherAddr), Sources: lab.Addresses{Spread: lab.Random, Prefix: prefixes(spoofed)[0]},
	})
	d.response(t, otherAddr, 2)
	p.route(t, mark, otherAddr, false)
	ban := d.bans(t)[otherAddr].GetResponse()
	if h := ban.GetHistory(); len(h) != 2 || !strings.Contains(ban.GetWhy(), "still passing for") {
		t.Errorf("the blackhole: %v", ban)
	}
	f.stop(t)
	p.route(t, mark, otherAddr, true)
	until(t, "the end of the response", func() bool { return len(d.bans(t)) == 0 })
}

// response waits until a target's response is a rung.
func (d *daemon) response(t *testing.T, target string, rung uint32) {
	t.Helper()
	until(t, fmt.Sprintf("rung %d for %s", rung, target), func() bool {
		all, err := d.client.Bans(t.Context(), connect.NewRequest(&weirpb.BansRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all.Msg.GetBans() {
			if e.GetTarget() == target && e.GetResponse().GetRung() == rung {
				return true
			}
		}
		return false
	})
}
