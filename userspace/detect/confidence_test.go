package detect

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir/userspace/traffic"
)

func TestDeviations(t *testing.T) {
	// From tables of the normal distribution.
	for confidence, want := range map[float64]float64{0.5: 0, 0.9: 1.281552, 0.95: 1.644854, 0.975: 1.959964, 0.99: 2.326348, 0.999: 3.090232} {
		if got := deviations(confidence); math.Abs(got-want) > 1e-6 {
			t.Errorf("deviations(%g): got %g, want %g", confidence, got, want)
		}
	}
}

// TestBound is the arithmetic: what a window, and an average of equal traffic over many seconds, say of how sure they are.
func TestBound(t *testing.T) {
	packets := func(n uint64) traffic.Count { return traffic.Count{Packets: n, Bytes: n * 100} }
	for _, tt := range []struct {
		name       string
		confidence float64
		counts     traffic.Counts
		metric     traffic.Metric
		want       traffic.Trip // Lower as a part of the value, of which 1 is told as nothing
	}{
		{"all were seen", 0.95, traffic.Counts{Total: packets(52_000)}, traffic.PPS, traffic.Trip{}},
		{"52 of 52000", 0.95, traffic.Counts{Total: packets(52_000), Unseen: 51_948}, traffic.PPS, traffic.Trip{Lower: 1 - 1.644854*math.Sqrt(0.999/52), Seen: 52, Confidence: 0.95}},
		{"and surer", 0.99, traffic.Counts{Total: packets(52_000), Unseen: 51_948}, traffic.PPS, traffic.Trip{Lower: 1 - 2.326348*math.Sqrt(0.999/52), Seen: 52, Confidence: 0.99}},
		{"5200 of 52000", 0.95, traffic.Counts{Total: packets(52_000), Unseen: 46_800}, traffic.PPS, traffic.Trip{Lower: 1 - 1.644854*math.Sqrt(0.9/5200), Seen: 5200, Confidence: 0.95}},
		{"half of them", 0.95, traffic.Counts{Total: packets(52_000), Unseen: 26_000}, traffic.PPS, traffic.Trip{Lower: 1 - 1.644854*math.Sqrt(0.5/26_000), Seen: 26_000, Confidence: 0.95}},
		{"bits by their packets", 0.95, traffic.Counts{Total: packets(52_000), Unseen: 51_948}, traffic.BPS, traffic.Trip{Lower: 1 - 1.644854*math.Sqrt(0.999/52), Seen: 52, Confidence: 0.95}},
		{"a quarter is udp", 0.95, traffic.Counts{Total: packets(52_000), UDP: packets(13_000), Unseen: 51_948}, traffic.UDPPPS, traffic.Trip{Lower: 1 - 1.644854*math.Sqrt(0.999/13), Seen: 13, Confidence: 0.95}},
		{"and its bits", 0.95, traffic.Counts{Total: packets(52_000), UDP: packets(13_000), Unseen: 51_948}, traffic.UDPBPS, traffic.Trip{Lower: 1 - 1.644854*math.Sqrt(0.999/13), Seen: 13, Confidence: 0.95}},
		{"SYN", 0.95, traffic.Counts{Total: packets(52_000), TCP: packets(52_000), TCPSYN: packets(26_000), Unseen: 51_948}, traffic.TCPSYNPPS, traffic.Trip{Lower: 1 - 1.644854*math.Sqrt(0.999/26), Seen: 26, Confidence: 0.95}},
		{"one sample says nothing", 0.95, traffic.Counts{Total: packets(52_000), Unseen: 51_999}, traffic.PPS, traffic.Trip{Seen: 1, Confidence: 0.95}},
		{"none at all", 0.95, traffic.Counts{Total: packets(52_000), Unseen: 52_000}, traffic.PPS, traffic.Trip{Confidence: 0.95}},
		{"flows are not scaled", 0.95, traffic.Counts{Total: packets(52_000), Flows: 9000, Unseen: 51_948}, traffic.FPS, traffic.Trip{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := onePolicy(1)
			p.Confidence = tt.confidence
			p.Groups[0].Host[0] = limits(tt.metric, 1)
			r := New(p).groups[0].host[0]
			w := newWindow(time.Second, 0)
			w.add(epoch.UnixNano(), epoch.Add(900*time.Millisecond).UnixNano(), &tt.counts)
			got := traffic.Trip{Value: 1}
			b := w.bound(&r.list[0], r.deviations)
			b.write(&got, r.confidence)
			tt.want.Value = 1
			near := cmpopts.EquateApprox(0, 1e-6)
			if diff := cmp.Diff(tt.want, got, near); diff != "" {
				t.Errorf("window (-want +got)\n%s", diff)
			}
			if !b.used && b.part != 1 {
				t.Errorf("window: nothing to infer, but only %g is sure", b.part)
			}

			// An average that forgets with 10 s is as sure as a plain one over 20 s.
			p.Groups[0].Average = 10 * time.Second
			r = New(p).groups[0].host[0]
			a := newAverage(r)
			for i := range int64(200) {
				a.add(i*1e9, (i+1)*1e9, &tt.counts)
				a.advance((i + 1) * 1e9)
			}
			of := tt.counts
			b = a.bound(&r.list[0], r.deviations)
			if kind, ok := packetsOf(tt.metric); ok && of.Unseen > 0 && of.Unseen < of.Total.Packets {
				seen := 20 * float64(of.Total.Packets-of.Unseen) * float64(kind.Of(&of)) / float64(of.Total.Packets)
				want := max(0, 1-r.deviations*math.Sqrt(float64(of.Unseen)/float64(of.Total.Packets)/seen))
				if math.Abs(b.seen/seen-1) > 0.01 || math.Abs(b.part-want) > 0.01 || !b.used {
					t.Errorf("average: got %+v, want %g sure from %g samples", b, want, seen)
				}
			} else if b.used == (of.Unseen == 0 || !ok) {
				t.Errorf("average: got %+v", b)
			}
		})
	}
}

