package netflow

import (
	"encoding/binary"
	"time"

	"weir/userspace/traffic"
)

const (
	v9HeaderBytes    = 20
	ipfixHeaderBytes = 16
	setHeaderBytes   = 4
	firstData        = 256 // set numbers from here on are those of templates
)

// message is one datagram of v9 or IPFIX in hand.
type message struct {
	key       domainKey
	domain    *domain // nil until it could be read, when it is the domain's first
	clock     clock
	now       time.Time
	templates uint16 // the set numbers of templates and of options templates
	options   uint16
}

// decodeV9 reads RFC 3954.
func (s *Session) decodeV9(b []byte, now time.Time, emit func(*traffic.Flow)) error {
	if len(b) < v9HeaderBytes {
		return broken(len(b), "a header that is cut off")
	}
	m := message{
		key: domainKey{traffic.NetFlow9, binary.BigEndian.Uint32(b[16:])}, now: now, templates: 0, options: 1,
		clock: clock{now: now.UnixNano(), exported: int64(binary.BigEndian.Uint32(b[8:])) * 1e9, up: binary.BigEndian.Uint32(b[4:]), hasUp: true},
	}
	records, err := s.check(&m, b, v9HeaderBytes, 16)
	if err != nil {
		return err
	}
	m.domain.heard(&m.clock, now)
	m.domain.follow(binary.BigEndian.Uint32(b[12:]), 1, records)
	s.tell(&m, b, v9HeaderBytes, emit)
	return nil
}

