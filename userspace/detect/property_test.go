package detect

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// chaos plays random traffic, policies, resets and clock steps, and returns all events.
func chaos(t testing.TB, seed uint64, steps int) []traffic.Event {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	policy := func() Policy {
		g := Group{Name: "a", Enabled: [2]bool{true, r.IntN(4) > 0}, Window: time.Duration(r.IntN(3)) * 700 * time.Millisecond, Quiet: time.Duration(r.IntN(3)) * time.Second}
		for dir := range 2 {
			g.Host[dir] = limits(traffic.PPS, 1000+r.IntN(1000), traffic.FPS, 500)
			g.Prefix[dir] = limits(traffic.PPS, 4000+r.IntN(4000))
			g.Total[dir] = limits(traffic.BPS, 20_000_000)
		}
		h := g
		h.Name = "b"
		p := network{{"10.0.0.0/17", 0}, {"10.0.128.0/17", 1}, {"2001:db8::/47", 1}}.policy(g, h)
		p.MaxWatched, p.WarmUp = 1+r.IntN(60), time.Duration(r.IntN(2))*time.Second
		return p
	}
	p := policy()
	d := New(p)
	now := epoch
	var events []traffic.Event
	focus, strength := byte(0), 0
	for i := range steps {
		if i%60 == 0 {
			focus, strength = byte(r.IntN(4)), r.IntN(3)*5
		}
		step := time.Duration(1+r.IntN(100)) * time.Millisecond
		switch r.IntN(400) {
		case 0:
			step = -step
		case 1:
			step = 10 * time.Second
		case 2:
			p = policy()
			d.SetPolicy(p)
		case 3:
			d.Reset(now)
		}
		now = now.Add(step)
		for range r.IntN(40) {
			b := [16]byte{0x20, 0x01, 0x0d, 0xb8, 0, byte(r.IntN(2)), byte(r.IntN(3)), byte(r.IntN(3)), 15: byte(r.IntN(20))}
			host := netip.PrefixFrom(netip.AddrFrom16(b), 128)
			switch {
			case r.IntN(3) > 0:
				host = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, focus * 60, byte(r.IntN(1 << r.IntN(9)))}), 32)
			case r.IntN(3) == 0:
				host = netip.PrefixFrom(host.Addr(), 64).Masked()
			}
			group, _ := p.Group(host.Addr())
			n := uint64(r.IntN(1 << r.IntN(1+strength)))
			c := traffic.Count{Packets: n, Bytes: n * 500}
			d.Observe(&Observation{
				Host: host, Group: group, Direction: traffic.Direction(r.IntN(2)),
				From: now.Add(-time.Duration(r.IntN(1100)) * time.Millisecond), To: now, Counts: traffic.Counts{Total: c, UDP: c, Flows: n / 2},
			})
		}
		events = append(events, d.Tick(now)...)
		if i%10 == 0 {
			checkState(t, d)
		}
	}
	return events
}

// checkState holds what the detector believes of itself against what it holds.
func checkState(t testing.TB, d *Detector) {
	t.Helper()
	n := 0
	d.each(func(k *track) {
		if k.phase == active {
			n++
		}
		if k.phase != idle && k.gauge == nil {
			t.Fatalf("%s has no gauge", k.target)
		}
		if w, ok := k.gauge.(*window); ok {
			for _, s := range []*series{w.main, w.flows} {
				var newest, settled traffic.Counts
				for b := s.head - int64(len(s.ring)) + 1; b <= s.head; b++ {
					if b > s.head-windowBuckets {
						newest.Add(s.slot(b))
					}
					if s.lag > 0 && b <= s.head-s.lag {
						settled.Add(s.slot(b))
					}
				}
				if newest != s.newest || settled != s.settled {
					t.Fatalf("%s: sums are off: newest %v, is %v; settled %v, is %v", k.target, s.newest, newest, s.settled, settled)
				}
			}
		}
	})
	s := d.Stats()
	if n != s.Active || uint64(n) != s.Started-s.Ended {
		t.Fatalf("%d attacks, statistics say %+v", n, s)
	}
	if len(d.hosts[0])+len(d.hosts[1]) != len(d.watched) || len(d.areaIndex) != len(d.areas) || len(d.areas) > d.maxAreas {
		t.Fatalf("indexes are off: %+v", s)
	}
	for _, a := range d.areas {
		below := 0
		for _, b := range d.areas {
			if b.phase == active && b.target.Direction == a.target.Direction && b.target.Prefix.Bits() > a.target.Prefix.Bits() && a.target.Prefix.Contains(b.target.Prefix.Addr()) {
				below++
			}
		}
		if below != a.activeBelow {
			t.Fatalf("%s: %d attacks inside, believes %d", a.target, below, a.activeBelow)
		}
	}
}

