package netflow

import (
	"bytes"
	"time"

	"weir/userspace/traffic"
)

// waiting is a data set whose template has not come yet.
type waiting struct {
	domain *domain
	id     uint16
	clock  clock // of its arrival
	data   []byte

	older, newer *waiting // of all of the session
	next         *waiting // of the same template, newer
}

// queue is the sets that wait for one template.
type queue struct {
	first, last *waiting
	sets, bytes int
}

// pending is all sets that wait, by arrival; each domain has them by template as well.
type pending struct {
	oldest, newest *waiting
	sets, bytes    int
}

// waitingBytes is what it takes to keep a set, beside its data; a queue and its place among others are in it.
const waitingBytes = 256

func (w *waiting) bytes() int { return len(w.data) + waitingBytes }

// hold keeps a data set until its template comes. One template whose data comes again and again may have half of the room, so that others
// have some as well.
func (s *Session) hold(m *message, id uint16, data []byte) {
	if len(data) == 0 {
		return
	}
	s.counts.UnknownTemplate++
	s.giveUp(m.now)
	q, most := m.domain.waiting[id], s.opts.MaxPendingBytes
	size := len(data) + waitingBytes
	if s.pending.bytes+size > most || q.bytes > 0 && q.bytes+size > most/2 {
		s.counts.GivenUp++
		return
	}
	w := &waiting{domain: m.domain, id: id, clock: m.clock, data: bytes.Clone(data), older: s.pending.newest}
	s.pending.sets++
	s.pending.bytes += size
	if s.pending.newest != nil {
		s.pending.newest.newer = w
	} else {
		s.pending.oldest = w
	}
	s.pending.newest = w
	if q.last != nil {
		q.last.next = w
	} else {
		q.first = w
	}
	q.last = w
	q.sets++
	q.bytes += size
	if m.domain.waiting == nil {
		m.domain.waiting = map[uint16]queue{}
	}
	m.domain.waiting[id] = q
}

// drop takes the first set of a template's queue away.
func (s *Session) drop(w *waiting) {
	q := w.domain.waiting[w.id]
	if q.first, q.sets, q.bytes = w.next, q.sets-1, q.bytes-w.bytes(); q.first == nil {
		delete(w.domain.waiting, w.id)
	} else {
		w.domain.waiting[w.id] = q
	}
	if w.older != nil {
		w.older.newer = w.newer
	} else {
		s.pending.oldest = w.newer
	}
	if w.newer != nil {
		w.newer.older = w.older
	} else {
		s.pending.newest = w.older
	}
	s.pending.sets--
	s.pending.bytes -= w.bytes()
}

// giveUp lets go of what has waited too long. The oldest set of all is the oldest of its template, too.
func (s *Session) giveUp(now time.Time) {
	for w := s.pending.oldest; w != nil && now.UnixNano()-w.clock.now > int64(s.opts.PendingLife); w = s.pending.oldest {
		s.drop(w)
		s.counts.GivenUp++
	}
}

// abandon lets go of all that waits for templates of a domain.
func (s *Session) abandon(d *domain) {
	for _, q := range d.waiting {
		for w := q.first; w != nil; w = w.next {
			s.drop(w)
			s.counts.GivenUp++
		}
	}
}

// release tells what has waited for a template that is there now, with the times of its own arrival.
func (s *Session) release(d *domain, id uint16, now time.Time, emit func(*traffic.Flow)) {
	t := d.templates[id]
	if t == nil || len(d.waiting) == 0 {
		return
	}
	s.giveUp(now)
	for w := d.waiting[id].first; w != nil; w = w.next {
		s.drop(w)
		if _, wrong := t.records(w.data); wrong != "" {
			s.counts.GivenUp++
			continue
		}
		s.counts.Decoded++
		s.data(d, t, w.data, &w.clock, emit)
	}
}
