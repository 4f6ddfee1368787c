package loader_test

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"weir/loader"
	pt "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

func to(dst netip.Addr) []byte {
	set := func(f *pt.Frame) { f.Dst = dst }
	if dst.Is4() {
		return pt.UDP4(set).Bytes()
	}
	return pt.UDP6(set).Bytes()
}

// random returns an address of the prefix.
func random(r *rand.Rand, p netip.Prefix) netip.Addr {
	a := p.Addr().As16()
	fixed := p.Bits()
	if p.Addr().Is4() {
		fixed += 96
	}
	for i := range a {
		if bit := i * 8; bit >= fixed {
			a[i] = byte(r.Uint32())
		} else if bit+8 > fixed {
			a[i] |= byte(r.Uint32()) & (0xff >> (fixed - bit))
		}
	}
	return netip.AddrFrom16(a).Unmap()
}

// incoming is how many packets all cells together have counted as incoming, and how many cells that are.
func (p plane) incoming() (packets, cells int) {
	for _, s := range p.Shards() {
		for i := range s.Cells[traffic.Incoming] {
			if n := s.Cells[traffic.Incoming][i].Packets; n != 0 {
				packets += int(n)
				cells++
			}
		}
	}
	return packets, cells
}

// A flood of random destinations takes a bounded number of cells, loses no packet, and leaves cells for hosts of other prefixes.
func TestRandomDestinationsAreBounded(t *testing.T) {
	for _, flooded := range []string{"2001:db8:2:1::/64", "10.1.7.0/24"} {
		t.Run(flooded, func(t *testing.T) {
			p := load(t)
			r := rand.New(rand.NewPCG(1, 1))
			prefix := netip.MustParsePrefix(flooded)
			const n = 3000
			for range n {
				p.xdp(t, loader.Host, to(random(r, prefix)))
			}
			packets, cells := p.incoming()
			if packets != n {
				t.Errorf("%d of %d packets are in cells", packets, n)
			}
			if most := len(p.Shards()) * (testBudget.FoldHosts + 1); cells > most {
				t.Errorf("the flood took %d cells, want at most %d", cells, most)
			}
			if p.Counters().FoldedPackets == 0 {
				t.Error("nothing was counted as folded")
			}
			for _, host := range []string{"2001:db8:2:2::9", "10.0.200.9"} {
				p.xdp(t, loader.Host, to(netip.MustParseAddr(host)))
				if p.moved()[host+" incoming Packets"] != 1 {
					t.Errorf("%s got no cell of its own", host)
				}
			}
		})
	}
}

// When every slot is taken, hosts are counted in the cell of the whole network, and a host that must have a cell still gets one.
func TestFullMapStillCountsAndBans(t *testing.T) {
	p := load(t)
	r := rand.New(rand.NewPCG(2, 2))
	const n = 3000
	for range n {
		p.xdp(t, loader.Host, to(random(r, netip.MustParsePrefix("2001:db8:2::/48"))))
	}
	if packets, _ := p.incoming(); packets != n {
		t.Errorf("%d of %d packets are in cells", packets, n)
	}
	if p.moved()["2001:db8:2::/48 incoming Packets"] == 0 {
		t.Error("nothing was counted for the network as a whole")
	}
	host := "2001:db8:2:ffff::1"
	p.ban(t, host, traffic.Incoming, time.Hour)
	if got := p.xdp(t, loader.Host, to(netip.MustParseAddr(host))); got != xdpDrop {
		t.Errorf("verdict %d on a banned host when the map is full, want XDP_DROP", got)
	}
}

