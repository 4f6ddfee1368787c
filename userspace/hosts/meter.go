package hosts

import (
	"math/bits"
	"net/netip"
	"sync/atomic"
	"time"

	"weir/userspace/traffic"
)

const (
	// SweepTime is within which all slots are read. It leaves room for a late tick in the second that is promised.
	SweepTime = 900 * time.Millisecond
	// SweepSlots is how many slots each reading sweeps at least: smaller networks are read whole each time.
	SweepSlots = 1024
	// rateTime is the time constant of rates: an average that forgets with 0.5 s steadies as a plain one over 1 s does.
	rateTime = 500 * time.Millisecond
	// A rate under so much per second is over.
	rateFloor = 0.01
	// A bitmap fuller than this says no more than that it is full.
	fillMax = 0.98
)

// SlotBytes and ShardSlotBytes are the Meter's memory in bytes: per slot and direction, and per slot, direction and shard. A bit per
// slot and direction comes on top. Memory of slots that never had a packet is not touched but for 8 of these bytes.
const (
	SlotBytes      = 240
	ShardSlotBytes = 4
	// UnseenBytes more per slot and direction are for shards with samples.
	UnseenBytes = 16
)

// seen is all that the reading of an idle slot needs.
type seen struct {
	packets uint32 // the sum at the last reading
	read    uint32 // when that was: microseconds of the Meter's clock, modulo 2^32
}

// state is the rest of a slot that has had packets.
type state struct {
	before [summed]uint32
	rate   [columns]float32 // per second
}

// Stats counts what a Meter has done.
type Stats struct {
	Readings uint64 // calls of Read
	Deltas   uint64 // emitted
	Resets   uint64 // slots whose counters had gone back: taken as a new baseline
	Resyncs  uint64 // times that the clock had gone back: all slots taken as a new baseline
}

// Meter reads shards. One goroutine uses it; the shards' writers may go on meanwhile.
type Meter struct {
	owner  func(slot uint32) (netip.Prefix, bool)
	shards []Shard
	slots  int

	seen  [2][]seen
	state [2][]state
	total [2][][columns]uint64
	flows [2][]uint32 // [slot*len(shards)+shard]
	busy  [2][]uint64 // a bit per slot: it has a rate, or has just changed

	unseen  [2][]inferred // nil: no shard has samples
	sampled []int         // the shards that have

	started bool
	base    time.Time // when clock was 0
	clock   int64     // microseconds: the time of the reading in hand or, between readings, the last one
	gap     int64     // microseconds between the reading in hand and the one before
	cursor  int       // the next slot of the sweep
	scale   []float64 // by shard: what stands for one new flow
	stats   Stats
}

// NewMeter returns a meter of the slots 0 to slots-1 of the shards, of which the shortest decides how many there really are. owner
// says whose a slot is, false when it is free; what is counted in a free slot is not emitted.
func NewMeter(owner func(slot uint32) (netip.Prefix, bool), slots int, shards []Shard) *Meter {
	m := &Meter{owner: owner, shards: shards, slots: slots, scale: make([]float64, len(shards))}
	for i, s := range shards {
		for dir := range s.Cells {
			m.slots = min(m.slots, len(s.Cells[dir]), len(s.Hot[dir])*64)
			if s.Unseen[dir] != nil {
				m.slots = min(m.slots, len(s.Unseen[dir]))
			}
		}
		if s.Unseen[0] != nil {
			m.sampled = append(m.sampled, i)
		}
	}
	for dir := range m.seen {
		m.seen[dir] = make([]seen, m.slots)
		m.state[dir] = make([]state, m.slots)
		m.total[dir] = make([][columns]uint64, m.slots)
		m.flows[dir] = make([]uint32, m.slots*len(shards))
		m.busy[dir] = make([]uint64, (m.slots+63)/64)
		if len(m.sampled) > 0 {
			m.unseen[dir] = make([]inferred, m.slots)
		}
	}
	return m
}

