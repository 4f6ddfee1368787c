// Package snabb captures through SnabbSwitch: it runs Snabb as a child process, which hands frames over by a ring in shared memory.
package snabb

import (
	"context"
	_ "embed" // of weir.lua
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"weir/userspace/traffic"
)

//go:embed weir.lua
var script []byte

// Options say what is captured. Only Interface must be set.
type Options struct {
	// Interface is KIND:ARGUMENT. raw:eth1, or eth1 alone, is an interface of Linux; tap:NAME a tap device; pcap:FILE a capture;
	// app:MODULE:CLASS:PORT:LUA-EXPRESSION any app of Snabb's that sends; firehose:0000:04:00.0, or the PCI address alone, a NIC
	// driven by `snabb firehose`; ring:PATH a ring that is written by somebody else's process: it is made where it is missing.
	Interface   string
	Program     string   // a path, or a name that is looked for in $PATH; empty: snabb
	Script      string   // run in place of the one that is built in, with the same arguments; for firehose, the plug-in; empty: our own
	RingBytes   int      // of frames that wait, a power of two from 64 KiB on; 0: 16 MiB
	RingPath    string   // of the ring's file, which must not be there yet; empty: a new one in /dev/shm. Not for ring:PATH
	Promiscuous bool     // of raw:
	Namespace   *os.File // the network namespace that Snabb runs in; nil: the process's own
	Log         *slog.Logger
}

const (
	defaultProgram   = "snabb"
	defaultRingBytes = 16 << 20
	// Snabb cannot wake us: the ring is looked at again after a pause, which grows while nothing comes. The ring holds what a
	// 10 Gbit/s port brings in the longest.
	shortPause = 500 * time.Microsecond
	longPause  = 5 * time.Millisecond
	idleEvery  = 50 * time.Millisecond
)

// Engine captures from one Snabb process, in one goroutine.
type Engine struct {
	opts   Options
	target target
	log    *slog.Logger
	shared *shared // the ring's file and its memory
	child  *child  // nil: the writer is not ours

	lostBefore uint64 // what the ring counted before we came
	received   atomic.Uint64
	broken     atomic.Uint64
	lost       atomic.Uint64
	restarts   atomic.Uint64
	trouble    atomic.Pointer[string]
}

// Open makes the ring and checks what can be checked before Snabb runs. The error names what is missing: the program, the right to
// run it, the interface, the plug-in, or memory.
func Open(o Options) (*Engine, error) {
	t, err := parseTarget(o.Interface)
	if err != nil {
		return nil, err
	}
	if o.Program == "" {
		o.Program = defaultProgram
	}
	if o.RingBytes == 0 {
		o.RingBytes = defaultRingBytes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{opts: o, target: t, log: o.Log.With("component", "snabb", "interface", o.Interface)}
	if err := e.prepare(); err != nil {
		return nil, err
	}
	e.lostBefore = e.shared.dropped()
	return e, nil
}

// Workers is how many goroutines hand frames over: one.
func (e *Engine) Workers() int { return 1 }

// Run runs Snabb and hands frames over until ctx ends, then ends Snabb and removes the ring. handle is called once, for worker 0;
// what it returns is called for each frame. idle is called at least ten times a second, by the same goroutine. A Snabb that ends or
// hangs is started again.
func (e *Engine) Run(ctx context.Context, handle func(worker int) func(*traffic.Frame), idle func(worker int, now time.Time)) error {
	var running sync.WaitGroup
	running.Go(func() {
		if e.child != nil {
			e.supervise(ctx)
		} else {
			e.listen(ctx)
		}
	})
	e.read(ctx, handle(0), idle)
	running.Wait()
	return e.close()
}

// read hands over what comes.
func (e *Engine) read(ctx context.Context, see func(*traffic.Frame), idle func(int, time.Time)) {
	var f traffic.Frame
	var last time.Time
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause := shortPause
	for {
		frames, broken := e.shared.take(&f, see)
		e.received.Add(frames)
		e.broken.Add(broken)
		now := time.Now()
		if now.Sub(last) >= idleEvery {
			last = now
			e.lost.Store(e.shared.dropped() - e.lostBefore)
			idle(0, now)
		}
		if frames+broken > 0 {
			pause = shortPause
			if ctx.Err() != nil {
				return
			}
			continue
		}
		timer.Reset(pause)
		pause = min(pause*2, longPause)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// tell says what is wrong now; nothing when the text is empty.
func (e *Engine) tell(text string) { e.trouble.Store(&text) }

func (e *Engine) close() error {
	var errs []error
	if e.child != nil {
		errs = append(errs, e.child.close())
	}
	return errors.Join(append(errs, e.shared.close())...)
}

// Stats may be called at any time.
func (e *Engine) Stats() traffic.CaptureStats {
	s := traffic.CaptureStats{
		Engine: "snabb", Interface: e.opts.Interface, Mode: e.target.kind, Workers: 1,
		Received: e.received.Load(), KernelDrop: e.lost.Load(), Dropped: e.broken.Load(), Restarts: e.restarts.Load(),
	}
	if t := e.trouble.Load(); t != nil {
		s.Error = *t
	}
	return s
}
