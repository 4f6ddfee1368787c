package detect

import (
	"math"
	"time"

	"weir/userspace/traffic"
)

// Carpet bombing: the load of a prefix crosses a limit although no single host explains it.
const (
	explains       = 0.8 // a child with this share of its parent's load is where the attack is
	hostOverPrefix = 0.5 // a host with more than this share of an attacked prefix is an attack of its own
	minHosts       = 8   // fewer hosts are no carpet: each of them is a matter of its own ...
	minEffective   = 5.0 // ... and so are many of which a few carry nearly everything; see effective
)

// judgePrefixes goes from the largest prefixes to the smallest.
func (d *Detector) judgePrefixes(now int64) {
	for rank := ranks - 1; rank >= 0; rank-- {
		for _, a := range d.promoted {
			if a.key.rank() == rank {
				d.judgePrefix(a, now)
			}
		}
	}
	d.demote(now)
}

func (d *Detector) judgePrefix(a *area, now int64) {
	a.waiting = false
	level := a.level(now)
	if a.near = level > suspicion; d.blind(&a.track, now) {
		return
	}
	if a.phase == active {
		if level >= a.rules.clear && now-a.detected < int64(10*time.Second) {
			a.hosts = max(a.hosts, a.countHosts()) // the first readings saw but some of them
		}
		d.sustainArea(a, now, level)
		return
	}
	crossed := level > 1 && a.crosses(now)
	switch {
	case !crossed:
		a.over = 0
	case a.over == 0:
		a.over = now
	}
	if crossed && !a.shadowed() {
		if r, _ := a.strongest(); r != nil {
			if c := d.explain(a, r.metric, now); c != nil {
				d.startArea(c, now)
			}
		}
	} else if level > suspicion && !crossed && now >= a.minor && !a.shadowed() && !a.doubted() {
		m := a.highest().metric
		c := d.smallest(a, m, now)
		if c.phase == idle && now >= c.minor && c.level(now) > suspicion && d.spread(c, m, now) {
			c.around(0, 1)
			d.suspect(&c.track, now, c.countHosts())
		}
	}
	if a.phase == suspected {
		d.sustainArea(a, now, level)
	}
}

// around tells the prefixes around a that attacks and suspicions inside them came or went.
func (a *area) around(attacks, alerts int) {
	for p := a.parent; p != nil; p = p.parent {
		p.activeBelow += attacks
		p.alertBelow += alerts
	}
}

func (d *Detector) startArea(a *area, now int64) {
	if a.phase == suspected {
		a.around(0, -1)
	}
	a.around(1, 0)
	d.start(&a.track, now, a.countHosts())
}

func (d *Detector) sustainArea(a *area, now int64, level float64) {
	before := a.phase
	d.sustain(&a.track, now, level)
	a.settlePhase(before)
}

func (d *Detector) stopArea(a *area, now int64) {
	before := a.phase
	d.stop(&a.track, now)
	a.settlePhase(before)
}

func (a *area) settlePhase(before phase) {
	switch {
	case a.phase != idle:
	case before == active:
		a.around(-1, 0)
	case before == suspected:
		a.around(0, -1)
	}
}

// shadowed reports whether an attack on a prefix inside or around a is on already, or about to be told from its load.
func (a *area) shadowed() bool {
	for p := a.parent; p != nil; p = p.parent {
		if p.phase == active || p.waiting {
			return true
		}
	}
	return a.activeBelow > 0
}

// doubted reports whether a, a prefix inside or one around it is suspected already.
func (a *area) doubted() bool {
	for p := a; p != nil; p = p.parent {
		if p.phase == suspected {
			return true
		}
	}
	return a.alertBelow > 0
}

