package networks

// Reclaim takes back the slots of hosts and prefixes on demand that idle says nothing was counted for in a long time; idle must be
// false where a verdict stands. It works in two steps, a call apart: first such hosts are forgotten; at the next call, which
// must come so much later that nobody still counts by what was found before and that all was read that is counted now (a second),
// their slots are free for others, unless they are idle no more: then what comes late is still theirs, and they are asked for again.
// It returns the slots that were freed. The error is always nil: it is there for whoever keeps slots where that can fail.
func (d *Directory) Reclaim(idle func(slot uint32) bool) (freed []uint32, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	freed = d.release(idle)
	for i := len(d.layout.DynamicNetworks()); i < d.next; i++ {
		s := &d.slots[i]
		k := key{s.high.Load(), s.low.Load(), s.state.Load() & kindMask}
		switch {
		case k.kind == 0 || k.kind&kindGone != 0:
		case s.young:
			s.young = false // nothing of it can have been read yet
		case s.hosts.Load() > 0 || !idle(d.slot(uint32(i))):
		default:
			d.forget(k, uint32(i))
		}
	}
	d.index.tidy(d.slots)
	d.full.Store(d.spare() <= 0)
	return freed, nil
}

// forget makes a slot's owner one that nobody finds.
func (d *Directory) forget(k key, i uint32) {
	d.index.remove(k, i)
	s := &d.slots[i]
	s.state.Store(s.state.Load() | kindGone)
	if k.host() {
		d.slots[s.within].hosts.Add(^uint32(0))
	}
	d.leaving = append(d.leaving, i)
}

// release frees those that were forgotten a call ago.
func (d *Directory) release(idle func(slot uint32) bool) (freed []uint32) {
	kept := d.leaving[:0]
	for _, i := range d.leaving {
		if !idle(d.slot(i)) {
			kept = append(kept, i)
			continue
		}
		s := &d.slots[i]
		s.state.Store(s.state.Load() &^ kindMask)
		d.free = append(d.free, i)
		freed = append(freed, d.slot(i))
	}
	d.leaving = kept
	return freed
}
