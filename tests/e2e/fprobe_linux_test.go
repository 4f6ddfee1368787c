package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"weir/tests/need"
	"weir/tests/routers"
	"weir/userspace/lab"
)

// TestFprobe has fprobe watch real packets, and count them in the versions that nobody else here speaks.
func TestFprobe(t *testing.T) {
	need.Root(t)
	fprobe := need.Tool(t, "fprobe", "fprobe")
	for _, version := range []string{"1", "5", "7"} {
		t.Run("version "+version, func(t *testing.T) {
			b := newBed(t)
			d := startDaemon(t, b.router, "", fmt.Sprintf(collectorConfig, "", noThreshold))
			// It goes to the background at once. With less room for pending packets it loses most of a burst.
			runIn(t, b.router, fprobe, "-i", "out", "-f", "udp and src host "+worldAddr, "-s", "1", "-g", "1", "-d", "1", "-e", "2",
				"-q", "20000", "-B", "16384", "-n", version, "127.0.0.1:2055")
			t.Cleanup(func() { endBackground(t, b.router, "fprobe") })
			routers.Until(t, "fprobe captures", func() (bool, string) { return packetSockets(t, b.router) > 0, "" })
			b.send(t, 20)
			got := arrived(t, d, sentPackets).GetTotal()
			if got.GetPackets() != sentPackets || got.GetBytes() != sentBytes {
				t.Errorf("counted %d packets and %d bytes; want %d and %d", got.GetPackets(), got.GetBytes(), sentPackets, sentBytes)
			}
		})
	}
}

// endBackground ends a program of the test's that has gone to the background: the only one of its name in the test's own namespace.
func endBackground(t *testing.T, h *lab.Host, name string) {
	t.Helper()
	out, err := exec.Command("ip", "netns", "pids", h.Namespace()).Output()
	if err != nil {
		t.Fatalf("list processes in %s: %v", h.Namespace(), err)
	}
	found := false
	for text := range strings.FieldsSeq(string(out)) {
		comm, err := os.ReadFile("/proc/" + text + "/comm")
		if err != nil || strings.TrimSpace(string(comm)) != name {
			continue // it has ended since, or is another
		}
		found = true
		pid, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			t.Errorf("end %s: %v", name, err)
		}
		routers.Until(t, name+" ends", func() (bool, string) { return syscall.Kill(pid, 0) == syscall.ESRCH, "" })
	}
	if !found {
		t.Errorf("%s does not run any more", name)
	}
}
