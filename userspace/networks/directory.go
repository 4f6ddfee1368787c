package networks

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/gaissmai/bart"
)

// reserveMost is how many slots are kept back at most, so that a host can be admitted however full the directory is.
const reserveMost = 256

// Directory finds and hands out slots in user space, by the rules of bpf/locate.h: a host of a dynamic network gets a slot while
// its prefix has any left to give and one is free, else it is counted in the slot of its prefix. It never grows beyond its layout.
//
// Any number of goroutines may use it. Finding takes no lock and allocates nothing; only who hands out or takes back a slot waits for others.
type Directory struct {
	layout  *Layout
	trie    bart.Table[int]
	filter6 []uint64
	slots   []onDemand // from DenseSlots on: the dynamic networks as a whole, then what is handed out
	index   index
	full    atomic.Bool // no slot is free but the reserve
	folded  atomic.Uint64

	mu      sync.Mutex // held by who changes slots and what follows
	next    int        // slots from here on were never handed out
	free    []uint32   // those before it that are free again
	leaving []uint32   // forgotten, not yet free
}

// onDemand is a slot that is not dense. All but the last two fields may be read without the lock.
type onDemand struct {
	high, low atomic.Uint64 // the owner's address
	state     atomic.Uint32 // kind of owner, 0: free; above kindBits how often the slot was handed out
	hosts     atomic.Uint32 // of a prefix: how many of its hosts have a slot
	within    uint32        // of a host: the slot of the prefix that counts it among its hosts
	young     bool          // handed out since the last Reclaim
}

// NewDirectory returns an empty directory over the layout.
func NewDirectory(l *Layout) *Directory {
	whole := len(l.DynamicNetworks())
	d := &Directory{layout: l, filter6: l.Filter6(), slots: make([]onDemand, l.Slots()-l.DenseSlots()), next: whole}
	d.index.init(rand.Uint64(), len(d.slots))
	for i, p := range l.DynamicNetworks() {
		d.trie.Insert(p, i)
		k := keyOf(p.Addr(), p.Bits())
		d.slots[i].high.Store(k.high)
		d.slots[i].low.Store(k.low)
		d.slots[i].state.Store(k.kind)
	}
	d.full.Store(d.spare() <= 0)
	return d
}

// Locate returns the slot that a is counted in, and whether a is ours at all.
func (d *Directory) Locate(a netip.Addr) (slot uint32, ours bool) {
	if a.Is4() {
		entry, rest := d.layout.entry(address4(a))
		switch entry &^ valueMask {
		case kindDense:
			return entry&valueMask + rest, true
		case kindDynamic:
			k := keyOf(a, 32)
			if i, ok := d.index.find(k, d.slots); ok {
				return d.slot(i), true
			}
			return d.beyond(k, entry&valueMask), true
		}
		return 0, false
	}
	k := keyOf(a, 128)
	if bit := filter6Bit(uint32(k.high >> 32)); d.filter6[bit>>6]&(1<<(bit&63)) == 0 {
		return 0, false
	}
	if i, ok := d.index.find(k, d.slots); ok {
		return d.slot(i), true
	}
	number, ok := d.trie.Lookup(a)
	if !ok {
		return 0, false
	}
	return d.beyond(k, uint32(number)), true
}

func (d *Directory) slot(i uint32) uint32 { return uint32(d.layout.DenseSlots()) + i }

// beyond is the slot of a host that has none: one handed out now, or that of its prefix.
func (d *Directory) beyond(k key, number uint32) uint32 {
	fold, known := d.fold(k, number)
	full := d.full.Load()
	switch {
	case !known && !full, known && !full && d.slots[fold].hosts.Load() < uint32(d.layout.FoldHosts()):
		if i, ok := d.admit(k, number); ok {
			return d.slot(i)
		}
		fold, _ = d.fold(k, number)
	}
	d.folded.Add(1)
	return d.slot(fold)
}

// fold returns what a host is counted in that has no slot: its /24 or /64, or the network as a whole where there is none. It
// reports false when there could be one.
func (d *Directory) fold(k key, number uint32) (uint32, bool) {
	if !Divided(d.layout.DynamicNetworks()[number]) {
		return number, true
	}
	if i, ok := d.index.find(k.fold(), d.slots); ok {
		return i, true
	}
	return number, false
}

// admit hands out a slot to a host, unless its prefix has had its share or none is free.
func (d *Directory) admit(k key, number uint32) (uint32, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i, ok := d.index.find(k, d.slots); ok {
		return i, true
	}
	fold := d.makeFold(k, number)
	if d.slots[fold].hosts.Load() >= uint32(d.layout.FoldHosts()) || d.spare() <= 0 {
		return 0, false
	}
	return d.enter(k, fold), true
}

// makeFold is fold, and makes the one that there could be while slots are free.
func (d *Directory) makeFold(k key, number uint32) uint32 {
	fold, known := d.fold(k, number)
	if known || d.spare() <= 0 {
		return fold
	}
	return d.take(k.fold())
}

