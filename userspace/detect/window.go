package detect

import (
	"time"

	"weir/userspace/traffic"
)

// gauge is how a target's traffic is held against its limits: a window, or an average.
type gauge interface {
	add(from, to int64, c *traffic.Counts)
	advance(now int64)
	level(r *rule) float64           // what was measured, as a multiple of the limit: over 1 trips, if it is sure
	bound(r *rule, z float64) bound  // how much of level is sure, by so many standard deviations
	trip(r *rule) traffic.Trip       // the arithmetic behind level
	rose(r *rule) int64              // when the current run over half of the limit began
	rate(m traffic.Metric) float64   // per second, over the window or as averaged
	recent(m traffic.Metric) float64 // per second, over the shortest time that says anything
	counts() traffic.Counts          // all counters, per second
	take(o gauge)                    // remove the traffic that o holds
	reset()
}

// readingLag is how old the reading of a quiet host can be: the meter sweeps over all hosts within a second.
const readingLag = int64(1100 * time.Millisecond)

// window holds limits against the traffic within a sliding window.
type window struct {
	length int64
	lag    int64
	first  int64 // ns; when its oldest traffic began
	used   bool
	main   *series
	flows  *series // main, unless that is shorter than a flow interval
}

func newWindow(length time.Duration, lag int64) *window {
	w := &window{length: int64(length), lag: lag, main: newSeries(int64(length), lag)}
	w.flows = w.main
	if length < flowWindow {
		w.flows = newSeries(int64(flowWindow), lag)
	}
	return w
}

func (w *window) reset() {
	w.used = false
	w.main.reset()
	if w.flows != w.main {
		w.flows.reset()
	}
}

func (w *window) add(from, to int64, c *traffic.Counts) {
	if !w.used || from < w.first {
		w.used, w.first = true, from
	}
	w.main.add(from, to, c)
	if w.flows != w.main && c.Flows > 0 {
		w.flows.add(from, to, c)
	}
}

func (w *window) advance(now int64) {
	w.main.advance(now)
	if w.flows != w.main {
		w.flows.advance(now)
	}
}

func (w *window) of(m traffic.Metric) *series {
	if m == traffic.FPS {
		return w.flows
	}
	return w.main
}

func (w *window) level(r *rule) float64 {
	return float64(r.metric.Of(w.of(r.metric).fuller(r.metric).sum)) / r.need
}

func (w *window) bound(r *rule, z float64) bound {
	c := w.main.fuller(r.metric).sum
	kind, ok := packetsOf(r.metric)
	if !ok || c.Unseen == 0 {
		return bound{part: 1}
	}
	total := float64(c.Total.Packets)
	return boundOf(z, total-min(float64(c.Unseen), total), total, float64(kind.Of(c))/max(total, 1))
}

func (w *window) trip(r *rule) traffic.Trip {
	s := w.of(r.metric)
	v := s.fuller(r.metric)
	count := r.metric.Of(v.sum)
	covered := v.end - max(s.began(v, r.metric), w.first)
	covered = min(max(covered, int64(r.least), int64(time.Millisecond)), int64(r.window))
	return traffic.Trip{
		Metric: r.metric,
		Count:  count,
		Window: r.window,
		Value:  float64(count) / time.Duration(covered).Seconds(),
		Limit:  r.limit,
	}
}

func (w *window) rose(r *rule) int64 {
	s := w.of(r.metric)
	half := suspicion * r.limit * time.Duration(s.width).Seconds()
	return max(s.rose(s.fuller(r.metric), r.metric, half), w.first)
}

func (w *window) rate(m traffic.Metric) float64 {
	s := w.of(m)
	return float64(m.Of(s.fuller(m).sum)) / float64(s.width*windowBuckets) * 1e9
}

func (w *window) recent(m traffic.Metric) float64 { return w.of(m).recent(m) }

func (w *window) counts() traffic.Counts {
	v := w.main.fuller(traffic.PPS)
	covered := v.end - max(w.main.began(v, traffic.PPS), w.first)
	covered = min(max(covered, int64(time.Millisecond)), w.length)
	out := perSecond(v.sum, covered)
	if w.flows != w.main {
		out.Flows = uint64(w.rate(traffic.FPS))
	}
	return out
}

// take falls back to a fresh start where o cannot be taken apart by time: no alarm from what is left of it, at the cost of a window's delay.
func (w *window) take(o gauge) {
	other, ok := o.(*window)
	if !ok {
		w.reset()
		return
	}
	w.main.take(other.main)
	if w.flows != w.main {
		w.flows.take(other.flows)
	}
}
