package detect

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// onePolicy judges incoming packets of hosts only.
func onePolicy(pps int) Policy {
	return network{{"10.0.0.0/16", 0}, {"2001:db8::/32", 0}}.policy(Group{
		Name: "default", Enabled: [2]bool{true, true}, Host: [2]traffic.Limits{limits(traffic.PPS, pps), {}},
	})
}

// brief is an event as a test names it; times in milliseconds since the epoch of the test.
type brief struct {
	Kind   traffic.EventKind
	Target string
	At     int64
}

func briefs(events []traffic.Event, kinds ...traffic.EventKind) []brief {
	var out []brief
	for _, e := range events {
		if len(kinds) == 0 || slices.Contains(kinds, e.Kind) {
			out = append(out, brief{e.Kind, e.Target.String(), e.At.Sub(epoch).Milliseconds()})
		}
	}
	return out
}

const (
	started = traffic.EventStarted
	ended   = traffic.EventEnded
	doubted = traffic.EventSuspected
	cleared = traffic.EventCleared
)

func TestTrip(t *testing.T) {
	ms := time.Millisecond
	tests := []struct {
		name     string
		group    func(*Group)
		pps      float64
		flows    float64
		length   time.Duration
		want     []brief
		started  time.Duration // at most this late
		tripFrom float64       // lowest Value
	}{
		{name: "ten times: a tenth of the window", pps: 100_000, length: time.Second, started: 60 * ms, tripFrom: 90_000,
			want: []brief{{started, "10.0.0.1", 110}, {ended, "10.0.0.1", 6900}}},
		{name: "hundred times", pps: 1_000_000, length: 100 * ms, started: 20 * ms, tripFrom: 900_000,
			want: []brief{{started, "10.0.0.1", 20}, {ended, "10.0.0.1", 6090}}},
		{name: "exactly at the limit", pps: 10_000, length: 5 * time.Second},
		{name: "a hundredth over", pps: 10_200, length: 5 * time.Second, started: 60 * ms, tripFrom: 10_000,
			want: []brief{{started, "10.0.0.1", 990}, {ended, "10.0.0.1", 10200}}},
		{name: "long window", group: func(g *Group) { g.Window = 10 * time.Second }, pps: 100_000, length: 2 * time.Second, started: 510 * ms, tripFrom: 90_000,
			want: []brief{{started, "10.0.0.1", 1010}, {ended, "10.0.0.1", 15900}}},
		{name: "short window", group: func(g *Group) { g.Window = 100 * ms }, pps: 100_000, length: time.Second, started: 20 * ms, tripFrom: 90_000,
			want: []brief{{started, "10.0.0.1", 20}, {ended, "10.0.0.1", 6090}}},
		{name: "flows always have a second", group: func(g *Group) {
			g.Window = 100 * ms
			g.Host[0] = limits(traffic.FPS, 1000)
		}, pps: 10_000, flows: 1, length: time.Second, started: 60 * ms, tripFrom: 9000,
			want: []brief{{started, "10.0.0.1", 110}, {ended, "10.0.0.1", 6900}}},
		{name: "disabled", group: func(g *Group) { g.Enabled[0] = false }, pps: 100_000, length: time.Second},
		{name: "no limit in that direction", group: func(g *Group) { g.Host[0], g.Host[1] = g.Host[1], g.Host[0] }, pps: 100_000, length: time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := onePolicy(10_000)
			if tt.group != nil {
				tt.group(&p.Groups[0])
			}
			w := &world{t: t, d: New(p), step: 10 * ms}
			w.add(source{host: single("10.0.0.1"), to: tt.length, pps: constant(tt.pps), flows: tt.flows})
			w.run(0, 25*time.Second)
			got := briefs(w.events, started, ended)
			if len(got) != len(tt.want) {
				t.Fatalf("got %v, want %v", got, tt.want)
			}
			for i := range got {
				// One tick and one bucket of tolerance: readings of a host come every 10 ms.
				tolerance := int64(20)
				if got[i].Kind == ended {
					tolerance = 600
				}
				if got[i].Kind != tt.want[i].Kind || got[i].Target != tt.want[i].Target || max(got[i].At-tt.want[i].At, tt.want[i].At-got[i].At) > tolerance {
					t.Errorf("got %v, want %v", got[i], tt.want[i])
				}
			}
			for _, e := range w.events {
				if e.Kind == started {
					proven(t, e)
					if e.Trip.Value < tt.tripFrom || e.Started.Before(epoch) || e.Started.After(epoch.Add(tt.started)) || e.Hosts != 1 {
						t.Errorf("%s, started at %s, %d hosts", e.Trip, e.Started.Sub(epoch), e.Hosts)
					}
				}
			}
			ordered(t, w.events)
			if s := w.d.Stats(); s.Watched != 0 || s.Active != 0 {
				t.Errorf("left behind: %+v", s)
			}
		})
	}
}

