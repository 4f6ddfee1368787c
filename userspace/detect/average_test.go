package detect

import (
	"math"
	"testing"
	"time"

	"weir/userspace/traffic"
)

// The time to cross from zero is -T*ln(1 - limit/rate), seen at the next whole second: FastNetMon's averaging.
func TestAverageCrossesAsFastNetMonDoes(t *testing.T) {
	for _, tt := range []struct {
		times float64
		never bool
	}{{10, false}, {2, false}, {1.3, false}, {0.99, true}} {
		p := onePolicy(10_000)
		p.Groups[0].Average = 5 * time.Second
		w := &world{t: t, d: New(p), step: 10 * time.Millisecond}
		w.add(source{host: single("10.0.0.1"), to: 60 * time.Second, pps: constant(10_000 * tt.times)})
		w.run(0, 30*time.Second)
		if a := w.d.Active(); len(a) == 1 && math.Abs(float64(a[0].Rate.Total.Packets)/(10_000*tt.times)-1) > 0.05 {
			t.Errorf("%gx: rate %d", tt.times, a[0].Rate.Total.Packets)
		}
		w.run(30*time.Second, 120*time.Second)
		ordered(t, w.events)
		got := briefs(w.events, started, ended)
		if tt.never {
			if len(got) != 0 {
				t.Errorf("%gx: got %v", tt.times, got)
			}
			continue
		}
		want := math.Ceil(-5 * math.Log(1-1/tt.times))
		if len(got) != 2 || math.Abs(float64(got[0].At)/1000-want) > 0.1 {
			t.Errorf("%gx: got %v, want a start at %g s and an end", tt.times, got, want)
			continue
		}
		for _, e := range w.events {
			if e.Kind == traffic.EventStarted {
				proven(t, e)
				if off := e.Started.Sub(epoch); off > 100*time.Millisecond {
					t.Errorf("%gx: started %s late", tt.times, off)
				}
			}
		}
		// The average falls under 0.8 of the limit T*ln(times/0.8) after the attack's end, and 5 s of quiet follow.
		if end := 60 + 5*math.Log(tt.times/0.8) + 5; math.Abs(float64(got[1].At)/1000-end) > 1.2 {
			t.Errorf("%gx: ended at %d ms, want about %g s", tt.times, got[1].At, end)
		}
		if s := w.d.Stats(); s.Watched != 0 {
			t.Errorf("%gx: left behind: %+v", tt.times, s)
		}
	}
}

func TestAverageWarmUpForgetsFirstDelta(t *testing.T) {
	p := onePolicy(10_000)
	p.Groups[0].Average, p.WarmUp = 5*time.Second, 3*time.Second
	d := New(p)
	d.Observe(&Observation{Host: single("10.0.0.1"), From: epoch, To: epoch.Add(10 * time.Millisecond), Counts: traffic.Counts{Total: traffic.Count{Packets: 1 << 40}}})
	for at := 10 * time.Millisecond; at < 30*time.Second; at += 10 * time.Millisecond {
		if got := d.Tick(epoch.Add(at)); got != nil {
			t.Fatalf("got %v", got)
		}
	}
}
