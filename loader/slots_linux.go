package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/cilium/ebpf"

	"weir/userspace/traffic"
)

// hostBits is the length of a host's address in map keys, IPv4 being mapped into IPv6.
const hostBits = 128

func keyOf(a netip.Addr) weirAddress {
	b := a.As16()
	return weirAddress{High: binary.NativeEndian.Uint64(b[:8]), Low: binary.NativeEndian.Uint64(b[8:])}
}

// fill writes the plan into new maps.
func (d *DataPlane) fill() error {
	locate, err := mapMemory(d.maps["locate4"])
	if err != nil {
		return err
	}
	copy(view[uint32](locate, len(d.plan.Locate4)), d.plan.Locate4)
	filter, err := mapMemory(d.maps["filter6"])
	if err != nil {
		return errors.Join(err, locate.unmap())
	}
	copy(view[uint64](filter, len(d.plan.Filter6)), d.plan.Filter6)
	if err := errors.Join(locate.unmap(), filter.unmap()); err != nil {
		return fmt.Errorf("unmap tables: %w", err)
	}
	wholes, owners := d.foldView(), d.ownerView()
	for i, n := range d.plan.Dynamic {
		wholes[i].Slot = uint32(d.plan.DenseSlots + i)
		if n.Divided {
			wholes[i].Divided = 1
		}
		owners[i] = weirOwner{Address: keyOf(n.Prefix.Addr()), Bits: uint32(mappedBits(n.Prefix)), Network: uint32(i)}
		if n.Prefix.Addr().Is6() {
			key := prefixKeyOf(n.Prefix)
			if err := d.maps["networks6"].Put(key, uint32(i)); err != nil {
				return fmt.Errorf("enter network %s: %w", n.Prefix, err)
			}
		}
	}
	for slot := d.plan.DenseSlots + len(d.plan.Dynamic); slot < d.plan.Slots; slot++ {
		if err := d.release(uint32(slot)); err != nil {
			return err
		}
	}
	return nil
}

// release puts a slot whose cells are zero into the queue of free ones.
func (d *DataPlane) release(slot uint32) error {
	if err := d.maps["free_slots"].Put(nil, slot); err != nil {
		return fmt.Errorf("free slot %d: %w", slot, err)
	}
	return nil
}

// keepBack takes a few free slots out of the kernel's hands.
func (d *DataPlane) keepBack() error {
	for range min(reservedMost, d.plan.demandSlots()/8) {
		var slot uint32
		if err := d.maps["free_slots"].LookupAndDelete(nil, &slot); errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		} else if err != nil {
			return fmt.Errorf("keep back a slot: %w", err)
		}
		d.reserve = append(d.reserve, slot)
	}
	return nil
}

func (d *DataPlane) foldView() []weirFold {
	return view[weirFold](d.wholes, max(len(d.plan.Dynamic), 1))
}

func (d *DataPlane) ownerView() []weirOwner {
	return view[weirOwner](d.owners, d.plan.Slots-d.plan.DenseSlots+1)
}

// Owner returns who a slot from DenseSlots on belongs to: a host as /32 or /128, or the prefix that hosts without a cell are
// counted in; false while it is free.
func (d *DataPlane) Owner(slot uint32) (netip.Prefix, bool) {
	i := int(slot) - d.plan.DenseSlots
	owners := d.ownerView()
	if i < 0 || i >= len(owners) {
		return netip.Prefix{}, false
	}
	bits := int(atomic.LoadUint32(&owners[i].Bits)) // the kernel writes it last
	if bits == 0 {
		return netip.Prefix{}, false
	}
	return prefixOf(owners[i].Address, bits), true
}

func prefixOf(key weirAddress, bits int) netip.Prefix {
	var b [16]byte
	binary.NativeEndian.PutUint64(b[:8], key.High)
	binary.NativeEndian.PutUint64(b[8:], key.Low)
	a := netip.AddrFrom16(b)
	if a.Is4In6() && bits >= 96 {
		return netip.PrefixFrom(a.Unmap(), bits-96)
	}
	return netip.PrefixFrom(a, bits)
}

// Find returns the slot of a host in a dynamic network that has one.
func (d *DataPlane) Find(host netip.Addr) (uint32, bool) {
	var slot uint32
	err := d.maps["hosts"].Lookup(keyOf(host), &slot)
	return slot, err == nil
}

// Admit returns the slot of a host in a dynamic network, and gives it one of those kept back when it has none.
func (d *DataPlane) Admit(host netip.Addr) (uint32, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var slot uint32
	key := keyOf(host)
	if err := d.maps["hosts"].Lookup(key, &slot); err == nil {
		return slot, nil
	}
	number, ok := d.dynamicNetwork(host)
	if !ok {
		return 0, fmt.Errorf("find cell of %s: not in a network whose hosts get cells on demand", host)
	}
	if len(d.reserve) == 0 {
		if err := d.keepBack(); err != nil {
			return 0, err
		}
	}
	if len(d.reserve) == 0 {
		return 0, fmt.Errorf("find cell of %s: all %d slots are taken; raise the memory for cells", host, d.plan.demandSlots())
	}
	slot = d.reserve[len(d.reserve)-1]
	owner := &d.ownerView()[int(slot)-d.plan.DenseSlots]
	owner.Address, owner.Network = key, uint32(number)
	atomic.StoreUint32(&owner.Bits, hostBits)
	if err := d.maps["hosts"].Update(key, slot, ebpf.UpdateNoExist); err != nil {
		atomic.StoreUint32(&owner.Bits, 0)
		if d.maps["hosts"].Lookup(key, &slot) == nil { // the kernel was faster
			return slot, nil
		}
		return 0, fmt.Errorf("enter cell of %s: %w", host, err)
	}
	d.reserve = d.reserve[:len(d.reserve)-1]
	return slot, nil
}