// explain returns the smallest prefix that explains why a limit of a is crossed; nil when that is a matter of single hosts, or not clear yet.
// The larger prefix trips first, since the ordinary load of its other parts counts too. So a child that is on its way gets one window to trip by itself.
func (d *Detector) explain(a *area, m traffic.Metric, now int64) *area {
	c := d.smallest(a, m, now)
	if !c.crosses(now) && now-a.over < int64(max(a.rules.window, flowWindow)) {
		a.waiting = true
		return nil
	}
	for c != a && !c.crosses(now) {
		c = c.parent
	}
	r, _ := c.strongest()
	if r == nil || c.phase == active || !d.spread(c, r.metric, now) {
		return nil
	}
	return c
}

// smallest descends from a for as long as one child explains its parent's load in m.
func (d *Detector) smallest(a *area, m traffic.Metric, now int64) *area {
	for {
		c := a.explainedBy(m, now)
		if c == nil {
			return a
		}
		a = c
	}
}

// explainedBy returns the child that holds nearly all of the load, or crosses its own limit while the load without it is within the limit;
// either over the window, or in the most recent rates, which say it before the window is full. Recent rates lack what was not read yet, hence half of the limit.
func (a *area) explainedBy(m traffic.Metric, now int64) *area {
	a.gauge.advance(now)
	load, recent, limit := a.gauge.rate(m), a.gauge.recent(m), a.rules.limit(m)
	var best *area
	most := -1.0
	for _, c := range a.children {
		if c.gauge == nil || len(c.rules.list) == 0 {
			continue
		}
		level := c.level(now)
		itsLoad, itsRecent, itsLimit := c.gauge.rate(m), c.gauge.recent(m), c.rules.limit(m)
		switch {
		case itsLoad >= explains*load:
		case level > 1 && load-itsLoad <= limit:
		case itsRecent > suspicion*itsLimit && itsLimit > 0 && (itsRecent >= explains*recent || recent-itsRecent <= limit):
		default:
			continue
		}
		if itsRecent > most {
			best, most = c, itsRecent
		}
	}
	return best
}

// spread reports whether a's load in m is a carpet: on many hosts, both over the window and just now.
// Just now, because the ordinary load of many hosts and one that is being flooded cross the prefix' limit together.
func (d *Detector) spread(a *area, m traffic.Metric, now int64) bool {
	folded := a.foldedSince(now - 2*int64(max(a.rules.window, flowWindow)))
	hosts := a.countHosts()
	if !folded && hosts < minHosts {
		return false
	}
	rate := func(g gauge) float64 { return g.rate(m) }
	recent := func(g gauge) float64 { return g.recent(m) }
	return a.effective(rate, hosts, folded, now) >= minEffective && a.effective(recent, hosts, folded, now) >= minEffective
}

// effective returns the number of hosts that would make the same load if each had an equal share: the inverse of the sum of squared shares
// (the inverse Simpson index). Hosts with a window are known one by one; the rest of the load is on the other hosts seen, or on a great many.
func (a *area) effective(rate func(gauge) float64, hosts int, folded bool, now int64) float64 {
	load := rate(a.gauge)
	if load <= 0 {
		return math.Inf(1)
	}
	squares, known, n := 0.0, 0.0, 0
	a.eachLoud(func(h *host) {
		if h.phase == active {
			return // its load is not in a
		}
		h.gauge.advance(now)
		share := min(rate(h.gauge)/load, 1)
		squares += share * share
		known += share
		n++
	})
	if rest := max(1-known, 0); !folded {
		squares += rest * rest / float64(max(hosts-n, 1))
	}
	return 1 / squares
}

func (a *area) eachLoud(f func(*host)) {
	for _, h := range a.loud {
		f(h)
	}
	for _, c := range a.children {
		c.eachLoud(f)
	}
}

// countHosts returns the number of distinct hosts seen in about the last window; prefixes whose hosts have no counters count as one each.
func (a *area) countHosts() int {
	n := a.census.set()
	if !a.exact() {
		n = a.census.count()
	}
	for _, c := range a.children {
		n += c.countHosts()
	}
	return n
}

// foldedSince reports whether a part of the load is that of an unknown number of hosts.
func (a *area) foldedSince(t int64) bool {
	if a.folded > t {
		return true
	}
	for _, c := range a.children {
		if c.foldedSince(t) {
			return true
		}
	}
	return false
}
