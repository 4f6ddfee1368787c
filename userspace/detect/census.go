package detect

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
)

// census counts distinct hosts within about a window: two bitmaps, the current and the one before, corrected by linear counting.
type census struct {
	current, before []uint64
	since           int64 // ns
}

func newCensus(size int) census {
	return census{current: make([]uint64, size/64), before: make([]uint64, size/64)}
}

// mark notes the host with the given hash.
func (c *census) mark(hash uint64) {
	bit := hash & uint64(len(c.current)*64-1)
	c.current[bit/64] |= 1 << (bit % 64)
}

// turn begins another bitmap when the current one is older than length.
func (c *census) turn(now, length int64) {
	if now-c.since < length && now >= c.since {
		return
	}
	c.current, c.before = c.before, c.current
	if now-c.since >= 2*length {
		clear(c.before)
	}
	clear(c.current)
	c.since = now
}

// set returns the number of hosts' bits.
func (c *census) set() int {
	n := 0
	for i := range c.current {
		n += bits.OnesCount64(c.current[i] | c.before[i])
	}
	return n
}

// count estimates the number of distinct hosts from the share of bits that are still zero.
func (c *census) count() int {
	size := float64(len(c.current) * 64)
	zero := max(size-float64(c.set()), 1)
	return int(math.Round(size * math.Log(size/zero)))
}

func (c *census) reset() {
	clear(c.current)
	clear(c.before)
	c.since = 0
}

// hashOf spreads addresses over 64 bits: the finalizer of splitmix64 over both halves.
func hashOf(a netip.Addr) uint64 {
	b := a.As16()
	h := binary.BigEndian.Uint64(b[8:]) ^ bits.RotateLeft64(binary.BigEndian.Uint64(b[:8])*0x9e3779b97f4a7c15, 31)
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
