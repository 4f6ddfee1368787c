package daemon

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"time"

	"weir/loader"
	"weir/userspace/api"
	"weir/userspace/config"
	"weir/userspace/hosts"
	"weir/userspace/traffic"
)

// reloads waits for the reasons to read the configuration anew.
func (d *daemon) reloads() error {
	for {
		select {
		case <-d.ctx.Done():
			return nil
		case <-d.opts.Reload:
			// The error is logged, and shown by status until a reload succeeds.
			_, _ = d.reloadNow(d.ctx)
		}
	}
}

// reloadNow reads the configuration and puts it in force as a whole; a file with errors leaves the one in force as it is.
func (d *daemon) reloadNow(ctx context.Context) (time.Time, error) {
	d.reload.Lock()
	defer d.reload.Unlock()
	cfg, err := config.Load(d.opts.ConfigPath)
	if err == nil {
		for _, w := range cfg.Warnings {
			d.log.Warn("configuration", "warning", w.Error())
		}
		d.sayFixed(cfg)
		if d.openvz != nil {
			d.openvz.Reread()
		}
		err = d.enforce(ctx, cfg)
	}
	now := time.Now()
	message := ""
	if err != nil {
		message = err.Error()
		d.log.Error("reload refused; the configuration in force stays", "error", err)
	}
	asked := d.ask(ctx, func(time.Time) {
		d.configError = message
		if err == nil {
			d.loaded = now
		}
	})
	if err != nil {
		return time.Time{}, api.Refused(err)
	}
	d.log.Info("configuration reloaded", "path", d.opts.ConfigPath)
	return now, asked
}

// sayFixed names what a reload does not change.
func (d *daemon) sayFixed(cfg *config.Config) {
	old := d.world.cfg
	if usesKernel(old) != usesKernel(cfg) {
		d.log.Warn("this key takes effect at the next start", "key", "interfaces", "why", "the first interface with XDP, or the last one, comes or goes")
		cfg.Interfaces = old.Interfaces
	}
	for key, same := range map[string]bool{
		"api":                      old.API == cfg.API,
		"prometheus.listen":        old.Prometheus.Listen == cfg.Prometheus.Listen,
		"store":                    old.Store == cfg.Store,
		"recorder":                 old.Recorder == cfg.Recorder,
		"pin":                      old.Pin == cfg.Pin,
		"log":                      old.Log == cfg.Log,
		"bgp":                      sameSpeakers(&old.BGP, &cfg.BGP),
		"networks.local_addresses": old.Networks.LocalAddresses == cfg.Networks.LocalAddresses,
		"networks.openvz":          old.Networks.OpenVZ == cfg.Networks.OpenVZ,
		"flows":                    sameSockets(&old.Flows, &cfg.Flows),
		"interfaces (not xdp)":     reflect.DeepEqual(capturesOf(old), capturesOf(cfg)),
		"export":                   reflect.DeepEqual(old.Export, cfg.Export),
		"notify (not script)":      samePeople(&old.Notify, &cfg.Notify),
		"plugins":                  reflect.DeepEqual(old.Plugins, cfg.Plugins),
		"tunnels":                  reflect.DeepEqual(old.Tunnels, cfg.Tunnels),
	} {
		if !same {
			d.log.Warn("this key takes effect at the next start", "key", key)
		}
	}
	// What was opened by the old values goes on by them.
	cfg.API, cfg.Store, cfg.Pin, cfg.Prometheus.Listen = old.API, old.Store, old.Pin, old.Prometheus.Listen
	cfg.Tunnels, cfg.Recorder = old.Tunnels, old.Recorder
	flows := old.Flows
	flows.Exporters, flows.Allow, flows.Filters = cfg.Flows.Exporters, cfg.Flows.Allow, cfg.Flows.Filters
	cfg.Flows = flows
	actions, aggregate := cfg.BGP.Actions, cfg.BGP.Aggregate
	cfg.BGP = old.BGP
	cfg.BGP.Actions, cfg.BGP.Aggregate = actions, aggregate
	cfg.Networks.LocalAddresses, cfg.Networks.OpenVZ = old.Networks.LocalAddresses, old.Networks.OpenVZ
}

