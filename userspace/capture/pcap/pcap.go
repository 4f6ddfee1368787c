// Package pcap captures from an interface as libpcap does: through libpcap itself where Weir was built with it, else by the system's own interface.
package pcap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"weir/userspace/traffic"
)

// Options say what is captured. Only Interface must be set.
type Options struct {
	Interface   string // on Linux, "any" is all of them
	SnapLength  int    // bytes of each frame that are taken; 0: 256, which is all that Weir looks at
	Buffer      int    // bytes that wait in the kernel; 0: 2 MiB
	Promiscuous bool
	Sampling    uint32   // each frame stands for so many; told in no way, whoever counts knows it
	Namespace   *os.File // Linux: the network namespace of the interface; nil: the process's own
	Log         *slog.Logger
}

const (
	defaultSnapLength = 256
	defaultBuffer     = 2 << 20
	wait              = 100 * time.Millisecond // how long a source waits for a frame
	retry             = time.Second            // how long after an interface went away it is looked for again
)

// source is where frames come from. next waits for a frame at most for about the time of wait, and reports false when none came.
type source interface {
	next(f *traffic.Frame) (bool, error)
	drops() (uint64, error) // frames that found no room, since the source was opened
	mode() string
	close() error
}

// Engine captures from one interface, in one goroutine.
type Engine struct {
	opts     Options
	log      *slog.Logger
	source   source // nil while the interface is away
	mode     atomic.Pointer[string]
	received atomic.Uint64
	dropped  atomic.Uint64 // of sources before the one in use
	dropping atomic.Uint64 // of the one in use
	restarts atomic.Uint64
	trouble  atomic.Pointer[string]
}

// errDown is the error of an interface that is there and switched off.
var errDown = errors.New("the interface is down")

// isDown says whether an interface of the calling thread's namespace is there and switched off: a source of its frames can be opened all
// the same, and is of no use.
func isDown(name string) bool {
	device, err := net.InterfaceByName(name)
	return err == nil && device.Flags&net.FlagUp == 0
}

// Open opens the interface. One that is only down is waited for. The error names what is missing: the interface, or the right to capture.
func Open(o Options) (*Engine, error) {
	if o.Interface == "" {
		return nil, errors.New("open capture: no interface; name one")
	}
	if o.SnapLength == 0 {
		o.SnapLength = defaultSnapLength
	}
	if o.Buffer == 0 {
		o.Buffer = defaultBuffer
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{opts: o, log: o.Log.With("component", "pcap", "interface", o.Interface)}
	err := e.open()
	if errors.Is(err, errDown) {
		e.log.Warn("capture waits", "error", err)
		e.tell(e.explain(err).Error())
		return e, nil
	}
	if err != nil {
		return nil, e.explain(err)
	}
	return e, nil
}

func (e *Engine) open() error {
	s, err := openSource(&e.opts)
	if err != nil {
		return err
	}
	mode := s.mode()
	e.source = s
	e.mode.Store(&mode)
	return nil
}

func (e *Engine) explain(err error) error {
	err = fmt.Errorf("capture from %s: %w", e.opts.Interface, err)
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w; %s", err, permissionRemedy)
	}
	return err
}

// Workers is how many goroutines hand frames over: one.
func (e *Engine) Workers() int { return 1 }

// Run hands frames over until ctx ends, then closes the interface. handle is called once, for worker 0; what it returns is called
// for each frame. idle is called at least ten times a second, by the same goroutine. An interface that goes away is waited for.
func (e *Engine) Run(ctx context.Context, handle func(worker int) func(*traffic.Frame), idle func(worker int, now time.Time)) error {
	see := handle(0)
	var last time.Time
	var f traffic.Frame
	for ctx.Err() == nil {
		if e.source == nil && !e.reopen(ctx, idle) {
			continue
		}
		ok, err := e.source.next(&f)
		if err != nil {
			e.lose(err)
			continue
		}
		if ok {
			e.received.Add(1)
			see(&f)
		}
		if now := time.Now(); now.Sub(last) >= wait/2 {
			last = now
			e.count()
			idle(0, now)
		}
	}
	if e.source == nil {
		return nil
	}
	e.count()
	return e.source.close()
}

// count takes over what the kernel has counted.
func (e *Engine) count() {
	n, err := e.source.drops()
	if err != nil {
		e.tell(err.Error())
		return
	}
	e.dropping.Store(n)
}

// tell says what is wrong now; nothing when the text is empty.
func (e *Engine) tell(text string) { e.trouble.Store(&text) }

// lose gives a source up whose interface is gone.
func (e *Engine) lose(err error) {
	e.log.Warn("capture interrupted", "error", err)
	e.tell(e.explain(err).Error())
	e.dropped.Add(e.dropping.Swap(0))
	if err := e.source.close(); err != nil {
		e.log.Warn("capture cannot be closed", "error", err)
	}
	e.source = nil
}

// reopen waits a while and opens the interface again.
func (e *Engine) reopen(ctx context.Context, idle func(int, time.Time)) bool {
	ticks := time.NewTicker(wait / 2)
	defer ticks.Stop()
	for began := time.Now(); time.Since(began) < retry; {
		select {
		case <-ctx.Done():
			return false
		case now := <-ticks.C:
			idle(0, now)
		}
	}
	if err := e.open(); err != nil {
		e.tell(e.explain(err).Error())
		return false
	}
	e.restarts.Add(1)
	e.tell("")
	e.log.Info("capture goes on")
	return true
}

// Stats may be called at any time.
func (e *Engine) Stats() traffic.CaptureStats {
	s := traffic.CaptureStats{
		Engine: "pcap", Interface: e.opts.Interface, Workers: 1,
		Received: e.received.Load(), KernelDrop: e.dropped.Load() + e.dropping.Load(), Restarts: e.restarts.Load(),
	}
	if mode := e.mode.Load(); mode != nil {
		s.Mode = *mode
	}
	if t := e.trouble.Load(); t != nil {
		s.Error = *t
	}
	return s
}
