package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"weir/userspace/api/weirpb"
	"weir/userspace/lab"
)

// TestHooks: a script has a say in what is done about an attack, and a reload gives it another one.
func TestHooks(t *testing.T) {
	b := newBed(t)
	script := filepath.Join(t.TempDir(), "hooks.lua")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`function on_attack(attack) return { veto = true, why = "a test of " .. attack.target } end`)
	d := startDaemon(t, b.router, "", routerConfig("native", false, hostThreshold)+fmt.Sprintf("\nhooks: {script: %s}\n", script))
	f := flood(t, floodPPS, lab.FloodOptions{
		Host: b.world, Frame: frame(t, b.world, b.router, "out", worldAddr, victimAddr), Sources: lab.Addresses{Spread: lab.Random, Prefix: prefixes(spoofed)[0]},
	})
	attack := d.changes.await(t, "the attack to be held", 0, d.ended, func(a *weirpb.Attack) bool { return a.GetTarget() == victimAddr && a.GetHeld() != "" })
	if !strings.Contains(attack.GetHeld(), "the hook is against it: a test of "+victimAddr) {
		t.Errorf("held because %s", attack.GetHeld())
	}
	f.passes(t, "a flood that the script lets pass", b.victim)

	write(`function on_mitigate(attack, response) return { ban_time = 3600 } end`)
	mark := d.log.mark()
	d.signal(t, syscall.SIGHUP)
	d.said(t, mark, "configuration reloaded")
	until(t, "a ban, by another script", func() bool { return d.bans(t)[victimAddr].GetDropping() })
	f.blocked(t, "the flood by another script", b.victim)
	if ban := d.bans(t)[victimAddr]; ban.GetUntil().AsTime().Sub(ban.GetSince().AsTime()).Hours() != 1 {
		t.Errorf("the ban lasts from %s to %s, want an hour", ban.GetSince().AsTime(), ban.GetUntil().AsTime())
	}
	f.stop(t)
}
