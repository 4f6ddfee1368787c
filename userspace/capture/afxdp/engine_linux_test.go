package afxdp

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"weir/tests/need"
	"weir/userspace/traffic"
)

const whole = 1 << 16 // of a frame

// Frames come out as they were sent, in either mode; tags stay where they are.
func TestWire(t *testing.T) {
	w := newWire(t, 1500, 1)
	for _, tt := range []struct {
		name   string
		mode   string
		length int
		vlans  []uint16
		want   string
	}{
		{"native", "native", 60, nil, "copy, native"},
		{"auto", "", 1400, nil, "copy, native"},
		{"generic", "generic", 1400, nil, "copy, generic"},
		{"tagged", "native", 200, []uint16{7}, "copy, native"},
		{"tagged twice", "native", 200, []uint16{7, 4001}, "copy, native"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			before := time.Now().UnixNano()
			r := w.open(Options{Interface: "in", Mode: tt.mode})
			const most = 20000 // several times around the rings
			sent := w.send(frame(tt.length, tt.vlans...), 50000, most)
			r.await("all frames", func(frames []seen, _ traffic.CaptureStats) bool {
				return len(frames) >= most && ours(frames, sent, whole) >= most
			})
			r.stop()
			if got := ours(r.frames, sent, whole); got != most {
				t.Errorf("got %d frames, want %d", got, most)
			}
			for _, f := range r.frames {
				if f.Time < before || f.Time > time.Now().UnixNano() || f.Link != traffic.LinkEthernet || f.Index == 0 {
					t.Fatalf("got a frame of %v of interface %d at %d; began at %d", f.Link, f.Index, f.Time, before)
				}
			}
			s := r.Stats()
			if s.Engine != "afxdp" || s.Interface != "in" || s.Workers != 1 || s.Mode != tt.want || int(s.Received) != len(r.frames) || s.KernelDrop+s.Dropped != 0 || s.Error != "" {
				t.Errorf("got %+v", s)
			}
		})
	}
}

// A frame that is larger than a buffer comes as its beginning, with its length on the wire.
func TestJumbo(t *testing.T) {
	w := newWire(t, 9000, 1)
	r := w.open(Options{Interface: "in"})
	const rounds, each = 10, 500 // the rings hold a thousand, and go round several times
	const most = rounds * each
	sent := w.bytes(frame(9000))
	first := func(frames []seen) (n int) {
		for _, f := range frames {
			if f.Length == 9000 && len(f.Data) > 2000 && len(f.Data) <= chunk && string(f.Data[12:]) == string(sent[12:len(f.Data)]) {
				n++
			}
		}
		return n
	}
	for round := range rounds {
		w.sendJumbo(sent, each)
		r.await("all frames", func(frames []seen, _ traffic.CaptureStats) bool {
			return len(frames) >= (round+1)*each && first(frames) >= (round+1)*each
		})
	}
	r.stop()
	if s := r.Stats(); first(r.frames) != most || s.KernelDrop+s.Dropped != 0 {
		t.Errorf("got %d frames, want %d; %+v", first(r.frames), most, s)
	}
}

// Each queue has a worker, its own or one that it shares, and each frame comes once.
func TestQueues(t *testing.T) {
	w := newWire(t, 1500, 3)
	for _, tt := range []struct {
		queues  []int
		asked   int // workers
		workers int
	}{{nil, 0, 3}, {[]int{2, 0, 1}, 0, 3}, {[]int{1, 0}, 0, 2}, {nil, 1, 1}, {nil, 2, 2}, {nil, 9, 3}, {[]int{2, 0, 1}, 2, 2}} {
		t.Run(fmt.Sprint(tt.queues, tt.asked), func(t *testing.T) {
			w.t = t
			r := w.open(Options{Interface: "in", Queues: tt.queues, Workers: tt.asked})
			if got := r.Workers(); got != tt.workers {
				t.Fatalf("got %d workers, want %d", got, tt.workers)
			}
			// A flood comes in on the queue of the CPU that it is sent on.
			const most = 3000
			sent := w.send(frame(100), 50000, most)
			every := len(tt.queues) != 2
			if every {
				r.await("all frames", func(frames []seen, _ traffic.CaptureStats) bool { return ours(frames, sent, whole) >= most })
			}
			r.stop()
			if got := ours(r.frames, sent, whole); every && got != most || got > most {
				t.Errorf("got %d frames, want %d", got, most)
			}
		})
	}
}

// What found no room is counted, and nothing twice; afterwards all buffers are still in use.
func TestDrops(t *testing.T) {
	w := newWire(t, 1500, 1)
	r := w.open(Options{Interface: "in", Frames: 64})
	r.hold.Lock()
	const most = 5000
	sent := w.send(frame(1000), 100000, most)
	r.hold.Unlock()
	r.await("all frames", func(frames []seen, s traffic.CaptureStats) bool {
		return s.KernelDrop > 0 && uint64(ours(frames, sent, whole))+s.KernelDrop >= most
	})
	before := r.Stats()
	if int(before.Received) == most || before.Received+before.KernelDrop > most+100 {
		t.Errorf("got %+v", before)
	}
	again := 0
	for range 4 * 64 / 32 {
		w.send(frame(1000), 1000, 32)
		again += 32
		r.await("frames after the drops", func(frames []seen, _ traffic.CaptureStats) bool {
			return ours(frames, sent, whole)+int(before.KernelDrop) >= most+again
		})
	}
	r.stop()
	if after := r.Stats(); after.KernelDrop != before.KernelDrop || after.Dropped != 0 {
		t.Errorf("got %+v, before %+v", after, before)
	}
}