// decodeIPFIX reads RFC 7011.
func (s *Session) decodeIPFIX(b []byte, now time.Time, emit func(*traffic.Flow)) error {
	if len(b) < ipfixHeaderBytes {
		return broken(len(b), "a header that is cut off")
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length < ipfixHeaderBytes || length > len(b) {
		return broken(2, "a message of %d bytes in %d", length, len(b))
	}
	b = b[:length]
	m := message{
		key: domainKey{traffic.IPFIX, binary.BigEndian.Uint32(b[12:])}, now: now, templates: 2, options: 3,
		clock: clock{now: now.UnixNano(), exported: int64(binary.BigEndian.Uint32(b[4:])) * 1e9},
	}
	records, err := s.check(&m, b, ipfixHeaderBytes, 12)
	if err != nil {
		return err
	}
	m.domain.heard(&m.clock, now)
	m.domain.follow(binary.BigEndian.Uint32(b[8:]), records, 1)
	s.tell(&m, b, ipfixHeaderBytes, emit)
	return nil
}

// nextSet reads the header of the set at b[at], and says where the set ends; end is 0 after the last one.
func nextSet(b []byte, at int) (id uint16, end int, err error) {
	if len(b)-at < setHeaderBytes {
		return 0, 0, nil
	}
	id, length := binary.BigEndian.Uint16(b[at:]), int(binary.BigEndian.Uint16(b[at+2:]))
	if id == 0 && length == 0 && zero(b[at:]) { // some exporters fill up their datagrams
		return 0, 0, nil
	}
	if length < setHeaderBytes || length > len(b)-at {
		return 0, 0, broken(at+2, "a set of %d bytes where %d are left", length, len(b)-at)
	}
	return id, at + length, nil
}

// check reads a datagram without telling any of it: what becomes of templates goes to s.announced, data sets are counted through. It
// returns the number of data records, or unknown. Only when all of it could be read, the domain is entered and refusals are counted.
func (s *Session) check(m *message, b []byte, at, idAt int) (records int, err error) {
	s.announced.clear()
	if m.domain, err = s.room(m.key, idAt, m.now); err != nil {
		return 0, err
	}
	refused, sure := uint64(0), true
	for {
		id, end, err := nextSet(b, at)
		if err != nil {
			return 0, err
		}
		if end == 0 {
			break
		}
		content := b[at+setHeaderBytes : end]
		switch {
		case id == m.templates || id == m.options:
			n, err := s.read(m, content, at+setHeaderBytes, id == m.options)
			if err != nil {
				return 0, err
			}
			refused += n
		case id >= firstData:
			t := s.templateOf(m.domain, id, m.now)
			if t == nil {
				sure = sure && len(content) == 0
				break
			}
			n, wrong := t.records(content)
			if wrong != "" {
				return 0, broken(at, "set %d: %s", id, wrong)
			}
			records += n
		}
		at = end
	}
	s.counts.Refused += refused
	m.domain = s.enter(m.domain, m.key, m.now)
	if !sure {
		return unknown, nil
	}
	return records, nil
}

// read reads the templates of one set. One that says nothing is refused, and nothing else is lost by it.
func (s *Session) read(m *message, b []byte, at int, options bool) (refused uint64, err error) {
	ipfix := m.key.source == traffic.IPFIX
	used := 0
	for len(b)-used >= 4 {
		a := announcement{id: binary.BigEndian.Uint16(b[used:]), count: int(binary.BigEndian.Uint16(b[used+2:])), options: options}
		switch {
		case a.id == 0 && zero(b[used:]): // padding
			return refused, nil
		case ipfix && a.count == 0 && (a.id >= firstData || a.id == m.options && options || a.id == m.templates && !options): // RFC 7011 section 8.1
			if s.announced.add(announced{id: a.id, all: a.id < firstData, options: options, at: at}); s.announced.all > withdrawMost {
				return 0, broken(at+used, "all templates are withdrawn more than %d times", withdrawMost)
			}
			used += 4
			continue
		case a.id < firstData:
			return 0, broken(at+used, "template %d; their numbers begin at %d", a.id, firstData)
		}
		header := 4
		if options {
			header = 6
			if len(b)-used < header {
				return 0, broken(at+used, "a template that is cut off")
			}
			more := int(binary.BigEndian.Uint16(b[used+4:]))
			if ipfix {
				a.scopes = more
			} else { // v9 counts bytes of fields of 4
				if a.count%4 != 0 || more%4 != 0 {
					return 0, broken(at+used+2, "options template %d: lengths of %d and %d bytes; expected multiples of 4", a.id, a.count, more)
				}
				a.scopes, a.count = a.count/4, (a.count+more)/4
			}
		}
		length, wrong := rawLength(b[used+header:], a.count, ipfix)
		if wrong != "" {
			return 0, broken(at+used, "template %d: %s", a.id, wrong)
		}
		raw := b[used+header : used+header+length]
		used += header + length
		t := s.known(m, &a, raw)
		if t == nil && len(s.announced.list) < s.opts.MaxTemplates {
			t = compile(&a, raw, m.key.source)
		}
		if t == nil {
			refused++
			continue
		}
		s.announced.add(announced{id: a.id, template: t, at: at})
	}
	return refused, nil
}

// known is the template in force when it is just what is announced: exporters repeat theirs all the time.
func (s *Session) known(m *message, a *announcement, raw []byte) *template {
	if m.domain == nil {
		return nil
	}
	if t := m.domain.templates[a.id]; t != nil && t.is(a, raw) {
		return t
	}
	return nil
}

// tell puts templates in force and tells the records of a datagram that was checked.
func (s *Session) tell(m *message, b []byte, at int, emit func(*traffic.Flow)) {
	next := 0
	for {
		id, end, err := nextSet(b, at)
		if err != nil || end == 0 { // no error any more: the datagram was checked
			return
		}
		content := b[at+setHeaderBytes : end]
		at = end
		if id < firstData {
			first := next
			for ; next < len(s.announced.list) && s.announced.list[next].at < end; next++ {
				s.adopt(m.domain, &s.announced.list[next], m.now)
			}
			for ; first < next; first++ {
				s.release(m.domain, s.announced.list[first].id, m.now, emit)
			}
			continue
		}
		t := m.domain.templates[id]
		if t != nil && s.stale(t, m.now) {
			s.forget(m.domain, id)
			s.counts.Expired++
			t = nil
		}
		if t == nil {
			s.hold(m, id, content)
			continue
		}
		t.used = m.now
		s.data(m.domain, t, content, &m.clock, emit)
	}
}

// data tells the records of one set, or takes the options in it.
func (s *Session) data(d *domain, t *template, b []byte, c *clock, emit func(*traffic.Flow)) {
	for len(b) >= t.least {
		length := t.fixed
		if length == 0 {
			if length = t.length(b); length < 0 { // padding: the set was counted through before
				return
			}
		}
		if t.options {
			s.options(d, t, b[:length])
		} else {
			s.record(d, t, b[:length], c, emit)
		}
		b = b[length:]
	}
}
