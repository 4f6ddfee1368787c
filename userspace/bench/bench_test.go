package bench

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuantile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i) // 1 to 100, not in order
	}
	for _, tt := range []struct {
		name   string
		values []float64
		q      float64
		want   float64
	}{
		{"one value", []float64{7}, 0.99, 7},
		{"the lowest", []float64{3, 1, 2}, 0, 1},
		{"median of three", []float64{3, 1, 2}, 0.5, 2},
		{"median of four is the lower", []float64{4, 1, 3, 2}, 0.5, 2},
		{"99th of ten is the worst", []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 0.99, 10},
		{"99th of a hundred", hundred, 0.99, 99},
		{"90th of a hundred", hundred, 0.9, 90},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := quantile(tt.values, tt.q); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestXDPOptions(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   XDPOptions
		want XDPOptions
		err  string
	}{
		{"nothing said", XDPOptions{}, XDPOptions{Hosts: []int{65536, 1048576}, Rounds: 9, Packets: 500_000}, ""},
		{"rounded up", XDPOptions{Hosts: []int{1, 3, 4, 65537}, Rounds: 1, Packets: 2}, XDPOptions{Hosts: []int{1, 4, 4, 131072}, Rounds: 1, Packets: 2}, ""},
		{"the most", XDPOptions{Hosts: []int{MaxHosts}, Rules: MaxHosts, Rounds: 1, Packets: 2}, XDPOptions{Hosts: []int{MaxHosts}, Rules: MaxHosts, Rounds: 1, Packets: 2}, ""},
		{"too many hosts", XDPOptions{Hosts: []int{MaxHosts + 1}}, XDPOptions{}, "bench xdp: 4194305 hosts; expected 1 to 4194304"},
		{"no hosts", XDPOptions{Hosts: []int{0}}, XDPOptions{}, "bench xdp: 0 hosts; expected 1 to 4194304"},
		{"too many rules", XDPOptions{Rules: MaxHosts + 1}, XDPOptions{}, "bench xdp: 4194305 rules; expected 0 to 4194304"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.in.complete()
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Fatalf("got error %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.in, tt.want, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Progress" }, cmp.Ignore())); diff != "" {
				t.Errorf("options (-got +want):\n%s", diff)
			}
		})
	}
}

func TestSummarize(t *testing.T) {
	got := summarize([]Run{{40 * time.Millisecond, 90, 5}, {20500 * time.Microsecond, 80, 3}, {10 * time.Millisecond, 70, 9}})
	want := Detection{Runs: 3, P50: 20.5, P99: 40, LeakedP50: 5, LeakedP99: 9, AttackPPS: 100_000, ThresholdPPS: 10_000}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("summary (-got +want):\n%s", diff)
	}
	var out bytes.Buffer
	if err := printLine(&out, got); err != nil {
		t.Fatal(err)
	}
	line := `{"runs":3,"p50_ms":20.5,"p99_ms":40,"leaked_packets_p50":5,"leaked_packets_p99":9,"attack_pps":100000,"threshold_pps":10000}` + "\n"
	if diff := cmp.Diff(out.String(), line); diff != "" {
		t.Errorf("line (-got +want):\n%s", diff)
	}
}
