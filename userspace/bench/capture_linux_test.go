package bench

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/tests/need"
)

// Every engine that any Linux has is measured, and those that cannot be are named with the reason.
func TestCapture(t *testing.T) {
	need.Root(t)
	var out bytes.Buffer
	var done []int64
	o := CaptureOptions{Seconds: 0.1, JSON: true, Progress: func(n, size int64) { done = append(done, n, size) }}
	if err := Capture(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	var printed struct {
		Results []CaptureCost `json:"results"`
		LeftOut []LeftOut     `json:"left_out"`
	}
	if err := json.Unmarshal(out.Bytes(), &printed); err != nil {
		t.Fatal(err)
	}
	var measured, leftOut []string
	for _, c := range printed.Results {
		measured = append(measured, c.Name)
		if c.Packets == 0 || c.Packets+c.Dropped > c.Sent || c.Nanoseconds <= 0 || c.PerSecond <= 0 || c.Floor <= 0 || c.Ratio <= 0 || c.Mode == "" {
			t.Errorf("not sane: %+v", c)
		}
	}
	for _, l := range printed.LeftOut {
		leftOut = append(leftOut, l.Name)
		if l.Why == "" {
			t.Errorf("%s was left out without a reason", l.Name)
		}
	}
	if diff := cmp.Diff(measured, []string{"afpacket", "afxdp", "pcap", "snabb_ring"}); diff != "" {
		t.Errorf("measured (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(leftOut, []string{"xdp", "netmap", "pfring", "snabb"}); diff != "" {
		t.Errorf("left out (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(done, []int64{0, 8, 1, 8, 2, 8, 3, 8, 4, 8, 5, 8, 6, 8, 7, 8}); diff != "" {
		t.Errorf("progress (-got +want):\n%s", diff)
	}
}

func TestCapturePrintsTable(t *testing.T) {
	need.Root(t)
	var out bytes.Buffer
	if err := Capture(t.Context(), CaptureOptions{Seconds: 0.05}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nengine ", "\nafpacket ", "\nafxdp ", "\npcap ", "\nsnabb_ring ", "\nfloor: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, out.String())
		}
	}
}
