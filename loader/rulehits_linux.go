package loader

import (
	"sync/atomic"
	"time"
)

// ruleSum is what a rule has done, on all CPUs.
type ruleSum struct{ packets, bytes, last uint64 } // last in jiffies

// hitsOf returns what a CPU has counted in a generation, by order.
func (d *DataPlane) hitsOf(cpu int, generation uint32) []weirRuleHits {
	n := d.plan.ruleSizes().rules
	all := view[weirRuleHits](d.ruling.memory["rule_hits"], 2*d.cpus*n)
	at := (cpu*2 + int(generation)) * n
	return all[at : at+d.ruling.counted[generation]]
}

// addHits adds what a generation has counted to sums.
func (d *DataPlane) addHits(sums map[uint64]ruleSum, generation uint32) {
	ids := d.ruling.ids[generation]
	for cpu := range d.cpus {
		hits := d.hitsOf(cpu, generation)
		for order, id := range ids {
			packets := atomic.LoadUint64(&hits[order].Packets)
			if packets == 0 {
				continue
			}
			sum := sums[id]
			sum.packets += packets
			sum.bytes += atomic.LoadUint64(&hits[order].Bytes)
			sum.last = max(sum.last, atomic.LoadUint64(&hits[order].Last))
			sums[id] = sum
		}
	}
}

// carry keeps what a generation has counted before others take its place, for rules that are to stay.
func (d *DataPlane) carry(generation uint32, stay []RuleEntry) {
	carried := d.ruling.carried
	d.addHits(carried, generation)
	if len(carried) > 0 {
		keep := make(map[uint64]bool, len(stay))
		for i := range stay {
			keep[stay[i].ID] = true
		}
		for id := range carried {
			if !keep[id] {
				delete(carried, id)
			}
		}
	}
	for cpu := range d.cpus {
		clear(d.hitsOf(cpu, generation))
	}
	d.ruling.ids[generation], d.ruling.counted[generation] = nil, 0
}

// RuleHits returns what each rule of those that are set has done, if it has done anything.
func (d *DataPlane) RuleHits() ([]RuleHits, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, err := d.clock.now()
	if err != nil {
		return nil, err
	}
	sums := make(map[uint64]ruleSum, len(d.ruling.carried))
	for id, sum := range d.ruling.carried {
		sums[id] = sum
	}
	d.addHits(sums, 0)
	d.addHits(sums, 1)
	current := d.ruling.ids[d.ruleGeneration()]
	hits := make([]RuleHits, 0, min(len(sums), len(current)))
	for _, id := range current {
		if sum, ok := sums[id]; ok {
			idle := time.Duration(max(int32(now-uint32(sum.last>>verdictUnitShift)), 0)) * d.clock.unit()
			hits = append(hits, RuleHits{ID: id, Packets: sum.packets, Bytes: sum.bytes, Idle: idle})
		}
	}
	return hits, nil
}
