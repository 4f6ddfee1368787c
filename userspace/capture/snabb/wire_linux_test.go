package snabb

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/tests/need"
	"weir/userspace/lab"
	"weir/userspace/traffic"
)

// Frames that cross a veth pair come out of the ring as they were sent: by the fakes always, and by a real Snabb where SNABB names one.
func TestWire(t *testing.T) {
	need.Root(t)
	for _, tt := range []struct{ name, program string }{{"fake", ""}, {"real", os.Getenv("SNABB")}} {
		t.Run(tt.name, func(t *testing.T) {
			switch {
			case tt.name == "fake":
				tt.program = fakeProgram(t)
			case tt.program == "":
				t.Skip("SNABB names no program: SNABB=PATH make test")
			default:
				keep(t, "/proc/sys/vm/nr_hugepages") // which Snabb raises
			}
			testWire(t, tt.program)
		})
	}
}

// keep sets a file back to what it holds now.
func keep(t *testing.T, path string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(path, before, 0); err != nil {
			t.Error(err)
		}
	})
}

func testWire(t *testing.T, program string) {
	l, err := lab.New(t.Context(), fmt.Sprintf("weir-snabb-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	host, err := l.Host("wire")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Link(host, "a", host, "b", lab.LinkOptions{}); err != nil {
		t.Fatal(err)
	}
	namespace, err := host.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer namespace.Close()
	if _, err := Open(Options{Interface: "c", Program: program, Namespace: namespace}); err == nil {
		t.Error("an interface that is not there was opened")
	}
	r := open(t, Options{Interface: "raw:b", Program: program, Promiscuous: true, Namespace: namespace, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	mode := func() (n int) {
		if err := host.Do(func() error {
			link, err := netlink.LinkByName("b")
			if err == nil {
				n = link.Attrs().Promisc
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := mode(); got != 1 {
		t.Errorf("while it runs, promiscuous: %d", got)
	}
	frame := lab.Frame{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("198.51.100.7"), Protocol: unix.IPPROTO_UDP, SrcPort: 9, DstPort: 53, Length: 700}
	f, err := lab.NewFlood(lab.FloodOptions{Frame: frame, Host: host, Interface: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want, err := frame.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	ours := func(frames []seen) (n int) {
		for _, f := range frames {
			if len(f.Data) == len(want) && int(f.Length) == len(want) && bytes.Equal(f.Data[14:], want[14:]) {
				n++
			}
		}
		return n
	}
	// Snabb hears what is sent from when it runs on, which nothing tells but its frames.
	r.await("the first frame", func(frames []seen, _ traffic.CaptureStats) bool {
		if _, err := f.Run(t.Context(), 1000, 1); err != nil {
			t.Fatal(err)
		}
		return ours(frames) > 0
	})
	r.mu.Lock()
	before := ours(r.frames)
	r.mu.Unlock()
	// In small lots: what Snabb's own socket has no room for is lost before anything of ours.
	const lots, lot = 100, 50
	for i := range lots {
		if sent, err := f.Run(t.Context(), 10000, lot); err != nil || sent != lot {
			t.Fatalf("sent %d: %v", sent, err)
		}
		r.await("a lot", func(frames []seen, _ traffic.CaptureStats) bool { return ours(frames) >= before+(i+1)*lot })
	}
	r.stop()
	if got := mode(); got != 0 {
		t.Errorf("afterwards, promiscuous: %d", got)
	}
	if s := r.Stats(); s.KernelDrop != 0 || s.Dropped != 0 || s.Restarts != 0 || s.Error != "" {
		t.Errorf("got %+v", s)
	}
}
