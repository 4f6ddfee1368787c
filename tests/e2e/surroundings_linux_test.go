package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"weir/tests/need"
	"weir/userspace/api/weirpb"
	"weir/userspace/lab"
)

// TestHangingScript has a script that never ends: nothing waits for it, and the daemon takes it along when it stops.
func TestHangingScript(t *testing.T) {
	b := newBed(t)
	folder := t.TempDir()
	path, note := filepath.Join(folder, "hang.sh"), filepath.Join(folder, "pid")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho $$ >> '"+note+"'\nexec sleep 600\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := startDaemon(t, b.router, path, routerConfig("native", false, hostThreshold))
	ordinary := b.use(t, b.victim, victimAddr)
	f := floodVictim(t, b, d, victimAddr)
	f.blocked(t, "the flood while the script hangs", b.victim)
	until(t, "the script to hang", func() bool { return len(hanging(t, note)) > 0 })
	f.stop(t)
	d.phase(t, 0, victimAddr, weirpb.Phase_PHASE_OVER)
	served(t, "requests after the unban that the script was not told of yet", ordinary)

	again := flood(t, floodPPS, lab.FloodOptions{Host: b.world, Frame: frame(t, b.world, b.router, "out", worldAddr, otherAddr), SrcPorts: 0xffff})
	d.phase(t, 0, otherAddr, weirpb.Phase_PHASE_MITIGATED)
	again.blocked(t, "another flood while the script hangs", b.other)
	again.stop(t)
	pids := hanging(t, note)
	d.stop(t)
	for _, pid := range pids {
		if _, err := os.Stat("/proc/" + pid); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("process %s of the script has outlived the daemon: %v", pid, err)
		}
	}
}

// hanging lists the processes that the script has become.
func hanging(t *testing.T, note string) []string {
	t.Helper()
	text, err := os.ReadFile(note)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Fields(string(text))
}

// TestPrometheus scrapes a daemon under attack, by the judgement of Prometheus's own tool.
func TestPrometheus(t *testing.T) {
	promtool := need.Tool(t, "promtool", "prometheus")
	b := newBed(t)
	d := startDaemon(t, b.router, "", routerConfig("native", true, hostThreshold))
	b.use(t, b.other, otherAddr)
	f := floodVictim(t, b, d, victimAddr)
	const packets = `weir_traffic_packets_total{direction="incoming",family="ipv4"}`
	until(t, "the flood to be in the metrics", func() bool { return value(t, scrape(t, b.router), packets) > 1000 })
	first := scrape(t, b.router)
	f.more(t, 10_000)
	until(t, "the totals to move on", func() bool { return value(t, scrape(t, b.router), packets) >= value(t, first, packets)+9000 })
	second := scrape(t, b.router)
	for name, want := range map[string]float64{
		"weir_mitigations_dropping": 1, "weir_attacks_started_total": 1,
		`weir_interface_attached{interface="out",mode="native",role="host"}`: 1,
	} {
		if got := value(t, second, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if got := value(t, second, `weir_host_dropped_packets_per_second{direction="incoming",host="`+victimAddr+`",hostgroup="default"}`); got < floodPPS/2 {
		t.Errorf("dropped packets per second of the victim: %v, want some %d", got, floodPPS)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, promtool, "check", "metrics")
	cmd.Stdin = bytes.NewReader(second)
	if out, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// scrape fetches the metrics from inside the namespace.
func scrape(t *testing.T, h *lab.Host) []byte {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			err = h.Do(func() (err error) {
				var d net.Dialer
				conn, err = d.DialContext(ctx, network, address)
				return err
			})
			return conn, err
		},
	}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:9465/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("scrape: %s, %v", response.Status, err)
	}
	return text
}

// value is that of one series.
func value(t *testing.T, text []byte, series string) float64 {
	t.Helper()
	for line := range strings.Lines(string(text)) {
		number, ours := strings.CutPrefix(line, series+" ")
		if !ours {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil {
			t.Fatalf("series %s: %v", series, err)
		}
		return v
	}
	t.Fatalf("no series %s in\n%s", series, text)
	return 0
}
