package hosts

import "weir/userspace/traffic"

// A lump is what is too little to matter to anybody when it came within a second. Most hosts have no more, and to fetch the cell of each
// of them many times a second is what spreading would cost.
const (
	lumpTicks   = 10 // what is less than a lump is counted once in so many ticks, each account at its own
	lumpPackets = 64
	lumpBytes   = 1 << 16
)

// lumped marks an entry of spreader.first that is no account: packets in the lower bits, above them the count of turns, modulo 2^20.
const (
	lumped     = 1 << 31
	lumpedBits = 11
	lumpedMask = 1<<lumpedBits - 1
)

// head is a slot's first account plus one; 0: it has none.
func (s *spreader) head(dir traffic.Direction, slot uint32) uint32 {
	if i := s.first[dir][slot]; i&lumped == 0 {
		return i
	}
	return 0
}

// lump reports whether so many packets of a host without account are to be counted at once: as long as they are no more than a lump
// since the last turn, with others like them, when they came makes no difference to anybody.
func (s *spreader) lump(dir traffic.Direction, slot uint32, packets uint64) bool {
	const turns = (lumped - 1) &^ lumpedMask
	entry, turn := &s.first[dir][slot], s.tick/lumpTicks<<lumpedBits&turns
	if *entry != 0 && *entry&lumped == 0 {
		return false
	}
	if *entry&turns == turn {
		packets += uint64(*entry & lumpedMask)
	}
	if packets > lumpPackets {
		return false
	}
	*entry = lumped | turn | uint32(packets)
	return true
}

// turn reports whether an account comes to its turn, to be counted whatever it owes, within the next steps.
func (s *spreader) turn(i, steps uint32) bool {
	at := s.tick + i
	return at/lumpTicks != (at+steps)/lumpTicks
}
