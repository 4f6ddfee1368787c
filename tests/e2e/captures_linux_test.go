package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"weir/userspace/api"
	"weir/userspace/api/weirpb"
	"weir/userspace/lab"
)

// captureEngines are those that any Linux has, and what `weir status` calls them. AF_XDP takes frames before the network stack: the others
// see copies.
func captureEngines() []captureEngine {
	return []captureEngine{
		{"afpacket", "workers: 1", "one ring", false},
		{"afpacket", "workers: 2, fanout: hash", "fanout hash", false},
		{"afxdp", "workers: 1", "copy, native", true},
		{"pcap", "", "packet socket", false},
	}
}

type captureEngine struct {
	name, options, mode string
	takes               bool // nothing passes
}

func (e captureEngine) String() string { return e.name + " " + strings.ReplaceAll(e.mode, ",", "") }

// captureConfig is a configuration for the bed's router.
func captureConfig(e captureEngine, group string) string {
	return fmt.Sprintf(`
interfaces: [{name: out, role: mirror, engine: %s, options: {%s}}]
networks: {prefixes: [192.0.2.0/24]}
hostgroups: {default: {%s, actions: [notify], quiet: 500ms, ban_time: 1s}}
`, e.name, e.options, group)
}

// know has the world know the router's hardware address: ARP is answered by the stack, which sees nothing of a port that AF_XDP has.
func (b *bed) know(t *testing.T) {
	t.Helper()
	mac, err := b.router.MAC("out")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.world.Neighbour("eth0", addr("198.51.100.2"), mac); err != nil {
		t.Fatal(err)
	}
}

