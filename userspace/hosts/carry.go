package hosts

import "net/netip"

// Carry takes over from another meter what its hosts have had in all and their rates, when a network is laid out anew and every
// host gets another slot; find says which. Hosts that it does not find are left out.
func (m *Meter) Carry(old *Meter, find func(netip.Prefix) (uint32, bool)) {
	for dir := range old.total {
		for from := range old.total[dir] {
			if old.total[dir][from] == ([columns]uint64{}) {
				continue
			}
			owner, ok := old.owner(uint32(from))
			if !ok {
				continue
			}
			to, ok := find(owner)
			if !ok || int64(to) >= int64(m.slots) {
				continue
			}
			for i, n := range old.total[dir][from] {
				m.total[dir][to][i] += n
			}
			m.state[dir][to].rate = old.state[dir][from].rate
			if m.unseen[dir] != nil {
				m.unseen[dir][to].total += old.unseenOf(dir, from).total
				m.unseen[dir][to].rate = old.unseenOf(dir, from).rate
			}
			m.busy[dir][to>>6] |= 1 << (to & 63)
		}
	}
}
