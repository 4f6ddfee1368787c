package detect

import "weir/userspace/traffic"

// total is a hostgroup as a whole in one direction. It counts everything, also what goes to hosts and prefixes under attack of their own.
type total struct {
	track
	batch  batch
	census census
}

// groupCensusBits keeps the estimate of distinct hosts within a few percent up to 50,000 of them.
const groupCensusBits = 1 << 14

func (d *Detector) newTotal(r *rules, dir traffic.Direction) *total {
	t := &total{census: newCensus(groupCensusBits)}
	t.target = traffic.Target{Scope: traffic.ScopeGroup, Group: r.group, Direction: dir}
	t.rules, t.gauge = r, d.gauge(r, readingLag)
	return t
}

func (t *total) flush() {
	for i := range t.batch.n {
		p := &t.batch.parts[i]
		t.gauge.add(p.from, p.to, &p.counts)
	}
	t.batch.n = 0
}

func (t *total) feed(from, to int64, c *traffic.Counts, hash uint64) {
	if !t.batch.add(from, to, c) {
		t.flush()
		t.batch.add(from, to, c)
	}
	t.census.turn(to, int64(max(t.rules.window, flowWindow)))
	t.census.mark(hash)
}

func (d *Detector) judgeTotals(now int64) {
	for dir := range d.totals {
		for _, t := range d.totals[dir] {
			if t == nil {
				continue
			}
			t.flush()
			level := t.level(now)
			if d.blind(&t.track, now) {
				continue
			}
			switch {
			case t.phase == active:
				d.sustain(&t.track, now, level)
			case level > 1 && t.crosses(now):
				d.start(&t.track, now, t.census.count())
			case t.phase == suspected:
				d.sustain(&t.track, now, level)
			case level > suspicion && now >= t.minor:
				d.suspect(&t.track, now, t.census.count())
			}
		}
	}
}
