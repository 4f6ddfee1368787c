package graphite_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/tests/need"
	"weir/userspace/export/graphite"
	"weir/userspace/traffic"
)

const carbonConf = `[cache]
STORAGE_DIR = %[1]s
LOCAL_DATA_DIR = %[1]s/whisper
CONF_DIR = %[1]s
LOG_DIR = %[1]s
PID_DIR = %[1]s
USER =
MAX_UPDATES_PER_SECOND = inf
MAX_CREATES_PER_MINUTE = inf
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = %[2]d
ENABLE_UDP_LISTENER = True
UDP_RECEIVER_INTERFACE = 127.0.0.1
UDP_RECEIVER_PORT = %[2]d
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = %[3]d
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = %[4]d
`

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// within tries until there is no error, for at most ten seconds.
func within(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		err := try()
		if err == nil {
			tick.Stop()
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// startCarbon starts the real server and returns its ports, and where its files are.
func startCarbon(t *testing.T) (line, pickle int, whisper string) {
	program := need.Tool(t, "carbon-cache", "graphite-carbon")
	dir := t.TempDir()
	line, pickle = freePort(t), freePort(t)
	query := freePort(t)
	for name, text := range map[string]string{
		"carbon.conf":          fmt.Sprintf(carbonConf, dir, line, pickle, query),
		"storage-schemas.conf": "[all]\npattern = .*\nretentions = 1s:10m\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var output strings.Builder
	command := exec.Command(program, "--config="+filepath.Join(dir, "carbon.conf"), "--nodaemon", "--pidfile="+filepath.Join(dir, "pid"), "start")
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			t.Logf("carbon-cache said:\n%s", &output)
		}
	})
	for _, port := range []int{line, pickle} {
		within(t, "connect to carbon-cache", func() error {
			c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err == nil {
				_ = c.Close()
			}
			return err
		})
	}
	return line, pickle, filepath.Join(dir, "whisper")
}

// stored reads the value of a time from a Whisper file of one archive: a header of 16 bytes, one of 12 that begins with where the points are,
// and points of a time in seconds (4 bytes) and a float (8 bytes), all with the highest byte first.
func stored(whisper, path string, unix int64) (float64, error) {
	b, err := os.ReadFile(filepath.Join(whisper, strings.ReplaceAll(path, ".", "/")) + ".wsp")
	if err != nil {
		return 0, err
	}
	if len(b) < 28 {
		return 0, fmt.Errorf("%s has %d bytes", path, len(b))
	}
	for at := int(binary.BigEndian.Uint32(b[16:])); at+12 <= len(b); at += 12 {
		if int64(binary.BigEndian.Uint32(b[at:])) == unix {
			return math.Float64frombits(binary.BigEndian.Uint64(b[at+4:])), nil
		}
	}
	return 0, fmt.Errorf("%s has nothing for %d", path, unix)
}

func TestCarbonStoresWhatIsPushed(t *testing.T) {
	line, pickle, whisper := startCarbon(t)
	s := example()
	s.Time = time.Now()
	const huge = 1<<60 + 1<<20 // bits per second that need all 64 bits of an unsigned number
	s.Version[1][traffic.Outgoing] = rate(1<<31, huge, 1<<31-1)
	// Enough for several buffers and many datagrams.
	for i := range 400 {
		s.Hosts = append(s.Hosts, host(fmt.Sprintf("10.0.%d.%d/32", i/200, i%200), rate(uint64(i)+1, 100, 0), traffic.Counts{}))
	}
	for protocol, port := range map[string]int{graphite.TCP: line, graphite.Pickle: pickle, graphite.UDP: line} {
		sink := open(t, graphite.Options{Address: fmt.Sprintf("127.0.0.1:%d", port), Protocol: protocol, Prefix: "by." + protocol})
		push(t, sink, s)
		if err := sink.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, protocol := range []string{graphite.TCP, graphite.Pickle, graphite.UDP} {
		for path, want := range map[string]float64{
			"total.incoming.pps":                  1001,
			"total_ipv6.outgoing.pps":             1 << 31,
			"total_ipv6.outgoing.bps":             huge * 8,
			"total_ipv6.outgoing.flows":           1<<31 - 1,
			"networks.2001_db8___32.incoming.pps": 0,
			"hosts.192_0_2_1.outgoing.bps":        5600,
			"hosts.2001_db8__1.incoming.flows":    2,
			"hosts.10_0_0_0.incoming.pps":         1,
			"hosts.10_0_0_150.incoming.pps":       151,
			"hosts.10_0_1_199.incoming.bps":       800,
		} {
			path = "by." + protocol + "." + path
			within(t, "read "+path, func() error {
				got, err := stored(whisper, path, s.Time.Unix())
				if err == nil && got != want {
					t.Fatalf("%s is %v; want %v", path, got, want)
				}
				return err
			})
		}
	}
}