func (d *DataPlane) dynamicNetwork(host netip.Addr) (int, bool) {
	for i, n := range d.plan.Dynamic {
		if n.Prefix.Contains(host) {
			return i, true
		}
	}
	return 0, false
}

// Reclaim takes back the slots of hosts and prefixes that idle says nothing was counted for in a long time, and that no verdict
// stands on. It works in two steps, a call apart: first such hosts are forgotten, and when by the next call no CPU can still be
// counting for them, their cells are cleared and given to others. It returns the slots that were freed.
func (d *DataPlane) Reclaim(idle func(slot uint32) bool) ([]uint32, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	freed, err := d.clearLeaving()
	if err != nil {
		return freed, err
	}
	now, err := d.clock.now()
	if err != nil {
		return freed, err
	}
	owners := d.ownerView()
	taken := map[weirAddress]uint32{} // folds and how many hosts of each have a cell
	for i := len(d.plan.Dynamic); i < d.plan.demandSlots()+len(d.plan.Dynamic); i++ {
		slot := uint32(d.plan.DenseSlots + i)
		bits := atomic.LoadUint32(&owners[i].Bits)
		if bits != hostBits {
			continue
		}
		if idle(slot) && !d.judged(slot, now) {
			if err := d.maps["hosts"].Delete(owners[i].Address); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return freed, fmt.Errorf("forget %s: %w", prefixOf(owners[i].Address, hostBits), err)
			}
			d.leaving = append(d.leaving, slot)
			continue
		}
		taken[d.foldKey(&owners[i])]++
	}
	return freed, d.recount(now, idle, taken)
}

// foldKey is the prefix that an owner's host folds into; for hosts of an undivided network, the zero key and the network's number.
func (d *DataPlane) foldKey(o *weirOwner) weirAddress {
	n := d.plan.Dynamic[o.Network]
	if !n.Divided {
		return weirAddress{Low: uint64(o.Network)}
	}
	p := prefixOf(o.Address, hostBits)
	bits := 64
	if p.Addr().Is4() {
		bits = 24
	}
	return keyOf(netip.PrefixFrom(p.Addr(), bits).Masked().Addr())
}

// recount sets how many hosts of each fold have a cell, and forgets folds that are idle and have none.
func (d *DataPlane) recount(now uint32, idle func(slot uint32) bool, taken map[weirAddress]uint32) error {
	wholes := d.foldView()
	for i := range d.plan.Dynamic {
		if wholes[i].Divided == 0 {
			atomic.StoreUint32(&wholes[i].Hosts, taken[weirAddress{Low: uint64(i)}])
		}
	}
	owners := d.ownerView()
	for i := len(d.plan.Dynamic); i < d.plan.demandSlots()+len(d.plan.Dynamic); i++ {
		bits := atomic.LoadUint32(&owners[i].Bits)
		if bits == 0 || bits == hostBits {
			continue
		}
		slot, key := uint32(d.plan.DenseSlots+i), owners[i].Address
		var f weirFold
		if err := d.maps["folds"].Lookup(key, &f); errors.Is(err, ebpf.ErrKeyNotExist) || f.Slot != slot {
			continue // it is leaving
		} else if err != nil {
			return fmt.Errorf("look up fold: %w", err)
		}
		switch hosts := taken[key]; {
		case hosts == 0 && idle(slot) && !d.judged(slot, now):
			if err := d.maps["folds"].Delete(key); err != nil {
				return fmt.Errorf("forget fold: %w", err)
			}
			d.leaving = append(d.leaving, slot)
		case hosts != f.Hosts:
			f.Hosts = hosts
			if err := d.maps["folds"].Update(key, f, ebpf.UpdateExist); err != nil {
				return fmt.Errorf("recount fold: %w", err)
			}
		}
	}
	return nil
}

// judged reports whether a verdict is in force on the slot in either direction, when the clock shows now. Every CPU's cell says the same.
func (d *DataPlane) judged(slot, now uint32) bool {
	cells := view[traffic.Cell](d.cells, 2*d.plan.Slots)
	for dir := range 2 {
		word := atomic.LoadUint32(&cells[dir*d.plan.Slots+int(slot)].Verdict)
		if word>>verdictActionShift != 0 && unitsLeft(word, now) > 0 {
			return true
		}
	}
	return false
}

func (d *DataPlane) clearLeaving() ([]uint32, error) {
	freed := d.leaving
	d.leaving = nil
	shards, owners := d.Shards(), d.ownerView()
	for i, slot := range freed {
		for _, s := range shards {
			for dir := range 2 {
				clear(s.Cells[dir][slot : slot+1])
			}
		}
		atomic.StoreUint32(&owners[int(slot)-d.plan.DenseSlots].Bits, 0)
		if err := d.release(slot); err != nil {
			return freed[:i], err
		}
	}
	return freed, nil
}
