package detect

import (
	"time"

	"weir/userspace/traffic"
)

// host is an address that is loud enough to have a window of its own.
type host struct {
	track
	place     int   // in Detector.watched
	leaf      *area // the smallest prefix around it, nil when prefixes are not judged there
	leafPlace int   // in leaf.loud
	busy      int64 // ns; when it was last loud
	dirty     bool  // in Detector.dirty
	alert     bool  // in Detector.alerts
}

// releaseAfter is how long a host keeps its window after its last loud observation, in windows.
const releaseAfter = 2

// evictTries bounds the search for a window that a host under attack can take over.
const evictTries = 64

// observeHost books an observation of one address and reports whether that address is under attack.
func (d *Detector) observeHost(o *Observation, g *groupRules, from, to int64) bool {
	var h *host
	if len(d.hosts[o.Direction]) > 0 {
		h = d.hosts[o.Direction][o.Host.Addr()]
	}
	loud := g.loud(o.Direction, &o.Counts, to-from)
	if h == nil {
		if !loud {
			return false
		}
		if h = d.watch(o, g); h == nil {
			return false
		}
	}
	if loud {
		h.busy = to
	}
	h.gauge.add(from, to, &o.Counts)
	if !h.dirty {
		h.dirty = true
		d.dirty = append(d.dirty, h)
	}
	return h.phase == active
}

// watch gives a loud host a window. When all are taken, only a host whose observation alone crosses a limit gets one: that of a host that is merely loud.
func (d *Detector) watch(o *Observation, g *groupRules) *host {
	r := g.host[o.Direction]
	if len(d.watched) >= d.maxWatched {
		if !alone(r, o) || !d.evict() {
			d.stats.Unwatched++
			return nil
		}
	}
	var h *host
	if n := len(d.spare); n > 0 {
		h, d.spare = d.spare[n-1], d.spare[:n-1]
	} else {
		h = new(host)
	}
	h.target = traffic.Target{Scope: traffic.ScopeHost, Prefix: o.Host, Group: r.group, Direction: o.Direction}
	h.rules, h.gauge, h.hosts = r, d.gauge(r, d.hostLag(o.Direction)), 1
	h.place = len(d.watched)
	d.watched = append(d.watched, h)
	d.hosts[o.Direction][o.Host.Addr()] = h
	d.joinLeaf(h)
	return h
}

// hostLag is the lag of hosts' windows: none, but where prefixes are judged, a host's share of a prefix is needed over the same times as the prefix' load.
func (d *Detector) hostLag(dir traffic.Direction) int64 {
	if d.carpets[dir] {
		return readingLag
	}
	return 0
}

// alone reports whether one observation proves by itself that a limit is crossed.
func alone(r *rules, o *Observation) bool {
	elapsed := o.To.Sub(o.From)
	for i := range r.list {
		l := &r.list[i]
		if float64(l.metric.Of(&o.Counts)) > l.limit*max(elapsed, l.window).Seconds() {
			return true
		}
	}
	return false
}

// evict releases one host that is neither suspected nor under attack.
func (d *Detector) evict() bool {
	for range min(evictTries, len(d.watched)) {
		d.cursor = (d.cursor + 1) % len(d.watched)
		if h := d.watched[d.cursor]; h.phase == idle {
			d.release(h)
			return true
		}
	}
	return false
}

func (d *Detector) release(h *host) {
	delete(d.hosts[h.target.Direction], h.target.Prefix.Addr())
	last := len(d.watched) - 1
	d.watched[h.place] = d.watched[last]
	d.watched[h.place].place = h.place
	d.watched[last] = nil
	d.watched = d.watched[:last]
	h.leaveLeaf()
	d.putGauge(h.gauge)
	dirty := h.dirty // it is still listed there
	*h = host{dirty: dirty}
	if !dirty {
		d.spare = append(d.spare, h)
	}
}

// judgeHosts looks at the hosts with new traffic, at those with an alert, and at a part of all others to release them.
func (d *Detector) judgeHosts(now, elapsed int64) {
	for _, h := range d.dirty {
		h.dirty = false
		if h.gauge == nil { // released since
			d.spare = append(d.spare, h)
			continue
		}
		d.judgeHost(h, now)
	}
	d.dirty = d.dirty[:0]

	kept := d.alerts[:0]
	for _, h := range d.alerts {
		d.judgeHost(h, now)
		h.alert = h.phase != idle
		if h.alert {
			kept = append(kept, h)
		}
	}
	clear(d.alerts[len(kept):])
	d.alerts = kept

	share := min(float64(elapsed)/float64(time.Second), 1)
	for n := int(float64(len(d.watched))*share) + 1; n > 0 && len(d.watched) > 0; n-- {
		d.cursor = (d.cursor + 1) % len(d.watched)
		if h := d.watched[d.cursor]; h.phase == idle && now-h.busy > releaseAfter*int64(max(h.rules.window, flowWindow))+readingLag {
			if h.rules.average == 0 || h.level(now) < sparkOfAverage {
				d.release(h)
			}
		}
	}
}

func (d *Detector) judgeHost(h *host, now int64) {
	level := h.level(now)
	if d.blind(&h.track, now) {
		return
	}
	if h.phase == active {
		d.sustain(&h.track, now, level)
		return
	}
	if level > suspicion && d.partOfPrefixAttack(h) {
		level = 0
	}
	switch {
	case level > 1 && h.crosses(now):
		d.start(&h.track, now, 1)
		h.leaveAreas()
	case h.phase == suspected:
		d.sustain(&h.track, now, level)
	case level > suspicion && now >= h.minor:
		d.suspect(&h.track, now, 1)
	}
	if h.phase != idle && !h.alert {
		h.alert = true
		d.alerts = append(d.alerts, h)
	}
}

// partOfPrefixAttack reports whether the host's load is explained by an attack on a prefix around it: the host holds no more than half of that.
func (d *Detector) partOfPrefixAttack(h *host) bool {
	for a := h.leaf; a != nil; a = a.parent {
		if a.phase != active {
			continue
		}
		m := h.highest().metric
		a.gauge.advance(d.last)
		if h.gauge.rate(m) <= hostOverPrefix*a.gauge.rate(m) {
			return true
		}
	}
	return false
}