// capturesOf are the interfaces that have another engine than XDP.
func capturesOf(cfg *config.Config) []config.Interface {
	var out []config.Interface
	for _, i := range cfg.Interfaces {
		if i.Engine != config.EngineXDP {
			out = append(out, i)
		}
	}
	return out
}

// samePeople reports whether two configurations tell the same people, but for the script.
func samePeople(a, b *config.Notify) bool {
	x, y := *a, *b
	x.Script, y.Script = config.Script{}, config.Script{}
	return reflect.DeepEqual(x, y)
}

// sameSockets reports whether two configurations receive flow records in the same way; whose count, and how, may differ.
func sameSockets(a, b *config.Flows) bool {
	x, y := *a, *b
	x.Exporters, y.Exporters, x.Allow, y.Allow = nil, nil, nil, nil
	x.Filters, y.Filters = config.FlowFilters{}, config.FlowFilters{}
	return reflect.DeepEqual(x, y)
}

// sameSpeakers reports whether two configurations have the same sessions; what is announced by them may differ.
func sameSpeakers(a, b *config.BGP) bool {
	x, y := *a, *b
	x.Actions, y.Actions = nil, nil
	x.Aggregate, y.Aggregate = config.BGPAggregate{}, config.BGPAggregate{}
	return x.Equal(y)
}

// liveChanged puts other addresses found at run time in force.
func (d *daemon) liveChanged(change func(*liveAddresses)) {
	d.reload.Lock()
	defer d.reload.Unlock()
	before := d.live
	change(&d.live)
	if reflect.DeepEqual(before, d.live) {
		return
	}
	if err := d.enforce(d.ctx, d.world.cfg); err != nil {
		d.live = before
		d.log.Error("own addresses have changed, but cannot be put in force", "error", err)
	}
}

// enforce puts a configuration in force. All that can fail comes first; counts and bans go over to the new data plane before it
// takes the old one's place, so that no banned packet passes and no count is lost.
func (d *daemon) enforce(ctx context.Context, cfg *config.Config) error {
	filters, err := newFlowFilters(cfg)
	if err != nil {
		return err
	}
	hooks, err := d.openHooks(cfg)
	if err != nil {
		return err
	}
	next, err := d.nextWorld(cfg)
	if err != nil {
		return err
	}
	old := d.world
	if next.plane == old.plane && !sameSources(old.cfg, cfg) {
		if err := setSources(next.plane, cfg, cfg.Mitigation.DryRun || cfg.Mitigation.KillSwitch || exists(cfg.Mitigation.KillSwitchFile)); err != nil {
			return err
		}
	}
	if err := d.updateInterfaces(ctx, cfg); err != nil {
		if next.plane != old.plane {
			err = errors.Join(err, next.close())
		}
		return err
	}
	if err := d.replace(ctx, next); err != nil {
		return errors.Join(err, d.updateInterfaces(ctx, old.cfg))
	}
	return d.ask(ctx, func(now time.Time) {
		d.detector.SetPolicy(detectPolicy(cfg, next.table))
		d.totals.forget()
		d.killFile = exists(cfg.Mitigation.KillSwitchFile)
		d.routers.enforce(cfg, next.table, d.killFile)
		d.unannounced = true
		d.hooks = hooks
		d.perform(d.manager.SetPolicy(now, d.mitigatePolicy(cfg, next.table)))
		if next.plane != nil {
			next.plane.SetSampling(uint32(cfg.Sampling.Rate), uint32(cfg.Sampling.SuspectRate))
		}
		d.flows.enforce(cfg, next.table, filters)
		if old.cfg.Notify.Script != cfg.Notify.Script {
			if err := d.startNotifier(cfg); err != nil {
				d.log.Error("the notify script cannot be called", "error", err)
			}
		}
	})
}

// updateInterfaces attaches what a configuration lists, and detaches what it does not.
func (d *daemon) updateInterfaces(ctx context.Context, cfg *config.Config) error {
	if d.attacher == nil {
		return nil
	}
	return d.attacher.Update(ctx, interfacesOf(cfg))
}