func TestChaos(t *testing.T) {
	t.Parallel()
	kinds := make(map[string]int)
	for seed := range uint64(8) {
		first := chaos(t, seed, 700)
		paired(t, first)
		for _, e := range first {
			kinds[fmt.Sprint(e.Kind, " ", e.Target.Scope)]++
			if e.Kind == traffic.EventStarted {
				proven(t, e)
			}
		}
		if diff := cmp.Diff(chaos(t, seed, 700), first, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Fatalf("seed %d twice (-second +first):\n%s", seed, diff)
		}
	}
	for _, kind := range []string{"started", "ended", "suspected", "cleared"} {
		for _, scope := range []string{"host", "prefix", "hostgroup"} {
			if kinds[kind+" "+scope] == 0 {
				t.Errorf("no %s %s: the test does not reach it; %v", kind, scope, kinds)
			}
		}
	}
}

// paired is ordered without the rate of suspicions, which a clock that jumps has no meaning for.
func paired(t testing.TB, events []traffic.Event) {
	t.Helper()
	open := make(map[traffic.Target]bool)
	for _, e := range events {
		switch e.Kind {
		case traffic.EventStarted:
			if open[e.Target] {
				t.Errorf("%s started twice", e.Target)
			}
			open[e.Target] = true
		case traffic.EventEnded:
			if !open[e.Target] {
				t.Errorf("%s ended without start", e.Target)
			}
			open[e.Target] = false
		}
	}
}

// FuzzDetector reads a script of observations, ticks, resets and policies from bytes: nothing may panic, every start is proven, every end has a start.
func FuzzDetector(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Add([]byte("\x00\x01\x01\xff\xff\x0a\x80\x10\x00\x01\x02\xff\xff\x0a\x80\x20\x00\x01\x03\xff\xff\x0a\x80\x20\x02\x00"))
	f.Fuzz(func(t *testing.T, script []byte) {
		p := carpetPolicy()
		p.Groups[0].Host[0] = limits(traffic.PPS, 100, traffic.FPS, 100)
		p.Groups[0].Prefix = [2]traffic.Limits{limits(traffic.PPS, 300), limits(traffic.BPS, 10_000)}
		p.Groups[0].Total[1] = limits(traffic.PPS, 300)
		p.MaxWatched = 4
		d := New(p)
		now := epoch
		var events []traffic.Event
		for len(script) >= 8 {
			op, rest := script[0], script[1:8]
			script = script[8:]
			n := uint64(binary.LittleEndian.Uint16(rest))
			switch op % 8 {
			case 0:
				p.Groups = []Group{p.Groups[0]}
				p.Groups[0].Window = time.Duration(rest[0]) * 20 * time.Millisecond
				p.Groups[0].Average = time.Duration(rest[1]%2) * time.Second
				p.Groups[0].Enabled[0] = rest[2]%4 > 0
				p.WarmUp = time.Duration(rest[3]%2) * time.Second
				d.SetPolicy(p)
			case 1:
				now = now.Add(time.Duration(int16(n)) * time.Millisecond)
				events = append(events, d.Tick(now)...)
			case 2:
				d.Reset(now)
			case 3, 4:
				now = now.Add(time.Duration(rest[0]) * time.Millisecond)
				events = append(events, d.Tick(now)...)
			default:
				addr := netip.AddrFrom4([4]byte{10, 0, rest[2] % 4 * 16, rest[3]})
				bits := 32 - int(op>>3)%18
				if rest[4]%4 == 0 {
					addr = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 7: rest[2], 15: rest[3]})
					bits = 128 - int(op>>3)*3
				}
				c := traffic.Count{Packets: n, Bytes: n << (rest[5] % 32)}
				d.Observe(&Observation{
					Host: netip.PrefixFrom(addr, bits).Masked(), Direction: traffic.Direction(rest[4] >> 2 % 3),
					From: now.Add(-time.Duration(rest[5]) * 8 * time.Millisecond), To: now.Add(time.Duration(int8(rest[6])) * time.Millisecond),
					Counts: traffic.Counts{Total: c, Flows: n >> (rest[6] % 16)},
				})
			}
			checkState(t, d)
		}
		paired(t, events)
		for _, e := range events {
			if e.Kind == traffic.EventStarted && !(e.Trip.Value > e.Trip.Limit) {
				t.Errorf("%s: %s", e.Target, e.Trip)
			}
		}
	})
}
