package hosts

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"

	"weir/userspace/traffic"
)

// valid reports whether there is such a slot in a direction that cells have.
func (m *Meter) valid(slot uint32, dir traffic.Direction) bool {
	return int64(slot) < int64(m.slots) && dir <= traffic.Outgoing
}

// Rate returns what a slot has per second, over about the last second before it was last read; zero for a slot that does not exist.
func (m *Meter) Rate(slot uint32, dir traffic.Direction) traffic.Counts {
	if !m.valid(slot, dir) {
		return traffic.Counts{}
	}
	var perSecond [columns]uint64
	for i, r := range m.state[dir][slot].rate {
		perSecond[i] = uint64(max(0, r) + 0.5)
	}
	c := counts(&perSecond)
	c.Unseen = uint64(max(0, m.unseenOf(int(dir), int(slot)).rate) + 0.5)
	return c
}

// Total returns what a slot has had since the start, or since it was given to its owner; zero for a slot that does not exist.
func (m *Meter) Total(slot uint32, dir traffic.Direction) traffic.Counts {
	if !m.valid(slot, dir) {
		return traffic.Counts{}
	}
	c := counts(&m.total[dir][slot])
	c.Unseen = m.unseenOf(int(dir), int(slot)).total
	return c
}

// Release forgets a slot, which is to be given to another host. What its cells hold now is that host's baseline: whoever clears them
// does so before, with no Read in between.
func (m *Meter) Release(slot uint32) {
	if !m.valid(slot, traffic.Incoming) {
		return
	}
	for dir := range m.seen {
		m.advance(dir, int(slot))
		m.skipUnseen(dir, int(slot))
		if m.unseen[dir] != nil {
			m.unseen[dir][slot].total = 0
		}
		m.total[dir][slot] = [columns]uint64{}
		m.state[dir][slot].rate = [columns]float32{}
		m.busy[dir][slot>>6] &^= 1 << (slot & 63)
	}
}

// Stats returns what the meter has done until now.
func (m *Meter) Stats() Stats { return m.stats }

// ranked is a candidate of Top.
type ranked struct {
	rate float32
	slot uint32
}

// higher orders by rate, the highest first; equals by slot, so that a list does not change by itself.
func higher(a, b ranked) int {
	return cmp.Or(cmp.Compare(b.rate, a.rate), cmp.Compare(a.slot, b.slot))
}

// Top returns the n hosts with the highest rate of a metric, the highest first; fewer when fewer have any.
func (m *Meter) Top(dir traffic.Direction, metric traffic.Metric, n int) []Host {
	index, ok := column(metric)
	if !ok || dir > traffic.Outgoing || n <= 0 {
		return nil
	}
	top := make(lowest, 0, min(n, m.slots))
	for word, busy := range m.busy[dir] {
		for ; busy != 0; busy &= busy - 1 {
			slot := uint32(word*64 + bits.TrailingZeros64(busy))
			r := ranked{rate: m.state[dir][slot].rate[index], slot: slot}
			if r.rate <= 0 || len(top) == n && higher(r, top[0]) > 0 {
				continue
			}
			if _, ok := m.owner(slot); !ok {
				continue
			}
			top.put(r, n)
		}
	}
	slices.SortFunc(top, higher)
	hosts := make([]Host, 0, len(top))
	for _, r := range top {
		if owner, ok := m.owner(r.slot); ok {
			hosts = append(hosts, Host{Slot: r.slot, Owner: owner, Direction: dir, Rate: m.Rate(r.slot, dir), Total: m.Total(r.slot, dir)})
		}
	}
	return hosts
}

// Busy calls f for each host that has any rate in a direction or another, with both, in the order of slots.
func (m *Meter) Busy(f func(slot uint32, owner netip.Prefix, rate traffic.TwoWay)) {
	for word := range m.busy[traffic.Incoming] {
		for busy := m.busy[traffic.Incoming][word] | m.busy[traffic.Outgoing][word]; busy != 0; busy &= busy - 1 {
			slot := uint32(word*64 + bits.TrailingZeros64(busy))
			if owner, ok := m.owner(slot); ok {
				f(slot, owner, traffic.TwoWay{Incoming: m.Rate(slot, traffic.Incoming), Outgoing: m.Rate(slot, traffic.Outgoing)})
			}
		}
	}
}

// lowest is a binary heap with the lowest rate of those kept at the front: what the next better one replaces.
type lowest []ranked

// put adds r, or puts it in the place of the lowest when there are n already.
func (l *lowest) put(r ranked, n int) {
	h := *l
	if len(h) == n {
		h[0] = r
		h.down()
		return
	}
	h = append(h, r)
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if higher(h[parent], h[i]) > 0 {
			break
		}
		h[parent], h[i] = h[i], h[parent]
		i = parent
	}
	*l = h
}

func (l lowest) down() {
	for i := 0; ; {
		last := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(l); child++ {
			if higher(l[child], l[last]) > 0 {
				last = child
			}
		}
		if last == i {
			return
		}
		l[i], l[last] = l[last], l[i]
		i = last
	}
}
