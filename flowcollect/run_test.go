package flowcollect

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/userspace/packet"
	"weir/userspace/traffic"
)

// sunk is a record as it came to a worker.
type sunk struct {
	worker   int
	exporter netip.Addr
	source   traffic.FlowSource
	packets  uint64
}

// running is a collector at work.
type running struct {
	*Collector
	t     testing.TB
	told  chan sunk
	ticks chan int // numbers of workers; what is not awaited is not told
	stop  func()
}

func (r *running) deadline() <-chan time.Time { return time.After(20 * time.Second) }

// start runs a collector until the test ends or stops it.
func start(t testing.TB, o Options) *running {
	t.Helper()
	r := &running{t: t, told: make(chan sunk, 4096), ticks: make(chan int)}
	o.Frame = packet.ParseLink
	o.Sink = func(worker int) func(*traffic.Flow) {
		return func(f *traffic.Flow) { r.told <- sunk{worker, f.Exporter, f.Source, f.Packets * uint64(f.Rate)} }
	}
	if o.Tick == nil {
		o.Tick = func(worker int, _ time.Time) {
			select {
			case r.ticks <- worker:
			default:
			}
		}
	}
	var err error
	if r.Collector, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := r.Listen(ctx); err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the collector ends with %v", err)
		}
	}
	t.Cleanup(r.stop)
	return r
}

// addr is the first address of a kind, "udp" or "tcp", that is listened on.
func (r *running) addr(kind string) netip.AddrPort {
	r.t.Helper()
	for _, a := range r.Addrs() {
		if rest, ok := strings.CutPrefix(a, kind+" "); ok {
			return netip.MustParseAddrPort(rest)
		}
	}
	r.t.Fatalf("nothing listens on %s: %v", kind, r.Addrs())
	return netip.AddrPort{}
}

// next waits for so many records.
func (r *running) next(n int) []sunk {
	r.t.Helper()
	late := r.deadline()
	var out []sunk
	for len(out) < n {
		select {
		case s := <-r.told:
			out = append(out, s)
		case <-late:
			r.t.Fatalf("%d records came of %d; stats %+v", len(out), n, r.Stats())
		}
	}
	return out
}

// until waits until something is so, and looks whenever a worker ticks.
func (r *running) until(what string, so func() bool) {
	r.t.Helper()
	late := r.deadline()
	for !so() {
		select {
		case <-r.ticks:
		case <-late:
			r.t.Fatalf("still not: %s; stats %+v", what, r.Stats())
		}
	}
}

