package netflow

import (
	"cmp"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// Health is what is known of an exporter, by domain.
type Health struct {
	Counts
	Templates    int // in force
	Waiting      int // data sets that wait for their template
	PendingBytes int // that those take
	Domains      []Domain
}

// Domain is the health of one source id, observation domain or engine.
type Domain struct {
	Source           traffic.FlowSource
	ID               uint32
	Datagrams        uint64
	Records          uint64             // flow records that were told
	Lost             uint64             // by gaps in the sequence: flows (v5, v7), datagrams (v9) or data records (IPFIX), unless Swapped
	Swapped          bool               // the exporter's sequence counts flow records in v9, or datagrams in v5, v7 and IPFIX
	Restarts         uint64             // of the exporter, or of its sequence
	Pending          int                // data sets that wait for their template
	Rate             uint32             // of the last record
	RateOrigin       traffic.RateOrigin // of the last record
	ClockOffset      time.Duration      // the exporter's clock is ahead by so much, smoothed; v9 and IPFIX tell whole seconds
	Active, Inactive time.Duration      // timeouts, as the exporter says; 0: it does not
	Longest          time.Duration      // of the flows of the last minutes: an estimate of the active timeout where the exporter does not tell it
	Seen             time.Time
	Templates        int // in force
	Samplers         int // sampling rates that options data has told
	TemplateList     []Template
	SamplerList      []Sampler
}

// Template is a template in force.
type Template struct {
	ID      uint16
	Fields  int
	Options bool
	Age     time.Duration // since it was announced, or repeated
}

// Sampler is what options data has said of sampling: by a sampler's number, of an interface, or (neither) of the whole domain.
type Sampler struct {
	ID        uint64
	Named     bool   // ID is a sampler's number
	Interface uint32 // SNMP index; 0: of none
	Rate      uint32
}

// Health describes the session as of now: domains by version and number, what they have by number.
func (s *Session) Health(now time.Time) Health {
	s.giveUp(now)
	h := Health{Counts: s.counts, Templates: s.templates, Waiting: s.pending.sets, PendingBytes: s.pending.bytes}
	for _, d := range s.domains {
		h.Domains = append(h.Domains, s.describe(d, now))
	}
	slices.SortFunc(h.Domains, func(a, b Domain) int { return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.ID, b.ID)) })
	return h
}

func (s *Session) describe(d *domain, now time.Time) Domain {
	out := Domain{
		Source: d.source, ID: d.id, Datagrams: d.datagrams, Records: d.records, Lost: d.lost, Swapped: d.swapped, Restarts: d.restarts,
		Rate: d.rate, RateOrigin: d.origin, ClockOffset: d.offset, Active: d.active, Inactive: d.inactive, Longest: d.longest(), Seen: d.seen,
	}
	for _, q := range d.waiting {
		out.Pending += q.sets
	}
	for id, t := range d.templates {
		out.TemplateList = append(out.TemplateList, Template{ID: id, Fields: t.count, Options: t.options, Age: now.Sub(t.seen)})
	}
	slices.SortFunc(out.TemplateList, func(a, b Template) int { return cmp.Compare(a.ID, b.ID) })
	if d.whole > 0 {
		out.SamplerList = append(out.SamplerList, Sampler{Rate: d.whole})
	}
	for index, rate := range d.interfaces {
		out.SamplerList = append(out.SamplerList, Sampler{Interface: index, Rate: rate})
	}
	for id, rate := range d.samplers {
		out.SamplerList = append(out.SamplerList, Sampler{ID: id, Named: true, Rate: rate})
	}
	slices.SortFunc(out.SamplerList, func(a, b Sampler) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), compareBool(a.Named, b.Named), cmp.Compare(a.ID, b.ID))
	})
	out.Templates, out.Samplers = len(out.TemplateList), len(out.SamplerList)
	return out
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
