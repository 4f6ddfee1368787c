package afpacket

import (
	"bytes"
	"context"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir/userspace/lab"
	"weir/userspace/traffic"
)

// What arrives is told as it was on the wire: cut, with its whole length, its time, and the tag that the kernel has taken off.
func TestFrame(t *testing.T) {
	w := newWire(t, 0)
	r := w.run(Options{Workers: 1, SnapLength: 100})
	for _, tt := range []struct {
		name  string
		frame lab.Frame
		want  func(sent []byte) traffic.Frame
	}{
		{"short", frame(60), func(sent []byte) traffic.Frame { return traffic.Frame{Data: sent, Length: 60} }},
		{"cut", frame(1514), func(sent []byte) traffic.Frame { return traffic.Frame{Data: sent[:100], Length: 1514} }},
		{"tagged", frame(80, 7), func(sent []byte) traffic.Frame {
			return traffic.Frame{Data: append(bytes.Clone(sent[:12]), sent[16:]...), Length: 80, VLAN: 7, HasVLAN: true}
		}},
		{"tagged twice", frame(90, 7, 8), func(sent []byte) traffic.Frame {
			return traffic.Frame{Data: append(bytes.Clone(sent[:12]), sent[16:]...), Length: 90, VLAN: 7, HasVLAN: true}
		}},
	} {
		before := time.Now()
		want := tt.want(w.send(tt.frame, 1000, 1, 0))
		want.Interface = int32(w.device().Index)
		// The kernel sends on a fresh link too (multicast reports of IPv6), before the frame or after it.
		sent := func(f seen) bool {
			return f.Length == want.Length && bytes.Contains(f.Data, []byte{203, 0, 113, 1})
		}
		got := r.await(tt.name, func(frames []seen, _ traffic.CaptureStats) bool { return slices.ContainsFunc(frames, sent) })
		last := got[slices.IndexFunc(got, sent)]
		clear(last.Data[:12]) // the generator counts in there
		clear(want.Data[:12])
		if diff := cmp.Diff(last.Frame, want, cmpopts.IgnoreFields(traffic.Frame{}, "Time")); diff != "" {
			t.Errorf("%s (-got +want)\n%s", tt.name, diff)
		}
		if at := time.Unix(0, last.Time); at.Before(before.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) {
			t.Errorf("%s: came at %v, was sent after %v", tt.name, at, before)
		}
	}
}

