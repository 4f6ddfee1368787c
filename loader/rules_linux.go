package loader

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// FILTER_ bits of bpf/abi.h.
const (
	filterRules             = 1 << 0
	filterRulesGeneration   = 1 // the number of the bit
	filterSources           = 1 << 2
	filterSourcesGeneration = 3
	filterBlocks            = 1 << 4
)

// ruleState is what the daemon knows of the rules in the kernel.
type ruleState struct {
	memory  map[string]mapped
	ids     [2][]uint64        // by generation and order
	limitOf [2]map[uint64]int  // by generation and ID
	counted [2]int             // by generation: how many orders may have hits
	carried map[uint64]ruleSum // what generations that are gone have counted, of rules that are not
}

func ruleMaps() []string {
	return []string{"rule_sets", "rule_table", "rule_bloom", "rule_guard", "rule_classes", "rules", "rule_payloads", "rule_limits", "rule_hits",
		"sources_any", "sources4", "source_leaves", "source_sets", "source_lengths", "source_table"}
}

// sizeRules writes the room for rules into the specification and the settings.
func (d *DataPlane) sizeRules(set *weirSettings) {
	room := d.plan.ruleSizes()
	for name, entries := range map[string]int{
		"rule_facts": d.cpus, "rule_table": 2 * room.buckets, "rule_bloom": 2 * room.bloom, "rule_guard": 2 * room.guard,
		"rules": 2 * room.complex, "rule_payloads": 2 * room.complex, "rule_limits": 2 * room.complex, "rule_hits": 2 * d.cpus * room.rules,
	} {
		d.spec.Maps[name].MaxEntries = uint32(entries)
	}
	if n := d.plan.Sources; n > 0 {
		set.SourceLeaves, set.SourceBuckets = uint32(n), uint32(powerOfTwo(max(n/2, 64)))
		d.spec.Maps["sources_any"].MaxEntries = 2 * sources4 * networksEach / 64
		d.spec.Maps["sources4"].MaxEntries = 2 * sources4
		d.spec.Maps["source_leaves"].MaxEntries = 2 * set.SourceLeaves
		d.spec.Maps["source_table"].MaxEntries = 2 * set.SourceBuckets
	}
	set.Rules, set.RuleBuckets, set.RuleBloom = uint32(room.rules), uint32(room.buckets), uint32(room.bloom)
	set.RuleGuard, set.RuleComplex = uint32(room.guard), uint32(room.complex)
}

func (d *DataPlane) openRules() error {
	d.ruling = ruleState{memory: map[string]mapped{}, carried: map[uint64]ruleSum{}}
	for _, name := range ruleMaps() {
		m, err := mapMemory(d.maps[name])
		if err != nil {
			return err
		}
		d.ruling.memory[name] = m
	}
	if d.adopted { // whose hits these are is not known any more
		n := d.plan.ruleSizes().rules
		d.ruling.counted = [2]int{n, n}
	}
	return nil
}

func (d *DataPlane) closeRules() error {
	var errs []error
	for _, m := range d.ruling.memory {
		errs = append(errs, m.unmap())
	}
	return errors.Join(errs...)
}

// half is one generation's part of a table.
func half[T any](d *DataPlane, name string, generation uint32) []T {
	m := d.ruling.memory[name]
	var t T
	n := len(m.bytes) / int(unsafe.Sizeof(t))
	n = min(n, int(d.maps[name].MaxEntries())*(int(d.maps[name].ValueSize()+7)/8*8)/int(unsafe.Sizeof(t))) / 2
	all := view[T](m, 2*n)
	return all[int(generation)*n : int(generation+1)*n]
}

// SetRules has these rules apply, and no others: all at once, for each packet that arrives after the return. Of the rules that a
// packet matches, the first in the list decides, those that let pass before all others; rules in shadow count all that they
// match. now is the clock that the rules' ends are by. An error leaves the rules as they were.
func (d *DataPlane) SetRules(now time.Time, rules []RuleEntry) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	room := d.plan.ruleSizes()
	end, err := d.ruleEnd(now)
	if err != nil {
		return err
	}
	setup, err := compileRules(rules, room, end)
	if err != nil {
		return err
	}
	im, err := setup.crowdedImage(room)
	if err != nil {
		return err
	}
	old := d.ruleGeneration()
	next := old ^ 1
	if err := quiesce(); err != nil {
		return err
	}
	d.carry(next, rules)
	d.write(next, im)
	d.inheritLimits(old, next, im)
	var on uint32
	if len(im.ids) > 0 {
		on = filterRules
	}
	d.switchFilter(filterRules|1<<filterRulesGeneration, next<<filterRulesGeneration|on)
	return nil
}

