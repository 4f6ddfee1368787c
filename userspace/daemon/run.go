package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/loader"
	"weir/userspace/api"
	"weir/userspace/config"
	"weir/userspace/detect"
	"weir/userspace/investigate"
	"weir/userspace/metrics"
	"weir/userspace/mitigate"
	"weir/userspace/netsource"
	"weir/userspace/notify"
	"weir/userspace/packet"
	"weir/userspace/respond"
	"weir/userspace/store"
	"weir/userspace/traffic"
)

// openVZEvery is how often the list of an OpenVZ machine's containers is read again.
const openVZEvery = 30 * time.Second

// daemon is the running whole: the engine, and what is around it.
type daemon struct {
	*engine
	group    *errgroup.Group
	ctx      context.Context // of the group: errgroup hands it out but once
	openvz   *netsource.OpenVZ
	served   bool       // the API and metrics have begun to run, and close themselves
	reload   sync.Mutex // one reload at a time; guards what follows
	live     liveAddresses
	quietEnd context.CancelFunc // ends the notifier in force
}

// Run runs the daemon until ctx ends. Nothing is attached when it returns, unless the configuration says that it stays.
func Run(ctx context.Context, o Options) (err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	cfg, err := config.Load(o.ConfigPath)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	for _, w := range cfg.Warnings {
		o.Log.Warn("configuration", "warning", w.Error())
	}
	frames, err := packet.NewParser(cfg.Tunnels)
	if err != nil {
		return err
	}
	now := time.Now()
	inside := cfg.Tunnels.Effective()
	d := &daemon{engine: &engine{
		log: o.Log.With("component", "daemon"), opts: o, commands: make(chan func(time.Time)), frames: frames, tunnels: inside.Any(), packets: newEvidence(), inquiries: map[traffic.Target]*inquiry{}, auto: responder{Book: respond.New(roomForRules)}, started: now, loaded: now, second: now,
	}}
	if err := d.findLive(cfg); err != nil {
		return err
	}
	undo := &closers{}
	defer func() { err = errors.Join(err, undo.close()) }()
	if err := d.open(ctx, cfg, undo); err != nil {
		return err
	}
	return d.serve(ctx, cfg)
}

// open makes the parts, in an order that meets what can go wrong before anything is attached.
func (d *daemon) open(ctx context.Context, cfg *config.Config, undo *closers) (err error) {
	log, now := d.opts.Log, d.started
	if d.server, err = api.New(api.Options{
		Socket: cfg.API.Socket, Group: cfg.API.Group, Log: log, Backend: d.backend(d.reloadNow),
	}); err != nil {
		return err
	}
	if err := d.server.Listen(); err != nil {
		return err
	}
	undo.add(d.unlessServed(d.server.Close))
	if cfg.Prometheus.Listen != "" {
		if d.metrics, err = metrics.New(metrics.Options{
			Listen: cfg.Prometheus.Listen, Build: metrics.Build{Version: d.opts.Version}, Log: log,
			Snapshot: d.scrape,
		}); err != nil {
			return err
		}
		if err := d.metrics.Listen(ctx); err != nil {
			return err
		}
		undo.add(d.unlessServed(d.metrics.Close))
	}
	if usesKernel(cfg) {
		if err := lockPins(cfg.Pin.Path, cfg.Pin.OnStop == config.OnStopKeep, undo); err != nil {
			return err
		}
	}
	if d.store, err = store.Open(cfg.Store.Path, store.Options{}, log); err != nil {
		return err
	}
	undo.add(d.store.Close)
	if d.rules, err = openRules(cfg.Store.Path); err != nil {
		return err
	}
	records, err := d.remembered()
	if err != nil {
		return err
	}
	if d.records, err = d.newRecords(cfg); err != nil {
		return err
	}
	undo.add(d.closeRecords)
	if d.exports, err = d.newSinks(cfg); err != nil {
		return err
	}
	for range flowWorkers(cfg) {
		d.workers = append(d.workers, newWorker(d.frames.ParseLink, cfg))
	}
	if err := d.openCaptures(cfg, undo); err != nil {
		return err
	}
	if err := d.openKafkaFlows(cfg); err != nil {
		return err
	}
	if err := d.openPlugins(cfg); err != nil {
		return err
	}
	if d.world, err = newWorld(cfg, d.live.all(), len(d.workers), now); err != nil {
		return err
	}
	undo.add(func() error { return d.world.close() })
	d.members.Store(membersOf(cfg, d.world.table))
	for i, w := range d.workers {
		w.writer, w.records = d.world.workers.writers[i], d.records
		w.given.takers = d.exports.takers
	}
	d.book = investigate.New(d.ours())
	d.detector = detect.New(detectPolicy(cfg, d.world.table))
	if d.hooks, err = d.openHooks(cfg); err != nil {
		return err
	}
	d.manager = mitigate.New(d.mitigatePolicy(cfg, d.world.table))
	d.killFile = exists(cfg.Mitigation.KillSwitchFile)
	d.rules.expire(now)
	if err := d.applyRules(now, d.rules.list); err != nil { // also when there are none: a data plane that was adopted may have some
		d.log.Error("rules are not in force", "error", err)
	}
	if err := d.openKernel(cfg, undo); err != nil {
		return err
	}
	if err := d.openFlows(ctx, cfg); err != nil {
		return err
	}
	if d.routers, err = newAnnouncer(cfg, d.world.table, d.store.Sync, d.opts); err != nil {
		return err
	}
	d.routers.enforce(cfg, d.world.table, d.killFile)
	// What was banned before is banned again before the first packet is seen.
	d.exports.known(records)
	d.perform(d.manager.Restore(now, records))
	d.routers.update(d.manager.Bans())
	d.publish.Store(d.snapshot())
	return nil
}

