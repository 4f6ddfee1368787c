package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"weir/userspace/config"
	"weir/userspace/engines"
	"weir/userspace/lab"
	"weir/userspace/traffic"
)

const (
	floorPackets    = 1_000_000
	floorFrames     = 1024             // in memory, used in turns
	capturePatience = 10 * time.Second // for a worker to begin, and to be done with what is in its ring
	ringName        = "snabb_ring"     // the engine snabb without Snabb
	destinationAt   = 14 + 16          // the destination address in an Ethernet frame of IPv4
)

// measureCaptures hands each cost to emit as soon as it is known, and each engine that cannot be measured to leave.
func measureCaptures(ctx context.Context, o *CaptureOptions, emit func(CaptureCost) error, leave func(LeftOut) error) (err error) {
	// The context's end must not take the namespaces away under the engines.
	l, err := lab.New(context.WithoutCancel(ctx), fmt.Sprintf("weir-bench-%d", os.Getpid()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	field, err := newField(l)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, field.namespace.Close()) }()
	all := engines.List(ctx)
	for i, a := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		if o.Progress != nil {
			o.Progress(int64(i), int64(len(all)+1))
		}
		name := config.Engine(a.Name)
		if why := whyNot(name, a); why != "" {
			if err := leave(LeftOut{a.Name, why}); err != nil {
				return err
			}
			continue
		}
		cost, err := field.measure(ctx, o, name, i)
		if err != nil {
			return fmt.Errorf("engine %s: %w", name, err)
		}
		if err := emit(cost); err != nil {
			return err
		}
	}
	if o.Progress != nil {
		o.Progress(int64(len(all)), int64(len(all)+1))
	}
	cost, err := field.measureRing(ctx, o)
	if err != nil {
		return fmt.Errorf("engine %s: %w", ringName, err)
	}
	return emit(cost)
}

// whyNot says why an engine is not measured.
func whyNot(name config.Engine, a engines.Availability) string {
	switch {
	case name == config.EngineXDP:
		return "`weir bench xdp` measures it"
	case !a.Available:
		return a.Why
	case name == config.EngineAFPacket, name == config.EngineAFXDP, name == config.EnginePcap:
		return ""
	case name == config.EngineSnabb:
		return "what it costs is Snabb's own process, which polls"
	}
	return "it captures in the process's own network namespace only, which is not flooded"
}

// field is the ground that engines are flooded on. The packets are for another station, as on a mirror's port, so that the network
// stack behind the engine does least with them.
type field struct {
	lab            *lab.Lab
	source, target *lab.Host
	namespace      *os.File // the target's
}

func newField(l *lab.Lab) (f *field, err error) {
	f = &field{lab: l}
	if f.source, err = l.Host("source"); err != nil {
		return nil, err
	}
	if f.target, err = l.Host("target"); err != nil {
		return nil, err
	}
	f.namespace, err = f.target.Open()
	return f, err
}

func (f *field) frame() lab.Frame {
	return lab.Frame{
		SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, Src: captureSource(), Dst: captureNetwork().Addr().Next(),
		Protocol: traffic.ProtoUDP, SrcPort: 53, DstPort: 9,
	}
}

// generator floods what an engine captures from.
type generator interface {
	Run(ctx context.Context, rate float64, limit uint64) (sent uint64, err error)
	Close() error
}

// measure floods one engine over a veth of its own.
func (f *field) measure(ctx context.Context, o *CaptureOptions, name config.Engine, number int) (c CaptureCost, err error) {
	near, far := fmt.Sprintf("source%d", number), fmt.Sprintf("target%d", number)
	if err := f.lab.Link(f.source, near, f.target, far, lab.LinkOptions{}); err != nil {
		return c, err
	}
	flood, err := lab.NewFlood(lab.FloodOptions{
		Frame: f.frame(), Host: f.source, Interface: near, Destinations: lab.Addresses{Spread: lab.Random, Prefix: captureNetwork()}, SrcPorts: 0xffff,
	})
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, flood.Close()) }()
	return f.cost(ctx, o, string(name), func() (generator, engines.Engine, error) {
		e, err := engines.Open(config.Interface{
			Name: far, Engine: name, Role: config.RoleMirror, Mode: config.ModeAuto, Capture: config.Capture{Promiscuous: true, Sampling: 1, Workers: 1},
		}, engines.Options{Namespace: f.namespace})
		return flood, e, err
	})
}

// measureRing floods a ring in memory that Snabb, or any other program, would write. The writer has the CPU that it finds.
func (f *field) measureRing(ctx context.Context, o *CaptureOptions) (c CaptureCost, err error) {
	template := f.frame()
	frame, err := template.Bytes()
	if err != nil {
		return c, err
	}
	flood, err := newRingFlood(frame)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, flood.Close()) }()
	return f.cost(ctx, o, ringName, func() (generator, engines.Engine, error) {
		e, err := engines.Open(config.Interface{Name: "ring:" + flood.path(), Engine: config.EngineSnabb, Role: config.RoleMirror, Capture: config.Capture{Sampling: 1}}, engines.Options{})
		if err != nil {
			return nil, nil, err
		}
		return flood, e, flood.attach()
	})
}

