package flowcollect

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/tests/need"
)

// An exporter always meets the same worker, from whatever port and to whatever port it sends; and all workers have some.
func TestBalance(t *testing.T) {
	const workers, exporters, perExporter = 3, 48, 8
	for _, tt := range []struct {
		name   string
		listen []netip.AddrPort
		to     func(netip.AddrPort) netip.AddrPort
	}{
		{"IPv4", ports("127.0.0.1:0", "127.0.0.1:0"), func(a netip.AddrPort) netip.AddrPort { return a }},
		{"IPv4 to a socket of IPv6", ports("[::]:0", "[::]:0"), func(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(addr("127.0.0.1"), a.Port()) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, Options{Listen: tt.listen, Workers: workers})
			first, second := tt.to(netip.MustParseAddrPort(r.Addrs()[0][len("udp "):])), tt.to(netip.MustParseAddrPort(r.Addrs()[1][len("udp "):]))
			for range perExporter / 2 { // each time from another port
				for n := range exporters {
					source := fmt.Sprintf("127.1.%d.%d", n/16, n%16+1)
					send(t, source, first, netflow5(0, 0, one{}))
					send(t, source, second, netflow5(1, 0, one{}))
				}
			}
			worker, load := map[netip.Addr]int{}, [workers]int{}
			for _, s := range r.next(exporters * perExporter) {
				w, known := worker[s.exporter]
				if known && w != s.worker {
					t.Fatalf("%s has met the workers %d and %d", s.exporter, w, s.worker)
				}
				if !known {
					load[s.worker]++
				}
				worker[s.exporter] = s.worker
			}
			for w, n := range load {
				if n < exporters/workers/3 {
					t.Errorf("worker %d has %d exporters of %d: %v", w, n, exporters, load)
				}
			}
			if got := len(r.Exporters(time.Now())); got != exporters {
				t.Errorf("%d exporters, want %d", got, exporters)
			}
		})
	}
}

// What finds no room in a socket is counted, to the datagram, also when nothing comes after it.
func TestKernelDrops(t *testing.T) {
	const sent = 3000
	ticks, held, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
	holding := true
	r := start(t, Options{Listen: ports("127.0.0.1:0"), Workers: 1, ReceiveBuffer: 1 << 14, Tick: func(int, time.Time) {
		if holding {
			close(held)
			<-release
			holding = false
		}
		select {
		case ticks <- struct{}{}:
		default:
		}
	}})
	r.ticks = nil
	<-held
	list := make([][]byte, sent)
	for i := range list {
		list[i] = netflow5(uint32(i), 0, one{})
	}
	send(t, "127.0.0.1", r.addr("udp"), list...)
	close(release)
	late := r.deadline()
	for s := r.Stats(); s.KernelDropped+s.Datagrams != sent; s = r.Stats() {
		select {
		case <-ticks:
		case <-late:
			t.Fatalf("%d dropped and %d taken of %d", s.KernelDropped, s.Datagrams, sent)
		}
	}
	s := r.Stats()
	if s.KernelDropped == 0 || s.Records != s.Datagrams {
		t.Errorf("dropped %d, datagrams %d, records %d", s.KernelDropped, s.Datagrams, s.Records)
	}
	// What of them was lost on the way, the exporter's sequence says, but for those after the last one that came.
	if x := r.Exporters(time.Now()); len(x) != 1 || x[0].Lost > s.KernelDropped {
		t.Errorf("lost by sequence %+v; dropped %d", x, s.KernelDropped)
	}
}

// One socket of all addresses takes both families, unless IPv4 has its own; and each worker has the same port.
func TestBothFamilies(t *testing.T) {
	r := start(t, Options{Listen: ports("[::]:0"), Workers: 2})
	port := r.addr("udp").Port()
	send(t, "127.0.0.1", netip.AddrPortFrom(addr("127.0.0.1"), port), netflow5(0, 0, one{}))
	send(t, "::1", netip.AddrPortFrom(addr("::1"), port), netflow5(0, 0, one{}))
	got := map[netip.Addr]bool{}
	for _, s := range r.next(2) {
		got[s.exporter] = true
	}
	if !got[addr("127.0.0.1")] || !got[addr("::1")] {
		t.Errorf("exporters %v", got)
	}
	r.stop()
	all := []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), port), netip.AddrPortFrom(netip.IPv4Unspecified(), port)}
	both := start(t, Options{Listen: all, TCP: all, Workers: 2})
	send(t, "127.0.0.1", netip.AddrPortFrom(addr("127.0.0.1"), port), netflow5(0, 0, one{}))
	send(t, "::1", netip.AddrPortFrom(addr("::1"), port), netflow5(0, 0, one{}))
	both.next(2)
}

// The sockets are in the namespace that was asked for: there the port is free that is taken here.
func TestNamespace(t *testing.T) {
	need.Root(t)
	files := make(chan *os.File)
	end := make(chan struct{})
	defer close(end)
	go func() {
		runtime.LockOSThread() // the namespace ends with this thread
		var f *os.File
		if unix.Unshare(unix.CLONE_NEWNET) == nil {
			f, _ = os.Open("/proc/thread-self/ns/net")
		}
		files <- f
		<-end
	}()
	namespace := <-files
	if namespace == nil {
		t.Fatal("no network namespace could be made")
	}
	defer namespace.Close()
	here := start(t, Options{Listen: ports("0.0.0.0:0"), TCP: ports("0.0.0.0:0"), Workers: 1})
	there := start(t, Options{
		Listen: []netip.AddrPort{here.addr("udp")}, TCP: []netip.AddrPort{here.addr("tcp")}, Workers: 2, Namespace: namespace,
	})
	send(t, "127.0.0.1", netip.AddrPortFrom(addr("127.0.0.1"), here.addr("udp").Port()), netflow5(0, 0, one{}))
	here.next(1)
	if got := there.Stats().Datagrams; got != 0 {
		t.Errorf("%d datagrams came to the other namespace", got)
	}
}

// BenchmarkReceive is what a datagram takes from the socket to the sink, the sender's part included.
func BenchmarkReceive(b *testing.B) {
	const perDatagram = 24
	many := make([]one, perDatagram)
	r := start(b, Options{Listen: ports("127.0.0.1:0"), Workers: 1})
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := unix.Close(fd); err != nil {
			b.Error(err)
		}
	}()
	to := &unix.SockaddrInet4{Port: int(r.addr("udp").Port()), Addr: [4]byte{127, 0, 0, 1}}
	data := netflow5(0, 0, many...)
	b.ReportAllocs()
	for b.Loop() {
		if err := unix.Sendto(fd, data, 0, to); err != nil {
			b.Fatal(err)
		}
		r.next(perDatagram)
	}
}
