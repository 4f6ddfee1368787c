package detect

import "weir/userspace/traffic"

// part is traffic within (from, to].
type part struct {
	from, to int64
	counts   traffic.Counts
}

// batch gathers the observations of many hosts between two Ticks, so that they are spread over a window once and not host by host.
// One reading has few different times in it: hosts that are busy were read a moment ago, all others a second ago.
type batch struct {
	n     int
	parts [2]part
}

// sameTime is the precision, as a power of two of nanoseconds (17 ms), within which observations are gathered.
const sameTime = 24

// add reports whether there was room.
func (b *batch) add(from, to int64, c *traffic.Counts) bool {
	for i := range b.n {
		p := &b.parts[i]
		if p.from>>sameTime == from>>sameTime && p.to>>sameTime == to>>sameTime {
			p.counts.Add(c)
			return true
		}
	}
	if b.n == len(b.parts) {
		return false
	}
	b.parts[b.n] = part{from, to, *c}
	b.n++
	return true
}
