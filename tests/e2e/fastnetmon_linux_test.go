package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/tests/need"
	"weir/tests/routers"
	"weir/userspace/bench"
	"weir/userspace/lab"
)

// TestFastNetMon gives the same datagrams to Weir and to Debian's FastNetMon, at a rate that both hold: they count the same records. What
// each of them took in CPU time is logged.
func TestFastNetMon(t *testing.T) {
	need.Root(t)
	fastnetmon := need.Tool(t, "fastnetmon", "fastnetmon")
	b := newBed(t)
	d := startDaemon(t, b.router, "", `
flows: {listen: ["127.0.0.1:2055"], allow: [127.0.0.0/8], workers: 1}
networks: {prefixes: [198.18.0.0/16]}
hostgroups: {default: {thresholds: {pps: 100M}, actions: [notify]}}
`)
	folder := t.TempDir()
	networks, config, log := filepath.Join(folder, "networks"), filepath.Join(folder, "fastnetmon.conf"), filepath.Join(folder, "log")
	for path, text := range map[string]string{
		networks: "198.18.0.0/16\n",
		config: "disable_usage_report = on\nenable_ban = off\nnetworks_list_path = " + networks + "\nwhite_list_path = " + networks + ".none\n" +
			"netflow = on\nnetflow_port = 2056\nnetflow_host = 127.0.0.1\nsflow = on\nsflow_port = 6343\nsflow_host = 127.0.0.1\n" +
			"process_incoming_traffic = on\nprocess_outgoing_traffic = on\nenable_connection_tracking = on\nmonitor_local_ip_addresses = off\n" +
			"prometheus = on\nprometheus_port = 9209\nprometheus_host = 127.0.0.1\ncli_stats_file_path = " + filepath.Join(folder, "stats") + "\n" +
			"cli_stats_ipv6_file_path = " + filepath.Join(folder, "stats6") + "\npid_path = " + filepath.Join(folder, "pid") + "\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rival := routers.Start(t, b.router, nil, fastnetmon, "--configuration_file", config, "--log_file", log, "--disable_pid_logic")
	routers.Until(t, "fastnetmon listens", func() (bool, string) {
		_, netflow := udpSocket(t, b.router, 2056)
		_, sflow := udpSocket(t, b.router, 6343)
		return netflow && sflow, rival.Output()
	})
	const metric = "fastnetmon_total_simple_packets_processed" // records and samples: the one counter that it has for both
	for _, tt := range []struct{ protocol, port string }{{"netflow5", "2056"}, {"sflow5", "6343"}} {
		t.Run(tt.protocol, func(t *testing.T) {
			const datagrams, rounds = 512, 30
			e := exportOf(t, tt.protocol, datagrams)
			want := float64(datagrams * rounds * e.Records)
			ourBefore, theirBefore := d.status(t).GetFlows().GetRecords(), rivalCount(t, b.router, metric)
			ourTime, theirTime := cpuTime(t, d.process.Pid), cpuTime(t, rival.PID())
			sendTo(t, b.router, "127.0.0.1:2055", e.Data, rounds)
			until(t, "Weir to have counted all records", func() bool {
				return float64(d.status(t).GetFlows().GetRecords()-ourBefore) >= want
			})
			ours := cpuTime(t, d.process.Pid) - ourTime
			sendTo(t, b.router, "127.0.0.1:"+tt.port, e.Data, rounds)
			routers.Until(t, "fastnetmon to have counted all records", func() (bool, string) {
				n := rivalCount(t, b.router, metric)
				return n-theirBefore >= want, fmt.Sprint(n - theirBefore)
			})
			theirs := cpuTime(t, rival.PID()) - theirTime
			if got := float64(d.status(t).GetFlows().GetRecords() - ourBefore); got != want {
				t.Errorf("Weir has counted %.0f records; want %.0f", got, want)
			}
			if got := rivalCount(t, b.router, metric) - theirBefore; got != want {
				t.Errorf("fastnetmon has counted %.0f records; want %.0f", got, want)
			}
			t.Logf("CPU time for %.0f records: Weir %s (%.0f ns a record), fastnetmon %s (%.0f ns a record)", want,
				ours, float64(ours)/want, theirs, float64(theirs)/want)
		})
	}
}

// exportOf is the bench's datagrams of one protocol.
func exportOf(t *testing.T, protocol string, datagrams int) bench.Exported {
	t.Helper()
	for _, e := range bench.Exports(datagrams) {
		if e.Name == protocol {
			return e
		}
	}
	t.Fatalf("the bench has no datagrams of %s", protocol)
	return bench.Exported{}
}

// sendTo sends datagrams over and over, at a pace of about 200,000 records a second at most.
func sendTo(t *testing.T, h *lab.Host, address string, datagrams [][]byte, rounds int) {
	t.Helper()
	err := h.Do(func() error {
		c, err := net.Dial("udp", address)
		if err != nil {
			return err
		}
		pace := time.NewTicker(2 * time.Millisecond)
		defer pace.Stop()
		for range rounds {
			for i, b := range datagrams {
				if _, err := c.Write(b); err != nil {
					return err
				}
				if i%8 == 7 {
					<-pace.C
				}
			}
		}
		return c.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// rivalCount reads one of fastnetmon's own counters.
func rivalCount(t *testing.T, h *lab.Host, metric string) (value float64) {
	t.Helper()
	err := h.Do(func() error {
		c, err := net.DialTimeout("tcp", "127.0.0.1:9209", patience)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n"); err != nil {
			return err
		}
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if name, number, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == metric {
				value, err = strconv.ParseFloat(number, 64)
				return err
			}
		}
		return fmt.Errorf("fastnetmon has no counter %s among:\n%s", metric, text)
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// cpuTime is what a process has used so far, user and system, in the kernel's steps of 10 ms.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // behind the name, the state is field 3: utime and stime are 14 and 15
	fields := strings.Fields(rest)
	var ticks uint64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
