package daemon

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"time"

	"weir/loader"
	"weir/userspace/config"
	"weir/userspace/hosts"
	"weir/userspace/networks"
	"weir/userspace/traffic"
)

// world is what a configuration and the addresses of the moment stand for: who is counted where. A reload that changes the networks
// builds another one and puts it in this one's place.
type world struct {
	cfg     *config.Config
	live    []netip.Prefix
	table   *networks.Table
	plane   *loader.DataPlane // nil: no interface has XDP
	kernel  *space            // what plane counts; nil without it
	workers *workforce        // what is counted in user space; nil: nothing is
	spaces  []*space          // all of them
}

// newWorld makes the spaces that a configuration asks for; the workers of user space are as many as there are.
func newWorld(cfg *config.Config, live []netip.Prefix, workers int, now time.Time) (*world, error) {
	w := &world{cfg: cfg, live: live, table: tableOf(cfg, live)}
	if workers > 0 {
		var err error
		if w.workers, err = newWorkforce(cfg, w.table, workers, now); err != nil {
			return nil, err
		}
		w.spaces = append(w.spaces, w.workers.space)
	}
	if !usesKernel(cfg) {
		return w, nil
	}
	if err := w.addKernel(now); err != nil {
		return nil, err
	}
	w.spaces = append([]*space{w.kernel}, w.spaces...)
	return w, nil
}

// addKernel loads the data plane.
func (w *world) addKernel(now time.Time) error {
	cpus, err := loader.CPUs()
	if err != nil {
		return err
	}
	layout, err := layoutOf(w.cfg, w.table, cpus)
	if err != nil {
		return err
	}
	if w.plane, err = loader.Load(planOf(w.cfg, layout)); err != nil {
		return err
	}
	m := &w.cfg.Mitigation
	if err := setSources(w.plane, w.cfg, m.DryRun || m.KillSwitch || exists(m.KillSwitchFile)); err != nil {
		return errors.Join(err, w.plane.Close())
	}
	var shards []hosts.Shard
	for _, s := range w.plane.Shards() {
		shards = append(shards, hosts.Shard{Cells: s.Cells, Hot: s.Hot, FlowFill: s.FlowFill})
	}
	w.kernel = newSpace(layout, w.plane, shards, w.table, now)
	if w.plane.Adopted() {
		w.kernel.meter.Baseline(now)
	}
	w.plane.SetSampling(uint32(w.cfg.Sampling.Rate), uint32(w.cfg.Sampling.SuspectRate))
	return nil
}

// with is the same world under another configuration whose networks are the same.
func (w *world) with(cfg *config.Config, live []netip.Prefix) *world {
	next := &world{cfg: cfg, live: live, table: tableOf(cfg, live), plane: w.plane}
	if w.kernel != nil {
		next.kernel = w.kernel.with(next.table)
		next.spaces = append(next.spaces, next.kernel)
	}
	if w.workers != nil {
		next.workers = w.workers.with(next.table)
		next.spaces = append(next.spaces, next.workers.space)
	}
	return next
}

// same reports whether hosts are counted in the same places in both worlds.
func (w *world) same(o *world) bool {
	return w.plane == o.plane && (w.workers == nil || w.workers.directory == o.workers.directory)
}

// locate is the workers' slot of a host, or of a prefix that hosts share one of; false when it is not ours.
func (w *world) locate(p netip.Prefix) (uint32, bool) {
	if !w.table.Contains(p) {
		return 0, false
	}
	return w.workers.directory.Locate(p.Addr())
}

// judge puts a verdict on a target in the kernel: on a host's own cell, or on every host of a prefix.
func (w *world) judge(t traffic.Target, v loader.Verdict) error {
	if w.plane == nil {
		return nil
	}
	if t.Prefix.IsSingleIP() {
		slot, err := w.kernelSlot(t.Prefix.Addr())
		if err != nil {
			return err
		}
		return w.plane.SetVerdict(slices.Values([]uint32{slot}), t.Direction, v)
	}
	err := w.plane.SetVerdict(w.kernel.slotsIn(t.Prefix), t.Direction, v)
	if len(w.kernel.layout.DynamicNetworks()) > 0 {
		err = errors.Join(err, w.plane.SetPrefixVerdict(t.Prefix, t.Direction, v))
	}
	return err
}

// kernelSlot finds the kernel's slot of a host, and gives it one when it has none yet.
func (w *world) kernelSlot(host netip.Addr) (uint32, error) {
	if slot, ok := w.kernel.layout.DenseSlot(host); ok {
		return slot, nil
	}
	return w.plane.Admit(host)
}

