package sflow

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// Agent is the health of one sub-agent.
type Agent struct {
	ID         uint32
	Source     traffic.FlowSource
	Address    netip.Addr // as it names itself
	Datagrams  uint64
	Lost       uint64 // datagrams, by gaps in the sequence
	Late       uint64 // that were overtaken by others
	Duplicates uint64
	Restarts   uint64 // of the sequence, or of the agent by its uptime
	Uptime     time.Duration
	Seen       time.Time
}

// Source is one data source and how it samples.
type Source struct {
	Agent        uint32
	Address      netip.Addr // the agent's
	Class, Index uint32     // class 0: Index is an interface's; 1: a VLAN; 2: a part of the machine (entPhysicalIndex)
	Discards     bool       // its notifications of discarded packets rather than its samples
	Rate         uint32     // of the last sample, one in so many
	Measured     float64    // the same, by how many packets the agent says there were to sample from; 0: nobody can tell yet
	Samples      uint64
	Lost         uint64 // by gaps in the sequence: with their datagrams, or in the agent
	Drops        uint64 // that the agent says it has lost for want of resources
}

// Kind is what a Format is of.
type Kind uint8

// The values have no meaning outside.
const (
	KindSample Kind = iota
	KindFlow
	KindCounter
)

var kindNames = [...]string{"sample", "flow record", "counter record"}

// String returns the kind as it stands in JSON.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Format is a format of version 5 that Weir does not know.
type Format struct {
	Kind               Kind
	Enterprise, Number uint32
	Count              uint64
}

type formatKey struct {
	kind   Kind
	format uint32 // enterprise in the upper 20 bits, number in the lower 12
}

// As many formats are counted each for itself.
const mostFormats = 256

// Health is what is known of an exporter.
type Health struct {
	Counts
	Agents  []Agent  // by address and number
	Sources []Source // by agent, class and index
	Formats []Format // by kind, enterprise and number
}

// Health describes the session. Nothing of it goes out of date by itself, whatever the time.
func (s *Session) Health(time.Time) Health {
	h := Health{Counts: s.counts}
	for key, a := range s.agents {
		q := &a.sequence
		h.Agents = append(h.Agents, Agent{
			ID: key.sub, Address: key.address, Source: a.source, Datagrams: a.datagrams, Lost: q.lost, Late: q.late, Duplicates: q.duplicates,
			Restarts: q.restarts, Uptime: time.Duration(a.uptime) * time.Millisecond, Seen: a.seen,
		})
	}
	for key, x := range s.sources {
		h.Sources = append(h.Sources, Source{
			Agent: key.agent.key.sub, Address: key.agent.key.address, Class: key.class, Index: key.index, Discards: key.notice,
			Rate: x.rate, Measured: x.measured(), Samples: x.samples, Lost: x.sequence.lost, Drops: x.dropped,
		})
	}
	for key, n := range s.formats {
		h.Formats = append(h.Formats, Format{key.kind, key.format >> 12, key.format & 0xfff, n})
	}
	slices.SortFunc(h.Agents, func(a, b Agent) int { return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.ID, b.ID)) })
	slices.SortFunc(h.Sources, func(a, b Source) int {
		notice := func(x Source) int {
			if x.Discards {
				return 1
			}
			return 0
		}
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Index, b.Index), notice(a)-notice(b))
	})
	slices.SortFunc(h.Formats, func(a, b Format) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Enterprise, b.Enterprise), cmp.Compare(a.Number, b.Number))
	})
	return h
}

// measured is how many packets there were for each sample, once there were enough to tell.
func (x *source) measured() float64 {
	const enough = 100
	if x.gathered < enough {
		return 0
	}
	return float64(x.pooled) / float64(x.gathered)
}