// A verdict on a prefix holds for its hosts without cells, whether they share a fold or come anew, and for nobody else.
func TestPrefixVerdict(t *testing.T) {
	p := load(t)
	r := rand.New(rand.NewPCG(3, 3))
	banned := netip.MustParsePrefix("2001:db8:2:100::/56")
	drop := loader.Verdict{Action: traffic.ActionDrop, Until: time.Hour}
	if err := p.SetPrefixVerdict(banned, traffic.Incoming, drop); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if got := p.xdp(t, loader.Host, to(random(r, banned))); got != xdpDrop {
			t.Fatalf("verdict %d inside the banned prefix, want XDP_DROP", got)
		}
	}
	if got := p.xdp(t, loader.Host, to(netip.MustParseAddr("2001:db8:2:200::1"))); got != xdpPass {
		t.Errorf("verdict %d beside the banned prefix, want XDP_PASS", got)
	}
	if err := p.SetPrefixVerdict(banned, traffic.Incoming, loader.Verdict{}); err != nil {
		t.Fatal(err)
	}
	if got := p.xdp(t, loader.Host, to(random(r, banned))); got != xdpPass {
		t.Errorf("verdict %d after the ban, want XDP_PASS", got)
	}
}

// The kernel itself ends a verdict: nobody takes it off here.
func TestVerdictExpires(t *testing.T) {
	p := load(t)
	frame := pt.UDP4().Bytes()
	p.xdp(t, loader.Host, frame) // loads the program, which takes its time
	p.ban(t, host4, traffic.Incoming, 2*time.Second)
	if got := p.xdp(t, loader.Host, frame); got != xdpDrop {
		t.Fatalf("verdict %d at once, want XDP_DROP", got)
	}
	deadline := time.Now().Add(20 * time.Second)
	for p.xdp(t, loader.Host, frame) == xdpDrop {
		if time.Now().After(deadline) {
			t.Fatal("still dropped after 20 s")
		}
	}
	slot, _ := p.layout.DenseSlot(netip.MustParseAddr(host4))
	if v, err := p.VerdictOf(slot, traffic.Incoming); err != nil || v.Action != traffic.ActionNone {
		t.Errorf("user space still sees %+v, %v", v, err)
	}
}

func TestVerdictLastsAsLongAsItShould(t *testing.T) {
	p := load(t)
	slot, _ := p.layout.DenseSlot(netip.MustParseAddr(host4))
	for _, want := range []time.Duration{time.Second, time.Minute, 30 * time.Minute, 24 * time.Hour, 20 * 24 * time.Hour} {
		p.ban(t, host4, traffic.Incoming, want)
		v, err := p.VerdictOf(slot, traffic.Incoming)
		if err != nil {
			t.Fatal(err)
		}
		if v.Action != traffic.ActionDrop || v.Until < want-time.Second || v.Until > want+2*time.Second {
			t.Errorf("a verdict for %s lasts %s", want, v.Until)
		}
	}
	if err := p.SetSuspect(slot, traffic.Incoming, true); err != nil {
		t.Fatal(err)
	}
	if v, err := p.VerdictOf(slot, traffic.Incoming); err != nil || v.Action != traffic.ActionDrop {
		t.Errorf("suspicion changed the verdict to %+v, %v", v, err)
	}
}

// Hosts that were silent lose their cells, which come back clean; hosts with a verdict and hosts with traffic keep theirs.
func TestReclaim(t *testing.T) {
	p := load(t)
	silent, busy, banned := "2001:db8:2:1::1", "2001:db8:2:1::2", "2001:db8:2:1::3"
	for _, h := range []string{silent, busy, banned} {
		p.xdp(t, loader.Host, to(netip.MustParseAddr(h)))
	}
	p.ban(t, banned, traffic.Incoming, time.Hour)
	busySlot, err := p.Admit(netip.MustParseAddr(busy))
	if err != nil {
		t.Fatal(err)
	}
	idle := func(slot uint32) bool { return slot != busySlot }
	if freed, err := p.Reclaim(idle); err != nil || len(freed) != 0 {
		t.Fatalf("the first step freed %v, %v; want nothing yet", freed, err)
	}
	freed, err := p.Reclaim(idle)
	if err != nil || len(freed) != 1 {
		t.Fatalf("the second step freed %v, %v; want one slot", freed, err)
	}
	moved := p.moved()
	for host, want := range map[string]uint64{silent: 0, busy: 1, banned: 1} {
		if got := moved[host+" incoming Packets"]; got != want {
			t.Errorf("%s has %d packets, want %d", host, got, want)
		}
	}
	p.xdp(t, loader.Host, to(netip.MustParseAddr(silent)))
	if got := p.moved()[silent+" incoming Packets"]; got != 1 {
		t.Errorf("%s counts %d packets after it came back, want 1", silent, got)
	}
}

