package networks

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// fold is a prefix whose hosts share what slots it may still give; a dynamic network is one, and so are its /24 or /64.
type fold struct {
	slot  uint32
	hosts int
}

// Directory finds and hands out slots in user space, by the rules of bpf/locate.h: a host of a dynamic network gets a slot while
// its prefix has any left to give and one is free, else it is counted in the slot of its prefix. It never forgets a host and
// never grows beyond its layout. One goroutine uses it.
type Directory struct {
	layout *Layout
	trie   bart.Table[int]
	hosts  map[netip.Addr]uint32
	folds  map[netip.Prefix]*fold
	wholes []fold
	owners []netip.Prefix // of slots from DenseSlots on, as far as they have been handed out
	folded uint64
}

// NewDirectory returns an empty directory over the layout.
func NewDirectory(l *Layout) *Directory {
	d := &Directory{layout: l, hosts: map[netip.Addr]uint32{}, folds: map[netip.Prefix]*fold{}}
	for i, p := range l.DynamicNetworks() {
		d.trie.Insert(p, i)
		d.wholes = append(d.wholes, fold{slot: l.WholeSlot(i)})
		d.owners = append(d.owners, p)
	}
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
			if slot, ok := d.hosts[a]; ok {
				return slot, true
			}
			return d.admit(a, int(entry&valueMask)), true
		}
		return 0, false
	}
	if slot, ok := d.hosts[a]; ok {
		return slot, true
	}
	number, ok := d.trie.Lookup(a)
	if !ok {
		return 0, false
	}
	return d.admit(a, number), true
}

func (d *Directory) admit(a netip.Addr, number int) uint32 {
	f := d.fold(a, number)
	if f.hosts < d.layout.FoldHosts() {
		if slot, ok := d.take(netip.PrefixFrom(a, a.BitLen())); ok {
			d.hosts[a] = slot
			f.hosts++
			return slot
		}
	}
	d.folded++
	return f.slot
}

func (d *Directory) fold(a netip.Addr, number int) *fold {
	whole := &d.wholes[number]
	if !Divided(d.layout.DynamicNetworks()[number]) {
		return whole
	}
	bits := FoldBits6
	if a.Is4() {
		bits = FoldBits4
	}
	p := netip.PrefixFrom(a, bits).Masked()
	if f := d.folds[p]; f != nil {
		return f
	}
	slot, ok := d.take(p)
	if !ok {
		return whole
	}
	f := &fold{slot: slot}
	d.folds[p] = f
	return f
}

func (d *Directory) take(owner netip.Prefix) (uint32, bool) {
	slot := d.layout.DenseSlots() + len(d.owners)
	if slot >= d.layout.Slots() {
		return 0, false
	}
	d.owners = append(d.owners, owner)
	return uint32(slot), true
}

// Owner returns whose slot it is: a host as /32 or /128, or the prefix that hosts fold into; false for a slot that is free.
func (d *Directory) Owner(slot uint32) (netip.Prefix, bool) {
	if a, ok := d.layout.DenseOwner(slot); ok {
		return netip.PrefixFrom(a, 32), true
	}
	i := int(slot) - d.layout.DenseSlots()
	if i < 0 || i >= len(d.owners) {
		return netip.Prefix{}, false
	}
	return d.owners[i], true
}

// Folded is how many packets' hosts were counted in their prefix for want of a slot.
func (d *Directory) Folded() uint64 { return d.folded }
