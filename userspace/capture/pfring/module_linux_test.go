package pfring

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

// needModule skips a test where there is no PF_RING: `make vmtest MODULES=DIR` has it.
func needModule(t *testing.T) {
	t.Helper()
	if os.Getenv("WEIR_MODULE") != "pf_ring" {
		t.Skip("the module is not loaded: make vmtest MODULES=DIR")
	}
}

// pair makes a veth pair in this namespace, both ends up, and returns a packet socket and the index of the first.
func pair(t *testing.T, a, b string) (fd, index int) {
	t.Helper()
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: a}, PeerName: b}); err != nil {
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
	i, err := net.InterfaceByName(a)
	if err != nil {
		t.Fatal(err)
	}
	if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd, i.Index
}

// numbered is a UDP packet from a port of its own, with its number in it.
func numbered(i int) []byte {
	b := make([]byte, 60+i*37%1400)
	for at := range b {
		b[at] = byte(i)
	}
	copy(b, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00\x45\x00")
	binary.BigEndian.PutUint16(b[16:], uint16(len(b)-14))
	copy(b[18:], "\x00\x00\x00\x00\x40\x11\x00\x00\xc6\x33\x64\x01\xcb\x00\x71\x01")
	binary.BigEndian.PutUint16(b[34:], uint16(i))
	binary.BigEndian.PutUint16(b[36:], 53)
	binary.BigEndian.PutUint16(b[38:], uint16(len(b)-34))
	binary.BigEndian.PutUint32(b[42:], uint32(i))
	return b
}

// running is an engine at work, and the numbers of the packets that it has seen, by worker.
type running struct {
	*Engine
	t       *testing.T
	cancel  context.CancelFunc
	done    chan error
	mu      sync.Mutex
	changed chan struct{}
	numbers map[int]int // to worker
	twice   int
	wrong   string
}

func run(t *testing.T, o Options) *running {
	t.Helper()
	e, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{Engine: e, t: t, cancel: cancel, done: make(chan error, 1), changed: make(chan struct{}), numbers: map[int]int{}}
	change := func(f func()) {
		r.mu.Lock()
		defer r.mu.Unlock()
		f()
		close(r.changed)
		r.changed = make(chan struct{})
	}
	go func() {
		r.done <- e.Run(ctx, func(worker int) func(*traffic.Frame) {
			return func(f *traffic.Frame) { change(func() { r.see(worker, f) }) }
		}, func(int, time.Time) { change(func() {}) })
	}()
	t.Cleanup(r.stop)
	return r
}

func (r *running) see(worker int, f *traffic.Frame) {
	if len(f.Data) < 46 || string(f.Data[12:14]) != "\x08\x00" || string(f.Data[26:30]) != "\xc6\x33\x64\x01" {
		return // the kernel's own
	}
	i := int(binary.BigEndian.Uint32(f.Data[42:]))
	want := numbered(i)
	if int(f.Length) != len(want) || string(f.Data) != string(want[:min(len(want), defaultSnapLength)]) {
		r.wrong = fmt.Sprintf("packet %d has %d of %d bytes, want %d", i, len(f.Data), f.Length, len(want))
	}
	if age := time.Since(time.Unix(0, f.Time)); age < -time.Minute || age > time.Minute {
		r.wrong = fmt.Sprintf("packet %d is %s old", i, age)
	}
	if _, again := r.numbers[i]; again {
		r.twice++
	}
	r.numbers[i] = worker
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
			r.t.Fatalf("waiting for %s: %d packets, %+v", what, n, r.Stats())
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

// send sends packets in lots that each must arrive: the ring has room for some thousand.
func (r *running) send(fd, index, most int) {
	r.t.Helper()
	for sent := 0; sent < most; {
		for range 500 {
			if err := unix.Sendto(fd, numbered(sent), 0, &unix.SockaddrLinklayer{Ifindex: index}); err != nil {
				r.t.Fatal(err)
			}
			sent++
		}
		r.await("a lot", func() bool { return len(r.numbers) == sent })
	}
}

// TestModule receives through the real thing, over several turns of its ring: alone, and as a cluster of two.
func TestModule(t *testing.T) {
	needModule(t)
	if available, why, _ := Probe(); !available {
		t.Fatalf("probe: %s", why)
	}
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			fd, index := pair(t, "weirpf0", "weirpf1")
			r := run(t, Options{Interface: "weirpf1", Workers: workers, Promiscuous: true, ClusterType: ClusterFiveTuple})
			const most = 15000
			r.send(fd, index, most)
			r.stop()
			share := map[int]int{}
			for _, worker := range r.numbers {
				share[worker]++
			}
			if r.wrong != "" || r.twice > 0 || len(share) != workers {
				t.Errorf("%s; %d came twice; by worker: %v", r.wrong, r.twice, share)
			}
			if s := r.Stats(); s.Received < most || s.KernelDrop != 0 || s.Dropped != 0 || s.Error != "" || s.Restarts != 0 || s.Workers != workers {
				t.Errorf("got %+v", s)
			}
		})
	}
}

// What finds no room is counted by the module, and told.
func TestModuleDrops(t *testing.T) {
	needModule(t)
	fd, index := pair(t, "weirpf0", "weirpf1")
	e, err := Open(Options{Interface: "weirpf1"})
	if err != nil {
		t.Fatal(err)
	}
	const most = 20000 // nobody reads
	for i := range most {
		if err := unix.Sendto(fd, numbered(i), 0, &unix.SockaddrLinklayer{Ifindex: index}); err != nil {
			t.Fatal(err)
		}
	}
	if packets, lost := e.members[0].source.counts(); packets < most || lost == 0 || lost >= most {
		t.Errorf("the module counts %d packets and %d lost", packets, lost)
	}
	if err := e.close(); err != nil {
		t.Error(err)
	}
}

// The module's own sampling leaves packets out.
func TestModuleSampling(t *testing.T) {
	needModule(t)
	fd, index := pair(t, "weirpf0", "weirpf1")
	r := run(t, Options{Interface: "weirpf1", KernelSampling: 10})
	const most = 3000
	for i := range most {
		if err := unix.Sendto(fd, numbered(i), 0, &unix.SockaddrLinklayer{Ifindex: index}); err != nil {
			t.Fatal(err)
		}
	}
	r.await("a tenth", func() bool { return len(r.numbers) >= most/10-1 })
	r.stop()
	if n := len(r.numbers); n > most/10+1 {
		t.Errorf("%d of %d packets came", n, most)
	}
}

func TestModuleRefuses(t *testing.T) {
	needModule(t)
	for name, want := range map[string]string{"none0": "interface none0: ", "lo,none0": "interface none0: "} {
		if _, err := Open(Options{Interface: name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}
