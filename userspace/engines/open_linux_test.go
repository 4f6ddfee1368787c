package engines

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"weir/tests/need"
	"weir/userspace/config"
	"weir/userspace/lab"
	"weir/userspace/traffic"
)

// Every engine that any Linux has opens an interface as it is configured, hands its frames over and gives it back; one that never ran is
// closed by a context that has ended.
func TestOpen(t *testing.T) {
	need.Root(t)
	l, err := lab.New(t.Context(), fmt.Sprintf("weir-engines-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	host, err := l.Host("host")
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
	promiscuous := func() (n int) {
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
	for name, c := range captures() {
		t.Run(string(name), func(t *testing.T) {
			open := func() Engine {
				e, err := Open(config.Interface{Name: "b", Engine: name, Mode: config.ModeAuto, Role: config.RoleMirror, Capture: c}, Options{Namespace: namespace})
				if err != nil {
					t.Fatal(err)
				}
				if promiscuous() == 0 {
					t.Error("the interface is not promiscuous")
				}
				return e
			}
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if err := open().Run(ended, func(int) func(*traffic.Frame) { return func(*traffic.Frame) {} }, func(int, time.Time) {}); err != nil {
				t.Errorf("closed without running: %v", err)
			}
			receive(t, open(), host)
			if n := promiscuous(); n != 0 {
				t.Errorf("afterwards, promiscuous: %d", n)
			}
		})
	}
}

// captures are the options of each engine as the configuration's defaults have them, with small rings.
func captures() map[config.Engine]config.Capture {
	return map[config.Engine]config.Capture{
		config.EngineAFPacket: {Promiscuous: true, Sampling: 1, Workers: 2, AFPacket: config.AFPacket{Fanout: config.FanoutHash, Blocks: 4, BlockSize: 256 << 10}},
		config.EngineAFXDP:    {Promiscuous: true, Sampling: 1, AFXDP: config.AFXDP{ZeroCopy: config.ZeroCopyAuto}},
		config.EnginePcap:     {Promiscuous: true, Sampling: 1, Pcap: config.Pcap{SnapLength: 256, Buffer: 1 << 20}},
	}
}

// receive runs an engine until it has handed a frame over that was sent, and no longer.
func receive(t *testing.T, e Engine, host *lab.Host) {
	t.Helper()
	const length = 777
	flood, err := lab.NewFlood(lab.FloodOptions{
		Frame: lab.Frame{Src: netip.MustParseAddr("198.51.100.1"), Dst: netip.MustParseAddr("203.0.113.1"), Protocol: traffic.ProtoUDP, SrcPort: 9, DstPort: 53, Length: length},
		Host:  host, Interface: "a",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer flood.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	seen := make([]int, e.Workers())
	done := make(chan error, 1)
	go func() {
		_, err := flood.Run(ctx, 1000, 100)
		done <- err
	}()
	if err := e.Run(ctx, func(worker int) func(*traffic.Frame) {
		return func(f *traffic.Frame) {
			if f.Length == length {
				seen[worker]++
				cancel()
			}
		}
	}, func(int, time.Time) {}); err != nil {
		t.Errorf("run: %v", err)
	}
	<-done // cut short, or not
	total := 0
	for _, n := range seen {
		total += n
	}
	if s := e.Stats(); total == 0 || s.Received < uint64(total) || s.Interface != "b" || s.Workers != len(seen) {
		t.Errorf("%d frames came, %+v", total, s)
	}
}