func TestReportsStrongestMetric(t *testing.T) {
	p := onePolicy(1000)
	p.Groups[0].Host[0] = limits(traffic.PPS, 1000, traffic.BPS, 100_000, traffic.UDPPPS, 900)
	w := &world{t: t, d: New(p), step: 10 * time.Millisecond}
	w.add(source{host: single("10.0.0.1"), to: time.Second, pps: constant(50_000), size: 100}) // 50x pps, 400x bps, 55x udp
	w.run(0, time.Second)
	got := briefs(w.events, started)
	if diff := cmp.Diff(got, []brief{{started, "10.0.0.1", 10}}); diff != "" {
		t.Fatalf("events (-got +want):\n%s", diff)
	}
	for _, e := range w.events {
		if e.Kind == started && e.Trip.Metric != traffic.BPS {
			t.Errorf("reported %s", e.Trip)
		}
	}
}

func TestHysteresis(t *testing.T) {
	p := onePolicy(10_000)
	p.Groups[0].Clear, p.Groups[0].Quiet = 0.5, 2*time.Second
	w := &world{t: t, d: New(p), step: 10 * time.Millisecond}
	// Over for 1 s, then between Clear and the limit for 20 s, then quiet.
	w.add(source{host: single("10.0.0.1"), to: 21 * time.Second, pps: func(s time.Duration) float64 {
		if s <= time.Second {
			return 20_000
		}
		return 6_000
	}})
	w.run(0, 30*time.Second)
	got := briefs(w.events, started, ended)
	if len(got) != 2 || got[1].Kind != ended || got[1].At < 23_000 || got[1].At > 23_400 {
		t.Errorf("got %v; want an end 2 s after the window fell under half", got)
	}
}

func TestSuspicion(t *testing.T) {
	w := &world{t: t, d: New(onePolicy(10_000)), step: 10 * time.Millisecond}
	w.add(source{host: single("10.0.0.1"), to: 3 * time.Second, pps: constant(7_000)})
	w.add(source{host: single("10.0.0.2"), to: 3 * time.Second, pps: constant(4_900)})
	w.run(0, 12*time.Second)
	got := briefs(w.events)
	if len(got) != 2 || got[0].Kind != doubted || got[1].Kind != cleared || got[0].Target != "10.0.0.1" || got[1].Target != "10.0.0.1" {
		t.Errorf("got %v; want one suspicion of 10.0.0.1, and its clearing", got)
	}
}

