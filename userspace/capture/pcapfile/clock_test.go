package pcapfile_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/capture/pcapfile"
)

// TestClock: when frames come, by our time, in milliseconds since the first.
func TestClock(t *testing.T) {
	for _, tt := range []struct {
		name  string
		speed float64
		at    []time.Duration // the frames' times
		busy  time.Duration   // what each of them takes us
		want  []time.Duration
	}{
		{"its own", 1, []time.Duration{0, 10, 250, 1000}, 0, []time.Duration{0, 10, 250, 1000}},
		{"twice as fast", 2, []time.Duration{0, 10, 250, 1000}, 0, []time.Duration{0, 5, 125, 500}},
		{"half as fast", 0.5, []time.Duration{0, 10, 250}, 0, []time.Duration{0, 20, 500}},
		{"at once", 0, []time.Duration{0, 10, 1e9}, 0, []time.Duration{0, 0, 0}},
		{"behind, and catching up", 1, []time.Duration{0, 10, 20, 200, 210}, 50, []time.Duration{0, 50, 100, 200, 250}},
		{"in disorder", 1, []time.Duration{0, 300, 100, 400}, 0, []time.Duration{0, 300, 300, 400}},
		{"set back", 1, []time.Duration{5000, 5100, 0, 100}, 0, []time.Duration{0, 100, 100, 200}},
		{"set back in steps", 1, []time.Duration{5000, 5100, 4500, 3900, 4000}, 0, []time.Duration{0, 100, 100, 100, 200}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := pcapfile.NewClock(tt.speed)
				began := time.Now()
				var got []time.Duration
				for _, at := range tt.at {
					if err := c.Wait(t.Context(), noon.Add(at*time.Millisecond), nil); err != nil {
						t.Fatal(err)
					}
					got = append(got, time.Since(began)/time.Millisecond)
					time.Sleep(tt.busy * time.Millisecond)
				}
				if diff := cmp.Diff(got, tt.want); diff != "" {
					t.Errorf("(-got +want)\n%s", diff)
				}
			})
		})
	}
}

// TestClockTicks: who waits is told the file's time as it goes on.
func TestClockTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pcapfile.NewClock(4)
		var told []time.Duration
		tick := func(now time.Time) { told = append(told, now.Sub(noon)/time.Millisecond) }
		for _, at := range []time.Duration{0, 130} {
			if err := c.Wait(t.Context(), noon.Add(at*time.Millisecond), tick); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(told, []time.Duration{40, 80, 120}); diff != "" {
			t.Errorf("(-got +want)\n%s", diff)
		}
	})
}

func TestClockInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c := pcapfile.NewClock(1)
		began := time.Now()
		err := errors.Join(c.Wait(ctx, noon, nil), c.Wait(ctx, noon.Add(time.Hour), nil))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}
