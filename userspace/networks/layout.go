package networks

import (
	"fmt"
	"net/netip"
	"slices"
)

// How locate4 of bpf/abi.h encodes an entry: the kind in the two upper bits, a slot, table index or network number below.
const (
	kindShift   = 30
	kindTable   = 1 << kindShift
	kindDense   = 2 << kindShift
	kindDynamic = 3 << kindShift
	valueMask   = 1<<kindShift - 1

	firstLevel = 1 << 16
	nextLevel  = 1 << 8
)

// Hosts that have no cell of their own are counted in their prefix of this length.
const (
	FoldBits4 = 24
	FoldBits6 = 64
)

// Budget bounds the slots of a layout. A slot is a cell per direction and CPU.
type Budget struct {
	Dense     int // for IPv4 networks whose hosts all get a slot in advance
	Dynamic   int // for the hosts of all other networks, handed out on demand
	FoldHosts int // hosts of one /24 or /64 that may have dynamic slots; 0: a quarter of Dynamic
}

// Dense is an IPv4 network with a slot for every address: Base for the first, Base+1 for the next, and so on.
type Dense struct {
	Prefix netip.Prefix
	Base   uint32
}

// Layout says which host is counted where. It is immutable, and the same prefixes and budget always give the same layout.
//
// Slots [0, DenseSlots) belong to dense networks; then comes one slot for each dynamic network as a whole; the rest are handed
// out on demand to hosts of dynamic networks, and to the /24 and /64 that hosts beyond the budget fold into.
type Layout struct {
	budget     Budget
	dense      []Dense
	dynamic    []netip.Prefix
	locate     []uint32
	denseSlots int
}

// NewLayout lays out the union of the prefixes. IPv4 networks become dense while they fit the budget, smallest first.
func NewLayout(prefixes []netip.Prefix, budget Budget) (*Layout, error) {
	if budget.FoldHosts == 0 {
		budget.FoldHosts = max(budget.Dynamic/4, 1)
	}
	l := &Layout{budget: budget, locate: make([]uint32, firstLevel)}
	for _, p := range union(prefixes) {
		if p.Addr().Is6() || uint64(l.denseSlots)+1<<(32-p.Bits()) > uint64(budget.Dense) {
			l.dynamic = append(l.dynamic, p)
			continue
		}
		l.dense = append(l.dense, Dense{p, uint32(l.denseSlots)})
		l.denseSlots += 1 << (32 - p.Bits())
	}
	if len(l.dynamic) == 0 {
		l.budget.Dynamic = 0
	} else if l.budget.Dynamic < 1 {
		return nil, fmt.Errorf("lay out %s: no slots for hosts that are counted on demand; raise the memory for cells", l.dynamic[0])
	}
	if l.Slots() >= 1<<kindShift {
		return nil, fmt.Errorf("lay out networks: %d slots are more than %d; lower the memory for cells", l.Slots(), 1<<kindShift)
	}
	for _, d := range l.dense {
		l.enter(d.Prefix, kindDense|d.Base)
	}
	for i, p := range l.dynamic {
		if p.Addr().Is4() {
			l.enter(p, kindDynamic|uint32(i))
		}
	}
	return l, nil
}

// union returns the prefixes that no other covers, in order of size and then address.
func union(prefixes []netip.Prefix) []netip.Prefix {
	sorted := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		sorted = append(sorted, p.Masked())
	}
	slices.SortFunc(sorted, func(a, b netip.Prefix) int {
		if a.Bits() != b.Bits() {
			return a.Bits() - b.Bits()
		}
		return a.Addr().Compare(b.Addr())
	})
	seen := make(map[netip.Prefix]bool, len(sorted))
	var widest []netip.Prefix
	for _, p := range sorted {
		covered := false
		for bits := p.Bits(); bits >= 0 && !covered; bits-- {
			covered = seen[netip.PrefixFrom(p.Addr(), bits).Masked()]
		}
		if !covered {
			seen[p] = true
			widest = append(widest, p)
		}
	}
	slices.SortFunc(widest, func(a, b netip.Prefix) int {
		if a.Bits() != b.Bits() {
			return b.Bits() - a.Bits()
		}
		return a.Addr().Compare(b.Addr())
	})
	return widest
}

