package netflow

import (
	"math"
	"time"

	"weir/userspace/traffic"
)

// sampling is what options data has said of how a domain samples: each packet seen stands for so many.
type sampling struct {
	whole      uint32 // of all of the domain; 0: nobody has said
	samplers   map[uint64]uint32
	interfaces map[uint32]uint32
	rates      map[uint32]int // how many samplers have a rate
	all        uint32         // what all samplers have in common; 0: nothing
}

const samplersMost = 1024 // of one domain, and as many interfaces with a rate of their own

// options takes one record of options data: how the exporter samples, its timeouts, and since when it is up.
func (s *Session) options(d *domain, t *template, b []byte) {
	s.counts.Options++
	if t.dull {
		return
	}
	x := &s.extra
	s.begin(d)
	t.fill(&s.flow, x, b)
	if x.booted > 0 {
		d.booted = x.booted
	}
	const long = 1 << 20
	if x.active > 0 && x.active < long {
		d.active = time.Duration(x.active) * time.Second
	}
	if x.inactive > 0 && x.inactive < long {
		d.inactive = time.Duration(x.inactive) * time.Second
	}
	if rate := x.rate(); rate > 0 {
		switch before, room := s.sampled(d, x, s.flow.Input, rate); {
		case !room:
			s.counts.Refused++
		case before != rate:
			s.counts.Rates++
		}
	}
}

// rate is the sampling rate that a record or options data says; 0: none.
func (x *extra) rate() uint32 {
	n := float64(0)
	switch {
	case x.interval > 0:
		n = float64(x.interval)
	case x.size > 0 && x.population > 0: // so many out of so many (RFC 5477 section 8.2)
		n = float64(x.population) / float64(x.size)
	case x.size > 0 && x.spaced: // so many in a row, then a space
		n = (float64(x.size) + float64(x.space)) / float64(x.size)
	case x.size > 0: // alone, it is used as if it were samplingInterval
		n = float64(x.size)
	case x.probability > 0:
		n = 1 / x.probability
	case x.selected > 0 && x.observed >= x.selected:
		n = float64(x.observed) / float64(x.selected)
	}
	if n = math.Round(n); n >= 1 && n <= math.MaxUint32 {
		return uint32(n)
	}
	return 0
}

// sampled takes a rate that options data has told, and returns what it was before, and whether there was room for it.
func (s *Session) sampled(d *domain, x *extra, about, rate uint32) (before uint32, room bool) {
	switch {
	case x.named:
		before = d.samplers[x.sampler]
		return before, d.sampler(x.sampler, rate)
	case about != 0:
		before = d.interfaces[about]
		return before, put(&d.interfaces, about, rate)
	}
	before = d.whole
	s.setWhole(d, rate)
	return before, true
}

func (s *Session) setWhole(d *domain, rate uint32) {
	d.whole = rate
	if d.id == 0 {
		s.whole[d.source] = rate
	}
}

func (d *sampling) sampler(id uint64, rate uint32) bool {
	before := d.samplers[id]
	if !put(&d.samplers, id, rate) {
		return false
	}
	if d.rates == nil {
		d.rates = map[uint32]int{}
	}
	d.rates[rate]++
	if before > 0 {
		if d.rates[before]--; d.rates[before] == 0 {
			delete(d.rates, before)
		}
	}
	d.all = 0
	if len(d.rates) == 1 {
		d.all = rate
	}
	return true
}

func put[K comparable](m *map[K]uint32, key K, rate uint32) bool {
	if *m == nil {
		*m = map[K]uint32{}
	}
	if _, known := (*m)[key]; !known && len(*m) >= samplersMost {
		return false
	}
	(*m)[key] = rate
	return true
}

// rateOf is how many packets each one of a record stands for, by what is said most closely about it. It is unknown when the record names
// a sampler of which nobody has said how it samples.
func (s *Session) rateOf(d *domain, f *traffic.Flow, x *extra) (uint32, traffic.RateOrigin) {
	if x.more {
		if rate := x.rate(); rate > 0 {
			return rate, traffic.RateRecord
		}
		if x.named && (x.sampler != 0 || len(d.samplers) > 0) {
			return s.samplerRate(d, x.sampler)
		}
	}
	if len(d.interfaces) > 0 {
		about := f.Input
		if f.Side == traffic.SideEgress {
			about = f.Output
		}
		if rate := d.interfaces[about]; rate > 0 {
			return rate, traffic.RateOptions
		}
	}
	if d.whole > 0 {
		return d.whole, traffic.RateOptions
	}
	if d.all > 0 { // records do not say which sampler, and it makes no difference
		return d.all, traffic.RateOptions
	}
	// Domain 0 is the exporter as a whole (RFC 7011 section 3.1).
	if rate := s.whole[d.source]; rate > 0 {
		return rate, traffic.RateOptions
	}
	return 1, traffic.RateAssumed
}

// samplerRate is the rate of a sampler that a record names.
func (s *Session) samplerRate(d *domain, id uint64) (uint32, traffic.RateOrigin) {
	if rate := d.samplers[id]; rate > 0 {
		return rate, traffic.RateOptions
	}
	if id == 0 { // where samplers have numbers, 0 is none
		return 1, traffic.RateAssumed
	}
	if d.whole > 0 {
		return d.whole, traffic.RateOptions
	}
	// Some tell of the samplers of all line cards in one domain: taken where all domains that know the number agree.
	rate := uint32(0)
	for _, other := range s.domains {
		if r := other.samplers[id]; other.source == d.source && r > 0 {
			if rate != 0 && rate != r {
				return 1, traffic.RateUnknown
			}
			rate = r
		}
	}
	if rate > 0 {
		return rate, traffic.RateOptions
	}
	return 1, traffic.RateUnknown
}
