package afxdp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/tests/need"
	"weir/userspace/lab"
	"weir/userspace/traffic"
)

// seen is a frame that outlives the call.
type seen struct {
	Data   []byte
	Length uint32
	Time   int64
	Link   traffic.Link
	Index  int32
	Worker int
}

// wire is two hosts, sender and receiver, joined by a veth pair.
type wire struct {
	t                testing.TB
	lab              *lab.Lab
	sender, receiver *lab.Host
	mtu, queues      int
}

func newWire(t testing.TB, mtu, queues int) *wire {
	t.Helper()
	need.Root(t)
	l, err := lab.New(t.Context(), fmt.Sprintf("weir-afxdp-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &wire{t: t, lab: l, mtu: mtu, queues: queues}
	if w.sender, err = l.Host("sender"); err != nil {
		t.Fatal(err)
	}
	if w.receiver, err = l.Host("receiver"); err != nil {
		t.Fatal(err)
	}
	w.link()
	return w
}

func (w *wire) link() {
	w.t.Helper()
	end := func(a string) lab.End { return lab.End{Addresses: []netip.Prefix{netip.MustParsePrefix(a)}} }
	if err := w.lab.Link(w.sender, "out", w.receiver, "in", lab.LinkOptions{A: end("192.0.2.1/24"), B: end("192.0.2.2/24"), MTU: w.mtu, Queues: w.queues}); err != nil {
		w.t.Fatal(err)
	}
}

func frame(length int, vlans ...uint16) lab.Frame {
	return lab.Frame{
		Src: netip.MustParseAddr("198.51.100.1"), Dst: netip.MustParseAddr("203.0.113.1"), Protocol: traffic.ProtoUDP, SrcPort: 9, DstPort: 53, Length: length, VLANs: vlans,
	}
}

// send sends frames with many source ports, and returns what one without looks like.
func (w *wire) send(f lab.Frame, rate float64, n uint64) []byte {
	w.t.Helper()
	flood, err := lab.NewFlood(lab.FloodOptions{Frame: f, SrcPorts: 0xffff, Host: w.sender, Interface: "out"})
	if err != nil {
		w.t.Fatal(err)
	}
	defer flood.Close()
	if sent, err := flood.Run(w.t.Context(), rate, n); err != nil || sent != n {
		w.t.Fatalf("sent %d of %d: %v", sent, n, err)
	}
	return w.bytes(f)
}

func (w *wire) bytes(f lab.Frame) []byte {
	w.t.Helper()
	data, err := f.Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

// sendJumbo sends frames that are too large for a flood.
func (w *wire) sendJumbo(data []byte, n int) {
	w.t.Helper()
	if err := w.sender.Do(func() error {
		device, err := net.InterfaceByName("out")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for range n {
			if err := unix.Sendto(fd, data, 0, &unix.SockaddrLinklayer{Ifindex: device.Index, Protocol: 8}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

// open opens an engine inside the receiver's namespace.
func (w *wire) open(o Options) *running {
	w.t.Helper()
	var e *Engine
	if err := w.receiver.Do(func() (err error) { e, err = Open(o); return err }); err != nil {
		w.t.Fatal(err)
	}
	return run(w.t, e)
}

// namespace is the receiver's.
func (w *wire) namespace() *os.File {
	w.t.Helper()
	f, err := w.receiver.Open()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { f.Close() })
	return f
}

// running is an engine at work.
type running struct {
	*Engine
	t      testing.TB
	cancel context.CancelFunc
	done   chan error

	mu      sync.Mutex
	hold    sync.Mutex    // held by a test to stop the engine at its next frame
	changed chan struct{} // closed and replaced at each frame and at each idle
	frames  []seen
	after   []int // calls of idle after the end was asked for, by worker
}

func run(t testing.TB, e *Engine) *running {
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{Engine: e, t: t, cancel: cancel, done: make(chan error, 1), changed: make(chan struct{}), after: make([]int, e.Workers())}
	change := func(f func()) {
		r.hold.Lock()
		defer r.hold.Unlock()
		r.mu.Lock()
		defer r.mu.Unlock()
		f()
		close(r.changed)
		r.changed = make(chan struct{})
	}
	go func() {
		r.done <- e.Run(ctx, func(worker int) func(*traffic.Frame) {
			return func(f *traffic.Frame) {
				change(func() {
					r.frames = append(r.frames, seen{append([]byte(nil), f.Data...), f.Length, f.Time, f.Link, f.Interface, worker})
				})
			}
		}, func(worker int, _ time.Time) {
			change(func() {
				if ctx.Err() != nil {
					r.after[worker]++
				}
			})
		})
	}()
	t.Cleanup(r.stop)
	return r
}

// await waits until what it is told holds; it is asked after each frame, and many times a second.
func (r *running) await(what string, holds func(frames []seen, s traffic.CaptureStats) bool) {
	r.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		ok, changed, n := holds(r.frames, r.Stats()), r.changed, len(r.frames)
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-limit:
			r.t.Fatalf("waiting for %s: %d frames, %+v", what, n, r.Stats())
		}
	}
}

func (r *running) stop() {
	r.cancel()
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("run: %v", err)
		}
		r.done <- nil
		for worker, n := range r.after {
			if n > 2 { // at most 100 ms
				r.t.Errorf("worker %d was idle %d times after the end was asked for", worker, n)
			}
		}
	case <-time.After(20 * time.Second):
		r.t.Error("run did not end")
	}
}

// ours counts the frames that are as they were sent, but for addresses and ports; the link's own housekeeping is among them.
func ours(frames []seen, sent []byte, captured int) (n int) {
	const network, ports = 12, 34
	for _, f := range frames {
		end := min(captured, len(sent))
		if len(f.Data) != end || int(f.Length) != len(sent) || string(f.Data[network:ports]) != string(sent[network:ports]) {
			continue
		}
		if payload := 14 + 20 + 8 + 8; end <= payload || string(f.Data[payload:end]) == string(sent[payload:end]) {
			n++
		}
	}
	return n
}

func (w *wire) up(up bool) {
	w.t.Helper()
	if err := w.receiver.SetUp("in", up); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) remove() {
	w.t.Helper()
	if err := w.receiver.Do(func() error {
		link, err := netlink.LinkByName("in")
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	}); err != nil {
		w.t.Fatal(err)
	}
}

// promiscuous is how many want the receiver's interface to be so.
func (w *wire) promiscuous() (n int) {
	w.t.Helper()
	if err := w.receiver.Do(func() error {
		link, err := netlink.LinkByName("in")
		if err == nil {
			n = link.Attrs().Promisc
		}
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// program is the number of the XDP program on the receiver's interface; 0: none.
func (w *wire) program() (id uint32) {
	w.t.Helper()
	if err := w.receiver.Do(func() error {
		link, err := netlink.LinkByName("in")
		if err == nil && link.Attrs().Xdp != nil {
			id = link.Attrs().Xdp.ProgId
		}
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return id
}
