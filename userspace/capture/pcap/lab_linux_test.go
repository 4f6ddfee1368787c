package pcap

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

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
}

// whole puts the tag back that was taken off the frame.
func whole(f *traffic.Frame) []byte {
	data := append([]byte(nil), f.Data...)
	if f.HasVLAN && len(data) > 12 {
		data = append(append(append([]byte(nil), data[:12]...), 0x81, 0, byte(f.VLAN>>8), byte(f.VLAN)), data[12:]...)
	}
	return data
}

// wire is two hosts, sender and receiver, joined by a veth pair.
type wire struct {
	t                testing.TB
	lab              *lab.Lab
	sender, receiver *lab.Host
}

func newWire(t testing.TB) *wire {
	t.Helper()
	need.Root(t)
	l, err := lab.New(t.Context(), fmt.Sprintf("weir-pcap-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &wire{t: t, lab: l}
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
	if err := w.lab.Link(w.sender, "out", w.receiver, "in", lab.LinkOptions{A: end("192.0.2.1/24"), B: end("192.0.2.2/24")}); err != nil {
		w.t.Fatal(err)
	}
}

func frame(length int, vlans ...uint16) lab.Frame {
	return lab.Frame{
		Src: netip.MustParseAddr("198.51.100.1"), Dst: netip.MustParseAddr("203.0.113.1"), Protocol: traffic.ProtoUDP, SrcPort: 9, DstPort: 53, Length: length, VLANs: vlans,
	}
}

// flood is a generator of frames at the sender, and what they look like.
func (w *wire) flood(f lab.Frame) (*lab.Flood, []byte) {
	w.t.Helper()
	data, err := f.Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	flood, err := lab.NewFlood(lab.FloodOptions{Frame: f, Host: w.sender, Interface: "out"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := flood.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return flood, data
}

// send sends frames and returns what they look like. The wire itself loses some where more than 100 come at once.
func (w *wire) send(f lab.Frame, rate float64, n uint64) []byte {
	w.t.Helper()
	flood, data := w.flood(f)
	if sent, err := flood.Run(w.t.Context(), rate, n); err != nil || sent != n {
		w.t.Fatalf("sent %d of %d: %v", sent, n, err)
	}
	return data
}

// arrived is how many frames the receiver's end has taken off the wire.
func (w *wire) arrived() uint64 {
	w.t.Helper()
	s, err := w.receiver.Stats("in")
	if err != nil {
		w.t.Fatal(err)
	}
	return s.RxPackets
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
				change(func() { r.frames = append(r.frames, seen{whole(f), f.Length, f.Time, f.Link}) })
			}
		}, func(int, time.Time) { change(func() {}) })
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
	case <-time.After(20 * time.Second):
		r.t.Error("run did not end")
	}
}

// ours counts the frames that begin as they were sent; the link's own housekeeping is among them.
func ours(frames []seen, sent []byte, captured int) (n int) {
	for _, f := range frames {
		if len(f.Data) >= min(captured, len(sent)) && int(f.Length) == len(sent) && string(f.Data[12:min(captured, len(sent))]) == string(sent[12:min(captured, len(sent))]) {
			n++
		}
	}
	return n
}