// switchFilter replaces those bits of what programs are to look at.
func (d *DataPlane) switchFilter(bits, word uint32) {
	for cpu := range d.stateView() {
		at := &d.stateView()[cpu].Filter
		atomic.StoreUint32(at, atomic.LoadUint32(at)&^bits|word)
	}
}

// ruleGeneration is the one that programs look at.
func (d *DataPlane) ruleGeneration() uint32 {
	return atomic.LoadUint32(&d.stateView()[0].Filter) >> filterRulesGeneration & 1
}

// crowdedImage makes the tables, again with other hashes while there is a key that finds no room: a matter of luck, and rare.
func (s *ruleSetup) crowdedImage(room ruleSizes) (*ruleImage, error) {
	for range 16 {
		var secret ruleSecret
		if err := binary.Read(rand.Reader, binary.NativeEndian, &secret); err != nil {
			return nil, fmt.Errorf("seed hashes of rules: %w", err)
		}
		im, err := s.image(room, secret)
		if !errors.Is(err, errCrowded) {
			return im, err
		}
	}
	return nil, fmt.Errorf("compile rules: %w, whatever they are hashed with", errCrowded)
}

// ruleEnd reads the kernel's clock once for all rules.
func (d *DataPlane) ruleEnd(now time.Time) (ruleTime, error) {
	units, err := d.clock.now()
	if err != nil {
		return nil, err
	}
	return func(e *RuleEntry) (uint32, uint32, bool) {
		if e.Until.IsZero() {
			return 0, ruleForever, false
		}
		left := e.Until.Sub(now)
		if left <= 0 {
			return 0, 0, true
		}
		n := d.clock.units(left)
		return n, (units + n) & verdictUntilMask, false
	}, nil
}

// quiesce returns when no CPU is still in a program that has begun before: then nobody looks at the generation that is not in
// use. The kernel's "global" barrier waits for that as one for its readers (RCU), which programs are.
func quiesce() error {
	const global = 1 // MEMBARRIER_CMD_GLOBAL of linux/membarrier.h
	_, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0)
	switch errno {
	case 0:
		return nil
	case unix.EINVAL, unix.ENOSYS: // not where CPUs run without a tick; a program takes microseconds
		time.Sleep(20 * time.Millisecond)
		return nil
	}
	return fmt.Errorf("wait for programs that run: %w", errno)
}

// write puts tables into a generation that no program looks at. What lies behind them in their room is never looked at.
func (d *DataPlane) write(generation uint32, im *ruleImage) {
	half[weirRuleset](d, "rule_sets", generation)[0] = im.set
	copy(half[weirRuleBucket](d, "rule_table", generation), im.buckets)
	copy(half[uint64](d, "rule_bloom", generation), im.bloom)
	copy(half[uint64](d, "rule_guard", generation), im.guard)
	if im.classes != nil {
		copy(half[uint16](d, "rule_classes", generation), im.classes)
	}
	copy(half[weirRule](d, "rules", generation), im.rules)
	copy(half[weirRulePayload](d, "rule_payloads", generation), im.payloads)
	copy(half[weirRuleLimit](d, "rule_limits", generation), im.limits)
	d.ruling.ids[generation], d.ruling.limitOf[generation], d.ruling.counted[generation] = im.ids, im.limitOf, len(im.ids)
}

// inheritLimits has rules that go on keep what they have used up of their rates.
func (d *DataPlane) inheritLimits(old, next uint32, im *ruleImage) {
	from, to := half[weirRuleLimit](d, "rule_limits", old), half[weirRuleLimit](d, "rule_limits", next)
	for id, at := range im.limitOf {
		if before, ok := d.ruling.limitOf[old][id]; ok {
			to[at].PacketsUntil = atomic.LoadUint64(&from[before].PacketsUntil)
			to[at].BytesUntil = atomic.LoadUint64(&from[before].BytesUntil)
		}
	}
}
