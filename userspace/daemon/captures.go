package daemon

import (
	"context"
	"time"

	"weir/userspace/api"
	"weir/userspace/config"
	"weir/userspace/engines"
	"weir/userspace/traffic"
)

// capture is an interface whose frames workers count, in user space.
type capture struct {
	conf    config.Interface
	engine  engines.Engine
	workers []*worker
}

// openCaptures opens the interfaces that have another engine than XDP. What arrives from now on waits in their rings until the
// workers run.
func (d *daemon) openCaptures(cfg *config.Config, undo *closers) error {
	for _, i := range cfg.Interfaces {
		if i.Engine == config.EngineXDP {
			continue
		}
		e, err := engines.Open(i, engines.Options{Namespace: d.opts.Namespace, SnapLength: snapLength(cfg), Log: d.opts.Log})
		if err != nil {
			return err
		}
		c := &capture{conf: i, engine: e}
		for range e.Workers() {
			w := newWorker(d.frames.ParseLink, cfg)
			w.weight = engines.Weight(i)
			c.workers = append(c.workers, w)
		}
		d.captures = append(d.captures, c)
		d.workers = append(d.workers, c.workers...)
		undo.add(d.unlessServed(func() error { return closeCapture(e) }))
	}
	return nil
}

// tunnelledBytes are looked at of each frame when tunnels are: their headers may take 300 bytes and more.
const tunnelledBytes = 512

// snapLength is how much of each frame engines are to copy; 0: as much as they do by themselves.
func snapLength(cfg *config.Config) int {
	if t := cfg.Tunnels.Effective(); t.Any() {
		return tunnelledBytes
	}
	return 0
}

// closeCapture closes an engine that never ran: engines close themselves when they are stopped.
func closeCapture(e engines.Engine) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return e.Run(ctx, func(int) func(*traffic.Frame) { return func(*traffic.Frame) {} }, func(int, time.Time) {})
}

// run counts what an interface sees until ctx ends.
func (c *capture) run(ctx context.Context) error {
	return c.engine.Run(ctx,
		func(i int) func(*traffic.Frame) { return c.workers[i].frame },
		func(i int, now time.Time) { c.workers[i].tick(now) })
}

// capturedInterfaces are those that workers of user space see, as they are now.
func (e *engine) capturedInterfaces() []api.Interface {
	var out []api.Interface
	for _, c := range e.captures {
		s := c.engine.Stats()
		out = append(out, api.Interface{
			Name: c.conf.Name, Role: string(c.conf.Role), Engine: string(c.conf.Engine), Mode: s.Mode, Why: s.Error, Attached: s.Error == "", Capture: &s,
		})
	}
	return out
}
