package metrics

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

var update = flag.Bool("update", false, "write docs/METRICS.md")

// document is docs/METRICS.md as the catalog has it.
func document() string {
	var b strings.Builder
	b.WriteString("# Metrics\n\nServed for Prometheus at `http://HOST:PORT/metrics`, where `prometheus.listen` in the configuration names the address.\n" +
		"This page is written by `go test ./userspace/metrics -run TestDocument -update` from the catalog in `userspace/metrics/catalog.go`.\n\n" +
		"| name | type | labels | meaning |\n| --- | --- | --- | --- |\n")
	for _, m := range catalog() {
		kind := "gauge"
		if m.kind == prometheus.CounterValue {
			kind = "counter"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, kind, strings.Join(m.labels, ", "), m.help)
	}
	fmt.Fprintf(&b, "| `%s` | histogram | | %s |\n\n", tickName, tickHelp)
	b.WriteString("The Go runtime's metrics (`go_*`) and the process's (`process_*`, resident memory among them) come with them.\n\n" +
		"Rates are of the last whole interval. Bytes are frame bytes on the wire without FCS; times 8 they are the bits of the thresholds.\n\n" +
		"## Losses\n\n`weir_losses_total` says by `where` what was lost:\n\n")
	for place := range LossCount {
		fmt.Fprintf(&b, "- `%s`: %s\n", place, lossTexts[place])
	}
	fmt.Fprintf(&b, "\n## Bounds\n\nAn answer holds at most %d hostgroups, %d networks, %d interfaces, %d BGP peers, %d exporters and, per direction, %d hosts; "+
		"`weir_metrics_omitted_series` counts what was left out.\n", MaxHostgroups, MaxNetworks, MaxInterfaces, MaxBGPPeers, MaxExporters, MaxHosts)
	return b.String()
}

func TestDocument(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "METRICS.md")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(document()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(committed), document()); diff != "" {
		t.Errorf("docs/METRICS.md is stale: go test ./userspace/metrics -run TestDocument -update (-committed +now)\n%s", diff)
	}
}

func TestEveryMetricIsDocumented(t *testing.T) {
	for i, m := range catalog() {
		if m.name == "" || m.help == "" {
			t.Errorf("metric %d: name %q, help %q", i, m.name, m.help)
		}
	}
	for place := range LossCount {
		if lossNames[place] == "" || lossTexts[place] == "" {
			t.Errorf("loss %d: name %q, text %q", place, lossNames[place], lossTexts[place])
		}
	}
}