// openKernel makes ready what attaches the data plane.
func (d *daemon) openKernel(cfg *config.Config, undo *closers) (err error) {
	plane := d.world.plane
	if plane == nil {
		return nil
	}
	if cfg.Pin.OnStop == config.OnStopDetach {
		undo.add(func() error { return d.world.plane.Unpin() })
	}
	if plane.Adopted() {
		d.base.takeOff(plane.Counters())
	}
	d.attacher, err = loader.NewAttacher(plane.ProgramSet(), loader.AttachOptions{
		PinPath: cfg.Pin.Path, Log: d.opts.Log, OnStop: onStop(cfg), Namespace: d.opts.Namespace,
	}, interfacesOf(cfg))
	return err
}

// unlessServed wraps a Close that is for what was opened and never run.
func (d *daemon) unlessServed(f func() error) func() error {
	return func() error {
		if d.served {
			return nil
		}
		return f()
	}
}

// remembered is what the store has: attacks that are over first, then those that were not.
func (d *daemon) remembered() ([]traffic.Record, error) {
	over, err := d.store.History(mitigate.DefaultHistory)
	if err != nil {
		return nil, err
	}
	slices.Reverse(over)
	on, err := d.store.Load()
	if err != nil {
		return nil, err
	}
	return append(over, on...), nil
}

func onStop(cfg *config.Config) loader.OnStop {
	if cfg.Pin.OnStop == config.OnStopKeep {
		return loader.StopKeep
	}
	return loader.StopDetach
}

