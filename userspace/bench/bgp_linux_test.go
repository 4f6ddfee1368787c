package bench

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/tests/need"
)

// Each flood is announced to a real router and taken back again.
func TestBGP(t *testing.T) {
	need.Root(t)
	need.Tool(t, "bird", "bird2")
	var victims []string
	err := measureBGP(t.Context(), 2, func(victim netip.Addr, latency time.Duration) error {
		victims = append(victims, victim.String())
		if latency <= 0 || latency > patience {
			t.Errorf("%s: %s", victim, latency)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(victims, []string{"198.18.0.1", "198.18.0.2"}); diff != "" {
		t.Errorf("victims (-got +want):\n%s", diff)
	}
}

func TestBGPPrints(t *testing.T) {
	need.Root(t)
	need.Tool(t, "bird", "bird2")
	var out bytes.Buffer
	var done []int64
	o := BGPOptions{Runs: 1, JSON: true, Progress: func(n, size int64) { done = append(done, n, size) }}
	if err := BGP(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	var a Announcing
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	if a.Runs != 1 || a.P50 <= 0 || a.P99 != a.P50 {
		t.Errorf("not sane: %+v", a)
	}
	if diff := cmp.Diff(done, []int64{1, 1}); diff != "" {
		t.Errorf("progress (-got +want):\n%s", diff)
	}
}