// Baseline takes what the cells hold now as nothing: only what is counted from now on is emitted and in the totals. It forgets all
// rates. It is for the start over cells that someone has counted in before.
func (m *Meter) Baseline(now time.Time) { m.resync(now, false) }

// Read emits what each host has had since it was last read: hosts with a hot bit, and the next part of all slots. The first Read
// without a Baseline before it emits nothing and starts the clock: what was counted until then comes with the second. A Read at the
// same time as the one before does nothing, and one at an earlier time, the clock having been set back, counts what it finds
// in the totals but emits nothing, since nobody knows over how long it was counted.
func (m *Meter) Read(now time.Time, emit func(Delta)) {
	m.stats.Readings++
	if !m.started {
		m.started, m.base = true, now
		return
	}
	clock := now.Sub(m.base).Microseconds()
	if clock < m.clock {
		m.stats.Resyncs++
		m.resync(now, true)
		return
	}
	if clock == m.clock {
		return
	}
	m.gap, m.clock = clock-m.clock, clock
	for i, s := range m.shards {
		m.scale[i] = flowScale(s.FlowFill)
	}
	m.readHot(emit)
	m.sweep(m.sweepSlots(), emit)
}

// flowScale is how many flows one newly set bit stands for while so many are set: the others that fell on set bits (linear
// counting).
func flowScale(fill func() float64) float64 {
	if fill == nil {
		return 1
	}
	return 1 / (1 - max(0, min(fillMax, fill())))
}

// sweepSlots is the part of all slots that the time since the last reading is of SweepTime.
func (m *Meter) sweepSlots() int {
	gap := min(m.gap, SweepTime.Microseconds())
	part := int(int64(m.slots)*gap/SweepTime.Microseconds()) + 1
	return min(m.slots, max(part, SweepSlots))
}

func (m *Meter) readHot(emit func(Delta)) {
	for i := range m.shards {
		for dir := range m.shards[i].Hot {
			hot := m.shards[i].Hot[dir]
			hot = hot[:min(len(hot), (m.slots+63)/64)]
			at := 0
			for ; at+8 <= len(hot); at += 8 {
				if quiet(hot[at : at+8]) {
					continue
				}
				for k := range 8 {
					m.readWord(dir, at+k, &hot[at+k], emit)
				}
			}
			for ; at < len(hot); at++ {
				m.readWord(dir, at, &hot[at], emit)
			}
		}
	}
}

// quiet reports whether eight words of hot bits are clear. Nearly all are: one branch for eight is what makes looking cheap.
func quiet(w []uint64) bool {
	w = w[:8]
	return atomic.LoadUint64(&w[0])|atomic.LoadUint64(&w[1])|atomic.LoadUint64(&w[2])|atomic.LoadUint64(&w[3])|
		atomic.LoadUint64(&w[4])|atomic.LoadUint64(&w[5])|atomic.LoadUint64(&w[6])|atomic.LoadUint64(&w[7]) == 0
}

func (m *Meter) readWord(dir, index int, word *uint64, emit func(Delta)) {
	if atomic.LoadUint64(word) == 0 {
		return
	}
	for hot := atomic.SwapUint64(word, 0); hot != 0; hot &= hot - 1 {
		if slot := index*64 + bits.TrailingZeros64(hot); slot < m.slots {
			m.visit(dir, slot, emit)
		}
	}
}

func (m *Meter) sweep(n int, emit func(Delta)) {
	for range n {
		m.visit(int(traffic.Incoming), m.cursor, emit)
		m.visit(int(traffic.Outgoing), m.cursor, emit)
		m.cursor++
		if m.cursor == m.slots {
			m.cursor = 0
		}
	}
}

// visit reads one slot in one direction, unless this reading has done so already. A slot whose packets have not changed is left
// alone, but for the reading after a change: a packet may have been half counted then.
func (m *Meter) visit(dir, slot int, emit func(Delta)) {
	at := &m.seen[dir][slot]
	stamp := uint32(m.clock)
	if at.read == stamp {
		return
	}
	var now uint32
	for i := range m.shards {
		now += atomic.LoadUint32(&m.shards[i].Cells[dir][slot].Packets)
	}
	if now == at.packets && m.busy[dir][slot>>6]&(1<<(slot&63)) == 0 {
		at.read = stamp
		return
	}
	// All slots were read within about a second before the last reading, so that this part of the age cannot have wrapped.
	age := m.gap + int64(uint32(m.clock-m.gap)-at.read)
	m.measure(dir, slot, age, emit)
}

