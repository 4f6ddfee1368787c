package analyze_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"weir/userspace/analyze"
	"weir/userspace/traffic"
)

// TestDiscount: an attack is named without what the target has on any day, as far as there is no more of that than usual.
func TestDiscount(t *testing.T) {
	syn, gre := tcp(traffic.FlagSYN, 0), protocol(47)
	noisy := udp(func(_ int, r *rand.Rand) []byte { return noise(r, 200) })
	usual := analyze.Analyze(slices.Concat(flood(300, gre), flood(300, noisy)), traffic.Incoming, nil)
	for _, tt := range []struct {
		name       string
		samples    []analyze.Seen
		background float64
		want       string
		vectors    int
		share      float64 // of the first
	}{
		{"nothing is known", slices.Concat(flood(600, syn), flood(200, gre), flood(200, noisy)), 0, analyze.MultiVector, 3, 0.6},
		{"ordinary traffic goes on", slices.Concat(flood(600, syn), flood(200, gre), flood(200, noisy)), 0.4, analyze.SYNFlood, 1, 1},
		{"a part of it is more than usual", slices.Concat(flood(400, syn), flood(500, gre), flood(100, noisy)), 0.2, analyze.MultiVector, 2, 0.5},
		{"more than usual of one kind", slices.Concat(flood(900, gre), flood(100, noisy)), 0.2, analyze.GREFlood, 1, 1},
		{"as usual throughout", slices.Concat(flood(500, gre), flood(500, noisy)), 0.9, analyze.MultiVector, 2, 0.5},
		{"an estimate out of bounds", slices.Concat(flood(900, syn), flood(100, gre)), 7, analyze.SYNFlood, 1, 1},
		{"no number", flood(900, syn), math.NaN(), analyze.SYNFlood, 1, 1},
	} {
		r := analyze.Analyze(tt.samples, traffic.Incoming, nil)
		r.Discount(&usual, tt.background)
		if r.Name != tt.want || len(r.Vectors) != tt.vectors || math.Abs(r.Vectors[0].Share-tt.share) > 0.02 {
			t.Errorf("%s: want %s of %d vectors, the first with %.2f, got\n%s", tt.name, tt.want, tt.vectors, tt.share, r.String())
		}
		sum, bytes := r.Rest, 0.0
		for _, v := range r.Vectors {
			sum, bytes = sum+v.Share, bytes+v.ByteShare
		}
		if math.Abs(sum-1) > 0.001 || bytes > 1.001 || len(r.VectorOf) != len(tt.samples) || slices.Max(r.VectorOf) >= len(r.Vectors) {
			t.Errorf("%s: shares sum up to %.3f, of bytes to %.3f, with %d vectors", tt.name, sum, bytes, len(r.Vectors))
		}
	}
	var none analyze.Report
	none.Discount(&usual, 0.5)
	if none.Rest != 0 || len(none.Vectors) > 0 {
		t.Errorf("of nothing: %+v", none)
	}
}
