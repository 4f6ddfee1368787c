package detect

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

func sortSources(s []*source) {
	sort.SliceStable(s, func(i, j int) bool { return s[i].from < s[j].from })
}

func limits(pairs ...any) traffic.Limits {
	var l traffic.Limits
	for i := 0; i < len(pairs); i += 2 {
		l[pairs[i].(traffic.Metric)] = float64(pairs[i+1].(int))
	}
	return l
}

// The networks and thresholds of the synthetic day. "wide" has 16 networks of a /16 each.
func dayPolicy() Policy {
	in := limits(traffic.PPS, 20_000, traffic.BPS, 200_000_000, traffic.TCPSYNPPS, 5_000, traffic.FPS, 5_000)
	out := limits(traffic.PPS, 30_000)
	prefix := limits(traffic.PPS, 100_000, traffic.BPS, 1_000_000_000)
	def := Group{Name: "default", Enabled: [2]bool{true, true}, Host: [2]traffic.Limits{in, out}, Prefix: [2]traffic.Limits{prefix, {}}}
	wide := def
	wide.Name, wide.Total = "wide", [2]traffic.Limits{limits(traffic.PPS, 500_000), {}}
	p := network{{"10.0.0.0/16", 0}, {"2001:db8::/32", 0}, {"172.16.0.0/12", 1}}.policy(def, wide)
	p.WarmUp = 2 * time.Second
	return p
}

type expectation struct {
	target   string
	metric   traffic.Metric
	within   time.Duration // of the attack's start
	hosts    int           // at least, at its beginning
	previous bool          // the start is a ramp: no exact time
}

