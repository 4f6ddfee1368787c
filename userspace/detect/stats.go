package detect

import (
	"time"

	"weir/userspace/traffic"
)

// Stats are what the detector has done since New, and what it holds now.
type Stats struct {
	Observations uint64 // handed to Observe
	Ignored      uint64 // ... of these, of a hostgroup that is unknown or not judged in that direction
	Misplaced    uint64 // ... of these, with impossible times: longer than an hour, or ahead of the clock

	Suspected uint64 // events of each kind
	Cleared   uint64
	Started   uint64
	Ended     uint64

	Unwatched      uint64 // loud observations of hosts for which no window was left: judged by themselves alone
	AreasRefused   uint64 // prefixes that were not tracked because too many are; their traffic counts for larger ones
	AreasUnwatched uint64 // readings of prefixes with much load for which no window was left
	Jumps          uint64 // resets because the clock went backwards or leapt ahead
	Resets         uint64 // all resets

	Watched  int // hosts with a window
	Areas    int // prefixes with a tally
	Promoted int // ... of these, with a window
	Active   int // attacks that are on
}

// Stats returns a snapshot.
func (d *Detector) Stats() Stats {
	s := d.stats
	s.Watched, s.Areas, s.Promoted = len(d.watched), len(d.areas), len(d.promoted)
	return s
}

// Ongoing is an attack that has started and not ended.
type Ongoing struct {
	Target            traffic.Target
	Trip              traffic.Trip
	Started, Detected time.Time
	Hosts             int            // distinct hosts, as seen at its beginning
	Rate              traffic.Counts // per second, as last measured
}

// Active returns the attacks that are on, in the order of events.
func (d *Detector) Active() []Ongoing {
	var out []Ongoing
	d.each(func(t *track) {
		if t.phase == active {
			o := Ongoing{Target: t.target, Trip: t.trip, Started: d.time(t.started), Detected: d.time(t.detected), Hosts: t.hosts}
			if t.gauge != nil {
				o.Rate = t.gauge.counts()
			}
			out = append(out, o)
		}
	})
	sortByTarget(out, func(o Ongoing) traffic.Target { return o.Target })
	return out
}

// Rate returns what was last measured for a target, per second in its direction; false: it is too quiet to be measured here.
func (d *Detector) Rate(target traffic.Target) (traffic.Counts, bool) {
	t := d.find(target)
	if t == nil || t.gauge == nil {
		return traffic.Counts{}, false
	}
	t.gauge.advance(d.last)
	return t.gauge.counts(), true
}

func (d *Detector) find(target traffic.Target) *track {
	dir := target.Direction
	if dir > traffic.Outgoing {
		return nil
	}
	switch target.Scope {
	case traffic.ScopeHost:
		if h := d.hosts[dir][target.Prefix.Addr()]; h != nil {
			return &h.track
		}
	case traffic.ScopePrefix:
		if !target.Prefix.IsValid() {
			return nil
		}
		for rank := range ranks {
			if a := d.areaIndex[keyOf(target.Prefix.Addr(), dir, rank)]; a != nil && a.target.Prefix == target.Prefix {
				return &a.track
			}
		}
	case traffic.ScopeGroup:
		for _, t := range d.totals[dir] {
			if t != nil && t.target.Group == target.Group {
				return &t.track
			}
		}
	}
	return nil
}

// each calls f for all targets.
func (d *Detector) each(f func(*track)) {
	for _, a := range d.areas {
		f(&a.track)
	}
	for _, h := range d.watched {
		f(&h.track)
	}
	for dir := range d.totals {
		for _, t := range d.totals[dir] {
			if t != nil {
				f(&t.track)
			}
		}
	}
}
