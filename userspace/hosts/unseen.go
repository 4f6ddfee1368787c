package hosts

import "sync/atomic"

// inferred is what a Meter keeps of a slot's packets that nobody saw.
type inferred struct {
	total  uint64
	before uint32
	rate   float32 // per second
}

// sumUnseen is how many of a slot's packets nobody saw, modulo 2^32.
func (m *Meter) sumUnseen(dir, slot int) uint32 {
	var sum uint32
	for _, i := range m.sampled {
		sum += atomic.LoadUint32(&m.shards[i].Unseen[dir][slot])
	}
	return sum
}

// advanceUnseen returns how many of the packets that have come since the last time nobody saw. Those of a packet that is just
// being counted wait for the packet.
func (m *Meter) advanceUnseen(dir, slot int, packets uint64, age int64) uint64 {
	if m.unseen[dir] == nil {
		return 0
	}
	at := &m.unseen[dir][slot]
	n := uint32(0)
	if packets > 0 {
		n = uint32(min(uint64(m.sumUnseen(dir, slot)-at.before), packets))
	}
	at.before += n
	at.total += uint64(n)
	weight := min(1, float32(age)/float32(rateTime.Microseconds()))
	at.rate += float32(n)*weight*1e6/float32(age) - at.rate*weight
	if m.busy[dir][slot>>6]&(1<<(slot&63)) == 0 {
		at.rate = 0
	}
	return uint64(n)
}

// skipUnseen takes what is there now as read, and returns what is new of it; the rate is forgotten.
func (m *Meter) skipUnseen(dir, slot int) uint64 {
	if m.unseen[dir] == nil {
		return 0
	}
	at := &m.unseen[dir][slot]
	now := m.sumUnseen(dir, slot)
	n := now - at.before
	at.before, at.rate = now, 0
	return uint64(n)
}

// countUnseen adds to a slot's total.
func (m *Meter) countUnseen(dir, slot int, n uint64) {
	if m.unseen[dir] != nil {
		m.unseen[dir][slot].total += n
	}
}

// unseenOf is what is known of a slot's unseen packets; nothing where no shard has any.
func (m *Meter) unseenOf(dir, slot int) inferred {
	if m.unseen[dir] == nil {
		return inferred{}
	}
	return m.unseen[dir][slot]
}
