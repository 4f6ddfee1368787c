package bench

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBGPOptions(t *testing.T) {
	for _, tt := range []struct {
		runs, want int
		ok         bool
	}{{0, 50, true}, {1, 1, true}, {MaxRuns, MaxRuns, true}, {MaxRuns + 1, MaxRuns + 1, false}, {-1, -1, false}} {
		o := BGPOptions{Runs: tt.runs}
		if err := o.complete(); (err == nil) != tt.ok || o.Runs != tt.want {
			t.Errorf("%d runs: got %d, %v", tt.runs, o.Runs, err)
		}
	}
}

func TestSummarizeBGP(t *testing.T) {
	var latencies []time.Duration
	for i := range 100 {
		latencies = append(latencies, time.Duration(100-i)*time.Millisecond)
	}
	if diff := cmp.Diff(summarizeBGP(latencies), Announcing{Runs: 100, P50: 50, P99: 99}); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}