// serve runs the parts until ctx ends or one of them fails.
func (d *daemon) serve(ctx context.Context, cfg *config.Config) error {
	d.group, d.ctx = errgroup.WithContext(ctx)
	d.done = d.ctx.Done()
	d.aside = func(f func()) {
		d.group.Go(func() error {
			f()
			return nil
		})
	}
	d.group.Go(func() error { return d.store.Run(d.ctx) })
	if d.records != nil {
		d.group.Go(func() error { return d.records.keeper.Run(d.ctx) })
	}
	if err := d.startNotifier(cfg); err != nil {
		d.group.Go(func() error { return err }) // which ends the others
		return d.group.Wait()
	}
	d.routers.run(d.ctx, d.group)
	d.exports.run(d.ctx, d.group)
	d.runPlugins()
	at := make(chan struct{})
	close(at) // without XDP there is nothing to wait for
	var started <-chan struct{} = at
	if d.attacher != nil {
		started = d.attacher.Started()
		d.group.Go(func() error { return d.attacher.Run(d.ctx) })
	}
	d.group.Go(func() error {
		select {
		case <-started:
		case <-d.ctx.Done():
			return nil
		}
		d.served = true
		if d.flows != nil {
			d.group.Go(func() error { return d.flows.collector.Run(d.ctx) })
		}
		if d.kafka != nil {
			d.group.Go(func() error { return d.kafka.run(d.ctx) })
		}
		for _, c := range d.captures {
			d.group.Go(func() error { return c.run(d.ctx) })
		}
		d.group.Go(func() error { return d.run(d.ctx) })
		d.group.Go(func() error { return d.server.Run(d.ctx) })
		if d.metrics != nil {
			d.group.Go(func() error { return d.metrics.Run(d.ctx) })
		}
		d.follow(cfg)
		if err := dropRights(cfg); err != nil {
			d.log.Warn("more rights than needed", "error", err)
		}
		d.log.Info("running", "interfaces", len(cfg.Interfaces), "networks", len(d.world.table.Networks()), "workers", len(d.workers),
			"adopted", d.world.plane != nil && d.world.plane.Adopted())
		if d.opts.Ready != nil {
			d.opts.Ready()
		}
		return d.reloads()
	})
	return d.group.Wait()
}

// startNotifier starts the script's caller of a configuration, and lets the one before finish.
func (d *daemon) startNotifier(cfg *config.Config) error {
	if d.quietEnd != nil {
		d.quietEnd()
		d.quietEnd = nil
	}
	s := cfg.Notify.Script
	if s.Path == "" {
		d.notifier = nil
		return nil
	}
	n, err := notify.New(notify.Options{Path: s.Path, Timeout: s.Timeout, Queue: s.Queue, Concurrency: s.Concurrency}, d.opts.Log)
	if err != nil {
		return err
	}
	var ctx context.Context
	ctx, d.quietEnd = context.WithCancel(d.ctx)
	d.group.Go(func() error { return n.Run(ctx) })
	d.notifier = n
	return nil
}

// findLive reads the addresses that are found at run time as they are now, so that what is wrong with that stops the start.
func (d *daemon) findLive(cfg *config.Config) (err error) {
	if cfg.Networks.LocalAddresses {
		if d.live.local, err = netsource.ReadLocal(netsource.LocalOptions{}); err != nil {
			return err
		}
	}
	if cfg.Networks.OpenVZ {
		if d.live.openvz, err = netsource.ReadOpenVZ(netsource.VEIPPath); err != nil {
			return err
		}
	}
	return nil
}

// follow starts what follows the addresses found at run time.
func (d *daemon) follow(cfg *config.Config) {
	log := d.opts.Log
	if cfg.Networks.LocalAddresses {
		d.group.Go(func() error {
			return netsource.NewLocal(netsource.LocalOptions{}, log, func(p []netip.Prefix) {
				d.liveChanged(func(l *liveAddresses) { l.local = p })
			}).Run(d.ctx)
		})
	}
	if cfg.Networks.OpenVZ {
		ticker := time.NewTicker(openVZEvery)
		d.openvz = netsource.NewOpenVZ(netsource.VEIPPath, ticker.C, log, func(p []netip.Prefix) {
			d.liveChanged(func(l *liveAddresses) { l.openvz = p })
		})
		d.group.Go(func() error {
			defer ticker.Stop()
			return d.openvz.Run(d.ctx)
		})
	}
}

// closers undoes in reverse what was opened.
type closers struct{ list []func() error }

func (c *closers) add(f func() error) { c.list = append(c.list, f) }

func (c *closers) close() error {
	var errs []error
	for i := len(c.list) - 1; i >= 0; i-- {
		errs = append(errs, c.list[i]())
	}
	return errors.Join(errs...)
}