// The first packet of a flow counts once an interval, whatever comes after it.
func TestFlows(t *testing.T) {
	onOneCPU(t) // each has a bitmap of its own
	p := load(t)
	send := func(ports ...uint16) {
		for _, port := range ports {
			p.xdp(t, loader.Host, pt.UDP4(func(f *pt.Frame) { f.SrcPort = port }).Bytes())
		}
	}
	flows := func() uint64 { return p.moved()[host4+" incoming Flows"] }
	send(1, 1, 2, 3, 2, 1)
	if got := flows(); got != 3 {
		t.Errorf("%d flows, want 3", got)
	}
	p.Flip()
	send(1, 4)
	if got := flows(); got != 5 {
		t.Errorf("%d flows after the second interval, want 5", got)
	}
	p.Flip()
	send(1, 4)
	if got := flows(); got != 7 {
		t.Errorf("%d flows after the third interval, want 7", got)
	}
	fill := 0.0
	for _, s := range p.Shards() {
		fill += s.FlowFill()
	}
	if want := 2.0 / (1 << 22); fill != want {
		t.Errorf("the bitmaps are filled to %g, want %g", fill, want)
	}
}

// onOneCPU keeps the test, and so the programs that it runs, on one CPU.
func onOneCPU(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	var all, first unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	first.Set(0)
	if err := unix.SchedSetaffinity(0, &first); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.SchedSetaffinity(0, &all); err != nil {
			t.Error(err)
		}
	})
}

func TestHotBitEvery64Packets(t *testing.T) {
	onOneCPU(t)
	p := load(t)
	frame := pt.UDP4().Bytes()
	for n := 1; n <= 130; n++ {
		p.xdp(t, loader.Host, frame)
		packets, cells := p.incoming()
		if cells != 1 {
			t.Fatalf("%d cells have counted on one CPU", cells)
		}
		if hot := p.moved()["hot incoming"]; hot != map[bool]uint64{true: 1}[packets == 64 || packets == 128] {
			t.Fatalf("after %d packets %d hot words", packets, hot)
		}
		for _, s := range p.Shards() {
			clear(s.Hot[traffic.Incoming])
		}
	}
}

func TestLoadRefusesImpossiblePlans(t *testing.T) {
	for want, plan := range map[string]loader.Plan{
		"no slots":            {Locate4: make([]uint32, 1<<16)},
		"do not hold":         {Locate4: make([]uint32, 1<<16), Slots: 1, DenseSlots: 2},
		"needs 65536 or more": {Slots: 1},
	} {
		if _, err := loader.Load(plan); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%d slots) = %v, want an error with %q", plan.Slots, err, want)
		}
	}
}

// tc egress counts what the machine sends itself; segments of one buffer count as the packets that they become.
func TestEgressCounts(t *testing.T) {
	p := load(t)
	prog, err := p.Egress()
	if err != nil {
		t.Fatal(err)
	}
	frame := pt.UDP4(func(f *pt.Frame) { f.Src, f.Dst = f.Dst, f.Src }).Bytes()
	ret, _, err := prog.Test(frame)
	if err != nil {
		t.Fatal(err)
	}
	if int32(ret) != -1 {
		t.Errorf("verdict %d, want TC_ACT_UNSPEC", int32(ret))
	}
	if diff := cmp.Diff(p.moved(), counted(host4, traffic.Outgoing, frame, 4, "UDP")); diff != "" {
		t.Errorf("counters (-got +want):\n%s", diff)
	}
	p.ban(t, host4, traffic.Outgoing, time.Hour)
	if ret, _, err = prog.Test(frame); err != nil || ret != 2 {
		t.Errorf("verdict %d, %v on a banned sender, want TC_ACT_SHOT", int32(ret), err)
	}
}
