package e2e

import (
	"strings"
	"testing"

	"weir/userspace/api/weirpb"
	"weir/userspace/lab"
)

// TestByHand bans and unbans by the command line, and meets its guards.
func TestByHand(t *testing.T) {
	b, script := newBed(t), newScript(t)
	d := startDaemon(t, b.router, script.path, routerConfig("native", false, hostThreshold)+"never_ban: {prefixes: ["+otherAddr+"]}\n")
	ordinary, bystander := b.use(t, b.victim, victimAddr), b.use(t, b.other, otherAddr)
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"a host that is never banned", []string{"ban", otherAddr}, 1, "never"},
		{"a prefix that holds one", []string{"ban", "192.0.2.128/25"}, 1, "never"},
		{"a host of others", []string{"ban", worldAddr}, 1, "networks"},
		{"a host that is not banned", []string{"unban", victimAddr}, 1, "not banned"},
		{"no address", []string{"ban"}, 2, "IP"},
		{"two addresses", []string{"ban", victimAddr, otherAddr}, 2, ""},
		{"a direction that there is none of", []string{"ban", victimAddr, "--direction", "sideways"}, 2, "sideways"},
		{"no duration", []string{"ban", victimAddr, "--for", "soon"}, 2, "soon"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if a := d.weir(t, tt.args...); a.code != tt.code || !strings.Contains(a.errors, tt.says) || a.errors == "" || a.out != "" {
				t.Errorf("weir %v: exit code %d, says %q and prints %q; want %d and %q", tt.args, a.code, a.errors, a.out, tt.code, tt.says)
			}
		})
	}
	if len(d.bans(t)) > 0 || len(script.calls.all()) > 0 {
		t.Fatalf("bans %v, calls %v of what was refused", d.bans(t), script.calls.all())
	}

	// For a time.
	bans := ask[printed](t, d, "ban", victimAddr, "--for", "2s", "--direction", "incoming", "--reason", "a trial")
	if got := bans.Bans; len(got) != 1 || !got[0].Manual || !got[0].Dropping || got[0].Reason != "a trial" || got[0].Until == nil {
		t.Errorf("weir ban: %+v; want one by hand that drops", got)
	}
	failed := ordinary.Stats().Failed
	until(t, "the ban to be felt", func() bool { return ordinary.Stats().Failed > failed })
	d.phase(t, 0, victimAddr, weirpb.Phase_PHASE_OVER)
	served(t, "requests after the ban's end", ordinary)
	script.await(t, victimAddr, "ban")
	script.await(t, victimAddr, "unban")

	// Until told otherwise.
	mark := d.changes.mark()
	bans = ask[printed](t, d, "ban", victimAddr)
	if got := bans.Bans; len(got) != 2 || got[0].Until != nil {
		t.Errorf("weir ban: %+v; want both directions, without an end", got)
	}
	f := flood(t, 500, lab.FloodOptions{Host: b.world, Frame: frame(t, b.world, b.router, "out", worldAddr, victimAddr)})
	before := refused(t, b.victim)
	f.more(t, 200)
	if passed := refused(t, b.victim) - before; passed > 0 {
		t.Errorf("%d packets have passed a ban by hand", passed)
	}
	if lifted := ask[printed](t, d, "unban", victimAddr); len(lifted.Bans) != 2 {
		t.Errorf("weir unban: %+v; want both directions", lifted.Bans)
	}
	d.phase(t, mark, victimAddr, weirpb.Phase_PHASE_OVER)
	until(t, "packets after the unban", func() bool { return refused(t, b.victim) > before+50 })
	undisturbed(t, "requests to the host that is never banned", bystander)

	known := ask[printed](t, d, "attacks").Attacks
	for _, a := range known {
		if !a.Manual || a.Phase != "over" {
			t.Errorf("weir attacks: %+v; want bans by hand that are over", a)
		}
	}
	if len(known) != 3 {
		t.Errorf("weir attacks: %d, want 3", len(known))
	}
	if none := ask[printed](t, d, "bans"); len(none.Bans) > 0 {
		t.Errorf("weir bans: %+v, want none", none.Bans)
	}
	if s := ask[printedStatus](t, d, "status"); len(s.Interfaces) != 1 || s.Interfaces[0].Name != "out" || !s.Interfaces[0].Attached {
		t.Errorf("weir status: %+v", s.Interfaces)
	}
	for _, command := range []string{"status", "hosts", "attacks", "bans"} {
		if a := d.weir(t, command); a.code != 0 || a.out == "" || a.errors != "" {
			t.Errorf("weir %s: exit code %d, prints %q, says %q", command, a.code, a.out, a.errors)
		}
	}
}
