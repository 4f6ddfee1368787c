package influxdb_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"weir/userspace/export/influxdb"
	"weir/userspace/traffic"
)

// crowd is n hosts with traffic both ways.
func crowd(n int) *traffic.Snapshot {
	s := &traffic.Snapshot{Time: at()}
	a := netip.MustParseAddr("10.0.0.0")
	for i := range n {
		a = a.Next()
		s.Hosts = append(s.Hosts, traffic.HostRate{Host: netip.PrefixFrom(a, 32), TwoWay: traffic.TwoWay{
			Incoming: distinct(uint64(i) * 1000), Outgoing: distinct(uint64(i) + 64),
		}})
	}
	return s
}

func drain(t testing.TB) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestNoAllocationPerHost(t *testing.T) {
	sink := open(t, influxdb.Options{Address: drain(t)})
	s := crowd(4000)
	got := testing.AllocsPerRun(3, func() {
		if err := sink.Push(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	})
	// Those are of the requests, on both sides.
	if got > 800 {
		t.Errorf("%.0f allocations for %d hosts", got, len(s.Hosts))
	}
}

func BenchmarkPush100k(b *testing.B) {
	for name, o := range map[string]influxdb.Options{"plain": {}, "gzip": {Gzip: true}, "brief": {Brief: true}} {
		b.Run(name, func(b *testing.B) {
			o.Address = drain(b)
			sink := open(b, o)
			s := crowd(100_000)
			b.ReportAllocs()
			for b.Loop() {
				if err := sink.Push(b.Context(), s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