// TestBoundHolds: of traffic that is just at the limit, no more than one window in twenty says that it is surely over it.
func TestBoundHolds(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 2))
	for _, mean := range []float64{20, 100, 1000} {
		const trials = 50_000
		wrong := 0
		for range trials {
			// A Poisson number, by the times between arrivals.
			n := -1.0
			for at := 0.0; at < mean; n++ {
				at += random.ExpFloat64()
			}
			if b := boundOf(deviations(0.95), n, n*1000, 1); n*b.part > mean {
				wrong++
			}
		}
		if share := float64(wrong) / trials; share > 0.055 || share < 0.01 {
			t.Errorf("%g samples in a window: %g of all windows are wrong, want less than 0.05, and not never", mean, share)
		}
	}
}

func TestAlarmNeedsToBeSure(t *testing.T) {
	for _, tt := range []struct {
		name       string
		confidence float64
		sampling   uint64
		pps        float64
		change     func(*Policy)
		want       bool
	}{
		{"12 samples a second, 1.2 times the limit", 0.95, 1000, 12_000, nil, false},
		{"whoever does not ask", 0, 1000, 12_000, nil, true},
		{"1200 samples", 0.95, 10, 12_000, nil, true},
		{"1200 samples, 1.03 times the limit", 0.95, 10, 10_300, nil, false},
		{"all packets, 1.03 times", 0.95, 1, 10_300, nil, true},
		{"20 samples, twice the limit", 0.95, 1000, 20_000, nil, true},
		{"20 samples, surer", 0.999, 1000, 20_000, nil, false},
		{"a longer window sees more samples", 0.95, 1000, 12_000, func(p *Policy) { p.Groups[0].Window = 20 * time.Second }, true},
		{"an average over a second", 0.95, 1000, 12_000, func(p *Policy) { p.Groups[0].Average = time.Second }, false},
		{"an average over 20 s", 0.95, 1000, 12_000, func(p *Policy) { p.Groups[0].Average = 20 * time.Second }, true},
		{"a hostgroup", 0.95, 1000, 12_000, func(p *Policy) { p.Groups[0].Total, p.Groups[0].Host = p.Groups[0].Host, [2]traffic.Limits{} }, false},
		{"a hostgroup, four times the limit", 0.95, 1000, 40_000, func(p *Policy) { p.Groups[0].Total, p.Groups[0].Host = p.Groups[0].Host, [2]traffic.Limits{} }, true},
		{"nonsense is no confidence", 1, 1000, 12_000, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := onePolicy(10_000)
			p.Confidence = tt.confidence
			if tt.change != nil {
				tt.change(&p)
			}
			w := &world{t: t, d: New(p), step: 10 * time.Millisecond}
			w.add(source{host: single("10.0.0.1"), to: 60 * time.Second, pps: constant(tt.pps), sampling: tt.sampling})
			w.run(0, 100*time.Second)
			ordered(t, w.events)
			starts, ends := briefs(w.events, started), briefs(w.events, ended)
			if (len(starts) == 1) != tt.want || len(ends) != len(starts) {
				t.Fatalf("got %v, want a start: %t", briefs(w.events), tt.want)
			}
			if !tt.want && len(briefs(w.events, doubted)) == 0 {
				t.Error("what is over the limit, but not surely, is not even suspected")
			}
			for _, e := range w.events {
				if e.Kind != started {
					continue
				}
				proven(t, e)
				want := 0.0
				if tt.sampling > 1 && tt.confidence < 1 {
					want = tt.confidence
				}
				if e.Trip.Confidence != want || strings.Contains(e.Trip.String(), "at least") != (want > 0) {
					t.Errorf("trip: %+v, %s", e.Trip, e.Trip)
				}
			}
		})
	}
}