// Program and promiscuous mode are there while the engine runs, and only then; the queue can be had again at once.
func TestReleased(t *testing.T) {
	w := newWire(t, 1500, 2)
	for _, wanted := range []bool{false, true, true} {
		r := w.open(Options{Interface: "in", Promiscuous: wanted})
		if got := w.promiscuous() > 0; got != wanted || w.program() == 0 {
			t.Errorf("while it runs, promiscuous: %v, want %v; program %d", got, wanted, w.program())
		}
		if e, err := w.try(Options{Interface: "in"}); err == nil || !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), busyRemedy) {
			t.Errorf("a second engine: got %v, %v", e, err)
		}
		r.stop()
		if w.promiscuous() != 0 || w.program() != 0 {
			t.Errorf("afterwards, promiscuous %d, program %d", w.promiscuous(), w.program())
		}
		for _, w := range r.workers {
			for _, i := range w.inlets {
				if i.socket != nil {
					t.Error("a socket is left")
				}
			}
		}
	}
}

func (w *wire) try(o Options) (e *Engine, err error) {
	err = w.receiver.Do(func() error { e, err = Open(o); return err })
	return e, err
}

// An interface that goes down or away is told, waited for, and captured from again.
func TestInterfaceGoes(t *testing.T) {
	for _, mode := range []string{native, generic} {
		t.Run(mode, func(t *testing.T) { testInterfaceGoes(t, mode) })
	}
}

func testInterfaceGoes(t *testing.T, mode string) {
	w := newWire(t, 1500, 2)
	for _, tt := range []struct {
		name        string
		leave, come func()
	}{
		{"down", func() { w.up(false) }, func() { w.up(true) }},
		{"away", w.remove, w.link},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			e, err := Open(Options{Interface: "in", Namespace: w.namespace(), Mode: mode, Promiscuous: true})
			if err != nil {
				t.Fatal(err)
			}
			r := run(t, e)
			sent := w.send(frame(100), 1000, 10)
			r.await("frames", func(frames []seen, _ traffic.CaptureStats) bool { return ours(frames, sent, whole) == 10 })
			tt.leave()
			r.await("the loss to be told", func(_ []seen, s traffic.CaptureStats) bool { return s.Error != "" })
			tt.come()
			r.await("the way back", func(_ []seen, s traffic.CaptureStats) bool { return s.Restarts >= 1 && s.Error == "" })
			w.send(frame(100), 1000, 10)
			r.await("frames", func(frames []seen, _ traffic.CaptureStats) bool { return ours(frames, sent, whole) == 20 })
			r.stop()
			if s := r.Stats(); s.Restarts != 1 || w.promiscuous() != 0 || w.program() != 0 {
				t.Errorf("got %+v; left: promiscuous %d, program %d", s, w.promiscuous(), w.program())
			}
		})
	}
}

func TestProbe(t *testing.T) {
	need.Root(t)
	if available, why, remedy := Probe(); !available || why == "" || remedy != "" {
		t.Errorf("got %v, %q, %q", available, why, remedy)
	}
}

func TestOpenRefuses(t *testing.T) {
	w := newWire(t, 1500, 1)
	for want, o := range map[string]Options{
		"no interface; name one":            {},
		"there is no such interface":        {Interface: "none0"},
		`zero copy "maybe"; take auto`:      {Interface: "in", ZeroCopy: "maybe"},
		`mode "offload"; take auto`:         {Interface: "in", Mode: "offload"},
		"mode generic has no zero copy":     {Interface: "in", Mode: "generic", ZeroCopy: "on"},
		"100 frames; take a power of two":   {Interface: "in", Frames: 100},
		"queue -1; take numbers from 0":     {Interface: "in", Queues: []int{0, -1}},
		"queue 3 twice":                     {Interface: "in", Queues: []int{3, 3}},
		"bind to queue 7: ":                 {Interface: "in", Queues: []int{0, 7}},
		"take mode auto and zero copy auto": {Interface: "in", ZeroCopy: "on"},
		"-1 workers; take 0 for one":        {Interface: "in", Workers: -1},
	} {
		if e, err := w.try(o); e != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, %v; want %q", e, err, want)
		}
		if got := w.program(); got != 0 {
			t.Errorf("%s: program %d is left", want, got)
		}
	}
	e := &Engine{opts: Options{Interface: "eth1"}}
	for cause, remedy := range map[error]string{os.ErrPermission: permissionRemedy, unix.EPERM: permissionRemedy, unix.ENOBUFS: memoryRemedy, ebpf.ErrNotSupported: "capture from eth1: "} {
		if err := e.explain(fmt.Errorf("socket: %w", cause)); !errors.Is(err, cause) || !strings.Contains(err.Error(), remedy) {
			t.Errorf("%v: got %v", cause, err)
		}
	}
}