func (d *Directory) enter(k key, fold uint32) uint32 {
	i := d.take(k)
	d.slots[i].within = fold
	d.slots[fold].hosts.Add(1)
	return i
}

// spare is how many slots can be handed out without touching the reserve.
func (d *Directory) spare() int {
	return d.unused() - min(reserveMost, d.layout.budget.Dynamic/8)
}

func (d *Directory) unused() int { return len(d.slots) - d.next + len(d.free) }

// take makes k the owner of a free slot; there must be one.
func (d *Directory) take(k key) uint32 {
	var i uint32
	if n := len(d.free); n > 0 {
		i, d.free = d.free[n-1], d.free[:n-1]
	} else {
		i = uint32(d.next)
		d.next++
	}
	s := &d.slots[i]
	s.high.Store(k.high)
	s.low.Store(k.low)
	s.hosts.Store(0)
	s.state.Store((s.state.Load()&^kindMask + 1<<kindBits) | k.kind)
	s.young = true
	d.index.insert(k, i)
	d.full.Store(d.spare() <= 0)
	return i
}

// Find returns the slot of a host that has one of its own; it hands out none.
func (d *Directory) Find(a netip.Addr) (slot uint32, ok bool) {
	if slot, ok := d.layout.DenseSlot(a); ok {
		return slot, true
	}
	if !a.IsValid() {
		return 0, false
	}
	i, ok := d.index.find(keyOf(a, a.BitLen()), d.slots)
	return d.slot(i), ok
}

// Admit returns the slot of a host of its own, and hands out one of those kept back when there is no other. It is for who must have
// one, whatever its prefix has had already.
func (d *Directory) Admit(a netip.Addr) (uint32, error) {
	if slot, ok := d.Find(a); ok {
		return slot, nil
	}
	number, ok := d.trie.Lookup(a)
	if !ok {
		return 0, fmt.Errorf("find cell of %s: not in one of our networks", a)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	k := keyOf(a, a.BitLen())
	if i, ok := d.index.find(k, d.slots); ok {
		return d.slot(i), nil
	}
	if d.unused() == 0 {
		return 0, fmt.Errorf("find cell of %s: all %d slots are taken; raise the memory for cells", a, d.layout.budget.Dynamic)
	}
	return d.slot(d.enter(k, d.makeFold(k, uint32(number)))), nil
}

// Owner returns whose slot it is: a host as /32 or /128, or the prefix that hosts fold into; false for a slot that is free.
func (d *Directory) Owner(slot uint32) (netip.Prefix, bool) {
	if a, ok := d.layout.DenseOwner(slot); ok {
		return netip.PrefixFrom(a, 32), true
	}
	i := int64(slot) - int64(d.layout.DenseSlots())
	if i < 0 || i >= int64(len(d.slots)) {
		return netip.Prefix{}, false
	}
	for s := &d.slots[i]; ; {
		state := s.state.Load()
		k := key{s.high.Load(), s.low.Load(), state & kindMask}
		if s.state.Load() == state {
			return k.prefix()
		}
	}
}

// Folded is how many packets' hosts were counted in their prefix for want of a slot.
func (d *Directory) Folded() uint64 { return d.folded.Load() }

// key is a prefix in the form that it is compared in.
type key struct {
	high, low uint64
	kind      uint32 // bits, plus kindIPv4 or kindIPv6; never 0
}

const (
	kindIPv4 = 0x100
	kindIPv6 = 0x200
	kindGone = 0x400 // forgotten: nobody finds it, but what is still counted in the slot is its own
	kindBits = 11
	kindMask = 1<<kindBits - 1
)

func keyOf(a netip.Addr, bits int) key {
	if a.Is4() {
		return key{low: uint64(address4(a)), kind: kindIPv4 | uint32(bits)}
	}
	b := a.As16()
	return key{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), kindIPv6 | uint32(bits)}
}

// fold is the prefix that a host folds into.
func (k key) fold() key {
	if k.kind&kindIPv4 != 0 {
		return key{low: k.low &^ (1<<(32-FoldBits4) - 1), kind: kindIPv4 | FoldBits4}
	}
	return key{high: k.high, kind: kindIPv6 | FoldBits6}
}

func (k key) host() bool { return k.kind&^kindGone == kindIPv4|32 || k.kind&^kindGone == kindIPv6|128 }

func (k key) prefix() (netip.Prefix, bool) {
	bits := int(k.kind & 0xff)
	switch {
	case k.kind&kindIPv4 != 0:
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(k.low))
		return netip.PrefixFrom(netip.AddrFrom4(b), bits), true
	case k.kind&kindIPv6 != 0:
		var b [16]byte
		binary.BigEndian.PutUint64(b[:8], k.high)
		binary.BigEndian.PutUint64(b[8:], k.low)
		return netip.PrefixFrom(netip.AddrFrom16(b), bits), true
	}
	return netip.Prefix{}, false
}