// Each frame comes exactly once, whichever worker it goes to.
func TestFanout(t *testing.T) {
	w := newWire(t, 0)
	const n = 20000
	for _, tt := range []struct {
		name    string
		workers int
		fanout  Fanout
		mode    string
		shared  bool // by all workers, whatever the machine is
	}{
		{"one", 1, FanoutHash, "one ring", true},
		{"hash", 3, FanoutHash, "fanout hash", true},
		{"lb", 3, FanoutLB, "fanout lb", true},
		{"cpu", 3, FanoutCPU, "fanout cpu", false},
		{"rollover", 3, FanoutRollover, "fanout rollover", false},
		{"random", 3, FanoutRandom, "fanout random", true},
		{"queue_mapping", 3, FanoutQueueMapping, "fanout queue_mapping", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			r := w.run(Options{Workers: tt.workers, Fanout: tt.fanout})
			w.send(frame(100), 200000, n, 0xffff)
			workers := map[int]int{}
			for _, f := range r.count(n) {
				workers[f.worker]++
			}
			if tt.shared && len(workers) != tt.workers {
				t.Errorf("workers got %v", workers)
			}
			w.send(frame(100), 1000, 10, 0) // none of the earlier ones is still on its way
			if got := len(r.count(n + 10)); got != n+10 {
				t.Errorf("got %d frames of %d", got, n+10)
			}
			r.stop()
			s := r.Stats()
			if s.KernelDrop != 0 || s.Dropped != 0 || s.Received < n+10 {
				t.Errorf("%+v", s)
			}
			if diff := cmp.Diff(s, traffic.CaptureStats{Engine: "afpacket", Interface: "in", Mode: tt.mode, Workers: tt.workers, Received: s.Received}); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

// What a ring has no room for is counted, and then the engine goes on.
func TestOverrun(t *testing.T) {
	w := newWire(t, 0)
	r := w.run(Options{Workers: 1, Blocks: 2, BlockSize: 64 << 10})
	const n = 5000
	r.hold.Lock()
	w.send(frame(100), 100000, n, 0)
	r.hold.Unlock()
	first := r.await("all to be accounted for", func(frames []seen, s traffic.CaptureStats) bool {
		return s.KernelDrop > 0 && uint64(len(ours(frames)))+s.KernelDrop >= n
	})
	// Under load the ring may be full a moment longer: what is sent then is lost as well.
	for sent, got := uint64(n), first; len(ours(got)) < len(ours(first))+10; {
		w.send(frame(100), 1000, 10, 0)
		sent += 10
		got = r.await("all that was sent later to be accounted for", func(frames []seen, s traffic.CaptureStats) bool {
			return uint64(len(ours(frames)))+s.KernelDrop >= sent
		})
	}
	if s := r.Stats(); s.Error != "" || s.Restarts != 0 {
		t.Errorf("%+v", s)
	}
}

func TestFilter(t *testing.T) {
	w := newWire(t, 0)
	program, err := ParseFilter(udp)
	if err != nil {
		t.Fatal(err)
	}
	r := w.run(Options{Workers: 2, Fanout: FanoutLB, Filter: program})
	tcp := frame(100)
	tcp.Protocol = traffic.ProtoTCP
	w.send(tcp, 10000, 500, 0)
	w.send(frame(100), 10000, 500, 0)
	r.count(500)
	all := r.await("nothing else", func(frames []seen, s traffic.CaptureStats) bool { return s.Received == uint64(len(frames)) })
	for _, f := range ours(all) {
		if f.Data[23] != traffic.ProtoUDP {
			t.Errorf("got protocol %d", f.Data[23])
		}
	}
	if _, err := Open(Options{Interface: "in", Namespace: w.namespace(), Filter: []Instruction{{Op: 0xffff}}}); err == nil || !strings.Contains(err.Error(), "capture from in: set filter") {
		t.Errorf("a program that is none: %v", err)
	}
	if n := w.sockets(); n != 3 {
		t.Errorf("%d packet sockets; one that could not be opened has left something", n)
	}
}

// The kernel passes one frame in so many on, at random.
func TestKernelSampling(t *testing.T) {
	w := newWire(t, 0)
	const n, rate = 100000, 50
	r := w.run(Options{Workers: 2, Fanout: FanoutLB, KernelSampling: rate})
	w.send(frame(100), 200000, n, 0)
	last, calm := 0, 0
	r.await("no more to come", func(frames []seen, _ traffic.CaptureStats) bool { // asked by each worker's idle, more than twice a block's time apart
		if calm++; len(frames) > last {
			last, calm = len(frames), 0
		}
		return calm > 10 && last > 0
	})
	r.stop()
	got, mean, deviation := float64(len(ours(r.frames))), float64(n)/rate, math.Sqrt(n/rate)
	if math.Abs(got-mean) > 5*deviation {
		t.Errorf("got %v frames of %d, want %v, give or take %v", got, n, mean, 5*deviation)
	}
}

// Promiscuous mode goes with the engine.
func TestPromiscuous(t *testing.T) {
	w := newWire(t, 0)
	for _, on := range []bool{true, false} {
		r := w.run(Options{Workers: 2, Promiscuous: on})
		if got := w.device().Promisc == 1; got != on {
			t.Errorf("promiscuous is %v, want %v", got, on)
		}
		r.stop()
		if w.device().Promisc != 0 {
			t.Error("still promiscuous")
		}
		if n := w.sockets(); n != 0 {
			t.Errorf("%d packet sockets are left", n)
		}
	}
	// An engine that is not wanted after all.
	e := w.open(Options{Workers: 3, Promiscuous: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Run(ctx, func(int) func(*traffic.Frame) { return nil }, func(int, time.Time) {}); err != nil {
		t.Error(err)
	}
	if n := w.sockets(); n != 0 || w.device().Promisc != 0 {
		t.Errorf("%d packet sockets are left, promiscuity %d", n, w.device().Promisc)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts Options
		want string
	}{
		{"no interface", Options{}, "name one"},
		{"interface is not there", Options{Interface: "none0"}, "capture from none0: look up interface: no such device; `ip link` lists the interfaces"},
		{"a name that cannot be", Options{Interface: "an-interface-of-long-name"}, "1 to 15 bytes"},
		{"fanout", Options{Interface: "lo", Fanout: 9}, "capture from lo: fanout(9): there is no such fanout mode"},
		{"one block", Options{Interface: "lo", Blocks: 1}, "at least 2"},
		{"odd block", Options{Interface: "lo", BlockSize: 100000}, "a power of two"},
		{"too much", Options{Interface: "lo", Workers: 1, Blocks: 1 << 30, BlockSize: 1 << 20}, "capture from lo: make ring of"},
	} {
		if e, err := Open(tt.opts); e != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
	if ok, why, remedy := Probe(); !ok || remedy != "" {
		t.Errorf("probe: %v, %s, %s", ok, why, remedy)
	}
}

// What this machine sends is no traffic that arrives.
func TestOutgoing(t *testing.T) {
	w := newWire(t, 0)
	for _, workers := range []int{1, 2} {
		var e *Engine
		w.in(w.sender, func() (err error) {
			e, err = Open(Options{Interface: "out", Workers: workers, Fanout: FanoutLB, Blocks: 2})
			return err
		})
		r := run(t, e)
		back := frame(77)
		back.Src, back.Dst = netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("203.0.113.1")
		sendUDP(w, w.sender, netip.MustParseAddrPort("192.0.2.1:0"), netip.MustParseAddrPort("192.0.2.2:53"), make([]byte, 35))
		answer, err := lab.NewFlood(lab.FloodOptions{Frame: back, Host: w.receiver, Interface: "in"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := answer.Run(t.Context(), 1000, 3); err != nil {
			t.Fatal(err)
		}
		if err := answer.Close(); err != nil {
			t.Fatal(err)
		}
		r.count(3)
		r.stop()
		for _, f := range r.frames {
			if len(f.Data) >= 42 && f.Data[23] == traffic.ProtoUDP && f.Data[37] == 53 && bytes.Equal(f.Data[26:30], []byte{192, 0, 2, 1}) {
				t.Errorf("%d workers: got what was sent: % x", workers, f.Data[:42])
			}
		}
	}
}
