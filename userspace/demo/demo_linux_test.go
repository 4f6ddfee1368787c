package demo

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// privileged skips on a laptop and fails in CI, where a skipped suite must not look green.
func privileged(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("this test needs root")
	}
	t.Skip("needs root")
}

func nothingLeft(t *testing.T) {
	t.Helper()
	left, err := filepath.Glob("/run/netns/" + labPrefix + "-*")
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("namespaces left behind: %v", left)
	}
}

func TestNamespaceStory(t *testing.T) {
	privileged(t)
	var out bytes.Buffer
	got, err := Run(t.Context(), Options{Out: &out, JSON: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	nothingLeft(t)
	events := parseLines(t, out.String())
	if events[0].Event != "setup" {
		t.Fatalf("the kernel's story was not told: %+v", events[0])
	}
	if diff := cmp.Diff(turningPoints(events), wholeStory); diff != "" {
		t.Errorf("turning points (-got +want):\n%s\n%s", diff, out.String())
	}
	if !got.Passed || got.DetectedMS <= 0 || got.DroppedMS < got.DetectedMS || got.LeakedPackets == 0 || got.AttackPPS <= thresholdPPS {
		t.Errorf("got %+v, want a story that passes\n%s", got, out.String())
	}
}

// until is a writer that calls stop when a text has been written.
type until struct {
	text string
	stop func()
}

func (u *until) Write(b []byte) (int, error) {
	if strings.Contains(string(b), u.text) {
		u.stop()
	}
	return len(b), nil
}

func TestNamespaceStoryIsCutOff(t *testing.T) {
	privileged(t)
	for _, at := range []string{`"setup"`, `"attack"`} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Run(ctx, Options{Out: &until{at, cancel}, JSON: true})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cut off at %s: got %v, want the context's error", at, err)
		}
		nothingLeft(t)
	}
}

func TestSNMPValue(t *testing.T) {
	const table = "Tcp: A NoPorts\nTcp: 1 2\nUdp: InDatagrams NoPorts InErrors\nUdp: 10 20 30\n"
	if got, err := snmpValue([]byte(table), "Udp:", "NoPorts"); err != nil || got != 20 {
		t.Errorf("got %d, %v; want 20", got, err)
	}
	for _, broken := range []string{"", "Udp: NoPorts\n", "Udp: A\nUdp: 1\n", "Udp: A NoPorts\nUdp: 1 x\n", "Udp: A\nUdp: 1 2 3\n"} {
		if _, err := snmpValue([]byte(broken), "Udp:", "NoPorts"); err == nil {
			t.Errorf("a value was found in %q", broken)
		}
	}
}