// enter writes leaf for the whole prefix; dense leaves grow by the size of what an entry stands for.
func (l *Layout) enter(p netip.Prefix, leaf uint32) {
	first := address4(p.Addr())
	level, bits := 0, 16
	for p.Bits() > bits && bits < 32 {
		level, bits = l.descend(level, first, bits), bits+8
	}
	index := level + int(first>>(32-bits))
	if bits > 16 {
		index = level + int(first>>(32-bits)&(nextLevel-1))
	}
	step := uint32(0)
	if leaf&^valueMask == kindDense&^valueMask {
		step = 1 << (32 - bits)
	}
	for i := range 1 << (bits - p.Bits()) {
		l.locate[index+i] = leaf + uint32(i)*step
	}
}

// descend returns the index of the table below the entry of first at this level, and makes it when there is none.
func (l *Layout) descend(level int, first uint32, bits int) int {
	index := int(first >> (32 - bits))
	if bits > 16 {
		index = level + index&(nextLevel-1)
	}
	if l.locate[index]&^valueMask != kindTable {
		l.locate[index] = kindTable | uint32(len(l.locate))
		l.locate = append(l.locate, make([]uint32, nextLevel)...)
	}
	return int(l.locate[index] & valueMask)
}

func address4(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// Slots is the number of all slots, DenseSlots that of those which belong to dense networks.
func (l *Layout) Slots() int      { return l.denseSlots + len(l.dynamic) + l.budget.Dynamic }
func (l *Layout) DenseSlots() int { return l.denseSlots }

// FoldHosts is how many hosts of one fold may have dynamic slots.
func (l *Layout) FoldHosts() int { return l.budget.FoldHosts }

// DenseNetworks returns the networks with a slot for every address, in order of their slots.
func (l *Layout) DenseNetworks() []Dense { return l.dense }

// DynamicNetworks returns the networks whose hosts get slots on demand; the index is the network's number in the kernel.
func (l *Layout) DynamicNetworks() []netip.Prefix { return l.dynamic }

// WholeSlot is the slot of a dynamic network as a whole.
func (l *Layout) WholeSlot(number int) uint32 { return uint32(l.denseSlots + number) }

// Divided reports whether hosts of the dynamic network p fold into a /24 or /64 before they fold into p itself.
func Divided(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() < FoldBits4
	}
	return p.Bits() < FoldBits6
}

// Locate4 returns the words of the map locate4 in bpf/maps.h.
func (l *Layout) Locate4() []uint32 { return l.locate }

// Filter6Words is the size of the map filter6.
const Filter6Words = 1024

// Filter6 returns the words of the map filter6 in bpf/maps.h: a bit for the hash of each 32 bits that one of our IPv6 networks begins with.
func (l *Layout) Filter6() []uint64 {
	words := make([]uint64, Filter6Words)
	for _, p := range l.dynamic {
		if p.Addr().Is4() {
			continue
		}
		a := p.Addr().As16()
		first := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
		free := max(0, 32-p.Bits())
		if free > 16 { // more values than the filter has bits
			for i := range words {
				words[i] = ^uint64(0)
			}
			return words
		}
		for i := range uint32(1) << free {
			bit := filter6Bit(first + i)
			words[bit>>6] |= 1 << (bit & 63)
		}
	}
	return words
}

// filter6Bit is the bit of the map filter6 for the first 32 bits of an address.
func filter6Bit(first uint32) uint32 { return (first * 0x9e3779b1) >> 16 }

// DenseSlot returns the slot of an IPv4 address in a dense network.
func (l *Layout) DenseSlot(a netip.Addr) (uint32, bool) {
	if !a.Is4() {
		return 0, false
	}
	entry, rest := l.entry(address4(a))
	if entry&^valueMask != kindDense {
		return 0, false
	}
	return entry&valueMask + rest, true
}

// entry returns the leaf for an address and the address' offset within what the leaf stands for.
func (l *Layout) entry(a uint32) (entry, rest uint32) {
	rest = a & 0xffff
	entry = l.locate[a>>16]
	if entry&^valueMask != kindTable {
		return entry, rest
	}
	entry = l.locate[entry&valueMask+rest>>8]
	rest &= 0xff
	if entry&^valueMask != kindTable {
		return entry, rest
	}
	return l.locate[entry&valueMask+rest], 0
}

// DenseOwner returns the address that a dense slot belongs to.
func (l *Layout) DenseOwner(slot uint32) (netip.Addr, bool) {
	if int(slot) >= l.denseSlots {
		return netip.Addr{}, false
	}
	i, found := slices.BinarySearchFunc(l.dense, slot, func(d Dense, s uint32) int { return int(d.Base) - int(s) })
	if !found {
		i--
	}
	a := address4(l.dense[i].Prefix.Addr()) + slot - l.dense[i].Base
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)}), true
}
