package hosts

import (
	"math/bits"
	"sync/atomic"
	"time"

	"weir/userspace/traffic"
)

// CountedAtOnce is how long flow records may tell of and still be counted at once.
const CountedAtOnce = time.Second

// How records are counted over a time. A record that tells of a minute says nothing of when in it the packets came, and the next one
// comes in a minute: so each is counted, in even parts, over as long a time after it as it tells of. A steady flow has a
// steady rate that way, where counting a record at once would be a spike each minute.
const (
	spreadTick  = 100 * time.Millisecond
	spreadFrom  = CountedAtOnce
	spreadMost  = time.Hour // longer ones as if they were so long
	packetTicks = 100       // a packet at least in so many ticks, so that a host whose records are pending is never taken for silent
	stepsMost   = 50        // ticks; a longer pause is a clock that was set
	endsMost    = 8
	looseness   = 8  // an end may be wrong by this part of its record's time
	fraction    = 10 // binary digits of what is not whole
	rateMost    = 1 << 46
	dueMost     = 1 << 62
	never       = ^uint32(0)
)

// DefaultPending is how many accounts a new writer may have.
const DefaultPending = 1 << 16

// So many more there are for what cannot be counted at once, because it does not fit into a cell.
const extraAccounts = 1024

// spreader keeps what records of a host are still to be counted: an account for each cell and share of it that has any, with a rate per
// tick, and up to endsMost times at which a part of that rate ends. All sums are exact: a rate is rounded down, and what that
// leaves is due at once.
type spreader struct {
	most     int
	first    [2][]uint32 // by slot: its first account plus one; or lumped, and how much of a lump it has had in which second; 0: neither
	accounts []account
	ends     []ends
	free     []uint32
	used     int
	waiting  []uint32 // accounts that owe more than their cell takes
	tick     uint32
	last     time.Time // when tick began

	active          atomic.Int64
	atOnce, clipped atomic.Uint64
}

// account is 64 bytes, a cache line, that is gone through each tick.
type account struct {
	slot  uint32 // never: nobody's
	next  uint32 // the slot's next account plus one
	until uint32 // the tick of its first end
	dir   traffic.Direction
	kind  share
	count uint8  // ends
	waits bool   // in spreader.waiting
	rate  amount // per tick, in 2^-fraction
	due   amount // in 2^-fraction
}

// ends are sorted by time.
type ends [endsMost]end

// end is when a part of an account's rate is over.
type end struct {
	rate amount
	at   uint32 // tick
}

// SpreadStats is what a writer has done with records that are counted over a time.
type SpreadStats struct {
	Accounts int    // that have something pending
	AtOnce   uint64 // records counted at once because there were too many accounts
	Clipped  uint64 // records, or accounts, of which a part was not counted, because it was beyond all measure
}

// SpreadStats may be called by any goroutine.
func (w *Writer) SpreadStats() SpreadStats {
	s := &w.spread
	return SpreadStats{int(s.active.Load()), s.atOnce.Load(), s.clipped.Load()}
}

// SetSpreading says how many hosts, directions and protocols may have records pending at a time, 300 bytes each; 0: every record is counted at
// once, whatever time it tells of. A new writer has DefaultPending. The goroutine that counts calls it.
func (w *Writer) SetSpreading(most int) { w.spread.most = most }

// ticksOf is over how many ticks a record is to be counted; 0: at once.
func (s *spreader) ticksOf(f *traffic.Flow, packets uint64) uint32 {
	if f.Start <= 0 || f.End-f.Start <= int64(spreadFrom) || s.most == 0 || packets < 2 {
		return 0
	}
	ticks := uint64(min(f.End-f.Start, int64(spreadMost)) / int64(spreadTick))
	return uint32(min(ticks, (packets-1)*packetTicks))
}

// account finds the account of a cell and share, or opens one if there is room. Half of the room is for records that are large.
func (s *spreader) account(dir traffic.Direction, slot uint32, kind share, large bool) (uint32, bool) {
	if i, ok := s.find(dir, slot, kind); ok {
		return i, true
	}
	if s.used >= s.most || !large && s.used >= s.most/2 {
		return 0, false
	}
	return s.open(dir, slot, kind), true
}