// cost floods an engine that open opens.
func (f *field) cost(ctx context.Context, o *CaptureOptions, name string, open func() (generator, engines.Engine, error)) (c CaptureCost, err error) {
	floor, err := f.floor()
	if err != nil {
		return c, err
	}
	count, err := newCounter()
	if err != nil {
		return c, err
	}
	flood, engine, err := open()
	if engine == nil {
		return c, err
	}
	w := newFlooded(engine, count)
	if err != nil {
		return c, errors.Join(err, w.stop())
	}
	u, err := w.under(ctx, flood, o)
	stats := w.engine.Stats()
	if err := errors.Join(err, w.stop()); err != nil {
		return c, err
	}
	if u.packets == 0 {
		return c, fmt.Errorf("none of %d packets was received", u.sent)
	}
	ns := float64(u.cpu) / float64(u.packets)
	return CaptureCost{
		Name: name, Mode: stats.Mode, Packets: u.packets, Dropped: stats.KernelDrop + stats.Dropped, Sent: u.sent,
		Nanoseconds: round(ns, 1), PerSecond: round(u.rate, 0), Floor: round(floor, 1), Ratio: round(ns/floor, 2),
	}, nil
}

// floor is what it takes to parse and count the flood's packets from memory, in nanoseconds each. Each gets another random destination,
// which is a part of the figure.
func (f *field) floor() (ns float64, err error) {
	count, err := newCounter()
	if err != nil {
		return 0, err
	}
	template := f.frame()
	one, err := template.Bytes()
	if err != nil {
		return 0, err
	}
	frames := make([]traffic.Frame, floorFrames)
	for i := range frames {
		frames[i] = traffic.Frame{Data: append([]byte(nil), one...), Length: uint32(len(one))}
	}
	random := uint64(1)
	pass := func(packets int) {
		for i := range packets {
			random = random*6364136223846793005 + 1442695040888963407 // Knuth's MMIX
			frame := &frames[i%floorFrames]
			binary.BigEndian.PutUint16(frame.Data[destinationAt+2:], uint16(random>>48))
			count.frame(frame)
		}
	}
	err = onOneCPU(func() error {
		pass(floorPackets / 4) // cold caches, and pages that are not there yet
		before, err := threadTime()
		if err != nil {
			return err
		}
		pass(floorPackets)
		after, err := threadTime()
		ns = float64(after-before) / floorPackets
		return err
	})
	if want := uint64(floorPackets + floorPackets/4); err == nil && count.counted != want {
		err = fmt.Errorf("%d packets were counted from memory of %d", count.counted, want)
	}
	return ns, err
}

// threadTime is the CPU time of the calling thread, in user space and in the kernel.
func threadTime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("read the thread's clock: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// flooded is an engine at work, with one worker.
type flooded struct {
	engine engines.Engine
	count  *counter
	cancel context.CancelFunc
	done   chan error

	settled  bool                  // of the worker: its thread has its CPU
	readings chan reading          // the latest one
	trouble  atomic.Pointer[error] // of the worker
}

// reading is what the worker has used and counted so far.
type reading struct {
	packets uint64
	cpu     time.Duration
	at      time.Time
}

func newFlooded(e engines.Engine, count *counter) *flooded {
	ctx, cancel := context.WithCancel(context.Background())
	w := &flooded{engine: e, count: count, cancel: cancel, done: make(chan error, 1), readings: make(chan reading, 1)}
	go func() {
		w.done <- e.Run(ctx, func(int) func(*traffic.Frame) { return count.frame }, func(_ int, now time.Time) { w.idle(now) })
	}()
	return w
}

func (w *flooded) stop() error {
	w.cancel()
	err := <-w.done
	if t := w.trouble.Load(); t != nil {
		err = errors.Join(err, *t)
	}
	return err
}

// idle is called by the worker's goroutine, which keeps its thread from the first call on: the thread's clock is the worker's.
func (w *flooded) idle(now time.Time) {
	if !w.settled {
		w.settled = true
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and its affinity with it
		if err := stayOnLastCPU(); err != nil {
			w.trouble.Store(&err)
		}
	}
	w.count.tick(now)
	cpu, err := threadTime()
	if err != nil {
		w.trouble.Store(&err)
	}
	select {
	case <-w.readings: // nobody has asked for it
	default:
	}
	w.readings <- reading{w.count.counted, cpu, now}
}

// usage is what a worker has done under a flood, until it was done with all that had come.
type usage struct {
	reading
	sent uint64
	rate float64 // packets a second while the flood went on: what waits in a ring at its end is no part of it
}

// under floods the engine.
func (w *flooded) under(ctx context.Context, flood generator, o *CaptureOptions) (u usage, err error) {
	begin, err := w.next(ctx)
	if err != nil {
		return u, err
	}
	flooding, stop := context.WithTimeout(ctx, o.duration())
	defer stop()
	began := time.Now()
	if u.sent, err = flood.Run(flooding, 0, uint64(o.Seconds*maxCaptureRate)); err != nil {
		return u, err
	}
	took := time.Since(began)
	var last reading // while the flood went on; none in a flood that is shorter than a worker's round
	select {
	case last = <-w.readings:
	default:
	}
	end := begin
	for same := 0; same < 3; { // as many looks without a packet: the last ones may be in a block that is not handed over yet
		r, err := w.next(ctx)
		if err != nil {
			return u, err
		}
		if same++; r.packets != end.packets {
			same = 0
		}
		end = r
	}
	u.packets, u.cpu = end.packets-begin.packets, end.cpu-begin.cpu
	u.rate = float64(u.packets) / took.Seconds()
	if during := last.at.Sub(began); during > took/2 {
		u.rate = float64(last.packets-begin.packets) / during.Seconds()
	}
	return u, nil
}

// next waits for a reading.
func (w *flooded) next(ctx context.Context) (reading, error) {
	ctx, cancel := context.WithTimeout(ctx, capturePatience)
	defer cancel()
	select {
	case r := <-w.readings:
		return r, nil
	case err := <-w.done:
		w.done <- nil
		return reading{}, errors.Join(errors.New("the engine has ended"), err)
	case <-ctx.Done():
		return reading{}, fmt.Errorf("wait for the worker: %w", ctx.Err())
	}
}
