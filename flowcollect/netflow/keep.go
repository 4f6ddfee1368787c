package netflow

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// kept is what of an exporter outlives a restart.
type kept struct {
	Version int             `json:"version"`
	Sum     uint32          `json:"sum"` // CRC-32 (IEEE) of domains as compact JSON
	Domains json.RawMessage `json:"domains"`
}

type keptDomain struct {
	Source     traffic.FlowSource `json:"source"`
	ID         uint32             `json:"id"`
	Booted     uint64             `json:"booted,omitempty"`
	Rate       uint32             `json:"rate,omitempty"`
	Samplers   map[uint64]uint32  `json:"samplers,omitempty"`
	Interfaces map[uint32]uint32  `json:"interfaces,omitempty"`
	Templates  []keptTemplate     `json:"templates,omitempty"`
}

type keptTemplate struct {
	ID      uint16    `json:"id"`
	Options bool      `json:"options,omitempty"`
	Scopes  int       `json:"scopes,omitempty"`
	Count   int       `json:"count"`
	Fields  []byte    `json:"fields"` // as on the wire
	Seen    time.Time `json:"seen"`   // to the hour, so that a repetition changes nothing
}

const keptVersion = 1

// Templates are the exporter's templates and sampling rates as JSON, for Restore. As long as nothing changes but the hour, it is the same.
func (s *Session) Templates() ([]byte, error) {
	domains := []keptDomain{}
	for _, d := range s.domains {
		if d.source != traffic.NetFlow9 && d.source != traffic.IPFIX {
			continue
		}
		o := keptDomain{Source: d.source, ID: d.id, Booted: d.booted, Rate: d.whole, Samplers: d.samplers, Interfaces: d.interfaces}
		for _, id := range slices.Sorted(maps.Keys(d.templates)) {
			t := d.templates[id]
			o.Templates = append(o.Templates, keptTemplate{id, t.options, t.scopes, t.count, t.raw, t.last().UTC().Truncate(time.Hour)})
		}
		domains = append(domains, o)
	}
	slices.SortFunc(domains, func(a, b keptDomain) int { return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.ID, b.ID)) })
	text, err := json.Marshal(domains)
	if err != nil {
		return nil, fmt.Errorf("keep templates: %w", err)
	}
	data, err := json.Marshal(kept{keptVersion, crc32.ChecksumIEEE(text), text})
	if err != nil {
		return nil, fmt.Errorf("keep templates: %w", err)
	}
	return data, nil
}

// Restore takes what Templates has returned, in place of all that the session knows. Of data that is damaged, nothing is restored; what
// is too old is left out.
func (s *Session) Restore(data []byte, now time.Time) error {
	domains, err := readKept(data)
	if err != nil {
		return fmt.Errorf("restore templates: %w", err)
	}
	fresh := Session{opts: s.opts, domains: map[domainKey]*domain{}}
	for i := range domains {
		if err := fresh.restore(&domains[i], now); err != nil {
			return fmt.Errorf("restore templates of %s domain %d: %w", domains[i].Source, domains[i].ID, err)
		}
	}
	for _, d := range s.domains {
		s.abandon(d)
	}
	s.nextStale = time.Time{}
	s.domains, s.templates, s.fields, s.whole = fresh.domains, fresh.templates, fresh.fields, fresh.whole
	return nil
}

// readKept reads what Templates has written.
func readKept(data []byte) ([]keptDomain, error) {
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return nil, err
	}
	if k.Version != keptVersion {
		return nil, fmt.Errorf("version %d; expected %d", k.Version, keptVersion)
	}
	var text bytes.Buffer
	if err := json.Compact(&text, k.Domains); err != nil {
		return nil, err
	}
	if sum := crc32.ChecksumIEEE(text.Bytes()); sum != k.Sum {
		return nil, fmt.Errorf("sum %d; expected %d", k.Sum, sum)
	}
	var domains []keptDomain
	if err := json.Unmarshal(k.Domains, &domains); err != nil {
		return nil, err
	}
	return domains, nil
}

func (s *Session) restore(o *keptDomain, now time.Time) error {
	key := domainKey{o.Source, o.ID}
	switch {
	case o.Source != traffic.NetFlow9 && o.Source != traffic.IPFIX:
		return fmt.Errorf("a protocol without templates")
	case s.domains[key] != nil:
		return fmt.Errorf("it is there twice")
	case len(s.domains) >= s.opts.MaxDomains:
		return fmt.Errorf("one more than the %d that are followed", s.opts.MaxDomains)
	}
	d := s.enter(nil, key, now)
	s.setWhole(d, o.Rate)
	d.booted = o.Booted
	for id, rate := range o.Samplers {
		if rate == 0 || !d.sampler(id, rate) {
			return fmt.Errorf("sampler %d: one in %d, or more than %d samplers", id, rate, samplersMost)
		}
	}
	for index, rate := range o.Interfaces {
		if rate == 0 || !put(&d.interfaces, index, rate) {
			return fmt.Errorf("interface %d: one in %d, or more than %d interfaces", index, rate, samplersMost)
		}
	}
	ipfix := o.Source == traffic.IPFIX
	for _, k := range o.Templates {
		a := announcement{k.ID, k.Count, k.Scopes, k.Options}
		length, wrong := rawLength(k.Fields, max(k.Count, 0), ipfix)
		if wrong != "" || length != len(k.Fields) || k.ID < firstData || k.Scopes < 0 || k.Scopes > 0 && !k.Options || d.templates[k.ID] != nil {
			return fmt.Errorf("template %d: %d fields in %d bytes", k.ID, k.Count, len(k.Fields))
		}
		t := compile(&a, k.Fields, o.Source)
		if t == nil {
			return fmt.Errorf("template %d: %d fields of nothing", k.ID, k.Count)
		}
		if t.seen, t.used = k.Seen, k.Seen; s.stale(t, now) || k.Seen.After(now) {
			continue
		}
		if !s.fits(nil, t, now) {
			return fmt.Errorf("template %d: one more than the %d that are kept", k.ID, s.opts.MaxTemplates)
		}
		d.templates[k.ID] = t
		s.templates++
		s.fields += t.count
	}
	return nil
}
