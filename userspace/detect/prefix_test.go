package detect

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// carpetPolicy: 20,000 packets/s a host, 100,000 a prefix.
func carpetPolicy() Policy {
	return network{{"10.0.0.0/15", 0}, {"192.0.2.0/25", 0}, {"2001:db8::/32", 0}}.policy(Group{
		Name: "default", Enabled: [2]bool{true, true}, Window: time.Second,
		Host:   [2]traffic.Limits{limits(traffic.PPS, 20_000), {}},
		Prefix: [2]traffic.Limits{limits(traffic.PPS, 100_000), {}},
	})
}

func TestPrefix(t *testing.T) {
	type load struct {
		n    int
		pps  float64
		addr string // with %d for the host's number, or a fold
		at   time.Duration
	}
	tests := []struct {
		name   string
		change func(*Policy)
		loads  []load
		want   []string // targets of starts, in order
	}{
		{name: "carpet", loads: []load{{n: 200, pps: 5000, addr: "10.0.1.%d"}}, want: []string{"10.0.1.0/24"}},
		{name: "eight hosts are a carpet", loads: []load{{n: 8, pps: 18_000, addr: "10.0.1.%d"}}, want: []string{"10.0.1.0/24"}},
		{name: "seven are not", loads: []load{{n: 7, pps: 18_000, addr: "10.0.1.%d"}}},
		{name: "one host over the prefix' limit", loads: []load{{n: 1, pps: 500_000, addr: "10.0.1.%d"}}, want: []string{"10.0.1.0"}},
		{name: "one host without a limit of its own is no carpet", change: func(p *Policy) { p.Groups[0].Host[0] = traffic.Limits{} },
			loads: []load{{n: 1, pps: 500_000, addr: "10.0.1.%d"}, {n: 60, pps: 100, addr: "10.0.1.1%02d"}}},
		{name: "flood of one host among busy ones", loads: []load{{n: 100, pps: 900, addr: "10.0.1.1%02d"}, {n: 1, pps: 200_000, addr: "10.0.1.%d", at: 3 * time.Second}},
			want: []string{"10.0.1.0"}},
		{name: "flood of three hosts among others", loads: []load{{n: 100, pps: 300, addr: "10.0.1.1%02d"}, {n: 3, pps: 200_000, addr: "10.0.1.%d", at: 3 * time.Second}},
			want: []string{"10.0.1.0", "10.0.1.1", "10.0.1.2"}},
		{name: "carpet over a /24 in a busy /16", loads: []load{{n: 240, pps: 300, addr: "10.0.%d.9"}, {n: 100, pps: 5000, addr: "10.0.250.%d", at: 3 * time.Second}},
			want: []string{"10.0.250.0/24"}},
		{name: "carpet just over the limit over a /24 in a busy /16", loads: []load{{n: 240, pps: 400, addr: "10.0.%d.9"}, {n: 100, pps: 1060, addr: "10.0.250.%d", at: 3 * time.Second}},
			want: []string{"10.0.250.0/24"}},
		{name: "two carpets in different /16", loads: []load{{n: 100, pps: 5000, addr: "10.0.250.%d"}, {n: 100, pps: 5000, addr: "10.1.250.%d"}},
			want: []string{"10.0.250.0/24", "10.1.250.0/24"}},
		{name: "second carpet in the same /16 later", loads: []load{{n: 100, pps: 5000, addr: "10.0.250.%d"}, {n: 100, pps: 5000, addr: "10.0.1.%d", at: 3 * time.Second}},
			want: []string{"10.0.250.0/24", "10.0.1.0/24"}},
		{name: "host within a carpet is part of it", loads: []load{{n: 100, pps: 5000, addr: "10.0.1.1%02d"}, {n: 1, pps: 100_000, addr: "10.0.1.%d", at: 3 * time.Second}},
			want: []string{"10.0.1.0/24"}},
		{name: "unless it dwarfs the carpet", loads: []load{{n: 100, pps: 2000, addr: "10.0.1.1%02d"}, {n: 1, pps: 2_000_000, addr: "10.0.1.%d", at: 3 * time.Second}},
			want: []string{"10.0.1.0/24", "10.0.1.0"}},
		{name: "carpet beside an attacked host", loads: []load{{n: 1, pps: 200_000, addr: "10.0.1.%d"}, {n: 100, pps: 2000, addr: "10.0.1.1%02d", at: 3 * time.Second}},
			want: []string{"10.0.1.0", "10.0.1.0/24"}},
		{name: "prefix not wholly ours", loads: []load{{n: 100, pps: 5000, addr: "192.0.2.%d"}}},
		{name: "folded", loads: []load{{n: 1, pps: 200_000, addr: "2001:db8:1:1::/64"}}, want: []string{"2001:db8:1:1::/64"}},
		{name: "folded larger", loads: []load{{n: 1, pps: 200_000, addr: "2001:db8:1::/52"}}, want: []string{"2001:db8:1::/48"}},
		{name: "folded too large for any", loads: []load{{n: 1, pps: 200_000, addr: "10.0.0.0/15"}}},
		{name: "/56", loads: []load{{n: 100, pps: 5000, addr: "2001:db8:1:1%02d::1"}}, want: []string{"2001:db8:1:100::/56"}},
		{name: "average", change: func(p *Policy) { p.Groups[0].Average = 2 * time.Second }, loads: []load{{n: 200, pps: 5000, addr: "10.0.1.%d"}}, want: []string{"10.0.1.0/24"}},
		{name: "average, one host", change: func(p *Policy) { p.Groups[0].Average = 2 * time.Second },
			loads: []load{{n: 50, pps: 100, addr: "10.0.1.1%02d"}, {n: 1, pps: 500_000, addr: "10.0.1.%d"}}, want: []string{"10.0.1.0"}},
		{name: "off", change: func(p *Policy) { p.Groups[0].Prefix[0] = traffic.Limits{} }, loads: []load{{n: 200, pps: 5000, addr: "10.0.1.%d"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := carpetPolicy()
			if tt.change != nil {
				tt.change(&p)
			}
			w := &world{t: t, d: New(p), step: 10 * time.Millisecond}
			for _, l := range tt.loads {
				for i := range l.n {
					s := source{from: l.at, to: 8 * time.Second, pps: constant(l.pps)}
					if prefix, err := netip.ParsePrefix(l.addr); err == nil {
						s.host = prefix
					} else {
						s.host = single(fmt.Sprintf(l.addr, i))
					}
					w.add(s)
				}
			}
			w.run(0, 9*time.Second)
			w.step = 200 * time.Millisecond
			w.run(9*time.Second, 30*time.Second)
			var got, over []string
			for _, e := range w.events {
				switch e.Kind {
				case traffic.EventStarted:
					got = append(got, e.Target.String())
					proven(t, e)
				case traffic.EventEnded:
					over = append(over, e.Target.String())
				}
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("started (-got +want):\n%s", diff)
			}
			if len(over) != len(got) {
				t.Errorf("started %v, ended %v", got, over)
			}
			ordered(t, w.events)
			if s := w.d.Stats(); s.Watched != 0 || s.Promoted != 0 || s.Active != 0 {
				t.Errorf("left behind: %+v", s)
			}
			for _, a := range w.d.areas {
				if a.activeBelow != 0 || a.alertBelow != 0 || len(a.loud) != 0 {
					t.Errorf("%s: %d attacks, %d suspicions, %d hosts left inside", a.target, a.activeBelow, a.alertBelow, len(a.loud))
				}
			}
		})
	}
}

// Flood of random destinations: every observation is of another /64.
func TestRandomDestinationsDoNotGrowMemory(t *testing.T) {
	p := carpetPolicy()
	p.MaxWatched = 512
	d := New(p)
	b := netip.MustParseAddr("2001:db8::").As16()
	var starts []string
	for i := range 100_000 {
		b[5], b[6], b[7], b[15] = byte(i%3), byte(i>>8), byte(i), 1
		at := epoch.Add(time.Duration(i) * 50 * time.Microsecond)
		d.Observe(&Observation{
			Host: netip.PrefixFrom(netip.AddrFrom16(b), 128), From: at.Add(-10 * time.Millisecond), To: at,
			Counts: traffic.Counts{Total: traffic.Count{Packets: 64, Bytes: 6400}},
		})
		if i%200 == 0 {
			for _, e := range d.Tick(at) {
				if e.Kind == traffic.EventStarted {
					starts = append(starts, e.Target.String())
				}
			}
		}
	}
	s := d.Stats()
	if s.Areas > 1024 || s.AreasRefused == 0 || s.Watched > 512 {
		t.Errorf("got %+v; want at most 1024 areas and 512 hosts", s)
	}
	if len(starts) == 0 {
		t.Error("a flood of 1.3 million packets/s over three /48 was not seen")
	}
	for at := 5 * time.Second; at < 3*time.Minute; at += 100 * time.Millisecond {
		d.Tick(epoch.Add(at))
	}
	if s := d.Stats(); s.Areas != 0 || s.Watched != 0 || s.Active != 0 {
		t.Errorf("afterwards: %+v; want nothing left", s)
	}
}

func TestSetPolicyEndsPrefixAndGroupAttacks(t *testing.T) {
	p := carpetPolicy()
	p.Groups[0].Total[0] = limits(traffic.PPS, 50_000)
	w := &world{t: t, d: New(p), step: 10 * time.Millisecond}
	for i := range 100 {
		w.add(source{host: single(fmt.Sprintf("10.0.1.%d", i)), to: 5 * time.Second, pps: constant(5000)})
	}
	w.run(0, time.Second)
	var got []string
	for _, e := range w.d.Active() {
		got = append(got, e.Target.String())
		if rate, ok := w.d.Rate(e.Target); !ok || rate.Total.Packets < 450_000 || rate.Total.Packets > 510_000 {
			t.Errorf("%s: rate %+v %t; want 500,000 packets/s", e.Target, rate.Total, ok)
		}
	}
	if diff := cmp.Diff(got, []string{"10.0.1.0/24", "hostgroup default"}); diff != "" {
		t.Fatalf("active (-got +want):\n%s", diff)
	}
	w.d.SetPolicy(p)
	if n := len(w.d.Active()); n != 2 {
		t.Errorf("%d attacks after the same policy, want 2", n)
	}
	p.Contains = nil
	p.Groups = []Group{p.Groups[0]}
	p.Groups[0].Total = [2]traffic.Limits{}
	w.events = nil
	w.d.SetPolicy(p)
	w.run(time.Second, 1010*time.Millisecond)
	want := []brief{{ended, "10.0.1.0/24", 1000}, {ended, "hostgroup default", 1000}}
	if diff := cmp.Diff(briefs(w.events, started, ended), want); diff != "" {
		t.Errorf("events (-got +want):\n%s", diff)
	}
}
