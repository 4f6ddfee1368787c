package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/api"
	"weir/userspace/api/weirpb"
	"weir/userspace/lab"
)

// Floods are ten times their threshold and more, and still little work for a small machine.
const (
	thresholdPPS = 1000
	floodPPS     = 20_000
)

// routerConfig is a configuration for the bed's router: how it measures, and the default hostgroup's keys.
func routerConfig(mode string, egress bool, group string) string {
	return fmt.Sprintf(`
interfaces: [{name: out, mode: %s, role: host, egress: %t}]
networks: {prefixes: [192.0.2.0/24, 203.0.113.0/24, 100.64.0.0/16, "2001:db8::/48"]}
memory: {cells: 64MB}
hostgroups: {default: {%s, quiet: 500ms, ban_time: 1s}}
`, mode, egress, group)
}

const hostThreshold = "thresholds: {incoming: {pps: 1000}}"

// TestIncoming follows a flood on one host from its first packet to the end of its ban.
func TestIncoming(t *testing.T) {
	for _, tt := range []struct{ name, mode, world, victim, other, spoofed string }{
		{"native", "native", worldAddr, victimAddr, otherAddr, spoofed},
		{"generic", "generic", worldAddr, victimAddr, otherAddr, spoofed},
		{"IPv6", "native", worldAddr6, victim6, other6, spoofed6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, script := newBed(t), newScript(t)
			d := startDaemon(t, b.router, script.path, routerConfig(tt.mode, false, hostThreshold))
			if got := d.status(t).GetInterfaces(); len(got) != 1 || !got[0].GetAttached() || got[0].GetMode() != tt.mode {
				t.Fatalf("interfaces: %v; want one, attached in %s mode", got, tt.mode)
			}
			ordinary, bystander := b.use(t, b.victim, tt.victim), b.use(t, b.other, tt.other)
			quiet := received(t, b.victim)

			f := flood(t, floodPPS, lab.FloodOptions{
				Host: b.world, Frame: frame(t, b.world, b.router, "out", tt.world, tt.victim),
				Sources: lab.Addresses{Spread: lab.Random, Prefix: prefixes(tt.spoofed)[0]}, SrcPorts: 0xffff,
			})
			attack := d.phase(t, 0, tt.victim, weirpb.Phase_PHASE_MITIGATED)
			f.blocked(t, "the flood on a banned host", b.victim)
			if leaked := received(t, b.victim) - quiet; leaked > floodPPS/2 {
				t.Errorf("%d packets have leaked: half a second's worth and more", leaked)
			}
			checkAttack(t, attack, weirpb.Direction_DIRECTION_INCOMING)
			if c := d.total(t, tt.victim, weirpb.Direction_DIRECTION_INCOMING).GetDropped(); c.GetPackets() < 10_000 || c.GetBytes() < 200*c.GetPackets()-200*100 {
				t.Errorf("dropped for the victim: %v; want 10000 packets of 200 bytes and more", c)
			}
			if ban := d.bans(t)[tt.victim]; !ban.GetDropping() || ban.GetAttackId() != attack.GetId() {
				t.Errorf("ban of the victim: %v; want one that drops, for attack %s", ban, attack.GetId())
			}
			power := checkBanCall(t, script.await(t, tt.victim, "ban"), attack)

			failed := ordinary.Stats().Failed
			until(t, "the ban to be felt by the victim's users", func() bool { return ordinary.Stats().Failed > failed })
			f.stop(t)
			d.phase(t, 0, tt.victim, weirpb.Phase_PHASE_OVER)
			served(t, "requests to the victim after the unban", ordinary)
			undisturbed(t, "requests to another host", bystander)
			unban := script.await(t, tt.victim, "unban")
			if diff := cmp.Diff(unban.args, []string{tt.victim, "incoming", power, "unban"}); diff != "" || unban.stdin != "" {
				t.Errorf("unban call (-got +want):\n%s; stdin %q, want none", diff, unban.stdin)
			}
			if len(d.bans(t)) > 0 || len(d.attacks(t)) != 1 || len(script.calls.all()) != 2 {
				t.Errorf("in the end: bans %v, attacks %v, calls %v; want no ban, one attack, two calls", d.bans(t), d.attacks(t), script.calls.all())
			}
		})
	}
}

// checkAttack compares what the API says about an attack with what the flood was.
func checkAttack(t *testing.T, a *weirpb.Attack, way weirpb.Direction) {
	t.Helper()
	if a.GetScope() != weirpb.Scope_SCOPE_HOST || a.GetDirection() != way || a.GetMetric() != weirpb.Metric_METRIC_PPS || a.GetThreshold() != thresholdPPS {
		t.Errorf("attack: %v; want one on a host, %s, by pps over %d", a, api.EnumName(way), thresholdPPS)
	}
	if a.GetValue() <= thresholdPPS || a.GetDetected().AsTime().Before(a.GetStarted().AsTime()) {
		t.Errorf("attack: value %v, started %v, detected %v", a.GetValue(), a.GetStarted().AsTime(), a.GetDetected().AsTime())
	}
}

// checkBanCall checks what FastNetMon's contract says of a ban, and returns the attack's power as it was given.
func checkBanCall(t *testing.T, c call, a *weirpb.Attack) (power string) {
	t.Helper()
	power = c.args[2]
	if c.args[1] != api.EnumName(a.GetDirection()) || power == "0" || strings.Trim(power, "0123456789") != "" {
		t.Errorf("ban call: arguments %v; want direction %s and packets per second", c.args, api.EnumName(a.GetDirection()))
	}
	lines := strings.Split(c.stdin, "\n")
	want := []string{
		"IP: " + a.GetTarget(), "Attack type: udp_flood", "Initial attack power: " + power + " packets per second",
	}
	if diff := cmp.Diff(lines[:min(3, len(lines))], want); diff != "" {
		t.Errorf("ban call, stdin (-got +want):\n%s", diff)
	}
	if !slices.Contains(lines, "Attack direction: "+api.EnumName(a.GetDirection())) || !slices.Contains(lines, "Attack protocol: udp") {
		t.Errorf("ban call, stdin: no direction or protocol in\n%s", c.stdin)
	}
	if c.env["WEIR_ATTACK_ID"] != a.GetId() {
		t.Errorf("ban call: environment %v; want attack %s", c.env, a.GetId())
	}
	return power
}

