package sflow

import (
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// agentKey is a sub-agent: several may send from one address.
type agentKey struct {
	address netip.Addr
	sub     uint32
}

// agent is one sub-agent: a sequence of datagrams.
type agent struct {
	key       agentKey
	source    traffic.FlowSource
	datagrams uint64
	sequence  sequence
	epoch     uint32 // becomes another with each start of the agent
	uptime    uint32 // ms
	seen      time.Time
}

// sourceKey is a data source: in most cases an interface, by its index.
type sourceKey struct {
	agent        *agent
	class, index uint32
	notice       bool // its notifications of discarded packets, which are numbered apart
}

// source is a data source: a sequence of samples, and how it samples.
type source struct {
	key      sourceKey
	epoch    uint32 // of its agent, when the sequence began
	sequence sequence
	samples  uint64
	rate     uint32
	pool     uint32 // packets that could have been sampled, modulo 2^32
	pooled   uint64 // the same since the first sample
	gathered uint64 // samples taken in that time, lost ones included
	drops    uint32
	dropped  uint64
}

// An agent whose uptime is less than it was has started anew. Datagrams that overtake each other are this close together.
const overtaken = 5000 // ms

// follow holds a datagram's sequence number against what was expected. It returns nil where nobody keeps count.
func (s *Session) follow(d *datagram, now time.Time) *agent {
	key := agentKey{d.address, d.sub}
	a := s.agents[key]
	if a == nil {
		if len(s.agents)+len(s.sources) >= s.opts.MaxSources {
			return nil
		}
		a = &agent{key: key, uptime: d.uptime}
		s.agents[key] = a
	}
	a.datagrams++
	a.source, a.seen = d.source, now
	// Uptime wraps after 49.7 days: differences are modulo 2^32, and those of more than half of it are backwards.
	if back := a.uptime - d.uptime; a.sequence.begun && back > overtaken && back < 1<<31 {
		a.sequence.restart()
	}
	began := a.sequence.take(d.sequence)
	if began {
		a.epoch++
	}
	if began || d.uptime-a.uptime < 1<<31 {
		a.uptime = d.uptime
	}
	return a
}

// sampled follows a data source's own sequence, rate and drops.
func (s *Session) sampled(d *datagram, x *sample) {
	if d.agent == nil {
		s.counts.Unfollowed++
		return
	}
	key := sourceKey{d.agent, x.class, x.index, x.notice}
	from := s.last
	if from == nil || from.key != key {
		if from = s.sources[key]; from == nil {
			if len(s.agents)+len(s.sources) >= s.opts.MaxSources {
				s.counts.Unfollowed++
				return
			}
			from = &source{key: key, rate: x.rate}
			s.sources[key] = from
		}
		s.last = from
	}
	from.samples++
	if from.rate != x.rate {
		s.counts.RateChange++
		from.rate = x.rate
	}
	if from.epoch != d.agent.epoch { // with the agent, its sources begin anew
		from.epoch, from.sequence.begun = d.agent.epoch, false
	}
	next := from.sequence.next
	switch began := from.sequence.take(x.sequence); {
	case began:
		from.drops, from.pool = x.drops, x.pool
		return
	case from.sequence.next == next: // an older one
		return
	}
	from.gathered += uint64(from.sequence.next - next)
	if more := x.pool - from.pool; more < 1<<31 { // more than that is less than before
		from.pooled += uint64(more)
	}
	from.pool = x.pool
	if more := x.drops - from.drops; more < gapMost { // more than that is less than before: its counter began anew
		from.dropped += uint64(more)
		s.counts.AgentDrops += uint64(more)
	}
	from.drops = x.drops
}

// another counts something of a format that Weir does not know.
func (s *Session) another(kind Kind, format uint32) {
	s.counts.Unknown++
	key := formatKey{kind, format}
	if _, known := s.formats[key]; known || len(s.formats) < mostFormats {
		s.formats[key]++
	}
}