// TestGathered: what is told at once has not come at once.
func TestGathered(t *testing.T) {
	for gathered, want := range map[time.Duration]float64{0: 5e6, 200 * time.Millisecond: 250_000, time.Second: 50_000, time.Minute: 50_000} {
		p := onePolicy(10_000)
		p.Gathered = gathered
		d, now := New(p), time.Unix(1e9, 0)
		d.Tick(now)
		c := traffic.Counts{}
		c.Total.Packets, c.Total.Bytes = 50_000, 5_000_000
		d.Observe(&Observation{Host: single("10.0.0.1"), From: now, To: now.Add(10 * time.Millisecond), Counts: c})
		events := d.Tick(now.Add(10 * time.Millisecond))
		if starts := briefs(events, started); len(starts) != 1 {
			t.Fatalf("%s: got %v, want a start", gathered, briefs(events))
		}
		for _, e := range events {
			if e.Kind == started && e.Trip.Value != want {
				t.Errorf("%s: %.0f packets a second, want %.0f", gathered, e.Trip.Value, want)
			}
		}
	}
}

// TestEndNeedsNoSureness: an attack that is on lasts while the estimate is high.
func TestEndNeedsNoSureness(t *testing.T) {
	p := onePolicy(10_000)
	p.Confidence = 0.99
	w := &world{t: t, d: New(p), step: 10 * time.Millisecond}
	w.add(source{host: single("10.0.0.1"), to: 60 * time.Second, sampling: 1000, pps: func(since time.Duration) float64 {
		if since < 5*time.Second {
			return 60_000
		}
		return 12_000
	}})
	w.run(0, 80*time.Second)
	got := briefs(w.events, started, ended)
	if len(got) != 2 || got[0].At > 5000 || got[1].At < 60_000 {
		t.Errorf("got %v, want an attack to the end of its traffic", got)
	}
}

func TestCarpetNeedsToBeSure(t *testing.T) {
	for _, tt := range []struct {
		sampling uint64
		pps      float64
		want     []brief
	}{
		{1, 1200, []brief{{started, "10.0.1.0/24", 0}}},
		{10, 1200, []brief{{started, "10.0.1.0/24", 0}}},
		{5000, 1200, nil},
		{5000, 5000, []brief{{started, "10.0.1.0/24", 0}}},
	} {
		p := carpetPolicy()
		p.Confidence = 0.95
		w := &world{t: t, d: New(p), step: 10 * time.Millisecond}
		for i := range 100 {
			w.add(source{host: addressOf(256 + i), from: time.Duration(i) * 41 * time.Millisecond, to: 20 * time.Second, pps: constant(tt.pps), sampling: tt.sampling})
		}
		w.run(0, 20*time.Second)
		ordered(t, w.events)
		got := briefs(w.events, started)
		if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(brief{}, "At")); diff != "" {
			t.Errorf("one in %d of %g packets/s on each of 100 hosts: (-want +got)\n%s", tt.sampling, tt.pps, diff)
		}
		for _, e := range w.events {
			if e.Kind == started {
				proven(t, e)
			}
		}
	}
}