func TestWarmUp(t *testing.T) {
	p := onePolicy(10_000)
	p.WarmUp = 2 * time.Second
	d := New(p)
	flood := func(at, length time.Duration, packets uint64) {
		d.Observe(&Observation{Host: single("10.0.0.1"), From: epoch.Add(at - length), To: epoch.Add(at), Counts: traffic.Counts{Total: traffic.Count{Packets: packets}}})
	}
	tick := func(at time.Duration) []brief { return briefs(d.Tick(epoch.Add(at)), started) }

	flood(10*time.Millisecond, 10*time.Millisecond, 1<<40) // a counter's value since boot, taken for a difference
	for at := 10 * time.Millisecond; at < 5*time.Second; at += 10 * time.Millisecond {
		if got := tick(at); got != nil {
			t.Fatalf("first delta: %v", got)
		}
	}
	flood(5*time.Second, 10*time.Millisecond, 20_000)
	if got := tick(5 * time.Second); len(got) != 1 {
		t.Fatalf("after the warm-up: got %v, want a start", got)
	}

	// Backwards, and far ahead: warm-up again, and the attack stays.
	for _, at := range []time.Duration{4 * time.Second, time.Hour} {
		tick(at)
		flood(at+10*time.Millisecond, 10*time.Millisecond, 1<<30)
		d.Observe(&Observation{Host: single("10.0.0.9"), From: epoch.Add(at), To: epoch.Add(at + 10*time.Millisecond), Counts: traffic.Counts{Total: traffic.Count{Packets: 1 << 30}}})
		if got := tick(at + 20*time.Millisecond); got != nil {
			t.Errorf("after a jump to %s: %v", at, got)
		}
		if got := d.Active(); len(got) != 1 || got[0].Target.String() != "10.0.0.1" {
			t.Errorf("after a jump to %s: active %v", at, got)
		}
	}
	if s := d.Stats(); s.Jumps != 2 || s.Resets != 2 {
		t.Errorf("got %+v; want 2 jumps and resets", s)
	}
	var events []brief
	for at := time.Hour + 30*time.Millisecond; at < time.Hour+20*time.Second; at += 10 * time.Millisecond {
		events = append(events, briefs(d.Tick(epoch.Add(at)), started, ended)...)
	}
	if len(events) != 1 || events[0].Kind != ended || events[0].Target != "10.0.0.1" {
		t.Errorf("got %v; want the end of 10.0.0.1", events)
	}
}

func TestSetPolicy(t *testing.T) {
	base := onePolicy(10_000)
	tests := []struct {
		name   string
		policy func() Policy
		want   []traffic.EventKind // of the attack within a second of the change, traffic going on at 10x
	}{
		{"the same", func() Policy { return onePolicy(10_000) }, nil},
		{"higher, still under the attack", func() Policy { return onePolicy(50_000) }, nil},
		{"another window", func() Policy { p := onePolicy(10_000); p.Groups[0].Window = 3 * time.Second; return p }, nil},
		{"an average instead", func() Policy { p := onePolicy(10_000); p.Groups[0].Average = 3 * time.Second; return p }, nil},
		{"disabled", func() Policy { p := onePolicy(10_000); p.Groups[0].Enabled = [2]bool{}; return p }, []traffic.EventKind{ended}},
		{"no limits", func() Policy { p := onePolicy(10_000); p.Groups[0].Host[0] = traffic.Limits{}; return p }, []traffic.EventKind{ended}},
		{"not ours", func() Policy {
			p := onePolicy(10_000)
			p.Group = func(netip.Addr) (int, bool) { return 0, false }
			return p
		}, []traffic.EventKind{ended, started}},
		{"another hostgroup", func() Policy { p := onePolicy(10_000); p.Groups[0].Name = "other"; return p }, []traffic.EventKind{ended, started}},
		{"no hostgroups", func() Policy { return Policy{} }, []traffic.EventKind{ended}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{t: t, d: New(base), step: 10 * time.Millisecond}
			w.add(source{host: single("10.0.0.1"), to: 5 * time.Second, pps: constant(100_000)})
			w.run(0, 2*time.Second)
			if got := briefs(w.events, started); len(got) != 1 {
				t.Fatalf("got %v, want a start", got)
			}
			w.events = nil
			w.d.SetPolicy(tt.policy())
			w.run(2*time.Second, 3*time.Second)
			var got []traffic.EventKind
			for _, e := range briefs(w.events, started, ended) {
				got = append(got, e.Kind)
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("events (-got +want):\n%s", diff)
			}
		})
	}
}

