package clickhouse_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"weir/userspace/export/clickhouse"
	"weir/userspace/traffic"
)

// drain is a server that takes all rows and looks at none.
func drain(b *testing.B, o clickhouse.Options) *clickhouse.Sink {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" {
			_, _ = io.Copy(io.Discard, r.Body)
			return
		}
		statement, err := io.ReadAll(r.Body)
		if err == nil {
			modern(w, r, string(statement))
		}
	}))
	b.Cleanup(server.Close)
	o.Address = strings.TrimPrefix(server.URL, "http://")
	return newSink(b, o)
}

func BenchmarkPush100k(b *testing.B) {
	s := &traffic.Snapshot{Time: time.Now(), Hosts: manyHosts(100_000)}
	for _, tt := range []struct {
		name string
		o    clickhouse.Options
	}{{"plain", clickhouse.Options{}}, {"gzip", clickhouse.Options{Gzip: true}}, {"fastnetmon", clickhouse.Options{FastNetMon: true}}} {
		b.Run(tt.name, func(b *testing.B) {
			sink := drain(b, tt.o)
			must(b, sink.Push(in(b), s)) // the tables are there, and so is the buffer
			b.ReportAllocs()
			for b.Loop() {
				must(b, sink.Push(in(b), s))
			}
		})
	}
}

func BenchmarkFlows(b *testing.B) {
	flows := make([]traffic.Flow, 50_000)
	for i := range flows {
		flows[i] = flow(time.Now())
	}
	for _, tt := range []struct {
		name string
		o    clickhouse.Options
	}{{"plain", clickhouse.Options{}}, {"gzip", clickhouse.Options{Gzip: true}}} {
		b.Run(tt.name, func(b *testing.B) {
			sink := drain(b, tt.o)
			must(b, sink.Flows(in(b), flows))
			b.ReportAllocs()
			for b.Loop() {
				must(b, sink.Flows(in(b), flows))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(flows)), "ns/record")
		})
	}
}

// TestHostsCostNothing has ten times as many hosts written with as many allocations, or nearly.
func TestHostsCostNothing(t *testing.T) {
	f := newFake(t, modern)
	sink := newSink(t, f.options())
	cost := func(hosts int) float64 {
		s := &traffic.Snapshot{Time: time.Now(), Hosts: manyHosts(hosts)}
		must(t, sink.Push(in(t), s))
		ctx := in(t)
		return testing.AllocsPerRun(3, func() { must(t, sink.Push(ctx, s)) })
	}
	few, many := cost(1000), cost(10_000)
	// The fake server allocates for the bytes that it reads, and more often for more of them.
	if many > few+500 {
		t.Errorf("%.0f allocations for 10,000 hosts, %.0f for 1,000", many, few)
	}
}
