package detect

import (
	"net/netip"

	"weir/userspace/traffic"
)

// SetPolicy puts other thresholds in force. Windows and attacks go on; an attack whose target is no longer ours, has moved to another hostgroup
// or is not judged any more ends with the next Tick.
func (d *Detector) SetPolicy(p Policy) {
	d.groups = compile(&p)
	d.groupOf, d.contains = p.Group, p.Contains
	if d.groupOf == nil {
		d.groupOf = func(netip.Addr) (int, bool) { return 0, true }
	}
	d.maxWatched = p.MaxWatched
	if d.maxWatched <= 0 {
		d.maxWatched = defaultWatched
	}
	d.maxAreas = max(2*d.maxWatched, 1024)
	d.maxPromoted = max(d.maxWatched/8, 256)
	d.carpets = [2]bool{}
	for i := range d.groups {
		for dir := range d.carpets {
			d.carpets[dir] = d.carpets[dir] || len(d.groups[i].prefix[dir].list) > 0
		}
	}
	d.near = [2]*area{}
	d.setAreaPolicy()
	d.setHostPolicy()
	d.setTotalPolicy()
}

// setAreaPolicy goes from the largest areas to the smallest, because an area is fed for the sake of those around it.
func (d *Detector) setAreaPolicy() {
	for rank := ranks - 1; rank >= 0; rank-- {
		for _, a := range d.areas {
			if a.key.rank() != rank {
				continue
			}
			r := d.rulesOfPrefix(a.target.Prefix, a.target.Direction)
			if len(r.list) == 0 || r.group != a.target.Group {
				d.stopArea(a, d.last)
			}
			d.rebase(&a.track, r, readingLag)
			a.fed = len(r.list) > 0 || a.parent != nil && a.parent.fed
		}
	}
}

func (d *Detector) setHostPolicy() {
	for i := len(d.watched) - 1; i >= 0; i-- {
		h := d.watched[i]
		dir := h.target.Direction
		group, ok := d.groupOf(h.target.Prefix.Addr())
		if !ok || group < 0 || group >= len(d.groups) || !d.groups[group].enabled[dir] {
			d.stop(&h.track, d.last)
			d.release(h)
			continue
		}
		r := d.groups[group].host[dir]
		if len(r.list) == 0 || r.group != h.target.Group {
			d.stop(&h.track, d.last)
		}
		d.rebase(&h.track, r, d.hostLag(dir))
		if !d.carpets[dir] {
			h.leaveLeaf()
		}
		d.joinLeaf(h)
	}
	d.alerts = d.alerts[:0]
	for _, h := range d.watched {
		if h.alert = h.phase != idle; h.alert {
			d.alerts = append(d.alerts, h)
		}
	}
	clear(d.alerts[len(d.alerts):cap(d.alerts)])
}

func (d *Detector) setTotalPolicy() {
	for dir := range d.totals {
		old := make(map[string]*total)
		for _, t := range d.totals[dir] {
			if t != nil {
				old[t.target.Group] = t
			}
		}
		totals := make([]*total, len(d.groups))
		for i := range d.groups {
			r := d.groups[i].total[dir]
			if len(r.list) == 0 {
				continue
			}
			t := old[r.group]
			if t == nil {
				t = d.newTotal(r, traffic.Direction(dir))
			} else {
				delete(old, r.group)
				d.rebase(&t.track, r, readingLag)
			}
			totals[i] = t
		}
		for _, t := range d.totals[dir] {
			if t != nil && old[t.target.Group] == t {
				d.stop(&t.track, d.last)
				d.putGauge(t.gauge)
			}
		}
		d.totals[dir] = totals
	}
}
