package e2e

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"weir/userspace/api/weirpb"
	"weir/userspace/lab"
)

// TestRules puts a rule in force by hand: it stops what it names and nothing else, counts, outlives the daemon, and goes.
func TestRules(t *testing.T) {
	b := newBed(t)
	d := startDaemon(t, b.router, "", routerConfig("native", false, "thresholds: {}"))
	ordinary := b.use(t, b.victim, victimAddr)
	f := flood(t, floodPPS, lab.FloodOptions{
		Host: b.world, Frame: frame(t, b.world, b.router, "out", worldAddr, victimAddr), Sources: lab.Addresses{Spread: lab.Random, Prefix: prefixes(spoofed)[0]},
	})
	until(t, "the flood to arrive", func() bool { return received(t, b.victim) > 1000 })

	const rule = "destination 192.0.2.10/32 protocol udp source-port 53 length <=200 then discard"
	add := func(args ...string) *weirpb.AppliedRule {
		t.Helper()
		if got := d.weir(t, append([]string{"rules", "add", rule}, args...)...); got.code != 0 || !strings.Contains(got.out, rule) {
			t.Fatalf("weir rules add: exit code %d, %s%s", got.code, got.out, got.errors)
		}
		all := d.rules(t)
		return all[len(all)-1]
	}
	hits := func(id uint64) uint64 {
		for _, r := range d.rules(t) {
			if r.GetId() == id {
				return r.GetPackets()
			}
		}
		return 0
	}
	stopped := func(what string) { // but for requests that the rule does not name
		t.Helper()
		f.more(t, 1000)
		before := received(t, b.victim)
		f.more(t, 20_000)
		if passed := received(t, b.victim) - before; passed > 2000 {
			t.Errorf("%s: %d packets passed beside 20000", what, passed)
		}
	}
	shadow := add("--shadow")
	if shadow.GetRule() != rule || !shadow.GetShadow() {
		t.Fatalf("got %v, want %s in shadow", shadow, rule)
	}
	id := shadow.GetId()
	until(t, "the rule in shadow to count", func() bool { return hits(id) > 1000 })
	before := received(t, b.victim)
	until(t, "packets to pass a rule in shadow", func() bool { return received(t, b.victim) > before+1000 })

	added := add()
	if added.GetId() == id || added.GetShadow() {
		t.Fatalf("got %v, want another rule", added)
	}
	stopped("what a rule names")
	served(t, "requests that the rule does not name", ordinary)
	until(t, "the rule to count", func() bool { return hits(added.GetId()) > 1000 })

	d.stop(t)
	d.start(t)
	stopped("the same after a restart")

	for _, wrong := range []string{"destination 198.51.100.0/24 protocol udp then discard", "destination 192.0.2.10/32 then discard then", "protocol udp then discard"} {
		if got := d.weir(t, "rules", "add", wrong); got.code != 1 || got.errors == "" {
			t.Errorf("%s: exit code %d, %q", wrong, got.code, got.errors)
		}
	}
	if got := d.weir(t, "rules", "del", "4711"); got.code != 1 || !strings.Contains(got.errors, "4711") {
		t.Errorf("delete a rule that is not there: exit code %d, %q", got.code, got.errors)
	}
	d.weir(t, "rules", "del", strconv.FormatUint(added.GetId(), 10))
	before = received(t, b.victim)
	until(t, "packets to pass again", func() bool { return received(t, b.victim) > before+1000 })

	brief := add("--for", "1s")
	if got := brief.GetUntil().AsTime().Sub(brief.GetSince().AsTime()); got != time.Second {
		t.Errorf("a rule for 1 s lasts %s", got)
	}
	until(t, "a rule to end by itself", func() bool {
		all := d.rules(t)
		return len(all) == 1 && all[0].GetId() == id
	})
	d.weir(t, "rules", "del", "--all")
	if left := d.rules(t); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// rules is what is in force, in the order in which it is looked at.
func (d *daemon) rules(t *testing.T) []*weirpb.AppliedRule {
	t.Helper()
	r, err := d.client.Rules(t.Context(), connect.NewRequest(&weirpb.RulesRequest{}))
	if err != nil {
		t.Fatalf("ask for rules: %v", err)
	}
	return r.Msg.GetRules()
}
