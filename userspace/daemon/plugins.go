package daemon

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"weir/userspace/config"
	"weir/userspace/export"
	"weir/userspace/plugin"
	"weir/userspace/traffic"
)

// plugins is the external programs that a configuration has, and the workers that count what they bring.
type plugins struct {
	list      []*plugin.Plugin
	mitigates []*plugin.Plugin // are told of bans
	workers   []*lockedWorker
}

// lockedWorker is a worker that several goroutines count with, in turn.
type lockedWorker struct {
	*worker
	mu sync.Mutex
}

func (w *lockedWorker) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// openPlugins makes the programs' hosts; none of them is started yet. Those that are told of anything are sinks like others.
func (d *daemon) openPlugins(cfg *config.Config) error {
	for i := range cfg.Plugins {
		c := &cfg.Plugins[i]
		at := fmt.Sprintf("plugins[%d]", i)
		folder, err := filepath.Abs(filepath.Join(filepath.Dir(cfg.API.Socket), "plugins"))
		if err != nil {
			return cfg.At(at, err)
		}
		o := plugin.Options{Name: c.Name, Command: c.Command, Settings: c.Settings, Version: d.opts.Version, Folder: folder, User: c.User}
		for _, name := range c.Kinds {
			kind, err := plugin.ParseKind(name)
			if err != nil {
				return cfg.At(at, err)
			}
			o.Kinds = append(o.Kinds, kind)
		}
		calls := plugin.Callbacks{Detect: d.detected, Applied: func(_ uint64, results []plugin.Result) { d.applied(c.Name, results) }}
		if slices.Contains(o.Kinds, plugin.KindSource) {
			w := &lockedWorker{worker: newWorker(d.frames.ParseLink, cfg)}
			d.plugins.workers = append(d.plugins.workers, w)
			d.workers = append(d.workers, w.worker)
			calls.Flows = func(flows []traffic.Flow) {
				w.do(func() {
					for i := range flows {
						w.flow(&flows[i])
					}
				})
			}
			calls.Frames = func(frames []traffic.Frame) {
				w.do(func() {
					for i := range frames {
						w.frame(&frames[i])
					}
				})
			}
		}
		p, err := plugin.New(o, calls, d.opts.Log)
		if err != nil {
			return cfg.At(at, err)
		}
		d.plugins.list = append(d.plugins.list, p)
		if slices.Contains(o.Kinds, plugin.KindMitigator) {
			d.plugins.mitigates = append(d.plugins.mitigates, p)
		}
		if slices.Contains(o.Kinds, plugin.KindSink) || slices.Contains(o.Kinds, plugin.KindDetector) {
			d.exports.add(export.New("plugins."+c.Name, p, export.Options{
				Every: c.Limits.Every, Timeout: c.Limits.Timeout, Queue: c.Limits.Queue, FlowQueue: c.Limits.FlowQueue,
			}, d.opts.Log))
		}
	}
	return nil
}

// runPlugins keeps the programs running until the daemon stops.
func (d *daemon) runPlugins() {
	for _, p := range d.plugins.list {
		d.group.Go(func() error {
			if err := p.Run(d.ctx); err != nil {
				d.log.Error("a plug-in has ended", "error", err) // detection goes on without
			}
			return nil
		})
	}
	for _, w := range d.plugins.workers {
		d.group.Go(func() error {
			ticks := time.NewTicker(workerTick)
			defer ticks.Stop()
			for {
				select {
				case <-d.ctx.Done():
					return nil
				case now := <-ticks.C:
					w.do(func() { w.tick(now) })
				}
			}
		})
	}
}

// detected takes what a plug-in says of an attack to the manager, as if the detector had said it.
func (d *daemon) detected(p plugin.Detection) error {
	if !d.members.Load().table.Contains(p.Target) {
		return fmt.Errorf("%s is not inside our networks", p.Target)
	}
	t := traffic.Target{Scope: traffic.ScopePrefix, Prefix: p.Target, Group: d.members.Load().name(p.Target.Addr()), Direction: p.Direction}
	if p.Target.IsSingleIP() {
		t.Scope = traffic.ScopeHost
	}
	e := traffic.Event{Target: t, At: p.At, Started: p.Started, Hosts: 1, Trip: traffic.Trip{Metric: p.Metric, Value: p.Value, Limit: p.Limit, Window: time.Second}}
	switch p.Kind {
	case plugin.DetectionStarted:
		e.Kind = traffic.EventStarted
	case plugin.DetectionEnded:
		e.Kind = traffic.EventEnded
	default:
		return nil // it is followed already
	}
	d.tellLoop(func(now time.Time) {
		d.log.Info("told by a plug-in", "plugin", p.Plugin, "kind", p.Kind.String(), "target", t.String(), "reason", p.Reason)
		d.perform(d.manager.Handle(now, e, d.rates(t, e.Trip)))
	})
	return nil
}

// applied says what became of bans at a mitigator.
func (d *daemon) applied(name string, results []plugin.Result) {
	for _, r := range results {
		if !r.InForce {
			d.log.Warn("a plug-in has not put a ban in force", "plugin", name, "attack_id", r.AttackID, "why", r.Message)
		}
	}
}