// promiscuous is how many want the router's interface to be in promiscuous mode.
func (b *bed) promiscuous(t *testing.T) (n int) {
	t.Helper()
	err := b.router.Do(func() error {
		link, err := netlink.LinkByName("out")
		if err == nil {
			n = link.Attrs().Promisc
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// printedCapture is what `weir status --json` says of an interface that an engine captures from.
type printedCapture struct {
	Name, Engine, Mode, Role string
	Attached                 bool
	Capture                  struct {
		Workers, Received, Dropped, Restarts uint64
		Kernel                               uint64 `json:"kernel_dropped"`
		Error                                string
	}
}

func (d *daemon) capture(t *testing.T) printedCapture {
	t.Helper()
	p := ask[struct{ Interfaces []printedCapture }](t, d, "status")
	if len(p.Interfaces) != 1 {
		t.Fatalf("status has %d interfaces; want one", len(p.Interfaces))
	}
	return p.Interfaces[0]
}

// capturedAll waits until what the world has sent is counted, and compares: all but what the engine says that it has dropped.
func (b *bed) capturedAll(t *testing.T, d *daemon, sent uint64) {
	t.Helper()
	until(t, fmt.Sprintf("%d packets to be counted or dropped", sent), func() bool {
		c := d.capture(t).Capture
		return d.incoming(t, victimAddr)+c.Kernel+c.Dropped >= sent
	})
	got, c := d.total(t, victimAddr, weirpb.Direction_DIRECTION_INCOMING).GetTotal(), d.capture(t).Capture
	const frameBytes = sentPayload + 28 + 14
	if n := got.GetPackets(); n > sent || n+c.Kernel+c.Dropped < sent || got.GetBytes() != n*frameBytes {
		t.Errorf("counted %d packets and %d bytes of %d packets of %d bytes; %+v", n, got.GetBytes(), sent, frameBytes, c)
	}
	if c.Received < got.GetPackets() {
		t.Errorf("counted %d packets of %d that were received", got.GetPackets(), c.Received)
	}
}

// TestCaptures has each engine see real packets: they are counted for their host, and the engine's state is told and given back.
func TestCaptures(t *testing.T) {
	for _, e := range captureEngines() {
		t.Run(e.String(), func(t *testing.T) {
			b := newBed(t)
			b.know(t)
			before := b.promiscuous(t)
			d := startDaemon(t, b.router, "", captureConfig(e, noThreshold))
			if n := b.promiscuous(t); n <= before {
				t.Errorf("promiscuous mode is wanted by %d, before by %d", n, before)
			}
			passed := received(t, b.victim)
			b.send(t, 20)
			b.capturedAll(t, d, sentPackets)
			s := d.capture(t)
			want := printedCapture{Name: "out", Engine: e.name, Mode: e.mode, Role: "mirror", Attached: true, Capture: s.Capture}
			if diff := cmp.Diff(s, want); diff != "" || s.Capture.Workers == 0 || s.Capture.Error != "" || s.Capture.Restarts != 0 {
				t.Errorf("status: %+v (-got +want):\n%s", s, diff)
			}
			// What the router sends itself, such as the victim's answers, is not what arrives there.
			if n := d.total(t, victimAddr, weirpb.Direction_DIRECTION_OUTGOING).GetTotal().GetPackets(); n > 0 {
				t.Errorf("%d packets of the victim were counted that only left by the interface", n)
			}
			if n := received(t, b.victim) - passed; e.takes && n > 100 || !e.takes && n < sentPackets {
				t.Errorf("%d of %d packets have reached the victim", n, sentPackets)
			}
			d.stop(t)
			if n := b.promiscuous(t); n != before {
				t.Errorf("promiscuous mode is still wanted by %d, before by %d", n, before)
			}
			if e.takes { // the network stack has the port again
				passed = received(t, b.victim)
				b.send(t, 20)
				until(t, "packets to pass again", func() bool { return received(t, b.victim)-passed >= sentPackets })
			}
		})
	}
}

// TestCaptureDetects floods a host that only a capture engine watches: the attack is found, told and ended.
func TestCaptureDetects(t *testing.T) {
	for _, e := range captureEngines() {
		t.Run(e.String(), func(t *testing.T) {
			b := newBed(t)
			d := startDaemon(t, b.router, "", captureConfig(e, hostThreshold))
			f := flood(t, floodPPS, lab.FloodOptions{
				Host: b.world, Frame: frame(t, b.world, b.router, "out", worldAddr, victimAddr),
				Sources: lab.Addresses{Spread: lab.Random, Prefix: netip.MustParsePrefix(spoofed)}, SrcPorts: 0xffff,
			})
			attack := d.phase(t, 0, victimAddr, weirpb.Phase_PHASE_ACTIVE)
			checkCaptured(t, attack)
			list := ask[struct {
				Attacks []struct{ Target, Direction, Phase string }
			}](t, d, "attacks").Attacks
			if len(list) != 1 || list[0].Target != victimAddr || list[0].Direction != "incoming" || list[0].Phase != "active" {
				t.Errorf("`weir attacks` has %+v; want one active attack on %s", list, victimAddr)
			}
			f.stop(t)
			d.phase(t, 0, victimAddr, weirpb.Phase_PHASE_OVER)
		})
	}
}

// checkCaptured compares an attack with the flood that it was.
func checkCaptured(t *testing.T, a *weirpb.Attack) {
	t.Helper()
	if way := api.EnumName(a.GetDirection()); way != "incoming" {
		t.Errorf("attack is %s; want incoming", way)
	}
	if a.GetHostgroup() != "default" || a.GetManual() {
		t.Errorf("attack of hostgroup %q, manual %t", a.GetHostgroup(), a.GetManual())
	}
}

// TestCaptureInterfaceDown starts on an interface that is down: the daemon says so, captures when it comes up, and again when it has gone.
func TestCaptureInterfaceDown(t *testing.T) {
	for _, e := range captureEngines() {
		t.Run(e.String(), func(t *testing.T) {
			b := newBed(t)
			b.know(t)
			up := func(up bool) {
				t.Helper()
				if err := b.router.SetUp("out", up); err != nil {
					t.Fatal(err)
				}
			}
			up(false)
			d := startDaemon(t, b.router, "", captureConfig(e, noThreshold))
			waits := d.said(t, 0, "capture waits")
			if waits.level != "WARN" {
				t.Errorf("the daemon waits without a warning: %s", waits)
			}
			for i := range uint64(2) {
				s := d.capture(t)
				if s.Attached || s.Capture.Error == "" || s.Capture.Restarts != i {
					t.Errorf("status while the interface is down: %+v", s)
				}
				up(true)
				until(t, "the interface to be captured from", func() bool { s = d.capture(t); return s.Attached })
				if s.Capture.Restarts != i+1 || s.Capture.Error != "" || s.Mode != e.mode {
					t.Errorf("status when the interface is up: %+v", s)
				}
				b.send(t, 20)
				b.capturedAll(t, d, (i+1)*sentPackets)
				up(false)
				until(t, "the loss to be told", func() bool { return !d.capture(t).Attached })
			}
			if n := len(d.log.all()); n > 100 {
				t.Errorf("the log has %d records of an interface that went down once", n)
			}
			d.stop(t)
		})
	}
}
