package sflow

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// Whatever comes: a datagram is told or refused, never both; every told sample has addresses and a rate; what is kept is bounded; and
// the same datagram again is read the same way.
func FuzzDecode(f *testing.F) {
	f.Add(good())
	f.Add(goodOld())
	r := rand.New(rand.NewPCG(1, 2))
	for range 16 {
		f.Add(random(r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 4
		s := session(func(o *Options) { o.MaxSources, o.Counters = most, func(*traffic.InterfaceCounters) {} })
		before := s.Health(noon())
		first, err := decode(s, b)
		for i := range first {
			if x := &first[i]; !x.Src.IsValid() || !x.Dst.IsValid() || x.Rate == 0 || x.Packets != 1 || x.Bytes != uint64(x.Length) {
				t.Errorf("told %+v", x)
			}
		}
		after := s.Health(noon())
		if len(after.Agents)+len(after.Sources) > most || len(after.Formats) > mostFormats {
			t.Errorf("%d agents, %d sources, %d formats", len(after.Agents), len(after.Sources), len(after.Formats))
		}
		if err != nil {
			before.Errors++
			if diff := cmp.Diff(before, after, addresses()); diff != "" || len(first) > 0 {
				t.Errorf("refused (%v), but %d told, and (-want +got)\n%s", err, len(first), diff)
			}
		}
		second, again := decode(s, b)
		if diff := cmp.Diff(first, second, addresses()); diff != "" || (err == nil) != (again == nil) {
			t.Errorf("the second time (errors %v, %v) (-first +second)\n%s", err, again, diff)
		}
	})
}