// demand is account for what cannot be counted at once.
func (s *spreader) demand(dir traffic.Direction, slot uint32, kind share) (uint32, bool) {
	if i, ok := s.find(dir, slot, kind); ok {
		return i, true
	}
	if s.used >= s.most+extraAccounts {
		return 0, false
	}
	return s.open(dir, slot, kind), true
}

func (s *spreader) find(dir traffic.Direction, slot uint32, kind share) (uint32, bool) {
	if s.used == 0 {
		return 0, false
	}
	for i := s.head(dir, slot); i != 0; i = s.accounts[i-1].next {
		if s.accounts[i-1].kind == kind {
			return i - 1, true
		}
	}
	return 0, false
}

func (s *spreader) open(dir traffic.Direction, slot uint32, kind share) uint32 {
	var i uint32
	if n := len(s.free); n > 0 {
		i, s.free = s.free[n-1], s.free[:n-1]
	} else {
		i = uint32(len(s.accounts))
		s.accounts = append(s.accounts, account{slot: never})
		s.ends = append(s.ends, ends{})
	}
	s.accounts[i] = account{slot: slot, dir: dir, kind: kind, until: never, next: s.head(dir, slot)}
	s.first[dir][slot] = i + 1
	s.used++
	s.active.Store(int64(s.used))
	return i
}

func (s *spreader) release(i uint32) {
	a := &s.accounts[i]
	at := &s.first[a.dir][a.slot]
	for *at != i+1 {
		at = &s.accounts[*at-1].next
	}
	*at = a.next
	*a = account{slot: never}
	s.free = append(s.free, i)
	s.used--
	s.active.Store(int64(s.used))
}

func (s *spreader) wait(i uint32) {
	if a := &s.accounts[i]; !a.waits {
		a.waits = true
		s.waiting = append(s.waiting, i)
	}
}

// clock returns how many ticks have passed.
func (s *spreader) clock(now time.Time) uint32 {
	elapsed := now.Sub(s.last)
	switch {
	case s.last.IsZero() || elapsed < 0:
		s.last = now
		return 0
	case elapsed >= stepsMost*spreadTick:
		s.last = now
		return stepsMost
	}
	steps := elapsed / spreadTick
	s.last = s.last.Add(steps * spreadTick)
	return uint32(steps)
}

// put adds n, to be counted within so many ticks.
func (s *spreader) put(i uint32, n amount, ticks uint32) {
	a, e := &s.accounts[i], &s.ends[i]
	// The exporter's clock is not ours: when the next record of a flow comes a little early, what is left of the one before would
	// come on top. It is counted along with the new one instead, if it is but a little of that.
	for a.count > 0 {
		left := e[0].at - s.tick
		rest := e[0].rate.times(uint64(left))
		if left > ticks/looseness || rest.packets > n.packets/looseness || rest.bytes > n.bytes/looseness {
			break
		}
		a.shift(e)
		n.add(rest)
	}
	until := s.tick + ticks
	k, near := e.nearest(int(a.count), until, ticks/looseness)
	if !near {
		if a.count == endsMost {
			s.condense(a, e)
			k, _ = e.nearest(int(a.count), until, 0)
		}
		copy(e[k+1:], e[k:a.count])
		e[k] = end{at: until}
		a.count++
		a.until = e[0].at
	}
	s.raise(a, e, k, n)
}

// nearest returns the end that is closest to a tick and within a distance of it, or else the place where it belongs.
func (e *ends) nearest(count int, tick, within uint32) (k int, near bool) {
	for k < count && e[k].at < tick {
		k++
	}
	after, before := never, never
	if k < count {
		after = e[k].at - tick
	}
	if k > 0 {
		before = tick - e[k-1].at
	}
	switch {
	case before < after && before <= within:
		return k - 1, true
	case after <= within:
		return k, true
	}
	return k, false
}

