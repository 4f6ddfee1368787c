package detect

import (
	"time"

	"weir/userspace/traffic"
)

type phase uint8

const (
	idle phase = iota
	suspected
	active
)

// minorEvery is the least time between two suspicions or clearings of one target.
const minorEvery = int64(time.Second)

// track is the part that hosts, prefixes and hostgroups have in common: a gauge, its limits, and how far an attack has come.
type track struct {
	target traffic.Target
	rules  *rules
	gauge  gauge // nil while the target is too quiet to need one
	phase  phase
	high   int64 // ns; when it was last at the level that keeps it suspected or active
	minor  int64 // ns; neither suspected nor cleared before this

	trip              traffic.Trip // of the attack that is on ...
	started, detected int64        // ... and its times in ns
	hosts             int
}

// level brings the gauge up to now and returns the highest measured multiple of a limit.
func (t *track) level(now int64) float64 {
	t.gauge.advance(now)
	highest := 0.0
	for i := range t.rules.list {
		highest = max(highest, t.gauge.level(&t.rules.list[i]))
	}
	return highest
}

// crosses reports whether a limit is crossed for sure. Where all packets were seen, that is whenever level is over 1.
func (t *track) crosses(now int64) bool {
	if t.level(now) <= 1 {
		return false
	}
	for i := range t.rules.list {
		if t.sure(&t.rules.list[i]) {
			return true
		}
	}
	return false
}

// sure reports whether what is sure of a measured rate is over its limit.
func (t *track) sure(r *rule) bool {
	level := t.gauge.level(r)
	return level > 1 && (t.rules.deviations <= 0 || level*t.gauge.bound(r, t.rules.deviations).part > 1)
}

// strongest returns the crossed limit with the largest ratio of value to limit, and its arithmetic; nil when none is crossed for sure.
func (t *track) strongest() (*rule, traffic.Trip) {
	var best *rule
	var trip traffic.Trip
	for i := range t.rules.list {
		r := &t.rules.list[i]
		if !t.sure(r) {
			continue
		}
		if candidate := t.gauge.trip(r); best == nil || candidate.Value/candidate.Limit > trip.Value/trip.Limit {
			best, trip = r, candidate
		}
	}
	if best != nil && t.rules.deviations > 0 {
		b := t.gauge.bound(best, t.rules.deviations)
		b.write(&trip, t.rules.confidence)
	}
	return best, trip
}

// highest returns the limit that is closest to being crossed.
func (t *track) highest() *rule {
	var best *rule
	level := -1.0
	for i := range t.rules.list {
		if l := t.gauge.level(&t.rules.list[i]); l > level {
			best, level = &t.rules.list[i], l
		}
	}
	return best
}

// blind reports whether the warm-up still holds the target back.
func (d *Detector) blind(t *track, now int64) bool {
	if now-d.epoch >= t.rules.blind {
		return false
	}
	t.high = now
	if a, ok := t.gauge.(*average); ok {
		a.forget()
	}
	return true
}

// start turns a target whose strongest limit is crossed into an attack.
func (d *Detector) start(t *track, now int64, hosts int) {
	r, trip := t.strongest()
	t.phase, t.high = active, now
	t.trip, t.hosts = trip, hosts
	t.started, t.detected = min(t.gauge.rose(r), now), now
	d.stats.Started++
	d.stats.Active++
	d.emit(t, traffic.EventStarted, now)
}

func (d *Detector) suspect(t *track, now int64, hosts int) {
	t.phase, t.high, t.minor, t.hosts = suspected, now, now+minorEvery, hosts
	d.stats.Suspected++
	d.emit(t, traffic.EventSuspected, now)
}

// sustain ends an attack or a suspicion that has been quiet for long enough.
func (d *Detector) sustain(t *track, now int64, level float64) {
	keep := t.rules.clear
	if t.phase == suspected {
		keep *= suspicion
	}
	switch {
	case level >= keep && len(t.rules.list) > 0:
		t.high = now
	case now-t.high < t.rules.quiet:
	case t.phase == active:
		d.end(t, now)
	case now >= t.minor:
		d.clear(t, now)
	}
}

func (d *Detector) end(t *track, now int64) {
	t.phase, t.minor = idle, now+minorEvery
	d.stats.Ended++
	d.stats.Active--
	d.emit(t, traffic.EventEnded, now)
}

func (d *Detector) clear(t *track, now int64) {
	t.phase, t.minor = idle, now+minorEvery
	d.stats.Cleared++
	d.emit(t, traffic.EventCleared, now)
}

// stop ends whatever is on, because the target is no longer ours to judge.
func (d *Detector) stop(t *track, now int64) {
	switch t.phase {
	case active:
		d.end(t, now)
	case suspected:
		d.clear(t, now)
	}
}

func (d *Detector) emit(t *track, kind traffic.EventKind, now int64) {
	e := traffic.Event{Kind: kind, Target: t.target, At: d.time(now), Hosts: t.hosts}
	if kind == traffic.EventStarted {
		e.Trip, e.Started = t.trip, d.time(t.started)
	}
	d.events = append(d.events, e)
}

// rebase gives the target other limits. Traffic measured so far is kept when the same kind of gauge goes on.
func (d *Detector) rebase(t *track, r *rules, lag int64) {
	old := t.rules
	t.rules, t.target.Group = r, r.group
	switch g := t.gauge.(type) {
	case *average:
		if r.average > 0 {
			g.constant, g.rules = r.average.Seconds(), r
			return
		}
	case *window:
		if r.average == 0 && r.window == old.window && g.lag == lag {
			return
		}
	default:
		return
	}
	next := d.gauge(r, lag)
	if from, ok := t.gauge.(*window); ok {
		if to, ok := next.(*window); ok {
			from.main.copyTo(to.main)
			from.flows.copyTo(to.flows)
			to.used, to.first = from.used, from.first
		}
	}
	d.putGauge(t.gauge)
	t.gauge = next
}

// gaugeKind is what free gauges are kept by.
type gaugeKind struct {
	window time.Duration // 0: an average
	lag    int64
}

// gauge returns an empty gauge for r; lag in ns as in window.
func (d *Detector) gauge(r *rules, lag int64) gauge {
	kind := gaugeKind{window: r.window, lag: lag}
	if r.average > 0 {
		kind = gaugeKind{}
	}
	if free := d.gauges[kind]; len(free) > 0 {
		g := free[len(free)-1]
		d.gauges[kind] = free[:len(free)-1]
		if a, ok := g.(*average); ok {
			a.constant, a.rules = r.average.Seconds(), r
		}
		return g
	}
	if r.average > 0 {
		return newAverage(r)
	}
	return newWindow(r.window, lag)
}

func (d *Detector) putGauge(g gauge) {
	g.reset()
	kind := gaugeKind{}
	if w, ok := g.(*window); ok {
		kind = gaugeKind{time.Duration(w.length), w.lag}
	}
	d.gauges[kind] = append(d.gauges[kind], g)
}