// TestOutgoing has a customer flood the world: counted and dropped where it leaves the router.
func TestOutgoing(t *testing.T) {
	b, script := newBed(t), newScript(t)
	d := startDaemon(t, b.router, script.path, routerConfig("native", true, "thresholds: {outgoing: {pps: 1000}}"))
	if got := d.status(t).GetInterfaces(); len(got) != 1 || !got[0].GetEgress() {
		t.Fatalf("interfaces: %v; want one with egress", got)
	}
	bystander := b.use(t, b.other, otherAddr)
	f := flood(t, floodPPS, lab.FloodOptions{
		Host: b.victim, Frame: frame(t, b.victim, b.router, "in1", victimAddr, worldAddr), SrcPorts: 0xffff,
	})
	attack := d.phase(t, 0, victimAddr, weirpb.Phase_PHASE_MITIGATED)
	checkAttack(t, attack, weirpb.Direction_DIRECTION_OUTGOING)

	// The world's link carries the bystander's requests too: what counts are datagrams.
	f.more(t, 1000)
	before := refused(t, b.world)
	f.more(t, 10_000)
	if passed := refused(t, b.world) - before; passed > 0 {
		t.Errorf("%d of 10000 packets of a banned host have reached the world", passed)
	}
	if before == 0 {
		t.Error("no packet of the flood has reached the world before the ban: it proves nothing")
	}
	if c := d.total(t, victimAddr, weirpb.Direction_DIRECTION_OUTGOING); c.GetDropped().GetPackets() < 10_000 {
		t.Errorf("outgoing of the flooding host: %v; want 10000 dropped and more", c)
	}
	if c := d.incoming(t, otherAddr); c == 0 {
		t.Error("the other host's incoming traffic was not counted")
	}
	checkBanCall(t, script.await(t, victimAddr, "ban"), attack)
	f.stop(t)
	d.phase(t, 0, victimAddr, weirpb.Phase_PHASE_OVER)
	script.await(t, victimAddr, "unban")
	undisturbed(t, "requests to another host", bystander)
	served(t, "requests to the host that was banned", b.use(t, b.victim, victimAddr))
}

// TestCarpet spreads a flood over a /24, so thin that no host is over its threshold: it is one attack, on the prefix.
func TestCarpet(t *testing.T) {
	b, script := newBed(t), newScript(t)
	d := startDaemon(t, b.router, script.path, routerConfig("native", false,
		"thresholds: {incoming: {pps: 1000}}, prefix_thresholds: {incoming: {pps: 2000}}"))
	ordinary, bystander := b.use(t, b.victim, victimAddr), b.use(t, b.other, otherAddr)
	f := flood(t, floodPPS, lab.FloodOptions{
		Host: b.world, Frame: frame(t, b.world, b.router, "out", worldAddr, "203.0.113.1"), SrcPorts: 0xffff,
		Sources:      lab.Addresses{Spread: lab.Random, Prefix: prefixes(spoofed)[0]},
		Destinations: lab.Addresses{Spread: lab.Sweep, Prefix: prefixes(carpet)[0]},
	})
	attack := d.phase(t, 0, carpet, weirpb.Phase_PHASE_MITIGATED)
	if attack.GetScope() != weirpb.Scope_SCOPE_PREFIX {
		t.Errorf("scope %v, want that of a prefix", attack.GetScope())
	}
	// The victim's own requests come by the same link, so the dropped packets are counted instead of those that pass.
	f.more(t, 1000)
	before, dropped := refusedOrForeign(t, b.victim), d.droppedIncoming(t)
	f.more(t, 10_000)
	if passed := refusedOrForeign(t, b.victim) - before; passed > 0 {
		t.Errorf("%d of 10000 packets to a banned prefix have passed", passed)
	}
	until(t, "the drops to be in the totals", func() bool { return d.droppedIncoming(t) >= dropped+9000 })
	if call := script.await(t, carpet, "ban"); call.args[1] != "incoming" {
		t.Errorf("ban call: %v", call)
	}
	if all := d.attacks(t); len(all) != 1 {
		t.Errorf("%d attacks, want one: %v", len(all), all)
	}
	f.stop(t)
	d.phase(t, 0, carpet, weirpb.Phase_PHASE_OVER)
	script.await(t, carpet, "unban")
	undisturbed(t, "requests to a host beside the prefix", ordinary)
	undisturbed(t, "requests to another host", bystander)

	// One address of it again, under the threshold: nothing is left of the ban.
	again := flood(t, 500, lab.FloodOptions{Host: b.world, Frame: frame(t, b.world, b.router, "out", worldAddr, "203.0.113.77")})
	after := refusedOrForeign(t, b.victim)
	again.more(t, 100)
	until(t, "packets to the prefix after its unban", func() bool { return refusedOrForeign(t, b.victim) >= after+90 })
}

func (d *daemon) droppedIncoming(t *testing.T) uint64 {
	t.Helper()
	for _, total := range d.status(t).GetDirections() {
		if total.GetDirection() == weirpb.Direction_DIRECTION_INCOMING {
			return total.GetTotal().GetDropped().GetPackets()
		}
	}
	t.Fatal("status has no incoming totals")
	return 0
}
