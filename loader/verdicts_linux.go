package loader

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"

	"weir/userspace/traffic"
)

func prefixKeyOf(p netip.Prefix) weirPrefixKey {
	key := weirPrefixKey{Bits: uint32(mappedBits(p))}
	key.Address = keyOf(p.Addr())
	return key
}

// SetVerdict puts a verdict on slots in one direction, on all CPUs; it is in force for each packet that arrives after the
// return. ActionNone takes it off. Whether a host is under suspicion stays as it is.
func (d *DataPlane) SetVerdict(slots iter.Seq[uint32], dir traffic.Direction, v Verdict) error {
	word, err := d.word(v)
	if err != nil {
		return err
	}
	for slot := range slots {
		if err := d.setWord(slot, dir, verdictSuspect, word); err != nil {
			return err
		}
	}
	return nil
}

// SetSuspect has a host sampled at the rate for hosts under suspicion, or no longer.
func (d *DataPlane) SetSuspect(slot uint32, dir traffic.Direction, on bool) error {
	var word uint32
	if on {
		word = verdictSuspect
	}
	return d.setWord(slot, dir, ^uint32(verdictSuspect), word)
}

// setWord replaces the bits outside keep. The kernel only reads this word, so there is nobody to race with but ourselves.
func (d *DataPlane) setWord(slot uint32, dir traffic.Direction, keep, word uint32) error {
	if dir > traffic.Outgoing || int(slot) >= d.plan.Slots {
		return fmt.Errorf("set verdict: no cell for slot %d, %s", slot, dir)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	cells := view[traffic.Cell](d.cells, d.cpus*2*d.plan.Slots)
	for cpu := range d.cpus {
		at := &cells[(cpu*2+int(dir))*d.plan.Slots+int(slot)].Verdict
		atomic.StoreUint32(at, atomic.LoadUint32(at)&keep|word)
	}
	return nil
}

func (d *DataPlane) word(v Verdict) (uint32, error) {
	if v.Action == traffic.ActionNone {
		return 0, nil
	}
	until, err := d.clock.until(v.Until)
	if err != nil {
		return 0, err
	}
	return uint32(v.Action)<<verdictActionShift | until, nil
}

// SetPrefixVerdict puts a verdict on all hosts of a prefix in dynamic networks that have no cell of their own; those that have
// one need SetVerdict. ActionNone takes it off.
func (d *DataPlane) SetPrefixVerdict(p netip.Prefix, dir traffic.Direction, v Verdict) error {
	if dir > traffic.Outgoing {
		return fmt.Errorf("set verdict on %s: no cells for direction %s", p, dir)
	}
	word, err := d.word(v)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	key := prefixKeyOf(p.Masked())
	var words weirVerdicts
	if err := d.maps["prefix_verdicts"].Lookup(key, &words); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("read verdict on %s: %w", p, err)
	}
	words.Word[dir] = word
	if words.Word == [2]uint32{} {
		if err := d.maps["prefix_verdicts"].Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("remove verdict on %s: %w", p, err)
		}
		return nil
	}
	if err := d.maps["prefix_verdicts"].Put(key, words); err != nil {
		return fmt.Errorf("set verdict on %s: %w", p, err)
	}
	return nil
}

// VerdictOf returns what stands on a slot, as the kernel would judge it now.
func (d *DataPlane) VerdictOf(slot uint32, dir traffic.Direction) (Verdict, error) {
	if dir > traffic.Outgoing || int(slot) >= d.plan.Slots {
		return Verdict{}, fmt.Errorf("read verdict: no cell for slot %d, %s", slot, dir)
	}
	word := atomic.LoadUint32(&d.Shards()[0].Cells[dir][slot].Verdict)
	action := traffic.Action(word >> verdictActionShift)
	if action == traffic.ActionNone {
		return Verdict{}, nil
	}
	now, err := d.clock.now()
	if err != nil {
		return Verdict{}, err
	}
	left := unitsLeft(word, now)
	if left <= 0 {
		return Verdict{}, nil
	}
	return Verdict{Action: action, Until: time.Duration(left) * d.clock.unit()}, nil
}

// unitsLeft is how long the verdict in word still lasts when the clock shows now; the kernel's action_of computes the same.
func unitsLeft(word, now uint32) int32 {
	return int32((word-now)<<5) >> 5
}