// measure reads all of a slot that has changed, or whose rate has to fade.
func (m *Meter) measure(dir, slot int, age int64, emit func(Delta)) {
	delta, ok := m.advance(dir, slot)
	if !ok {
		m.stats.Resets++
		m.skipUnseen(dir, slot)
		return
	}
	changed := delta != [columns]uint64{}
	m.average(dir, slot, &delta, age, changed)
	unseen := m.advanceUnseen(dir, slot, delta[packets], age)
	if !changed {
		return
	}
	for i, n := range delta {
		m.total[dir][slot][i] += n
	}
	owner, ok := m.owner(uint32(slot))
	if !ok {
		return
	}
	m.stats.Deltas++
	d := Delta{
		Slot: uint32(slot), Owner: owner, Direction: traffic.Direction(dir), Counts: counts(&delta),
		From: m.at(m.clock - age), To: m.at(m.clock),
	}
	d.Counts.Unseen = unseen
	emit(d)
}

func (m *Meter) at(clock int64) time.Time { return m.base.Add(time.Duration(clock) * time.Microsecond) }

// advance reads a slot's cells and returns what has come since the last time. Differences are modulo 2^32 column by column, so that
// a packet half counted now is completed by the next reading. It returns false when packets have gone back: the cells were
// cleared, and what they hold is the new baseline.
func (m *Meter) advance(dir, slot int) (delta [columns]uint64, ok bool) {
	var now reading
	before := m.flows[dir][slot*len(m.shards):]
	for i := range m.shards {
		cell := &m.shards[i].Cells[dir][slot]
		count := atomic.LoadUint32(&cell.Flows)
		delta[flows] += uint64(float64(count-before[i])*m.scale[i] + 0.5)
		before[i] = count
		now.add(cell)
	}
	at, s := &m.seen[dir][slot], &m.state[dir][slot]
	for i := range now.columns {
		delta[i] = uint64(now.columns[i] - s.before[i])
	}
	delta[packets] = uint64(now.packets - at.packets)
	s.before = now.columns
	at.packets, at.read = now.packets, uint32(m.clock)
	if delta[packets] >= 1<<31 {
		return [columns]uint64{}, false
	}
	return delta, true
}

// average brings a slot's rates up to date.
func (m *Meter) average(dir, slot int, delta *[columns]uint64, age int64, changed bool) {
	weight := min(1, float32(age)/float32(rateTime.Microseconds()))
	scale := weight * 1e6 / float32(age)
	rate := &m.state[dir][slot].rate
	alive := changed
	for i, n := range delta {
		rate[i] += float32(n)*scale - rate[i]*weight
		alive = alive || rate[i] > rateFloor
	}
	if !alive {
		*rate = [columns]float32{}
		m.busy[dir][slot>>6] &^= 1 << (slot & 63)
		return
	}
	m.busy[dir][slot>>6] |= 1 << (slot & 63)
}

// resync takes all cells as read at now, without a delta, and starts the clock anew.
func (m *Meter) resync(now time.Time, count bool) {
	m.started, m.base, m.clock, m.gap = true, now, 0, 0
	for i, s := range m.shards {
		m.scale[i] = flowScale(s.FlowFill)
	}
	for dir := range m.seen {
		for slot := range m.slots {
			delta, ok := m.advance(dir, slot)
			unseen := m.skipUnseen(dir, slot)
			if ok && count {
				for i, n := range delta {
					m.total[dir][slot][i] += n
				}
				m.countUnseen(dir, slot, unseen)
			}
			m.state[dir][slot].rate = [columns]float32{}
		}
		clear(m.busy[dir])
	}
}
