package networks

import "sync/atomic"

// index finds the slot of an owner: an open-addressed table that anyone reads without a lock while one who holds it writes. An owner that
// has left leaves a mark behind, so that nobody who is looking past it is led astray; when there are many marks, a new
// table takes the old one's place.
type index struct {
	seed  uint64
	table atomic.Pointer[[]atomic.Uint32] // of a power of two; no more than half of it is in use, so a search ends
	marks int
}

// What stands in a place of the table: nothing, a mark, or a slot's number plus placeFirst.
const (
	placeEmpty = iota
	placeMark
	placeFirst
)

func (x *index) init(seed uint64, slots int) {
	size := 8
	for size < 2*slots {
		size *= 2
	}
	x.seed = seed
	table := make([]atomic.Uint32, size)
	x.table.Store(&table)
}

// start is where the search for k begins. The seed keeps anyone outside from choosing addresses that meet.
func (x *index) start(k key) uint64 {
	h := (x.seed ^ k.high) * 0x9e3779b97f4a7c15
	h = (h ^ h>>32 ^ k.low ^ uint64(k.kind)<<40) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>29) * 0x94d049bb133111eb
	return h ^ h>>32
}

func (x *index) find(k key, slots []onDemand) (uint32, bool) {
	table := *x.table.Load()
	mask := uint64(len(table) - 1)
	for at := x.start(k) & mask; ; at = (at + 1) & mask {
		place := table[at].Load()
		if place == placeEmpty {
			return 0, false
		}
		if place == placeMark {
			continue
		}
		s := &slots[place-placeFirst]
		if s.low.Load() == k.low && s.high.Load() == k.high && s.state.Load()&kindMask == k.kind {
			return place - placeFirst, true
		}
	}
}

// insert enters a slot whose owner is k already, and not in the table.
func (x *index) insert(k key, slot uint32) {
	table := *x.table.Load()
	mask := uint64(len(table) - 1)
	for at := x.start(k) & mask; ; at = (at + 1) & mask {
		switch table[at].Load() {
		case placeMark:
			x.marks--
			fallthrough
		case placeEmpty:
			table[at].Store(slot + placeFirst)
			return
		}
	}
}

// remove takes out a slot whose owner is still k.
func (x *index) remove(k key, slot uint32) {
	table := *x.table.Load()
	mask := uint64(len(table) - 1)
	for at := x.start(k) & mask; ; at = (at + 1) & mask {
		switch table[at].Load() {
		case slot + placeFirst:
			table[at].Store(placeMark)
			x.marks++
			return
		case placeEmpty:
			return
		}
	}
}

// tidy makes a new table of those that are in the old one, when an eighth of it is marks. Who is searching the old one meanwhile
// finds what was in it.
func (x *index) tidy(slots []onDemand) {
	old := *x.table.Load()
	if x.marks <= len(old)/8 {
		return
	}
	table := make([]atomic.Uint32, len(old))
	mask := uint64(len(table) - 1)
	for i := range old {
		place := old[i].Load()
		if place < placeFirst {
			continue
		}
		s := &slots[place-placeFirst]
		at := x.start(key{s.high.Load(), s.low.Load(), s.state.Load() & kindMask}) & mask
		for table[at].Load() != placeEmpty {
			at = (at + 1) & mask
		}
		table[at].Store(place)
	}
	x.marks = 0
	x.table.Store(&table)
}