func TestMaxWatched(t *testing.T) {
	p := onePolicy(10_000)
	p.MaxWatched = 2
	d := New(p)
	observe := func(addr string, at time.Duration, packets uint64) {
		d.Observe(&Observation{Host: single(addr), From: epoch.Add(at - 10*time.Millisecond), To: epoch.Add(at), Counts: traffic.Counts{Total: traffic.Count{Packets: packets}}})
	}
	for i, a := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"} {
		observe(a, 10*time.Millisecond, uint64(60+i))
	}
	if s := d.Stats(); s.Watched != 2 || s.Unwatched != 1 {
		t.Errorf("got %+v; want 2 watched and 1 loud one without window", s)
	}
	for _, a := range []string{"10.0.0.4", "10.0.0.5", "10.0.0.6"} {
		observe(a, 20*time.Millisecond, 20_000) // alone over the limit: takes a window from a host that is merely loud
		d.Tick(epoch.Add(20 * time.Millisecond))
	}
	if s := d.Stats(); s.Watched != 2 || s.Active != 2 || s.Unwatched != 2 {
		t.Errorf("got %+v; want two attacks, and the third counted", s)
	}
}

func TestRateAndActive(t *testing.T) {
	w := &world{t: t, d: New(onePolicy(10_000)), step: 10 * time.Millisecond}
	w.add(source{host: single("10.0.0.1"), to: 5 * time.Second, pps: constant(100_000), size: 100})
	w.run(0, 3*time.Second)
	active := w.d.Active()
	if len(active) != 1 {
		t.Fatalf("got %d attacks, want 1", len(active))
	}
	rate, ok := w.d.Rate(active[0].Target)
	if !ok || rate.Total.Packets < 99_000 || rate.Total.Packets > 101_000 || rate.Total.Bytes < 9_900_000 || rate != active[0].Rate {
		t.Errorf("got %+v %t; want 100,000 packets/s", rate, ok)
	}
	other := active[0].Target
	other.Direction = traffic.Outgoing
	if _, ok := w.d.Rate(other); ok {
		t.Errorf("a rate for %v", other)
	}
}

func TestObserveCountsWhatItCannotUse(t *testing.T) {
	d := New(onePolicy(10_000))
	d.Tick(epoch)
	good := Observation{Host: single("10.0.0.1"), From: epoch, To: epoch.Add(10 * time.Millisecond), Counts: traffic.Counts{Total: traffic.Count{Packets: 1}}}
	tests := []struct {
		name               string
		change             func(*Observation)
		ignored, misplaced uint64
	}{
		{"good", func(*Observation) {}, 0, 0},
		{"no time at all", func(o *Observation) { o.To = o.From }, 0, 0},
		{"direction", func(o *Observation) { o.Direction = traffic.Internal }, 1, 0},
		{"group", func(o *Observation) { o.Group = 7 }, 1, 0},
		{"negative group", func(o *Observation) { o.Group = -1 }, 1, 0},
		{"no host", func(o *Observation) { o.Host = netip.Prefix{} }, 1, 0},
		{"ahead", func(o *Observation) { o.To = epoch.Add(time.Minute) }, 0, 1},
		{"endless", func(o *Observation) { o.From = epoch.Add(-2 * time.Hour) }, 0, 1},
	}
	for _, tt := range tests {
		before := d.Stats()
		o := good
		tt.change(&o)
		d.Observe(&o)
		after := d.Stats()
		if after.Ignored-before.Ignored != tt.ignored || after.Misplaced-before.Misplaced != tt.misplaced {
			t.Errorf("%s: got %+v after %+v", tt.name, after, before)
		}
	}
}
