package flowcollect

import (
	"net/netip"
	"slices"

	"weir/userspace/traffic"
)

// settings are what a reload can change. They never change themselves.
type settings struct {
	allow   []netip.Prefix // no two overlap; sorted
	lengths [2][]int       // of the exporters' prefixes of IPv4 and of IPv6, the longest first
	by      map[netip.Prefix]*ExporterOptions
	nothing ExporterOptions // what is known of everybody else
}

func newSettings(allow []netip.Prefix, exporters []ExporterOptions) *settings {
	s := &settings{by: make(map[netip.Prefix]*ExporterOptions, len(exporters))}
	sorted := slices.Clone(allow)
	for i, p := range sorted {
		sorted[i] = p.Masked()
	}
	slices.SortFunc(sorted, netip.Prefix.Compare) // what holds others comes before them
	for _, p := range sorted {
		if n := len(s.allow); n == 0 || !s.allow[n-1].Overlaps(p) {
			s.allow = append(s.allow, p)
		}
	}
	for _, e := range exporters {
		e.Prefix = e.Prefix.Masked()
		s.by[e.Prefix] = &e
		lengths := &s.lengths[family(e.Prefix.Addr())]
		if !slices.Contains(*lengths, e.Prefix.Bits()) {
			*lengths = append(*lengths, e.Prefix.Bits())
		}
	}
	for i := range s.lengths {
		slices.Sort(s.lengths[i])
		slices.Reverse(s.lengths[i])
	}
	return s
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// open reports whether everybody is listened to.
func (s *settings) open() bool { return len(s.allow) == 0 }

func (s *settings) allowed(a netip.Addr) bool {
	if s.open() {
		return true
	}
	at, same := slices.BinarySearchFunc(s.allow, a, func(p netip.Prefix, a netip.Addr) int { return p.Addr().Compare(a) })
	return same || at > 0 && s.allow[at-1].Contains(a)
}

// of is what is configured for an exporter.
func (s *settings) of(a netip.Addr) *ExporterOptions {
	for _, bits := range s.lengths[family(a)] {
		if p, err := a.Prefix(bits); err == nil {
			if o := s.by[p]; o != nil {
				return o
			}
		}
	}
	return &s.nothing
}

// known reports whether an exporter is in the configuration.
func (o *ExporterOptions) known() bool { return o.Prefix.IsValid() }

// meteredAt is the interface that a record was metered at: where nobody says, most exporters do it where packets come in.
func meteredAt(f *traffic.Flow) uint32 {
	if f.Side == traffic.SideEgress {
		return f.Output
	}
	return f.Input
}

// rate is the configured sampling rate of a record; 0: there is none.
func (o *ExporterOptions) rate(f *traffic.Flow) uint32 {
	if len(o.InterfaceRates) > 0 {
		if rate := o.InterfaceRates[meteredAt(f)]; rate > 0 {
			return rate
		}
	}
	if len(o.DomainRates) > 0 {
		if rate := o.DomainRates[f.Domain]; rate > 0 {
			return rate
		}
	}
	return o.Rate
}

// otherSide reports whether a record is of the side that does not count.
func (o *ExporterOptions) otherSide(f *traffic.Flow) bool {
	return o.Side != traffic.SideUnknown && f.Side != traffic.SideUnknown && f.Side != o.Side
}

// elsewhere reports whether a record is of interfaces that do not count.
func (o *ExporterOptions) elsewhere(f *traffic.Flow) bool {
	if len(o.IgnoreInterfaces) > 0 && slices.Contains(o.IgnoreInterfaces, meteredAt(f)) {
		return true
	}
	return len(o.OnlyInterfaces) > 0 && !slices.Contains(o.OnlyInterfaces, f.Input) && !slices.Contains(o.OnlyInterfaces, f.Output)
}
