package detect

import (
	"math"
	"time"

	"weir/userspace/traffic"
)

// averageStep is FastNetMon's speed_calculation_delay.
const averageStep = int64(time.Second)

// average holds limits against an exponential moving average, as FastNetMon computes it (speed_calculation_delay 1 s):
// once a second, instant = counter / elapsed and average = instant + exp(-elapsed/constant) * (average - instant).
type average struct {
	constant float64 // s
	rules    *rules
	used     bool
	last     int64 // ns; when the current step began
	counter  traffic.Counts
	step     traffic.Counts // the counter of the last whole step ...
	elapsed  int64          // ... and its length in ns, 0 before the first
	average  [traffic.MetricCount]float64
	risen    [traffic.MetricCount]int64 // ns; when the current run of steps over half of the limit began, 0: none

	// Packets seen per second, averaged by the same weights, and by their squares: the square of the one over the other is how many
	// packets an average of equal weights would have to be of to be as sure.
	seen, squares float64
}

func newAverage(r *rules) *average {
	return &average{constant: r.average.Seconds(), rules: r}
}

func (a *average) reset() {
	*a = average{constant: a.constant, rules: a.rules}
}

// forget is a step's end without an average: a first reading must not be remembered.
func (a *average) forget() {
	clear(a.average[:])
	clear(a.risen[:])
	a.seen, a.squares = 0, 0
}

func (a *average) add(from, _ int64, c *traffic.Counts) {
	if !a.used {
		a.used, a.last = true, from
	}
	a.counter.Add(c)
}

func (a *average) advance(now int64) {
	elapsed := now - a.last
	if !a.used || elapsed < averageStep {
		return
	}
	seconds := float64(elapsed) / 1e9
	keep := math.Exp(-seconds / a.constant)
	for m := range traffic.MetricCount {
		instant := float64(m.Of(&a.counter)) / seconds
		a.average[m] = instant + keep*(a.average[m]-instant)
		if instant <= suspicion*a.rules.limit(m) {
			a.risen[m] = 0
		} else if a.risen[m] == 0 {
			a.risen[m] = a.last
		}
	}
	instant := float64(a.counter.Total.Packets-min(a.counter.Unseen, a.counter.Total.Packets)) / seconds
	a.seen = instant + keep*(a.seen-instant)
	a.squares = keep*keep*a.squares + (1-keep)*(1-keep)*instant/seconds
	a.step, a.elapsed = a.counter, elapsed
	a.counter, a.last = traffic.Counts{}, now
}

func (a *average) level(r *rule) float64 { return a.average[r.metric] / r.limit }

func (a *average) bound(r *rule, z float64) bound {
	kind, ok := packetsOf(r.metric)
	total := a.average[traffic.PPS]
	switch {
	case !ok || total <= 0:
		return bound{part: 1}
	case a.seen <= 0 || a.squares <= 0:
		return bound{used: true}
	}
	n := a.seen * a.seen / a.squares
	return boundOf(z, n, n*total/a.seen, a.average[kind]/total)
}

// trip reports the average as Value; Count and Window are of the last step, which is what moved it.
func (a *average) trip(r *rule) traffic.Trip {
	return traffic.Trip{
		Metric: r.metric,
		Count:  r.metric.Of(&a.step),
		Window: time.Duration(a.elapsed),
		Value:  a.average[r.metric],
		Limit:  r.limit,
	}
}

func (a *average) rose(r *rule) int64 {
	if t := a.risen[r.metric]; t != 0 {
		return t
	}
	return a.last - a.elapsed
}

func (a *average) rate(m traffic.Metric) float64 { return a.average[m] }

func (a *average) recent(m traffic.Metric) float64 {
	if a.elapsed == 0 {
		return 0
	}
	return float64(m.Of(&a.step)) / float64(a.elapsed) * 1e9
}

func (a *average) counts() traffic.Counts {
	if a.elapsed == 0 {
		return traffic.Counts{}
	}
	return perSecond(&a.step, a.elapsed)
}

// take starts afresh where o is no average.
func (a *average) take(o gauge) {
	other, ok := o.(*average)
	if !ok {
		a.reset()
		return
	}
	for m := range a.average {
		a.average[m] = max(0, a.average[m]-other.average[m])
	}
	a.seen, a.squares = max(0, a.seen-other.seen), max(0, a.squares-other.squares)
	part := least(&a.counter, &other.counter)
	a.counter.Sub(&part)
	part = least(&a.step, &other.step)
	a.step.Sub(&part)
}