func TestSyntheticDay(t *testing.T) {
	w := &world{t: t, d: New(dayPolicy()), step: 100 * time.Millisecond}
	expected := make(map[string]expectation)
	begins := make(map[string]time.Duration)
	var fine []time.Duration
	at := time.Duration(0)
	attack := func(name string, sources []source, e expectation) {
		at += 50 * time.Minute
		for _, s := range sources {
			s.from, s.to = s.from+at, s.to+at
			w.add(s)
		}
		if !slices.Contains(fine, at) {
			fine = append(fine, at)
		}
		if e.target != "" {
			key := e.target + " " + sources[0].dir.String()
			if _, ok := expected[key]; ok {
				t.Fatalf("%s: %s is attacked twice", name, key)
			}
			expected[key], begins[key] = e, at
		}
	}
	one := func(addr string, length time.Duration, pps func(time.Duration) float64) []source {
		return []source{{host: single(addr), to: length, pps: pps}}
	}
	many := func(n int, length time.Duration, pps float64, addr func(i int) string) []source {
		var out []source
		for i := range n {
			out = append(out, source{host: single(addr(i)), to: length, pps: constant(pps)})
		}
		return out
	}
	second := time.Second

	// Ordinary traffic, a daily wave with a little noise, in both directions.
	for i := range 10 {
		for dir := range traffic.Direction(2) {
			phase := float64(i)
			w.add(source{host: single(fmt.Sprintf("10.0.%d.%d", i*16, i+1)), dir: dir, to: 24 * time.Hour, size: 600, flows: 0.05, pps: func(since time.Duration) float64 {
				return 200 + 150*math.Sin(since.Hours()/24*2*math.Pi+phase) + 40*math.Sin(since.Seconds()*phase)
			}})
		}
	}
	for i := range 4 {
		w.add(source{host: single(fmt.Sprintf("2001:db8:%d::%d", i, i+1)), to: 24 * time.Hour, pps: constant(50)})
	}

	attack("flood", one("10.0.1.1", 60*second, constant(200_000)), expectation{target: "10.0.1.1", metric: traffic.PPS, within: 200 * time.Millisecond, hosts: 1})
	attack("ramp", one("10.0.1.2", 300*second, func(s time.Duration) float64 { return 60_000 * s.Seconds() / 300 }),
		expectation{target: "10.0.1.2", metric: traffic.PPS, within: 103 * second, hosts: 1, previous: true})
	attack("pulse", one("10.0.1.3", 300*time.Millisecond, constant(100_000)), expectation{target: "10.0.1.3", metric: traffic.PPS, within: 300 * time.Millisecond, hosts: 1})
	attack("short pulse under the window's count", one("10.0.1.4", 150*time.Millisecond, constant(100_000)), expectation{})
	attack("on and off", one("10.0.1.5", 600*second, func(s time.Duration) float64 {
		if s%(5*second) < 2*second {
			return 60_000
		}
		return 0
	}), expectation{target: "10.0.1.5", metric: traffic.PPS, within: 500 * time.Millisecond, hosts: 1})
	attack("just over", one("10.0.1.6", 30*second, constant(20_600)), expectation{target: "10.0.1.6", metric: traffic.PPS, within: 1100 * time.Millisecond, hosts: 1})
	attack("just under", one("10.0.1.7", 600*second, constant(19_900)), expectation{})
	out := one("10.0.1.8", 60*second, constant(60_000))
	out[0].dir = traffic.Outgoing
	attack("outgoing", out, expectation{target: "10.0.1.8", metric: traffic.PPS, within: 600 * time.Millisecond, hosts: 1})
	syn := one("10.0.1.9", 60*second, constant(8_000))
	syn[0].syn = 1
	attack("syn", syn, expectation{target: "10.0.1.9", metric: traffic.TCPSYNPPS, within: 800 * time.Millisecond, hosts: 1})
	flows := one("10.0.1.10", 60*second, constant(15_000))
	flows[0].flows = 1
	attack("flows", flows, expectation{target: "10.0.1.10", metric: traffic.FPS, within: 500 * time.Millisecond, hosts: 1})
	bits := one("2001:db8:1::99", 60*second, constant(15_000))
	bits[0].size = 9000
	attack("bits", bits, expectation{target: "2001:db8:1::99", metric: traffic.BPS, within: 300 * time.Millisecond, hosts: 1})

	attack("carpet over a /24", many(254, 60*second, 2_000, func(i int) string { return fmt.Sprintf("10.0.20.%d", i+1) }),
		expectation{target: "10.0.20.0/24", metric: traffic.PPS, within: 400 * time.Millisecond, hosts: 200})
	attack("carpet over a /24, each host over its own limit too", many(254, 60*second, 50_000, func(i int) string { return fmt.Sprintf("10.0.21.%d", i+1) }),
		expectation{target: "10.0.21.0/24", metric: traffic.PPS, within: 200 * time.Millisecond, hosts: 200})
	attack("carpet over a /20", many(256, 60*second, 1_000, func(i int) string { return fmt.Sprintf("10.0.%d.%d", 32+i%16, i/16+1) }),
		expectation{target: "10.0.32.0/20", metric: traffic.PPS, within: 700 * time.Millisecond, hosts: 200})
	attack("carpet over a /16", many(256, 60*second, 1_000, func(i int) string { return fmt.Sprintf("10.0.%d.77", i) }),
		expectation{target: "10.0.0.0/16", metric: traffic.PPS, within: 700 * time.Millisecond, hosts: 200})
	attack("carpet over a /64", many(200, 60*second, 1_500, func(i int) string { return fmt.Sprintf("2001:db8:5:5::%x", i+1) }),
		expectation{target: "2001:db8:5:5::/64", metric: traffic.PPS, within: 700 * time.Millisecond, hosts: 150})
	attack("carpet over a /48", many(300, 60*second, 1_000, func(i int) string { return fmt.Sprintf("2001:db8:6:%x::1", i*200) }),
		expectation{target: "2001:db8:6::/48", metric: traffic.PPS, within: 700 * time.Millisecond, hosts: 250})
	attack("thin carpet of hosts that are read once a second", many(4096, 20*second, 30, func(i int) string { return fmt.Sprintf("172.20.%d.%d", i%256, i/256) }),
		expectation{target: "172.20.0.0/16", metric: traffic.PPS, within: 2500 * time.Millisecond, hosts: 3500})
	fold := []source{{host: netip.MustParsePrefix("2001:db8:7:7::/64"), to: 60 * second, pps: constant(300_000)}}
	attack("folded hosts", fold, expectation{target: "2001:db8:7:7::/64", metric: traffic.PPS, within: 500 * time.Millisecond, hosts: 1})
	attack("three hosts of a /24", many(1, 60*second, 200_000, func(int) string { return "10.0.22.1" }), expectation{target: "10.0.22.1", metric: traffic.PPS, within: 200 * time.Millisecond, hosts: 1})
	at -= 50 * time.Minute
	attack("three hosts of a /24", many(1, 60*second, 200_000, func(int) string { return "10.0.22.2" }), expectation{target: "10.0.22.2", metric: traffic.PPS, within: 200 * time.Millisecond, hosts: 1})
	at -= 50 * time.Minute
	attack("three hosts of a /24", many(1, 60*second, 200_000, func(int) string { return "10.0.22.3" }), expectation{target: "10.0.22.3", metric: traffic.PPS, within: 200 * time.Millisecond, hosts: 1})
	wide := many(800, 20*second, 1_000, func(i int) string { return fmt.Sprintf("172.%d.0.%d", 16+i%16, i/16+1) })
	for i := range wide {
		wide[i].group = 1
	}
	attack("hostgroup", wide, expectation{target: "hostgroup wide", metric: traffic.PPS, within: 800 * time.Millisecond, hosts: 700})
	if at > 23*time.Hour {
		t.Fatalf("the day ends before its last attack: %s", at)
	}
	for _, s := range w.sources {
		if s.host.Addr().Is4() && s.host.Addr().As4()[0] == 172 {
			s.group = 1
		}
	}

	// Fine steps around the attacks, coarse ones between them.
	slices.Sort(fine)
	now := time.Duration(0)
	for _, until := range append(fine, 24*time.Hour) {
		w.step = 500 * time.Millisecond
		w.run(now, until-time.Second)
		w.step = 100 * time.Millisecond
		now = min(until+11*time.Minute, 24*time.Hour)
		w.run(until-time.Second, now)
	}
	ordered(t, w.events)
	started, ended := make(map[string]int), make(map[string]int)
	for _, e := range w.events {
		key := e.Target.String() + " " + e.Target.Direction.String()
		switch e.Kind {
		case traffic.EventEnded:
			ended[key]++
		case traffic.EventStarted:
			started[key]++
			proven(t, e)
			want, ok := expected[key]
			if !ok {
				t.Errorf("false alarm: %s at %s: %s", key, e.At.Sub(epoch), e.Trip)
				continue
			}
			begin := epoch.Add(begins[key])
			if e.Trip.Metric != want.metric || e.At.Sub(begin) > want.within || e.At.Before(begin) || e.Hosts < want.hosts {
				t.Errorf("%s: %s after %s with %d hosts; want %s within %s with %d hosts", key, e.Trip, e.At.Sub(begin), e.Hosts, want.metric, want.within, want.hosts)
			}
			if off := e.Started.Sub(begin); !want.previous && (off < -1100*time.Millisecond || off > 1100*time.Millisecond) {
				t.Errorf("%s: started %s off", key, off)
			}
		}
	}
	once := make(map[string]int)
	for key := range expected {
		once[key] = 1
	}
	if diff := cmp.Diff(started, once); diff != "" {
		t.Errorf("started (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(ended, once); diff != "" {
		t.Errorf("ended (-got +want):\n%s", diff)
	}
	s := w.d.Stats()
	if s.Active != 0 || s.Watched > 100 || s.Areas > 300 || s.Promoted > 10 || s.Misplaced+s.Ignored+s.Unwatched > 0 {
		t.Errorf("left behind: %+v", s)
	}
	t.Logf("%+v", s)
}
