package loader

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// guard is a bit per hashed host and block of hosts that rules are for: packets of others are not looked at.
type guard struct {
	bits     []uint64
	all      bool             // rules are for more hosts than can be marked
	done     map[guarded]bool // prefixes that are marked
	bySource bool             // some rule is found by its source
}

type guarded struct {
	prefix netip.Prefix
	kind   uint64
}

// add marks a prefix: an IPv4 host or /24, an IPv6 host or /64, or as many of these as there are in it. kind is 0 for
// destinations and 2 for sources.
func (g *guard) add(p netip.Prefix, kind uint64) {
	if g.all {
		return
	}
	if g.done == nil {
		g.done = map[guarded]bool{}
	}
	if !p.IsSingleIP() { // a host is marked faster than it is found in the map
		if g.done[guarded{p, kind}] {
			return
		}
		g.done[guarded{p, kind}] = true
	}
	b := p.Addr().As16()
	high, low := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	four, free := p.Addr().Is4(), p.Addr().BitLen()-p.Bits()
	switch {
	case four && free < 8:
		for i := range uint64(1) << free {
			g.mark(low&0xffffffff+i, kind)
		}
	case four && free <= 8+16:
		for i := range uint64(1) << (free - 8) {
			g.mark(low&0xffffffff>>8+i, kind+1)
		}
	case !four && free == 0:
		high, low = binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])
		g.mark(high*0x9e3779b97f4a7c15^low, kind)
	case !four && free <= 64+16:
		n := uint64(1)
		if free > 64 {
			n <<= free - 64
		}
		for i := range n {
			binary.BigEndian.PutUint64(b[:8], high+i)
			g.mark(binary.LittleEndian.Uint64(b[:8]), kind+1)
		}
	default:
		g.all = true
	}
}

func (g *guard) mark(x, kind uint64) {
	bit := guardBit(x, kind) & uint32(len(g.bits)*64-1)
	g.bits[bit>>6] |= 1 << (bit & 63)
}

func (g *guard) ones() (n int) {
	for _, w := range g.bits {
		n += bits.OnesCount64(w)
	}
	return n
}