// send sends datagrams from an address of this machine.
func send(t testing.TB, source string, to netip.AddrPort, datagrams ...[]byte) {
	t.Helper()
	c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr(source), 0)), net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range datagrams {
		if _, err := c.Write(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func ports(list ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range list {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

func TestCollect(t *testing.T) {
	r := start(t, Options{Listen: ports("127.0.0.1:0", "[::1]:0"), Workers: 2, ReceiveBuffer: 1 << 16})
	four, six := r.addr("udp"), netip.MustParseAddrPort(strings.TrimPrefix(r.Addrs()[1], "udp "))
	send(t, "127.0.0.1", four, netflow5(0, 0, one{}), netflow9(1, 7, template9()), netflow9(2, 7, set(256, one{}.data(0))))
	send(t, "::1", six, ipfix(0, 7, template10(), set(256, one{}.data(0))), sflow5("10.0.0.1", 1, 100, one{}))
	byProtocol := map[traffic.FlowSource]uint64{}
	for _, s := range r.next(4) {
		byProtocol[s.source] += s.packets
	}
	if byProtocol[traffic.NetFlow5] != 10 || byProtocol[traffic.NetFlow9] != 10 || byProtocol[traffic.IPFIX] != 10 || byProtocol[traffic.SFlow5] != 100 {
		t.Errorf("packets by protocol: %v", byProtocol)
	}
	r.until("5 datagrams are counted", func() bool { return r.Stats().Datagrams == 5 })
	s := r.Stats()
	if s.Records != 4 || s.Exporters != 2 || len(s.Listen) != 2 || s.ReceiveBufferAsked != 1<<16 || s.ReceiveBuffer == 0 {
		t.Errorf("stats %+v", s)
	}
	all := r.Exporters(time.Now())
	if len(all) != 2 || all[0].Address != addr("127.0.0.1") || all[1].Address != addr("::1") || all[0].Datagrams != 3 {
		t.Errorf("exporters %+v", all)
	}
}

// A reload changes who may send and what counts, without anything being forgotten.
func TestReconfigureRunning(t *testing.T) {
	r := start(t, Options{Listen: ports("127.0.0.1:0"), Workers: 2})
	to := r.addr("udp")
	send(t, "127.0.0.1", to, netflow9(1, 7, template9(), set(256, one{}.data(0))))
	r.next(1)
	exporters := []ExporterOptions{{Prefix: netip.MustParsePrefix("127.0.0.0/8"), Name: "here", Rate: 5}}
	triple := func() func(*traffic.Flow) bool { return func(f *traffic.Flow) bool { f.Rate *= 3; return true } }
	r.Reconfigure(exporters, nil, triple)
	send(t, "127.0.0.1", to, netflow9(2, 7, set(256, one{}.data(0))))
	if s := r.next(1)[0]; s.packets != 150 {
		t.Errorf("after the reload a record is of %d packets, want 150", s.packets)
	}
	r.Reconfigure(exporters, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, nil)
	send(t, "127.0.0.1", to, netflow9(3, 7, set(256, one{}.data(0))))
	r.until("the datagram is refused", func() bool { return r.Stats().Refused == 1 })
	if got := r.Exporters(time.Now()); len(got) != 0 {
		t.Errorf("exporters that are not allowed any more: %+v", got)
	}
}

// Templates are there again after a restart, whichever worker has their exporter then.
func TestRestart(t *testing.T) {
	o := Options{Listen: ports("127.0.0.1:0"), Workers: 1, TemplatePath: t.TempDir() + "/templates"}
	first := start(t, o)
	send(t, "127.0.0.1", first.addr("udp"), netflow9(1, 7, template9(), set(256, one{}.data(0))))
	first.next(1)
	first.stop()
	o.Workers = 3
	second := start(t, o)
	send(t, "127.0.0.1", second.addr("udp"), netflow9(2, 7, set(256, one{}.data(0))))
	second.next(1)
	second.stop()
	if s := second.Exporters(time.Now()); len(s) != 1 || s[0].Templates != 1 || s[0].UnknownTemplate != 0 {
		t.Errorf("exporters after the restart: %+v", s)
	}
}

func TestListenFails(t *testing.T) {
	first := start(t, Options{Listen: ports("127.0.0.1:0"), TCP: ports("127.0.0.1:0"), Workers: 2})
	for _, tt := range []struct {
		name string
		opts Options
		want []string
	}{
		{"the UDP port is taken", Options{Listen: []netip.AddrPort{first.addr("udp")}, Workers: 2}, []string{"listen on udp 127.0.0.1:", "another program has the port"}},
		{"the TCP port is taken", Options{TCP: []netip.AddrPort{first.addr("tcp")}}, []string{"listen on tcp 127.0.0.1:", "another program has the port"}},
		{"not our address", Options{Listen: ports("192.0.2.77:0")}, []string{"listen on udp 192.0.2.77:0", "does not have the address"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := New(tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			err = c.Listen(context.Background())
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
		})
	}
}

// Workers tick whether anything comes or not: those with sockets and the one of TCP.
func TestTicks(t *testing.T) {
	o := Options{Listen: ports("127.0.0.1:0"), TCP: ports("127.0.0.1:0"), Workers: 2}
	r := start(t, o)
	seen := map[int]int{}
	r.until("all workers tick, again and again", func() bool {
		select {
		case w := <-r.ticks:
			seen[w]++
		case <-r.deadline():
		}
		for w := range Workers(o) {
			if seen[w] < 2 {
				return false
			}
		}
		return true
	})
}
