package detect

import (
	"net/netip"
	"testing"
	"time"

	"weir/userspace/traffic"
)

var epoch = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// network is a small table of our own networks for tests; the first that matches wins.
type network []struct {
	prefix string
	group  int
}

func (n network) policy(groups ...Group) Policy {
	prefixes := make([]netip.Prefix, len(n))
	for i := range n {
		prefixes[i] = netip.MustParsePrefix(n[i].prefix)
	}
	return Policy{
		Groups: groups,
		Group: func(a netip.Addr) (int, bool) {
			for i, p := range prefixes {
				if p.Contains(a) {
					return n[i].group, true
				}
			}
			return 0, false
		},
		Contains: func(p netip.Prefix) bool {
			for _, q := range prefixes {
				if q.Bits() <= p.Bits() && q.Contains(p.Addr()) {
					return true
				}
			}
			return false
		},
	}
}

// source is traffic of one host (or folded prefix) within a span of time.
type source struct {
	host       netip.Prefix
	group      int
	dir        traffic.Direction
	from, to   time.Duration
	pps        func(since time.Duration) float64
	size       float64 // bytes per packet
	syn, flows float64 // share of packets that are SYN, that begin a flow
	sampling   uint64  // each packet seen stands for so many; 0: all are seen

	due   float64 // packets not yet counted
	owed  float64 // flows not yet counted
	read  time.Duration
	count traffic.Counts
}

func constant(pps float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return pps }
}

func single(s string) netip.Prefix {
	a := netip.MustParseAddr(s)
	return netip.PrefixFrom(a, a.BitLen())
}

// world plays sources to a detector as a meter would: each step what is busy, everything else once a second.
type world struct {
	t       testing.TB
	d       *Detector
	step    time.Duration
	sources []*source
	events  []traffic.Event
}

func (w *world) add(s source) {
	if s.size == 0 {
		s.size = 100
	}
	s.read = s.from
	w.sources = append(w.sources, &s)
}

const hotPackets = 64 // per step of any length: what sets a hot bit

func (w *world) run(from, to time.Duration) {
	w.t.Helper()
	var live []*source
	next := 0
	starts := make([]*source, len(w.sources))
	copy(starts, w.sources)
	sortSources(starts)
	for now := from + w.step; now <= to; now += w.step {
		for next < len(starts) && starts[next].from < now {
			if starts[next].from >= from || starts[next].to > from {
				live = append(live, starts[next])
			}
			next++
		}
		kept := live[:0]
		for i, s := range live {
			s.generate(min(w.step, now-s.from), now)
			last := now >= s.to
			sweep := (now/w.step)%(time.Second/w.step) == time.Duration(i)%(time.Second/w.step)
			if s.count.Total.Packets > 0 && (last || sweep || s.count.Total.Packets >= hotPackets) {
				w.d.Observe(&Observation{
					Host: s.host, Group: s.group, Direction: s.dir,
					From: epoch.Add(s.read), To: epoch.Add(now), Counts: s.count,
				})
				s.count = traffic.Counts{}
			}
			if s.count.Zero() {
				s.read = now
			}
			if !last {
				kept = append(kept, s)
			}
		}
		live = kept
		w.events = append(w.events, w.d.Tick(epoch.Add(now))...)
	}
}

func (s *source) generate(step, now time.Duration) {
	every := max(s.sampling, 1)
	s.due += s.pps(now-s.from) * step.Seconds()
	n := uint64(s.due) / every * every
	s.due -= float64(n)
	s.owed += float64(n) * s.flows
	flows := uint64(s.owed)
	s.owed -= float64(flows)
	c := traffic.Count{Packets: n, Bytes: n * uint64(s.size)}
	syn := uint64(float64(n) * s.syn)
	add := traffic.Counts{Total: c, Flows: flows, Unseen: n - n/every}
	if s.syn > 0 {
		add.TCP, add.TCPSYN = c, traffic.Count{Packets: syn, Bytes: syn * uint64(s.size)}
	} else {
		add.UDP = c
	}
	s.count.Add(&add)
}

// proven fails the test for a start whose arithmetic does not prove it.
func proven(t testing.TB, e traffic.Event) {
	t.Helper()
	p := e.Trip
	if p.Confidence > 0 && !(p.Lower > p.Limit && p.Lower < p.Value && p.Seen > 0 && p.Seen < p.Count) {
		t.Errorf("%s started at %s without being sure: %+v", e.Target, e.At, p)
	}
	if !(p.Value > p.Limit) || !(float64(p.Count) > p.Limit*p.Window.Seconds()) || e.Started.After(e.At) || e.At.Sub(e.Started) > 10*time.Minute {
		t.Errorf("%s started at %s (since %s) without proof: %+v", e.Target, e.At, e.Started, p)
	}
}

// ordered fails the test when an end or clearing has no beginning, or two attacks of one target overlap.
func ordered(t testing.TB, events []traffic.Event) {
	t.Helper()
	state := make(map[traffic.Target]traffic.EventKind)
	minor := make(map[traffic.Target]time.Time)
	for _, e := range events {
		before, known := state[e.Target]
		ok := false
		switch e.Kind {
		case traffic.EventSuspected:
			ok = !known || before == traffic.EventCleared || before == traffic.EventEnded
		case traffic.EventCleared:
			ok = known && before == traffic.EventSuspected
		case traffic.EventStarted:
			ok = !known || before != traffic.EventStarted
		case traffic.EventEnded:
			ok = known && before == traffic.EventStarted
		}
		if !ok {
			t.Errorf("%s at %s: %s after %s (known %t)", e.Target, e.At, e.Kind, before, known)
		}
		if e.Kind == traffic.EventSuspected || e.Kind == traffic.EventCleared {
			if m, ok := minor[e.Target]; ok && e.At.Sub(m) < time.Second {
				t.Errorf("%s at %s: %s only %s after the one before", e.Target, e.At, e.Kind, e.At.Sub(m))
			}
			minor[e.Target] = e.At
		}
		state[e.Target] = e.Kind
	}
}
