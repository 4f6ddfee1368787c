package bench

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestCaptureOptions(t *testing.T) {
	for _, tt := range []struct {
		seconds float64
		want    time.Duration
		err     string
	}{
		{0, time.Second, ""},
		{0.25, 250 * time.Millisecond, ""},
		{MaxCaptureSeconds, MaxCaptureSeconds * time.Second, ""},
		{MaxCaptureSeconds + 1, 0, "61 seconds"},
		{-1, 0, "-1 seconds"},
		{math.NaN(), 0, "NaN seconds"},
	} {
		o := CaptureOptions{Seconds: tt.seconds}
		err := o.complete()
		if tt.err == "" {
			if err != nil || o.duration() != tt.want {
				t.Errorf("%v: got %s, %v; want %s", tt.seconds, o.duration(), err, tt.want)
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%v: got %v; want %q", tt.seconds, err, tt.err)
		}
	}
}
