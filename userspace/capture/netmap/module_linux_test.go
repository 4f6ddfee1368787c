package netmap

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/userspace/traffic"
)

// needModule skips a test where there is no netmap: `make vmtest MODULES=DIR` has it.
func needModule(t *testing.T) {
	t.Helper()
	if os.Getenv("WEIR_MODULE") != "netmap" {
		t.Skip("the module is not loaded: make vmtest MODULES=DIR")
	}
}

// pair makes a veth pair in this namespace, both ends up.
func pair(t *testing.T, a, b string) {
	t.Helper()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: a}, PeerName: b}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if link, err := netlink.LinkByName(a); err == nil {
			if err := netlink.LinkDel(link); err != nil {
				t.Error(err)
			}
		}
	})
	for _, name := range []string{a, b} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(link); err != nil {
			t.Fatal(err)
		}
	}
}

// sender sends frames by a packet socket: of an ethertype for experiments, numbered, filled with the lowest byte of their number.
type sender struct {
	fd, index int
}

func newSender(t *testing.T, name string) *sender {
	t.Helper()
	i, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return &sender{fd, i.Index}
}

func numbered(i int) []byte {
	b := make([]byte, 60+i*37%1400)
	for at := range b {
		b[at] = byte(i)
	}
	copy(b, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x88\xb5")
	binary.BigEndian.PutUint32(b[14:], uint32(i))
	return b
}

func (s *sender) send(t *testing.T, i int) {
	t.Helper()
	if err := unix.Sendto(s.fd, numbered(i), 0, &unix.SockaddrLinklayer{Ifindex: s.index}); err != nil {
		t.Fatal(err)
	}
}

// running is an engine at work, and the numbers of the frames that it has seen.
type running struct {
	*Engine
	t       *testing.T
	cancel  context.CancelFunc
	done    chan error
	mu      sync.Mutex
	changed chan struct{}
	numbers []int
	wrong   string
}

func run(t *testing.T, o Options) *running {
	t.Helper()
	e, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{Engine: e, t: t, cancel: cancel, done: make(chan error, 1), changed: make(chan struct{})}
	change := func(f func()) {
		r.mu.Lock()
		defer r.mu.Unlock()
		f()
		close(r.changed)
		r.changed = make(chan struct{})
	}
	go func() {
		r.done <- e.Run(ctx, func(int) func(*traffic.Frame) {
			return func(f *traffic.Frame) { change(func() { r.see(f) }) }
		}, func(int, time.Time) { change(func() {}) })
	}()
	t.Cleanup(r.stop)
	return r
}

func (r *running) see(f *traffic.Frame) {
	if len(f.Data) < 60 || binary.BigEndian.Uint16(f.Data[12:]) != 0x88b5 {
		return // the kernel's own
	}
	i := int(binary.BigEndian.Uint32(f.Data[14:]))
	if want := numbered(i); string(f.Data) != string(want) || int(f.Length) != len(want) {
		r.wrong = fmt.Sprintf("frame %d has %d of %d bytes, want %d", i, len(f.Data), f.Length, len(want))
	}
	if age := time.Since(time.Unix(0, f.Time)); age < -time.Minute || age > time.Minute {
		r.wrong = fmt.Sprintf("frame %d is %s old", i, age)
	}
	r.numbers = append(r.numbers, i)
}

func (r *running) await(what string, holds func() bool) {
	r.t.Helper()
	limit := time.After(30 * time.Second)
	for {
		r.mu.Lock()
		ok, changed, n := holds(), r.changed, len(r.numbers)
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
	if err := <-r.done; err != nil {
		r.t.Errorf("run: %v", err)
	}
	r.done <- nil
}

// TestModule receives through the real thing, over several turns of its ring.
func TestModule(t *testing.T) {
	needModule(t)
	if available, why, _ := Probe(); !available {
		t.Fatalf("probe: %s", why)
	}
	pair(t, "weirnm0", "weirnm1")
	from := newSender(t, "weirnm0")
	r := run(t, Options{Interface: "netmap:weirnm1", Promiscuous: true})
	sent := 0
	for range 60 { // 6000 frames in lots, since nothing waits where the ring is full
		for range 100 {
			from.send(t, sent)
			sent++
		}
		r.await("a lot", func() bool { return len(r.numbers) == sent })
	}
	for i, n := range r.numbers {
		if n != i {
			t.Fatalf("frame %d came at place %d", n, i)
		}
	}
	r.stop()
	if r.wrong != "" {
		t.Error(r.wrong)
	}
	if s := r.Stats(); s.Received < uint64(sent) || s.Dropped != 0 || s.Error != "" || s.Restarts != 0 || s.Workers < 1 {
		t.Errorf("got %+v", s)
	}
}

// A port is given back whole, and can be taken again; one ring, its host rings and pipes open as well.
func TestModuleNames(t *testing.T) {
	needModule(t)
	pair(t, "weirnm0", "weirnm1")
	for _, o := range []Options{
		{Interface: "weirnm1"}, {Interface: "weirnm1-0"}, {Interface: "weirnm1*", HostRings: true}, {Interface: "weirnm1^", HostRings: true},
		{Interface: "vale7:weir"}, {Interface: "weirnm1{1"}, {Interface: "weirnm1}1"},
	} {
		r := run(t, o)
		r.await("a worker", func() bool { return r.Workers() > 0 })
		r.stop()
	}
	for name, want := range map[string]string{"none0": "netmap port none0: ", "weirnm1-77": "no such ring"} {
		if _, err := Open(Options{Interface: name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}

// An interface that is removed under the engine is told, and captured from again once it is back.
func TestModuleInterfaceGoes(t *testing.T) {
	needModule(t)
	pair(t, "weirnm0", "weirnm1")
	r := run(t, Options{Interface: "weirnm1"})
	newSender(t, "weirnm0").send(t, 0)
	r.await("a frame", func() bool { return len(r.numbers) == 1 })
	link, err := netlink.LinkByName("weirnm1")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkDel(link); err != nil {
		t.Fatal(err)
	}
	r.await("the loss to be told", func() bool { return r.Stats().Error != "" })
	pair(t, "weirnm0", "weirnm1")
	r.await("the way back", func() bool { return r.Stats().Restarts > 0 && r.Stats().Error == "" })
	newSender(t, "weirnm0").send(t, 1)
	r.await("a frame", func() bool { return len(r.numbers) == 2 })
}
