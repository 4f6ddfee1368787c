// Package bench measures what the data plane costs per packet and how long detection takes, on the machine it runs on.
package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// XDPOptions says what XDP measures. The zero value is what `weir bench xdp` does.
type XDPOptions struct {
	Hosts    []int // sizes, one after the other, each rounded up to a power of two, at most MaxHosts; nil: 65,536 and 1,048,576
	Rules    int   // hosts that are banned beside those measured, at most MaxHosts
	Filters  int   // rules of the rows with many, at most MaxHosts; 0: no rows with rules and lists of sources
	JSON     bool
	Progress func(done, size int64) // of the rounds; nil: not shown

	Rounds  int // that count; 0: 9
	Packets int // per measurement; 0: 500,000
}

// MaxHosts bounds hosts and rules: a million cost about 130 MB of kernel memory per CPU.
const MaxHosts = 1 << 22

func (o *XDPOptions) complete() error {
	if len(o.Hosts) == 0 {
		o.Hosts = []int{1 << 16, 1 << 20}
	}
	for i, n := range o.Hosts {
		if n < 1 || n > MaxHosts {
			return fmt.Errorf("bench xdp: %d hosts; expected 1 to %d", n, MaxHosts)
		}
		o.Hosts[i] = powerOfTwo(n)
	}
	if o.Rules < 0 || o.Rules > MaxHosts {
		return fmt.Errorf("bench xdp: %d rules; expected 0 to %d", o.Rules, MaxHosts)
	}
	if o.Filters < 0 || o.Filters > MaxHosts {
		return fmt.Errorf("bench xdp: %d filters; expected 0 to %d", o.Filters, MaxHosts)
	}
	if o.Rounds == 0 {
		o.Rounds = 9
	}
	if o.Packets == 0 {
		o.Packets = 500_000
	}
	return nil
}

// Cost is what one program takes for the packets of one stream, over all rounds.
type Cost struct {
	Name        string  `json:"name"`
	Hosts       int     `json:"hosts"`
	Rules       int     `json:"rules"`
	Nanoseconds float64 `json:"ns_per_packet"`  // median over the rounds; making the packet is in it
	Ratio       float64 `json:"ratio_to_floor"` // median of each round's own ratio to parse-and-drop of the very same packets
	P10         float64 `json:"ratio_p10"`
	P90         float64 `json:"ratio_p90"`
}

// DetectOptions says what Detect measures.
type DetectOptions struct {
	Runs     int // 0: 20
	JSON     bool
	Progress func(done, size int64) // of the runs; nil: not shown
}

// A flood of ten times its threshold, over the window of 1 s: an attack the moment that a tenth of a second's packets are there.
const (
	thresholdPPS = 10_000
	attackPPS    = 10 * thresholdPPS
)

// MaxRuns is how many runs find a fresh victim each in the bench's network.
const MaxRuns = 4096

func (o *DetectOptions) complete() error {
	if o.Runs == 0 {
		o.Runs = 20
	}
	if o.Runs < 0 || o.Runs > MaxRuns {
		return fmt.Errorf("bench detect: %d runs; expected 1 to %d", o.Runs, MaxRuns)
	}
	return nil
}

// Run is one flood against a host that nothing was sent to before.
type Run struct {
	Latency time.Duration // from the first packet of the flood until the kernel dropped them
	Sent    uint64        // packets
	Leaked  uint64        // packets of the flood that reached the victim
}

// Detection sums up the runs. The percentiles are by nearest rank: under 100 runs, the 99th is the worst.
type Detection struct {
	Runs         int     `json:"runs"`
	P50          float64 `json:"p50_ms"` // from the first packet of the attack to the drop in force
	P99          float64 `json:"p99_ms"`
	LeakedP50    uint64  `json:"leaked_packets_p50"`
	LeakedP99    uint64  `json:"leaked_packets_p99"`
	AttackPPS    float64 `json:"attack_pps"`
	ThresholdPPS float64 `json:"threshold_pps"`
}

func summarize(runs []Run) Detection {
	var latency []float64
	var leaked []uint64
	for _, r := range runs {
		latency = append(latency, float64(r.Latency.Microseconds())/1000)
		leaked = append(leaked, r.Leaked)
	}
	return Detection{
		Runs: len(runs), P50: quantile(latency, 0.5), P99: quantile(latency, 0.99),
		LeakedP50: quantile(leaked, 0.5), LeakedP99: quantile(leaked, 0.99), AttackPPS: attackPPS, ThresholdPPS: thresholdPPS,
	}
}

// quantile is by nearest rank: the smallest value that at least the share q of the values does not exceed. There must be one.
func quantile[T float64 | uint64](values []T, q float64) T {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}

func powerOfTwo(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}

func round(v float64, digits int) float64 {
	unit := math.Pow10(digits)
	return math.Round(v*unit) / unit
}

// printLine writes v as one line of JSON.
func printLine(out io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	return printf(out, "%s\n", line)
}

func printf(out io.Writer, format string, args ...any) error {
	if _, err := fmt.Fprintf(out, format, args...); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
