// Package pfring captures through ntop's PF_RING: by the kernel module's own interface, or by its library where Weir was built with it.
package pfring

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"weir/userspace/traffic"
)

// ClusterType is how a cluster's rings share packets (enum cluster_type of linux/pf_ring.h).
type ClusterType uint32

const (
	ClusterFlow       ClusterType = iota // by flow, VLAN included
	ClusterRoundRobin                    // one after the other
	ClusterTwoTuple                      // by addresses
	ClusterFourTuple                     // by addresses and ports
	ClusterFiveTuple                     // and protocol
)

// Options say what is captured. Only Interface must be set.
type Options struct {
	Interface      string // PF_RING's syntax: eth1, eth1@0-3, eth1,eth2; zc:eth1 and the like need its library
	Workers        int    // rings, each with a goroutine; more than one share the packets as a cluster; 0: 1
	Cluster        int    // the cluster's number, to share packets with other programs too; 0: our own, if there is more than one worker
	ClusterType    ClusterType
	SnapLength     int    // bytes of each packet; 0: 256
	Watermark      int    // packets that must wait before Weir is woken; 0: 128
	KernelSampling uint32 // the module passes one packet in so many on; 0 and 1: all
	Promiscuous    bool
	Log            *slog.Logger
}

const (
	defaultSnapLength = 256
	defaultWatermark  = 128
	wait              = 100 * time.Millisecond
	retry             = time.Second
	// What waits for a watermark that is not reached comes after this at the latest.
	watermarkTime = 10 * time.Millisecond
)

// source is one ring and what fills it. take hands over what is there; wait lets more come, for at most d.
type source interface {
	take(f *traffic.Frame, see func(*traffic.Frame)) (frames, broken uint64)
	wait(d time.Duration) error
	counts() (packets, lost uint64)
	mode() string
	close() error
}

// Engine captures from the rings of one device.
type Engine struct {
	opts    Options
	device  device
	log     *slog.Logger
	members []*member
	mode    string

	restarts atomic.Uint64
	trouble  atomic.Pointer[string]
}

// member is one ring and the goroutine that reads it.
type member struct {
	source   source
	received atomic.Uint64
	broken   atomic.Uint64
	before   atomic.Uint64 // lost by the sources before the one in use
	lost     atomic.Uint64 // by that one
}

// Open opens the device's rings. The error names what is missing: the module, the interface, the right, or the library.
func Open(o Options) (*Engine, error) {
	d, err := parseDevice(o.Interface)
	if err != nil {
		return nil, err
	}
	o.Workers = max(o.Workers, 1)
	if o.SnapLength == 0 {
		o.SnapLength = defaultSnapLength
	}
	if o.Watermark == 0 {
		o.Watermark = defaultWatermark
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{opts: o, device: d, log: o.Log.With("component", "pfring", "interface", o.Interface)}
	for range o.Workers {
		s, err := e.open()
		if err != nil {
			return nil, errors.Join(err, e.close())
		}
		e.members = append(e.members, &member{source: s})
	}
	e.mode = e.members[0].source.mode()
	return e, nil
}

func (e *Engine) open() (source, error) {
	if e.device.library != "" {
		return openLibrary(&e.opts)
	}
	return openRing(&e.opts, &e.device)
}

// Workers is how many rings are read, each by a goroutine.
func (e *Engine) Workers() int { return len(e.members) }

// Run hands packets over until ctx ends, then closes the rings. handle is called once per worker; what it returns is called for each
// packet, by one goroutine. idle is called at least ten times a second, by the same goroutine.
func (e *Engine) Run(ctx context.Context, handle func(worker int) func(*traffic.Frame), idle func(worker int, now time.Time)) error {
	var running sync.WaitGroup
	for i, m := range e.members {
		see := handle(i)
		running.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			e.follow(ctx, m, see, func(now time.Time) { idle(i, now) })
		})
	}
	running.Wait()
	return e.close()
}

func (e *Engine) follow(ctx context.Context, m *member, see func(*traffic.Frame), idle func(time.Time)) {
	var f traffic.Frame
	for ctx.Err() == nil {
		if m.source == nil && !e.reopen(ctx, m, idle) {
			continue
		}
		frames, broken := m.source.take(&f, see)
		m.received.Add(frames)
		m.broken.Add(broken)
		_, lost := m.source.counts()
		m.lost.Store(lost)
		idle(time.Now())
		if frames > 0 {
			continue
		}
		if err := m.source.wait(wait); err != nil {
			e.lose(m, err)
		}
	}
}

func (e *Engine) lose(m *member, err error) {
	e.tell(err.Error())
	e.log.Warn("PF_RING ring interrupted", "error", err)
	m.before.Add(m.lost.Swap(0))
	if err := m.source.close(); err != nil {
		e.log.Warn("PF_RING ring cannot be closed", "error", err)
	}
	m.source = nil
}

func (e *Engine) tell(text string) { e.trouble.Store(&text) }

// reopen waits a while and opens the ring again.
func (e *Engine) reopen(ctx context.Context, m *member, idle func(time.Time)) bool {
	ticks := time.NewTicker(wait)
	defer ticks.Stop()
	for began := time.Now(); time.Since(began) < retry; {
		select {
		case <-ctx.Done():
			return false
		case now := <-ticks.C:
			idle(now)
		}
	}
	s, err := e.open()
	if err != nil {
		e.tell(err.Error())
		return false
	}
	m.source = s
	e.restarts.Add(1)
	e.tell("")
	return true
}

func (e *Engine) close() error {
	var errs []error
	for _, m := range e.members {
		if m.source != nil {
			errs = append(errs, m.source.close())
			m.source = nil
		}
	}
	return errors.Join(errs...)
}

// Stats may be called at any time.
func (e *Engine) Stats() traffic.CaptureStats {
	s := traffic.CaptureStats{Engine: "pfring", Interface: e.opts.Interface, Mode: e.mode, Workers: len(e.members), Restarts: e.restarts.Load()}
	for _, m := range e.members {
		s.Received += m.received.Load()
		s.KernelDrop += m.before.Load() + m.lost.Load()
		s.Dropped += m.broken.Load()
	}
	if t := e.trouble.Load(); t != nil {
		s.Error = *t
	}
	return s
}
