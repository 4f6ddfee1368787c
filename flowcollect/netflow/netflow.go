// Package netflow decodes what one exporter sends by NetFlow version 1, 5, 7 and 9 and by IPFIX.
package netflow

import (
	"encoding/binary"
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// Options bound what an exporter may take. The zero Options are the defaults.
type Options struct {
	MaxTemplates    int           // of one exporter, with at most 16 times as many fields in all; 0: 4096
	MaxDomains      int           // source ids, observation domains and engines of one exporter; 0: 64
	TemplateLife    time.Duration // a template that is neither repeated nor used is forgotten after this; 0: 24 h
	MaxPendingBytes int           // of data whose template has not come yet, with what it takes to keep it; one template has at most half; 0: 1 MiB
	PendingLife     time.Duration // how long such data waits; 0: 30 s
	// Frame reads the beginnings of packets that records may hold (elements 104, 313 and 315); nil: such records are skipped and counted.
	Frame func(link traffic.Link, header []byte, wireLength uint32, p *traffic.Packet) traffic.Reason
}

func (o *Options) complete() Options {
	c := *o
	for _, v := range []struct {
		at *int
		to int
	}{{&c.MaxTemplates, 4096}, {&c.MaxDomains, 64}, {&c.MaxPendingBytes, 1 << 20}} {
		if *v.at <= 0 {
			*v.at = v.to
		}
	}
	if c.TemplateLife <= 0 {
		c.TemplateLife = 24 * time.Hour
	}
	if c.PendingLife <= 0 {
		c.PendingLife = 30 * time.Second
	}
	return c
}

// Session is all that is known of one exporter. One goroutine uses it.
type Session struct {
	opts     Options
	exporter netip.Addr
	domains  map[domainKey]*domain
	counts   Counts

	templates int       // of all domains
	fields    int       // of all templates
	nextStale time.Time // until then, no template can have become too old
	pending   pending
	whole     [traffic.FlowSourceCount]uint32 // sampling rates of domains 0; 0: nobody has said
	totals    *totals                         // nil until a template has counters that are never reset

	// What the datagram in hand needs; kept, so that a record costs no allocation.
	announced announcements
	flow      traffic.Flow
	extra     extra
	packet    traffic.Packet
}

// domainKey is a version with its observation domain (IPFIX), source id (v9) or engine (v5).
type domainKey struct {
	source traffic.FlowSource
	id     uint32
}

// Counts is what a session has met since it began.
type Counts struct {
	Datagrams       uint64
	Records         uint64 // flow records that were told
	Skipped         uint64 // records that tell of no traffic: events of address translation and firewalls, frames nobody can read, and the like
	BadTimes        uint64 // records whose times were impossible: told as of their arrival
	Options         uint64 // records of options data
	Templates       uint64 // announced for the first time, or anew after a change
	Changed         uint64 // templates that became others without having been withdrawn
	Collisions      uint64 // of those, that became again what they were before: two processes use one number
	Withdrawn       uint64
	Rates           uint64 // sampling rates that options data has told for the first time, or anew after a change
	Expired         uint64 // templates that were neither repeated nor used
	Refused         uint64 // templates beyond the bounds, or of nothing, and sampling rates beyond the bounds
	UnknownTemplate uint64 // data sets that came before their template
	Decoded         uint64 // of those, decoded when it came
	GivenUp         uint64 // of those, given up
	Errors          uint64 // datagrams that could not be read
}

// NewSession begins to listen to an exporter. The options may be shared.
func NewSession(exporter netip.Addr, o *Options) *Session {
	return &Session{opts: o.complete(), exporter: exporter, domains: map[domainKey]*domain{}}
}

// Decode reads one datagram that arrived at now, or one IPFIX message of a TCP connection, and tells its records one after the other in
// the same Flow. A datagram that cannot be read is an *Error: it tells nothing, and changes nothing but a counter. Data whose template is
// not known yet is no error: it is told when the template has come.
func (s *Session) Decode(datagram []byte, now time.Time, emit func(*traffic.Flow)) error {
	err := s.decode(datagram, now, emit)
	if err != nil {
		s.counts.Errors++
		return err
	}
	s.counts.Datagrams++
	return nil
}

func (s *Session) decode(b []byte, now time.Time, emit func(*traffic.Flow)) error {
	if len(b) < 4 {
		return broken(0, "%d bytes are no NetFlow", len(b))
	}
	switch version := binary.BigEndian.Uint16(b); version {
	case 1, 5, 7:
		return s.decodeOld(int(version), b, now, emit)
	case 9:
		return s.decodeV9(b, now, emit)
	case 10:
		return s.decodeIPFIX(b, now, emit)
	default:
		return broken(0, "version %d; expected 1, 5, 7, 9 or 10", version)
	}
}
