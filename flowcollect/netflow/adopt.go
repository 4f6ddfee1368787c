package netflow

import (
	"time"
)

// withdrawMost is how often a datagram may withdraw all templates of a kind. Each time costs as much as there are templates, and nobody
// needs more than one.
const withdrawMost = 8

// announced is what a datagram in hand does to a template.
type announced struct {
	id       uint16
	template *template // nil: it is withdrawn,
	all      bool      // and with it all of its kind
	options  bool
	at       int // where the set begins that says so
}

// announcements are those of one datagram, in its order. The zero announcements are none.
type announcements struct {
	list   []announced
	latest map[uint16]int // where in list the last word on a template is
	allAt  [2]int         // 1 + where the last one is that withdraws all templates, and all options templates; 0: nowhere
	all    int            // how many of those there are
}

// clear forgets what the datagram before has said, and what only a big one needed.
func (a *announcements) clear() {
	const usual = 1 << 10
	switch {
	case len(a.list) == 0:
		return
	case len(a.list) > usual:
		*a = announcements{}
		return
	}
	clear(a.list) // so that templates do not live on by it
	clear(a.latest)
	a.list, a.allAt, a.all = a.list[:0], [2]int{}, 0
}

func (a *announcements) add(one announced) {
	a.list = append(a.list, one)
	if one.all {
		a.allAt[kind(one.options)] = len(a.list)
		a.all++
		return
	}
	if a.latest == nil {
		a.latest = map[uint16]int{}
	}
	a.latest[one.id] = len(a.list) - 1
}

// find is what becomes of a template that was t (nil: not there) before the datagram, by what was announced so far.
func (a *announcements) find(id uint16, t *template) *template {
	if len(a.list) == 0 {
		return t
	}
	at, said := a.latest[id]
	if said {
		t = a.list[at].template
	}
	if t != nil && (!said && a.allAt[kind(t.options)] > 0 || said && a.allAt[kind(t.options)] > at+1) {
		return nil
	}
	return t
}

func kind(options bool) int {
	if options {
		return 1
	}
	return 0
}

// adopt puts in force what a datagram says of a template.
func (s *Session) adopt(d *domain, a *announced, now time.Time) {
	if a.all {
		for id, t := range d.templates {
			if t.options == a.options {
				s.forget(d, id)
				s.counts.Withdrawn++
			}
		}
		return
	}
	before := d.templates[a.id]
	switch t := a.template; {
	case t == nil:
		if before != nil {
			s.forget(d, a.id)
			s.counts.Withdrawn++
		}
	case t == before:
		t.seen = now
	case !s.fits(before, t, now):
		s.counts.Refused++
		if before != nil { // what comes now is not of its kind
			s.forget(d, a.id)
		}
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
	}
}

// fits reports whether there is room for a template, which takes the place of another one or of none. If need be, those go that were
// neither repeated nor used for long.
func (s *Session) fits(before, t *template, now time.Time) bool {
	if s.within(before, t) {
		return true
	}
	if now.Before(s.nextStale) { // none can be there
		return false
	}
	s.nextStale = now.Add(s.opts.TemplateLife)
	for _, d := range s.domains {
		for id, other := range d.templates {
			switch {
			case other == before:
			case s.stale(other, now):
				s.forget(d, id)
				s.counts.Expired++
			default:
				if at := other.last().Add(s.opts.TemplateLife); at.Before(s.nextStale) {
					s.nextStale = at
				}
			}
		}
	}
	return s.within(before, t)
}

// within reports whether a template is within the bounds in the place of another one, or of none.
func (s *Session) within(before, t *template) bool {
	templates, fields := s.templates+1, s.fields+t.count
	if before != nil {
		templates, fields = templates-1, fields-before.count
	}
	return templates <= s.opts.MaxTemplates && fields <= s.opts.MaxTemplates*fieldsTemplate
}

// stale reports whether a template was neither repeated nor used for long.
func (s *Session) stale(t *template, now time.Time) bool {
	return now.Sub(t.last()) > s.opts.TemplateLife
}

// last is when a template was repeated or used.
func (t *template) last() time.Time {
	if t.used.After(t.seen) {
		return t.used
	}
	return t.seen
}

func (s *Session) forget(d *domain, id uint16) {
	s.templates--
	s.fields -= d.templates[id].count
	delete(d.templates, id)
}

// templateOf is the template of a data set by what was announced so far, else the one in force.
func (s *Session) templateOf(d *domain, id uint16, now time.Time) *template {
	var t *template
	if d != nil {
		if t = d.templates[id]; t != nil && s.stale(t, now) {
			t = nil
		}
	}
	return s.announced.find(id, t)
}
