package hosts

import (
	"math"
	"testing"
	"time"

	"weir/userspace/traffic"
)

// TestOrdinary: a steady host's average comes to its rate however finely it is told, stands still while frozen, and falls in silence.
func TestOrdinary(t *testing.T) {
	start := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	o := NewOrdinary(4, start)
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 0.05*want+1 {
			t.Errorf("%s: got %.1f packets/s, want about %.1f", what, got, want)
		}
	}
	now := start
	steady := func(slot uint32, packets uint64, every time.Duration, lasts time.Duration) {
		for end := now.Add(lasts); now.Before(end); {
			now = now.Add(every)
			o.Saw(slot, traffic.Incoming, packets, now)
		}
	}
	steady(1, 10, 10*time.Millisecond, 30*time.Minute)
	near("1000 packets/s, a reading each 10 ms", o.At(1, traffic.Incoming, now), 1000)
	steady(2, 500, time.Second, 30*time.Minute)
	near("500 packets/s, a reading each second", o.At(2, traffic.Incoming, now), 500)
	near("the other direction", o.At(2, traffic.Outgoing, now), 0)

	o.Freeze(2, traffic.Incoming, true, now)
	steady(2, 1e6, time.Second, 10*time.Minute)
	near("after an attack", o.At(2, traffic.Incoming, now), 500)
	o.Freeze(2, traffic.Incoming, false, now)
	near("when it is over", o.At(2, traffic.Incoming, now), 500)
	now = now.Add(5 * time.Minute)
	near("after five minutes of silence", o.At(2, traffic.Incoming, now), 250)

	// A burst of a tenth of a second, before anybody suspects anything, hardly shows.
	before := o.At(1, traffic.Incoming, now)
	o.Saw(1, traffic.Incoming, 10, now)
	o.Saw(1, traffic.Incoming, 100_000, now.Add(100*time.Millisecond))
	if got := o.At(1, traffic.Incoming, now.Add(100*time.Millisecond)); got > before+400 {
		t.Errorf("a burst took the average from %.0f to %.0f", before, got)
	}
	o.Release(1, now)
	near("another host's", o.At(1, traffic.Incoming, now), 0)
}
