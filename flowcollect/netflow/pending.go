package netflow

import (
	"bytes"
	"time"

	"weir/userspace/traffic"
)

// adopt puts in force what a datagram says of a template, and reports whether there is one now that was not there before.
func (s *Session) adopt(d *domain, a *announced, now time.Time) (fresh bool) {
	if a.all {
		for id, t := range d.templates {
			if t.options == a.options {
				s.forget(d, id)
				s.counts.Withdrawn++
			}
		}
		return false
	}
	before := d.templates[a.id]
	switch t := a.template; {
	case t == nil:
		if before != nil {
			s.forget(d, a.id)
			s.counts.Withdrawn++
		}
		return false
	case t == before:
		t.seen = now
		return false
	case !s.fits(before, t, now):
		s.counts.Refused++
		return false
	default:
		if before != nil {
			s.counts.Changed++
			if t.was = before.print(); before.was == t.print() {
				s.counts.Collisions++
			}
			s.forget(d, a.id)
		}
		t.seen, t.used = now, now
		d.templates[a.id] = t
		s.templates++
		s.fields += t.count
		s.counts.Templates++
		return true
	}
}

// fits reports whether there is room for a template, which takes the place of another one or of none. If need be, those go that were
// neither repeated nor used for long.
func (s *Session) fits(before, t *template, now time.Time) bool {
	room := func() bool {
		templates, fields := s.templates+1, s.fields+t.count
		if before != nil {
			templates, fields = templates-1, fields-before.count
		}
		return templates <= s.opts.MaxTemplates && fields <= s.opts.MaxTemplates*fieldsTemplate
	}
	if room() {
		return true
	}
	for _, d := range s.domains {
		for id, t := range d.templates {
			if t != before && s.stale(t, now) {
				s.forget(d, id)
				s.counts.Expired++
			}
		}
	}
	return room()
}

// stale reports whether a template was neither repeated nor used for long.
func (s *Session) stale(t *template, now time.Time) bool {
	return now.Sub(t.used) > s.opts.TemplateLife && now.Sub(t.seen) > s.opts.TemplateLife
}

func (s *Session) forget(d *domain, id uint16) {
	s.templates--
	s.fields -= d.templates[id].count
	delete(d.templates, id)
}

// waiting is a data set whose template has not come yet.
type waiting struct {
	domain *domain
	id     uint16
	since  time.Time
	clock  clock
	data   []byte
}

// waitingBytes is what it takes to keep a set, beside its data.
const waitingBytes = 128

func (w *waiting) bytes() int { return len(w.data) + waitingBytes }

// hold keeps a data set until its template comes.
func (s *Session) hold(m *message, id uint16, data []byte) {
	if len(data) == 0 {
		return
	}
	s.counts.UnknownTemplate++
	s.giveUp(m.now)
	if s.pending+len(data)+waitingBytes > s.opts.MaxPendingBytes {
		s.counts.GivenUp++
		return
	}
	s.waiting = append(s.waiting, waiting{m.domain, id, m.now, m.clock, bytes.Clone(data)})
	s.pending += len(data) + waitingBytes
}

// giveUp lets go of what has waited too long.
func (s *Session) giveUp(now time.Time) {
	for len(s.waiting) > 0 && now.Sub(s.waiting[0].since) > s.opts.PendingLife {
		s.pending -= s.waiting[0].bytes()
		s.counts.GivenUp++
		s.waiting[0] = waiting{}
		s.waiting = s.waiting[1:]
	}
}

// release tells what has waited for templates that are there now, with the times of its own arrival.
func (s *Session) release(d *domain, now time.Time, emit func(*traffic.Flow)) {
	s.giveUp(now)
	kept := s.waiting[:0]
	for _, w := range s.waiting {
		t := d.templates[w.id]
		if w.domain != d || t == nil {
			kept = append(kept, w)
			continue
		}
		s.pending -= w.bytes()
		if _, wrong := t.records(w.data); wrong != "" {
			s.counts.GivenUp++
			continue
		}
		s.counts.Decoded++
		s.data(d, t, w.data, &w.clock, emit)
	}
	clear(s.waiting[len(kept):])
	s.waiting = kept
}
