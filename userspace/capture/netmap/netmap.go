// Package netmap captures through netmap: rings that the NIC's driver shares with user space, on Linux with its module and on FreeBSD.
package netmap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"weir/userspace/traffic"
)

// Options say what is captured. Only Interface must be set.
type Options struct {
	Interface   string // netmap's own syntax: eth1, netmap:eth1-2, vale0:1, eth1{3
	HostRings   bool   // allow the suffixes ^ and *, which take what the host itself sends and receives
	Promiscuous bool
	Device      string // the character device; empty: /dev/netmap
	Log         *slog.Logger
}

const (
	deviceFile = "/dev/netmap"
	wait       = 100 * time.Millisecond
	retry      = time.Second
)

// Engine captures from all rings of one port, each in a goroutine of its own with a thread of its own: netmap moves frames inside
// of poll(2), so waiting is done there and not in Go's own poller.
type Engine struct {
	opts  Options
	port  port
	log   *slog.Logger
	rings []*member
	done  func() error // restores promiscuous mode

	restarts atomic.Uint64
	trouble  atomic.Pointer[string]
}

// member is one ring and who reads it.
type member struct {
	number   int
	host     bool
	binding  *binding
	ring     *ring
	received atomic.Uint64
	broken   atomic.Uint64
}

// Open registers the port. From then on its frames go to Weir, and no more to the host's own network stack: a port for mirrored
// traffic only.
func Open(o Options) (*Engine, error) {
	p, err := parsePort(o.Interface)
	if err != nil {
		return nil, err
	}
	if p.host && !o.HostRings {
		return nil, fmt.Errorf("netmap port %q: host rings take this machine's own traffic off its network stack; set host_rings to allow that", o.Interface)
	}
	if o.Device == "" {
		o.Device = deviceFile
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{opts: o, port: p, log: o.Log.With("component", "netmap", "interface", o.Interface), done: func() error { return nil }}
	rings, hostRings, err := countRings(o.Device, p.name)
	if err != nil {
		return nil, err
	}
	if p.nic {
		for i := range rings {
			if len(p.rings) == 0 || p.rings[0] == i {
				e.rings = append(e.rings, &member{number: i})
			}
		}
	}
	if p.host {
		for i := range hostRings {
			e.rings = append(e.rings, &member{number: i, host: true})
		}
	}
	if len(e.rings) == 0 {
		return nil, fmt.Errorf("netmap port %q: no such ring; the port has %d receive rings and %d host rings", o.Interface, rings, hostRings)
	}
	for _, m := range e.rings {
		if err := m.open(o.Device, p.name); err != nil {
			return nil, errors.Join(err, e.close())
		}
	}
	if device := p.device(); o.Promiscuous && device != "" {
		if e.done, err = promiscuous(device); err != nil {
			return nil, errors.Join(err, e.close())
		}
	}
	e.log.Warn("netmap has taken the port: the network stack of this machine sees nothing of it any more", "rings", len(e.rings))
	return e, nil
}

func (m *member) open(device, name string) (err error) {
	if m.binding, err = bind(device, name, m.number, m.host); err != nil {
		return err
	}
	m.ring, err = findRing(m.binding.mem, m.binding.offset, m.number, m.host)
	return err
}

// Workers is how many rings are read, each by a goroutine.
func (e *Engine) Workers() int { return len(e.rings) }

// Run hands frames over until ctx ends, then gives the port back. handle is called once per worker; what it returns is called for
// each frame, by one goroutine. idle is called at least ten times a second, by the same goroutine.
func (e *Engine) Run(ctx context.Context, handle func(worker int) func(*traffic.Frame), idle func(worker int, now time.Time)) error {
	var running sync.WaitGroup
	for i, m := range e.rings {
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

// follow reads one ring, and registers anew when the port has gone away.
func (e *Engine) follow(ctx context.Context, m *member, see func(*traffic.Frame), idle func(time.Time)) {
	var f traffic.Frame
	for ctx.Err() == nil {
		if m.binding == nil && !e.reopen(ctx, m, idle) {
			continue
		}
		ready, err := m.binding.wait(wait)
		if err != nil {
			e.lose(m, err)
			continue
		}
		now := time.Now()
		if ready {
			t := m.ring.take(&f, see)
			m.received.Add(t.frames)
			m.broken.Add(t.broken)
		}
		idle(now)
	}
}

func (e *Engine) lose(m *member, err error) {
	e.tell(err.Error())
	e.log.Warn("netmap port interrupted", "ring", m.number, "error", err)
	if err := m.binding.close(); err != nil {
		e.log.Warn("netmap port cannot be closed", "error", err)
	}
	m.binding = nil
}

func (e *Engine) tell(text string) { e.trouble.Store(&text) }

// reopen waits a while and registers the ring again.
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
	if err := m.open(e.opts.Device, e.port.name); err != nil {
		e.tell(err.Error())
		if m.binding != nil {
			e.lose(m, err)
		}
		return false
	}
	e.restarts.Add(1)
	e.tell("")
	return true
}

func (e *Engine) close() error {
	errs := []error{e.done()}
	for _, m := range e.rings {
		if m.binding != nil {
			errs = append(errs, m.binding.close())
			m.binding = nil
		}
	}
	return errors.Join(errs...)
}

// Stats may be called at any time. netmap counts no drops of its own: those of the NIC are its driver's (ethtool -S).
func (e *Engine) Stats() traffic.CaptureStats {
	s := traffic.CaptureStats{Engine: "netmap", Interface: e.opts.Interface, Mode: "one ring per thread", Workers: len(e.rings), Restarts: e.restarts.Load()}
	for _, m := range e.rings {
		s.Received += m.received.Load()
		s.Dropped += m.broken.Load()
	}
	if t := e.trouble.Load(); t != nil {
		s.Error = *t
	}
	return s
}

// Probe says whether netmap is there.
func Probe() (available bool, why, remedy string) {
	f, err := os.OpenFile(deviceFile, os.O_RDWR, 0)
	switch {
	case err == nil:
		if err := f.Close(); err != nil {
			return false, err.Error(), ""
		}
		return true, deviceFile + " is there", ""
	case errors.Is(err, os.ErrNotExist):
		return false, deviceFile + " is not there: the netmap module is not loaded", moduleRemedy
	case errors.Is(err, os.ErrPermission):
		return false, deviceFile + " may not be opened", "run as root, or let the group that Weir runs in read and write " + deviceFile
	}
	return false, err.Error(), ""
}
