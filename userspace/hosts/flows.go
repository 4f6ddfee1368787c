package hosts

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"

	"weir/userspace/traffic"
)

// FlowBits is how many bits one generation of a flow bitmap has: FLOW_BITS_LOG2 of bpf/abi.h.
const FlowBits = 1 << flowBitsLog2

const flowBitsLog2 = 22

// flowBitmap tells the first packet of a flow from later ones: a bit per hashed flow, which may stand for several. One goroutine
// writes; any may read how full it is.
type flowBitmap struct {
	seed uint64
	bits [2][]uint64
	now  atomic.Uint32 // the generation in use
	set  [2]atomic.Uint32
}

// newFlowBitmap seeds the hash, so that nobody outside can aim at collisions.
func newFlowBitmap() *flowBitmap {
	f := &flowBitmap{seed: rand.Uint64()}
	for i := range f.bits {
		f.bits[i] = make([]uint64, FlowBits/64)
	}
	return f
}

// first returns 1 for a packet whose flow's bit was clear, and sets it; else 0.
func (f *flowBitmap) first(p *traffic.Packet) uint32 {
	hash := f.hash(p)
	generation := f.now.Load()
	word, bit := &f.bits[generation][hash>>(64-flowBitsLog2+6)], uint64(1)<<(hash&63)
	if *word&bit != 0 {
		return 0
	}
	*word |= bit
	f.set[generation].Add(1)
	return 1
}

// flip clears the other generation and goes over to it.
func (f *flowBitmap) flip() {
	next := f.now.Load() ^ 1
	clear(f.bits[next])
	f.set[next].Store(0)
	f.now.Store(next)
}

// fill is how much of the generation in use is set, 0 to 1.
func (f *flowBitmap) fill() float64 { return float64(f.set[f.now.Load()].Load()) / FlowBits }

// hash mixes who talks to whom as flow_hash of bpf/account.h does.
func (f *flowBitmap) hash(p *traffic.Packet) uint64 {
	const first, second, third = 0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb
	ports := uint64(p.SrcPort)<<32 | uint64(p.DstPort)<<8 | uint64(p.Protocol)
	h := f.seed
	if p.Src.Is4() {
		h ^= uint64(word4(p.Src))<<32 | uint64(word4(p.Dst))
	} else {
		src, dst := p.Src.As16(), p.Dst.As16()
		h ^= binary.BigEndian.Uint64(src[:8])
		h = (h^h>>32)*first + binary.BigEndian.Uint64(src[8:])
		h = (h^h>>29)*second + binary.BigEndian.Uint64(dst[:8])
		h = (h^h>>32)*third + binary.BigEndian.Uint64(dst[8:])
	}
	h = (h^h>>32)*first + ports
	h = (h ^ h>>29) * second
	h = (h ^ h>>32) * third
	return h ^ h>>32
}

// word4 is the last 32 bits of an address: all of it when it is IPv4.
func word4(a netip.Addr) uint32 {
	b := a.As16()
	return binary.BigEndian.Uint32(b[12:])
}
