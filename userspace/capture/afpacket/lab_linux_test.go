package afpacket

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"weir/tests/need"
	"weir/userspace/lab"
	"weir/userspace/traffic"
)

// seen is a frame that outlives the call.
type seen struct {
	traffic.Frame
	worker int
}

// wire is two hosts, sender and receiver, joined by a veth pair.
type wire struct {
	t                testing.TB
	lab              *lab.Lab
	mtu              int
	sender, receiver *lab.Host
}

func newWire(t testing.TB, mtu int) *wire {
	t.Helper()
	need.Root(t)
	l, err := lab.New(t.Context(), fmt.Sprintf("weir-afpacket-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &wire{t: t, lab: l, mtu: mtu}
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
	if err := w.lab.Link(w.sender, "out", w.receiver, "in", lab.LinkOptions{A: end("192.0.2.1/24"), B: end("192.0.2.2/24"), MTU: w.mtu, Queues: 2}); err != nil {
		w.t.Fatal(err)
	}
}

// device is the receiver's interface as the kernel describes it.
func (w *wire) device() (attrs netlink.LinkAttrs) {
	w.t.Helper()
	w.in(w.receiver, func() error {
		link, err := netlink.LinkByName("in")
		if err == nil {
			attrs = *link.Attrs()
		}
		return err
	})
	return attrs
}

func (w *wire) remove() {
	w.t.Helper()
	w.in(w.receiver, func() error {
		link, err := netlink.LinkByName("in")
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	})
}

func (w *wire) up(up bool) {
	w.t.Helper()
	if err := w.receiver.SetUp("in", up); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) in(h *lab.Host, f func() error) {
	w.t.Helper()
	if err := h.Do(f); err != nil {
		w.t.Fatal(err)
	}
}

// sockets is how many packet sockets the receiver has.
func (w *wire) sockets() (n int) {
	w.t.Helper()
	w.in(w.receiver, func() error {
		list, err := os.ReadFile("/proc/thread-self/net/packet")
		n = bytes.Count(list, []byte("\n")) - 1
		return err
	})
	return n
}

func frame(length int, vlans ...uint16) lab.Frame {
	return lab.Frame{
		Src: netip.MustParseAddr("198.51.100.1"), Dst: netip.MustParseAddr("203.0.113.1"), Protocol: traffic.ProtoUDP, SrcPort: 9, DstPort: 53, Length: length, VLANs: vlans,
	}
}

// send sends so many frames that differ in nothing but the source port, and returns what the first looks like.
func (w *wire) send(f lab.Frame, rate float64, n uint64, ports uint16) []byte {
	w.t.Helper()
	flood, err := lab.NewFlood(lab.FloodOptions{Frame: f, Host: w.sender, Interface: "out", SrcPorts: ports})
	if err != nil {
		w.t.Fatal(err)
	}
	defer flood.Close()
	if sent, err := flood.Run(w.t.Context(), rate, n); err != nil || sent != n {
		w.t.Fatalf("sent %d of %d: %v", sent, n, err)
	}
	data, err := f.Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	return data
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

// open opens an engine on the receiver's interface, with small rings unless told otherwise.
func (w *wire) open(o Options) *Engine {
	w.t.Helper()
	o.Interface, o.Namespace = "in", w.namespace()
	if o.Blocks == 0 {
		o.Blocks, o.BlockSize = 16, 1<<20
	}
	e, err := Open(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (w *wire) run(o Options) *running { return run(w.t, w.open(o)) }

// running is an engine at work. Only what one of the tests has sent is kept: the link's own housekeeping is among the frames.
type running struct {
	*Engine
	t      testing.TB
	cancel context.CancelFunc
	done   chan error

	mu      sync.Mutex
	hold    sync.Mutex    // held by a test to stop the workers at their next frame
	changed chan struct{} // closed and replaced at each frame and at each idle
	frames  []seen
}

func run(t testing.TB, e *Engine) *running {
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{Engine: e, t: t, cancel: cancel, done: make(chan error, 1), changed: make(chan struct{})}
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
					c := *f
					c.Data = slices.Clone(f.Data)
					r.frames = append(r.frames, seen{c, worker})
				})
			}
		}, func(int, time.Time) { change(func() {}) })
	}()
	t.Cleanup(r.stop)
	return r
}

// await waits until what it is told holds; it is asked after each frame, and many times a second.
func (r *running) await(what string, holds func(frames []seen, s traffic.CaptureStats) bool) []seen {
	r.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		ok, changed, frames := holds(r.frames, r.Stats()), r.changed, slices.Clip(r.frames)
		r.mu.Unlock()
		if ok {
			return frames
		}
		select {
		case <-changed:
		case <-limit:
			r.t.Fatalf("waiting for %s: %d frames, %+v", what, len(frames), r.Stats())
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
	case <-time.After(20 * time.Second):
		r.t.Error("run did not end")
	}
}

// ours are the frames to the address that the tests send to.
func ours(frames []seen) (list []seen) {
	to := netip.MustParseAddr("203.0.113.1").AsSlice()
	for _, f := range frames {
		if at := 30; len(f.Data) >= at+4 && bytes.Equal(f.Data[at:at+4], to) {
			list = append(list, f)
		}
	}
	return list
}

// count waits for so many of our frames.
func (r *running) count(n int) []seen {
	r.t.Helper()
	return ours(r.await("frames", func(frames []seen, _ traffic.CaptureStats) bool { return len(frames) >= n && len(ours(frames)) >= n }))
}
