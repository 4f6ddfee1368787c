package daemon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"weir/loader"
	"weir/userspace/config"
	"weir/userspace/hosts"
	"weir/userspace/networks"
	"weir/userspace/traffic"
)

// world is what a configuration and the addresses of the moment stand for in the kernel: who is counted where, and what has been
// counted. A reload that changes the networks builds another one and puts it in this one's place.
type world struct {
	cfg     *config.Config
	live    []netip.Prefix
	table   *networks.Table
	layout  *networks.Layout
	plane   *loader.DataPlane
	meter   *hosts.Meter
	groups  []uint16             // by slot, the hostgroup's index plus one; 0: not looked up yet
	within  []uint32             // by slot, the index in the table's list of the network plus one; 0: not looked up yet
	numbers map[netip.Prefix]int // of the networks in the table's list
	seen    []uint32             // by slot: when something was last counted for it, in seconds since the world began
	began   time.Time
}

func newWorld(cfg *config.Config, live []netip.Prefix, now time.Time) (*world, error) {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, fmt.Errorf("count CPUs: %w", err)
	}
	w := &world{cfg: cfg, live: live, table: tableOf(cfg, live), began: now}
	if w.layout, err = layoutOf(cfg, w.table, cpus); err != nil {
		return nil, err
	}
	if w.plane, err = loader.Load(planOf(cfg, w.layout)); err != nil {
		return nil, err
	}
	var shards []hosts.Shard
	for _, s := range w.plane.Shards() {
		shards = append(shards, hosts.Shard{Cells: s.Cells, Hot: s.Hot, FlowFill: s.FlowFill})
	}
	w.meter = hosts.NewMeter(w.owner, w.layout.Slots(), shards)
	if w.plane.Adopted() {
		w.meter.Baseline(now)
	}
	w.setTable(w.table)
	w.seen = make([]uint32, w.layout.Slots())
	w.plane.SetSampling(uint32(cfg.Sampling.Rate), uint32(cfg.Sampling.SuspectRate))
	return w, nil
}

// setTable puts a table in force and forgets what was looked up in another.
func (w *world) setTable(t *networks.Table) {
	w.table = t
	w.groups = make([]uint16, w.layout.Slots())
	w.within = make([]uint32, w.layout.Slots())
	w.numbers = map[netip.Prefix]int{}
	for i, n := range t.Networks() {
		w.numbers[n.Prefix] = i
	}
}

// owner is whose slot it is.
func (w *world) owner(slot uint32) (netip.Prefix, bool) {
	if a, ok := w.layout.DenseOwner(slot); ok {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	return w.plane.Owner(slot)
}

// group is the hostgroup of a slot's owner.
func (w *world) group(slot uint32, owner netip.Prefix) int {
	if g := w.groups[slot]; g != 0 {
		return int(g) - 1
	}
	g, _ := w.table.Group(owner.Addr())
	w.groups[slot] = uint16(g) + 1
	return g
}

// slot finds the slot of a host, and gives it one when it has none yet.
func (w *world) slot(host netip.Addr) (uint32, error) {
	if slot, ok := w.layout.DenseSlot(host); ok {
		return slot, nil
	}
	return w.plane.Admit(host)
}

// slotsIn yields the slots of all hosts inside a prefix that have a cell of their own.
func (w *world) slotsIn(p netip.Prefix) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, d := range w.layout.DenseNetworks() {
			if !d.Prefix.Overlaps(p) {
				continue
			}
			inner := p
			if d.Prefix.Bits() > p.Bits() {
				inner = d.Prefix
			}
			first := d.Base + offset(inner.Addr(), d.Prefix.Addr())
			for i := range uint32(1) << (32 - inner.Bits()) {
				if !yield(first + i) {
					return
				}
			}
		}
		for slot := uint32(w.layout.DenseSlots()); slot < uint32(w.layout.Slots()); slot++ {
			if owner, ok := w.plane.Owner(slot); ok && owner.IsSingleIP() && p.Contains(owner.Addr()) && !yield(slot) {
				return
			}
		}
	}
}

// offset is how many IPv4 addresses lie between two.
func offset(a, from netip.Addr) uint32 {
	x, y := a.As4(), from.As4()
	return binary.BigEndian.Uint32(x[:]) - binary.BigEndian.Uint32(y[:])
}

// judge puts a verdict on a target: on a host's own cell, or on every host of a prefix.
func (w *world) judge(t traffic.Target, v loader.Verdict) error {
	if t.Prefix.IsSingleIP() {
		slot, err := w.slot(t.Prefix.Addr())
		if err != nil {
			return err
		}
		return w.plane.SetVerdict(slices.Values([]uint32{slot}), t.Direction, v)
	}
	err := w.plane.SetVerdict(w.slotsIn(t.Prefix), t.Direction, v)
	if len(w.layout.DynamicNetworks()) > 0 {
		err = errors.Join(err, w.plane.SetPrefixVerdict(t.Prefix, t.Direction, v))
	}
	return err
}

// reclaim frees the cells on demand of hosts that have been silent.
func (w *world) reclaim(now time.Time) error {
	if len(w.layout.DynamicNetworks()) == 0 {
		return nil
	}
	limit := int64(now.Sub(w.began)/time.Second) - int64(idleAfter/time.Second)
	freed, err := w.plane.Reclaim(func(slot uint32) bool { return int64(w.seen[slot]) < limit })
	for _, slot := range freed {
		w.meter.Release(slot)
		w.groups[slot], w.within[slot] = 0, 0
	}
	return err
}

func (w *world) close() error { return w.plane.Close() }

// find is the slot of a host that has one.
func (w *world) find(host netip.Addr) (uint32, bool) {
	if slot, ok := w.layout.DenseSlot(host); ok {
		return slot, true
	}
	return w.plane.Find(host)
}

// network is the index, in the table's list, of the most specific of our networks that holds a slot's owner.
func (w *world) network(slot uint32, owner netip.Prefix) int {
	if n := w.within[slot]; n != 0 {
		return int(n) - 1
	}
	covering, _ := w.table.Covering(owner.Addr())
	i := w.numbers[covering]
	w.within[slot] = uint32(i) + 1
	return i
}

// used is how many slots belong to somebody: all dense ones, and those on demand that were handed out.
func (w *world) used() int {
	n := w.layout.DenseSlots()
	for slot := w.layout.DenseSlots(); slot < w.layout.Slots(); slot++ {
		if _, ok := w.plane.Owner(uint32(slot)); ok {
			n++
		}
	}
	return n
}