// rate adds up what a host has per second in all spaces.
func (w *world) rate(host netip.Addr) traffic.TwoWay {
	var both traffic.TwoWay
	for _, s := range w.spaces {
		if slot, ok := s.find(host); ok {
			s.addRate(slot, &both)
		}
	}
	return both
}

// rateWithin adds up what the hosts of a prefix have per second.
func (w *world) rateWithin(p netip.Prefix) traffic.TwoWay {
	var both traffic.TwoWay
	for _, s := range w.spaces {
		for slot := range s.slotsIn(p) {
			s.addRate(slot, &both)
		}
	}
	return both
}

func (s *space) addRate(slot uint32, both *traffic.TwoWay) {
	in, out := s.meter.Rate(slot, traffic.Incoming), s.meter.Rate(slot, traffic.Outgoing)
	both.Incoming.Add(&in)
	both.Outgoing.Add(&out)
}

// reclaim frees cells in all spaces.
func (w *world) reclaim(now time.Time) error {
	var errs []error
	for _, s := range w.spaces {
		errs = append(errs, s.reclaim(now))
	}
	return errors.Join(errs...)
}

// capacity is how many cells there are, and how many belong to somebody.
func (w *world) capacity() (slots, used int) {
	for _, s := range w.spaces {
		slots += s.layout.Slots()
		used += s.used()
	}
	return slots, used
}

func (w *world) close() error {
	if w.plane == nil {
		return nil
	}
	return w.plane.Close()
}

// host is one host with what all spaces know of it in one direction.
type host struct {
	hosts.Host
	group int
}

// top is the n hosts with the highest rate of a metric, the highest first.
func (w *world) top(dir traffic.Direction, metric traffic.Metric, n int) []host {
	var all []host
	for _, s := range w.spaces {
		for _, h := range s.meter.Top(dir, metric, n) {
			all = append(all, host{h, s.group(h.Slot, h.Owner)})
		}
	}
	all = w.merge(all)
	slices.SortStableFunc(all, func(a, b host) int { return cmp.Compare(metric.Of(&b.Rate), metric.Of(&a.Rate)) })
	return all[:min(n, len(all))]
}

// busy is all hosts that have any traffic now, with what all spaces know of them.
func (w *world) busy() []traffic.HostRate {
	var all []traffic.HostRate
	at := map[netip.Prefix]int{}
	for i, s := range w.spaces {
		s.meter.Busy(func(slot uint32, owner netip.Prefix, rate traffic.TwoWay) {
			if len(w.spaces) > 1 {
				if known, ok := at[owner]; ok && i > 0 {
					all[known].Incoming.Add(&rate.Incoming)
					all[known].Outgoing.Add(&rate.Outgoing)
					return
				}
				at[owner] = len(all)
			}
			all = append(all, traffic.HostRate{Host: owner, Group: w.cfg.Hostgroups[s.group(slot, owner)].Name, TwoWay: rate})
		})
	}
	return all
}

// inside is all hosts of a prefix in one direction that have ever been counted; a single host in any case.
func (w *world) inside(p netip.Prefix, dir traffic.Direction) []host {
	var all []host
	for _, s := range w.spaces {
		for slot := range s.slotsIn(p) {
			h := hosts.Host{Slot: slot, Direction: dir, Rate: s.meter.Rate(slot, dir), Total: s.meter.Total(slot, dir)}
			if owner, ok := s.owner(slot); ok && (!h.Total.Zero() || p.IsSingleIP()) {
				h.Owner = owner
				all = append(all, host{h, s.group(slot, owner)})
			}
		}
	}
	return w.merge(all)
}

// merge makes one of those that several spaces know, with what all of them have counted.
func (w *world) merge(all []host) []host {
	if len(w.spaces) < 2 {
		return all
	}
	known := map[netip.Prefix]bool{}
	out := all[:0]
	for _, h := range all {
		if known[h.Owner] {
			continue
		}
		known[h.Owner] = true
		h.Rate, h.Total = traffic.Counts{}, traffic.Counts{}
		for _, s := range w.spaces {
			if slot, ok := s.find(h.Owner.Addr()); ok {
				rate, total := s.meter.Rate(slot, h.Direction), s.meter.Total(slot, h.Direction)
				h.Rate.Add(&rate)
				h.Total.Add(&total)
			}
		}
		out = append(out, h)
	}
	return out
}
