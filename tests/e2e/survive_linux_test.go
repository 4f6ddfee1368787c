package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"weir/userspace/api/weirpb"
	"weir/userspace/lab"
)

// floodVictim floods one of the victim's addresses from outside and waits for its ban.
func floodVictim(t *testing.T, b *bed, d *daemon, victim string) *stream {
	t.Helper()
	mark, world, sources := d.changes.mark(), worldAddr, spoofed
	if addr(victim).Is6() {
		world, sources = worldAddr6, spoofed6
	}
	f := flood(t, floodPPS, lab.FloodOptions{
		Host: b.world, Frame: frame(t, b.world, b.router, "out", world, victim), SrcPorts: 0xffff,
		Sources: lab.Addresses{Spread: lab.Random, Prefix: prefixes(sources)[0]},
	})
	d.phase(t, mark, victim, weirpb.Phase_PHASE_MITIGATED)
	return f
}

// bothFamilies runs a test for an IPv4 host, whose cell has its place, and for an IPv6 host, which is given one on demand.
func bothFamilies(t *testing.T, test func(t *testing.T, victim string)) {
	t.Run("IPv4", func(t *testing.T) { test(t, victimAddr) })
	t.Run("IPv6", func(t *testing.T) { test(t, victim6) })
}

// TestInterfaceFlap takes the interface away and brings another of its name.
func TestInterfaceFlap(t *testing.T) {
	b := newBed(t)
	d := startDaemon(t, b.router, "", routerConfig("native", false, hostThreshold))
	before := d.status(t).GetInterfaces()[0]
	err := b.router.Do(func() error {
		link, err := netlink.LinkByName("out")
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "status to say that the interface is gone", func() bool { return !d.status(t).GetInterfaces()[0].GetAttached() })
	if gone := d.status(t).GetInterfaces()[0]; gone.GetMode() != "none" || gone.GetWhy() == "" || gone.GetIndex() != 0 {
		t.Errorf("interface that is gone: %v", gone)
	}
	b.joinWorld(t)
	until(t, "status to say that the interface is back", func() bool { return d.status(t).GetInterfaces()[0].GetAttached() })
	if after := d.status(t).GetInterfaces()[0]; after.GetMode() != "native" || after.GetIndex() == before.GetIndex() || after.GetIndex() == 0 {
		t.Errorf("interface that is back: %v; want another index than %d, native", after, before.GetIndex())
	}
	b.use(t, b.victim, victimAddr)
	until(t, "the victim to be counted", func() bool { return d.incoming(t, victimAddr) > 0 })
	floodVictim(t, b, d, victimAddr).blocked(t, "the flood on a banned host by the new interface", b.victim)
}

// TestReload changes the configuration in mid-attack: no count goes back, and no packet passes.
func TestReload(t *testing.T) { bothFamilies(t, testReload) }

func testReload(t *testing.T, victim string) {
	b := newBed(t)
	d := newDaemon(t, b.router, "")
	d.errorsExpected = true // the file that is refused
	config := func(networks, thresholds string) string {
		return fmt.Sprintf(`
interfaces: [{name: out, mode: native}]
networks: {prefixes: [%s, "2001:db8::/48"]}
memory: {cells: 64MB}
hostgroups: {default: {thresholds: {incoming: %s}, quiet: 500ms, ban_time: 1s}}
`, networks, thresholds)
	}
	d.configure(t, config("192.0.2.0/24", "{pps: 1000}"))
	d.start(t)
	f := floodVictim(t, b, d, victim)
	f.more(t, 1000)
	passed, counted := received(t, b.victim), d.incoming(t, victim)
	if counted == 0 {
		t.Fatal("nothing was counted for the victim")
	}
	for _, step := range []struct {
		what, body, says, fault string
		networks                uint64
	}{
		{"other thresholds", config("192.0.2.0/24", "{pps: 2000, mbps: 900}"), "configuration reloaded", "", 2},
		{"another network", config("192.0.2.0/24, 100.64.0.0/16", "{pps: 2000}"), "configuration reloaded", "", 3},
		{"a broken file", config("192.0.2.7/24, 10.0.0.0/8", "{pps: 2000}"), "reload refused; the configuration in force stays", "host bits", 3},
		{"a network less", config("192.0.2.0/24", "{pps: 1000}"), "configuration reloaded", "", 2},
	} {
		mark := d.log.mark()
		d.configure(t, step.body)
		d.signal(t, syscall.SIGHUP)
		d.said(t, mark, step.says)
		if now := d.incoming(t, victim); now < counted {
			t.Errorf("%s: the victim's count goes back from %d to %d", step.what, counted, now)
		}
		f.more(t, 2000)
		until(t, "the victim to be counted on after "+step.what, func() bool { return d.incoming(t, victim) > counted+1000 })
		counted = d.incoming(t, victim)
		s := d.status(t)
		if !strings.Contains(s.GetConfigError(), step.fault) || (step.fault == "") != (s.GetConfigError() == "") || s.GetNetworks() != step.networks {
			t.Errorf("%s: status says %q and %d networks; want %q and %d", step.what, s.GetConfigError(), s.GetNetworks(), step.fault, step.networks)
		}
		if ban := d.bans(t)[victim]; !ban.GetDropping() {
			t.Errorf("%s: the victim's ban is %v", step.what, ban)
		}
		if n := received(t, b.victim) - passed; n > 20 {
			t.Fatalf("%s: %d packets have passed the ban since the first reload", step.what, n)
		}
	}
	if all := d.attacks(t); len(all) != 1 {
		t.Errorf("%d attacks, want the one: %v", len(all), all)
	}
	f.stop(t)
	d.phase(t, 0, victim, weirpb.Phase_PHASE_OVER)
	sent, err := f.Sent()
	if err != nil {
		t.Fatal(err)
	}
	link, err := b.world.Stats("eth0")
	if err != nil {
		t.Fatal(err)
	}
	// No reload has lost a packet; a full ring may have, before Weir could see it.
	if counted := d.incoming(t, victim); counted > sent+20 || counted+link.TxDropped < sent {
		t.Errorf("%d of %d packets were counted; %d were lost on the link", counted, sent, link.TxDropped)
	}
}

// TestKill kills the daemon in mid-attack. The kernel goes on dropping, and the next daemon takes over.
func TestKill(t *testing.T) { bothFamilies(t, testKill) }

func testKill(t *testing.T, victim string) {
	b, script := newBed(t), newScript(t)
	d := startDaemon(t, b.router, script.path, routerConfig("native", false, hostThreshold))
	f := floodVictim(t, b, d, victim)
	f.more(t, 1000)
	passed, counted := received(t, b.victim), d.incoming(t, victim)
	attack := d.bans(t)[victim].GetAttackId()
	script.await(t, victim, "ban") // it is called beside all this, and dies with the daemon

	d.kill(t)
	f.blocked(t, "the flood on a banned host without a daemon", b.victim)
	d.start(t)
	if r := d.said(t, 0, "running"); !strings.Contains(r.line, `"adopted":true`) {
		t.Errorf("the new daemon says %s; want that it has adopted what was there", r)
	}
	if ban := d.bans(t)[victim]; !ban.GetDropping() || ban.GetAttackId() != attack {
		t.Errorf("the new daemon has the ban %v; want that of attack %s", ban, attack)
	}
	f.blocked(t, "the flood on a banned host under a new daemon", b.victim)
	if n := received(t, b.victim) - passed; n > 40 {
		t.Errorf("%d packets have passed the ban while daemons changed places", n)
	}
	until(t, "the victim to be counted by the new daemon", func() bool { return d.incoming(t, victim) > 0 })
	if counted == 0 {
		t.Error("the first daemon had counted nothing")
	}
	if calls := script.calls.all(); len(calls) != 1 {
		t.Errorf("calls of the script: %v; a ban that goes on is told once", calls)
	}
	// By hand, while the flood goes on: the operator's word counts.
	if a := d.weir(t, "unban", victim); a.code != 0 {
		t.Errorf("weir unban: exit code %d: %s", a.code, a.errors)
	}
	f.passes(t, "the flood after the unban", b.victim)
	script.await(t, victim, "unban")
}

// TestExpiry kills the daemon and starts no other: the kernel lets go by itself.
func TestExpiry(t *testing.T) {
	b := newBed(t)
	d := startDaemon(t, b.router, "", routerConfig("native", false, hostThreshold))
	f := floodVictim(t, b, d, victimAddr)
	d.kill(t)
	f.blocked(t, "the flood on a banned host without a daemon", b.victim)
	f.passes(t, "the flood after the ban's expiry in the kernel", b.victim)
	f.stop(t)
	// The pins are a killed daemon's; another one takes them over and removes them as it ends.
	if left, err := os.ReadDir(d.pins); err != nil || len(left) == 0 {
		t.Errorf("pins of a killed daemon: %v, %v; want some", left, err)
	}
	d.start(t)
}