// replace makes next the world in force. When its data plane is another one, the old one is closed, or next if that fails.
func (d *daemon) replace(ctx context.Context, next *world) error {
	old := d.world
	if next.same(old) {
		return d.ask(ctx, func(time.Time) { d.adopt(next) })
	}
	d.handOver(ctx, old, next)
	var moved error
	if asked := d.ask(ctx, func(time.Time) { moved = d.move(ctx, next) }); asked != nil || moved != nil {
		d.handOver(ctx, next, old)
		return errors.Join(asked, moved, next.close())
	}
	if err := old.close(); err != nil {
		d.log.Error("the old data plane cannot be closed", "error", err)
	}
	return nil
}

// nextWorld is what cfg stands for: another data plane when hosts are counted elsewhere, else the same one with another table.
func (d *daemon) nextWorld(cfg *config.Config) (*world, error) {
	old := d.world
	same := old.cfg.Memory == cfg.Memory && roomForSources(old.cfg) == roomForSources(cfg) && roomForProofs(old.cfg) == roomForProofs(cfg)
	if same {
		same = reflect.DeepEqual(prefixesOf(old.cfg, old.live), prefixesOf(cfg, d.live.all()))
	}
	if !same {
		return newWorld(cfg, d.live.all(), len(d.workers), time.Now())
	}
	return old.with(cfg, d.live.all()), nil
}

// prefixesOf is what a layout is made from.
func prefixesOf(cfg *config.Config, live []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, n := range tableOf(cfg, live).Networks() {
		out = append(out, n.Prefix)
	}
	return out
}

// move makes next the world in force. It runs in the main loop.
func (d *daemon) move(ctx context.Context, next *world) error {
	now, old := time.Now(), d.world
	if old.plane != nil {
		if err := d.moveKernel(ctx, next, now); err != nil {
			return err
		}
	}
	if old.workers != nil {
		d.readLast(old.workers.space, now)
		next.workers.space.meter.Carry(old.workers.space.meter, next.locate)
	}
	d.adopt(next)
	return nil
}

// adopt has everybody go by next.
func (d *daemon) adopt(next *world) {
	d.world = next
	d.book.SetOurs(d.ours())
	d.members.Store(membersOf(next.cfg, next.table))
	d.reenforce(time.Now())
}

// moveKernel has the kernel count by another data plane.
func (d *daemon) moveKernel(ctx context.Context, next *world, now time.Time) error {
	old := d.world
	for _, r := range d.manager.Bans() {
		if !r.Ban.Drops() || !next.table.Contains(r.Attack.Target.Prefix) {
			continue
		}
		v := loader.Verdict{Action: traffic.ActionDrop, Until: next.cfg.Mitigation.Expiry}
		if err := next.judge(r.Attack.Target, v); err != nil {
			return err
		}
	}
	if err := d.attacher.Replace(ctx, next.plane.ProgramSet()); err != nil {
		return err
	}
	d.readLast(old.kernel, now) // what was counted until the programs changed places
	counters := old.plane.Counters()
	d.base.addTo(&counters)
	d.base = carried{counters}
	next.kernel.meter.Carry(old.kernel.meter, func(p netip.Prefix) (uint32, bool) {
		if !p.IsSingleIP() || !next.table.Contains(p) {
			return 0, false
		}
		slot, err := next.kernelSlot(p.Addr())
		return slot, err == nil
	})
	return nil
}

// handOver has the workers count with the writers of another world. Each lets go of its own at its next tick, within a tenth of a
// second, in which nobody reads what is counted already by the new ones: it is read when the new world is in force.
func (d *daemon) handOver(ctx context.Context, from, to *world) {
	if from.workers == nil {
		return
	}
	var waiting []chan struct{}
	for i, w := range d.workers {
		h := &handover{writer: to.workers.writers[i], find: to.locate, done: make(chan struct{})}
		w.next.Store(h)
		waiting = append(waiting, h.done)
	}
	for _, done := range waiting {
		select {
		case <-done:
		case <-ctx.Done(): // the workers are stopping as well
		}
	}
}

// readLast reads a space that is counted in no more.
func (d *daemon) readLast(s *space, now time.Time) {
	s.meter.Read(now, func(delta hosts.Delta) { d.observe(s, delta) })
}
