package daemon

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"time"

	"weir/userspace/hosts"
	"weir/userspace/networks"
)

// space is one numbering of hosts, and what was counted by it: the kernel's, or that of the workers in user space.
type space struct {
	layout  *networks.Layout
	cells   cells
	meter   *hosts.Meter
	table   *networks.Table
	groups  []uint16             // by slot, the hostgroup's index plus one; 0: not looked up yet
	within  []uint32             // by slot, the index in the table's list of the network plus one; 0: not looked up yet
	numbers map[netip.Prefix]int // of the networks in the table's list
	seen    []uint32             // by slot: when something was last counted for it, in seconds since the space began
	began   time.Time

	ordinary *hosts.Ordinary
}

// cells knows who has which slot on demand.
type cells interface {
	Owner(slot uint32) (netip.Prefix, bool)
	Find(host netip.Addr) (slot uint32, ok bool)
	Reclaim(idle func(slot uint32) bool) (freed []uint32, err error)
}

func newSpace(l *networks.Layout, c cells, shards []hosts.Shard, t *networks.Table, now time.Time) *space {
	s := &space{layout: l, cells: c, began: now, seen: make([]uint32, l.Slots()), ordinary: hosts.NewOrdinary(l.Slots(), now)}
	s.meter = hosts.NewMeter(s.owner, l.Slots(), shards)
	s.setTable(t)
	return s
}

// setTable puts a table in force and forgets what was looked up in another.
func (s *space) setTable(t *networks.Table) {
	s.table = t
	s.groups = make([]uint16, s.layout.Slots())
	s.within = make([]uint32, s.layout.Slots())
	s.numbers = map[netip.Prefix]int{}
	for i, n := range t.Networks() {
		s.numbers[n.Prefix] = i
	}
}

// with is the same space under another table.
func (s *space) with(t *networks.Table) *space {
	next := *s
	next.setTable(t)
	return &next
}

// owner is whose slot it is.
func (s *space) owner(slot uint32) (netip.Prefix, bool) {
	if a, ok := s.layout.DenseOwner(slot); ok {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	return s.cells.Owner(slot)
}

// find is the slot of a host that has one.
func (s *space) find(host netip.Addr) (uint32, bool) {
	if slot, ok := s.layout.DenseSlot(host); ok {
		return slot, true
	}
	return s.cells.Find(host)
}

// group is the hostgroup of a slot's owner.
func (s *space) group(slot uint32, owner netip.Prefix) int {
	if g := s.groups[slot]; g != 0 {
		return int(g) - 1
	}
	g, _ := s.table.Group(owner.Addr())
	s.groups[slot] = uint16(g) + 1
	return g
}

// network is the index, in the table's list, of the most specific of our networks that holds a slot's owner.
func (s *space) network(slot uint32, owner netip.Prefix) int {
	if n := s.within[slot]; n != 0 {
		return int(n) - 1
	}
	covering, _ := s.table.Covering(owner.Addr())
	i := s.numbers[covering]
	s.within[slot] = uint32(i) + 1
	return i
}

// slotsIn yields the slots of all hosts inside a prefix that have a cell of their own.
func (s *space) slotsIn(p netip.Prefix) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, d := range s.layout.DenseNetworks() {
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
		for slot := uint32(s.layout.DenseSlots()); slot < uint32(s.layout.Slots()); slot++ {
			if owner, ok := s.cells.Owner(slot); ok && owner.IsSingleIP() && p.Contains(owner.Addr()) && !yield(slot) {
				return
			}
		}
	}
}

// eachIn calls f for the slot of a host, or those of all hosts in a prefix.
func (s *space) eachIn(p netip.Prefix, f func(slot uint32)) {
	switch {
	case !p.IsValid():
	case p.IsSingleIP():
		if slot, ok := s.find(p.Addr()); ok {
			f(slot)
		}
	default:
		for slot := range s.slotsIn(p) {
			f(slot)
		}
	}
}

// offset is how many IPv4 addresses lie between two.
func offset(a, from netip.Addr) uint32 {
	x, y := a.As4(), from.As4()
	return binary.BigEndian.Uint32(x[:]) - binary.BigEndian.Uint32(y[:])
}

// saw notes that something was counted for a slot.
func (s *space) saw(slot uint32, at time.Time) { s.seen[slot] = uint32(at.Sub(s.began) / time.Second) }

// reclaim frees the cells on demand of hosts that have been silent.
func (s *space) reclaim(now time.Time) error {
	if len(s.layout.DynamicNetworks()) == 0 {
		return nil
	}
	limit := int64(now.Sub(s.began)/time.Second) - int64(idleAfter/time.Second)
	freed, err := s.cells.Reclaim(func(slot uint32) bool { return int64(s.seen[slot]) < limit })
	for _, slot := range freed {
		s.meter.Release(slot)
		s.groups[slot], s.within[slot] = 0, 0
		s.ordinary.Release(slot, now)
	}
	return err
}

// used is how many slots belong to somebody: all dense ones, and those on demand that were handed out.
func (s *space) used() int {
	n := s.layout.DenseSlots()
	for slot := s.layout.DenseSlots(); slot < s.layout.Slots(); slot++ {
		if _, ok := s.cells.Owner(uint32(slot)); ok {
			n++
		}
	}
	return n
}
