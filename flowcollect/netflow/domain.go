package netflow

import (
	"time"

	"weir/userspace/traffic"
)

// domain is what is known of one observation domain: its templates, how it samples, and what of it was lost.
type domain struct {
	domainKey
	templates map[uint16]*template
	waiting   map[uint16]queue // data sets by the template that they wait for
	sampling
	sequence
	durations

	records  uint64
	rate     uint32
	origin   traffic.RateOrigin // of the last record
	offset   time.Duration      // of the exporter's clock, smoothed
	timed    bool               // there is an offset
	booted   uint64             // ms since 1970 by the exporter's clock; 0: it does not say
	up       uint32             // ms: the exporter's uptime in its last datagram
	wrapped  bool               // that has passed 2^32 ms while we listened
	active   time.Duration      // timeouts as the exporter says; 0: it does not
	inactive time.Duration
	seen     time.Time
}

// idleDomain is how long a domain is silent before another one may have its place.
const idleDomain = time.Hour

// room finds the domain of a datagram, which is nil when it is the domain's first, or says why there cannot be one more.
func (s *Session) room(key domainKey, at int, now time.Time) (*domain, error) {
	d := s.domains[key]
	if d != nil || len(s.domains) < s.opts.MaxDomains {
		return d, nil
	}
	for _, other := range s.domains {
		if now.Sub(other.seen) > idleDomain {
			return nil, nil
		}
	}
	return nil, broken(at, "domain %d is one more than the %d that are followed", key.id, s.opts.MaxDomains)
}

// enter makes the domain of a datagram that could be read, if there is none. Where there is no room, the one goes that was silent longest.
func (s *Session) enter(d *domain, key domainKey, now time.Time) *domain {
	if d != nil {
		return d
	}
	if len(s.domains) >= s.opts.MaxDomains {
		var oldest *domain
		for _, other := range s.domains {
			if oldest == nil || other.seen.Before(oldest.seen) {
				oldest = other
			}
		}
		s.leave(oldest)
	}
	d = newDomain(key)
	d.seen = now
	s.domains[key] = d
	return d
}

func newDomain(key domainKey) *domain {
	return &domain{domainKey: key, templates: map[uint16]*template{}}
}

// leave forgets a domain.
func (s *Session) leave(d *domain) {
	for id := range d.templates {
		s.forget(d, id)
	}
	s.abandon(d)
	s.setWhole(d, 0)
	delete(s.domains, d.domainKey)
}

// heard takes the clock of a datagram.
func (d *domain) heard(c *clock, now time.Time) {
	d.seen = now
	d.turn(now)
	if c.hasUp {
		if d.timed && c.up < d.up {
			const day, minute = 24 * 60 * 60 * 1000, 60 * 1000
			switch {
			case c.up-d.up < day:
				d.wrapped = true
			case d.up-c.up > minute: // less: the datagram was overtaken by others
				d.wrapped = false
				d.restarted()
			}
		}
		d.up, c.wrapped = c.up, d.wrapped
	}
	offset := time.Duration(c.exported - c.now)
	if !d.timed {
		d.offset, d.timed = offset, true
		return
	}
	const slowly = 16
	d.offset += (offset - d.offset) / slowly
}

// told takes a record that is about to be told.
func (d *domain) told(f *traffic.Flow) {
	d.records++
	d.rate, d.origin = f.Rate, f.RateOrigin
	d.durations.take(time.Duration(f.End-f.Start), f.EndReason)
}

// durations remembers how long flows take, as an estimate of the exporter's active timeout: the longest of the last 10 to 20 minutes.
type durations struct {
	since    time.Time
	goingOn  [2]time.Duration // flows that had not ended
	whatever [2]time.Duration // flows of which nobody says how they ended
}

const durationsWindow = 10 * time.Minute

// turn is told the time, with each datagram.
func (d *durations) turn(now time.Time) {
	if now.Sub(d.since) > durationsWindow {
		d.since = now
		d.goingOn = [2]time.Duration{0, d.goingOn[0]}
		d.whatever = [2]time.Duration{0, d.whatever[0]}
	}
}

func (d *durations) take(took time.Duration, why traffic.FlowEnd) {
	switch {
	case why == traffic.EndActive && took > d.goingOn[0]:
		d.goingOn[0] = took
	case why == traffic.EndUnknown && took > d.whatever[0]:
		d.whatever[0] = took
	}
}

// longest is the estimate; 0: there is none.
func (d *durations) longest() time.Duration {
	if n := max(d.goingOn[0], d.goingOn[1]); n > 0 {
		return n
	}
	return max(d.whatever[0], d.whatever[1])
}