// raise counts n over the time that is left to the k-th end.
func (s *spreader) raise(a *account, e *ends, k int, n amount) {
	left := uint64(e[k].at - s.tick)
	rate := amount{n.packets / left, n.bytes / left, 0}
	if n.unseen > 0 {
		rate.unseen = n.unseen / left
	}
	if a.rate.packets+rate.packets > rateMost || a.rate.bytes+rate.bytes > rateMost {
		s.clipped.Add(1)
		return
	}
	e[k].rate.add(rate)
	a.rate.add(rate)
	n.sub(rate.times(left))
	s.owe(a, n)
}

// condense makes room for an end: of two that follow each other most closely, for how far they are away, the first is put off to the second.
func (s *spreader) condense(a *account, e *ends) {
	best := 0
	for k := 1; k < endsMost-1; k++ {
		// gap(k)/left(k) < gap(best)/left(best)
		if uint64(e[k+1].at-e[k].at)*uint64(e[best].at-s.tick) < uint64(e[best+1].at-e[best].at)*uint64(e[k].at-s.tick) {
			best = k
		}
	}
	rate := e[best].rate
	rest := rate.times(uint64(e[best].at - s.tick))
	a.rate.sub(rate)
	copy(e[best:], e[best+1:])
	a.count--
	a.until = e[0].at
	s.raise(a, e, best, rest)
}

// shift takes away the first end and its rate.
func (a *account) shift(e *ends) {
	a.rate.sub(e[0].rate)
	a.count--
	copy(e[:a.count], e[1:])
	a.until = never
	if a.count > 0 {
		a.until = e[0].at
	}
}

// advance makes due what so many ticks bring.
func (s *spreader) advance(a *account, e *ends, steps uint32) {
	from, to := s.tick, s.tick+steps
	for a.count > 0 && a.until <= to {
		s.owe(a, a.rate.times(uint64(a.until-from)))
		from = a.until
		a.shift(e)
	}
	if a.count > 0 {
		s.owe(a, a.rate.times(uint64(to-from)))
	}
}

// hasten makes everything due.
func (s *spreader) hasten(a *account, e *ends) {
	for a.count > 0 {
		s.owe(a, e[0].rate.times(uint64(e[0].at-s.tick)))
		a.shift(e)
	}
}

func (s *spreader) owe(a *account, n amount) {
	a.due.add(n)
	if a.due.packets > dueMost || a.due.bytes > dueMost {
		s.clipped.Add(1)
		a.due = amount{min(a.due.packets, dueMost), min(a.due.bytes, dueMost), min(a.due.unseen, dueMost)}
	}
}

// adopt adds what is pending in an account of another spreader, whose tick is given.
func (s *spreader) adopt(i uint32, from *account, e *ends, tick uint32) {
	s.owe(&s.accounts[i], from.due)
	for k := range int(from.count) {
		left := e[k].at - tick
		s.put(i, e[k].rate.times(uint64(left)), left)
	}
}

func (n *amount) add(o amount) {
	n.packets += o.packets
	n.bytes += o.bytes
	n.unseen += o.unseen
}

func (n *amount) sub(o amount) {
	n.packets -= o.packets
	n.bytes -= o.bytes
	n.unseen -= o.unseen
}

func (n amount) times(f uint64) amount { return amount{n.packets * f, n.bytes * f, n.unseen * f} }

// fixed is n in 2^-fraction, whole the opposite, rounded down.
func (n amount) fixed() amount {
	return amount{n.packets << fraction, n.bytes << fraction, n.unseen << fraction}
}

func (n amount) whole() amount {
	return amount{n.packets >> fraction, n.bytes >> fraction, n.unseen >> fraction}
}

// part is most/of of n; most is no more than of, which is no less than any of n.
func (n amount) part(most, of uint64) amount {
	cut := func(v uint64) uint64 {
		high, low := bits.Mul64(v, most)
		quotient, _ := bits.Div64(high, low, of)
		return quotient
	}
	return amount{cut(n.packets), cut(n.bytes), cut(n.unseen)}
}
