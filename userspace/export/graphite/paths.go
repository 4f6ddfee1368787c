package graphite

import (
	"net/netip"

	"weir/userspace/traffic"
)

// field is one value of Counts and the last node of its path.
type field struct {
	name string
	of   func(*traffic.Counts) uint64
}

// The first two are of everything, the first three of whatever has flows, the rest comes with Options.Detailed.
var fields = [...]field{
	{"pps", func(c *traffic.Counts) uint64 { return c.Total.Packets }},
	{"bps", func(c *traffic.Counts) uint64 { return c.Total.Bytes * 8 }},
	{"flows", func(c *traffic.Counts) uint64 { return c.Flows }},
	{"tcp_pps", func(c *traffic.Counts) uint64 { return c.TCP.Packets }},
	{"tcp_bps", func(c *traffic.Counts) uint64 { return c.TCP.Bytes * 8 }},
	{"udp_pps", func(c *traffic.Counts) uint64 { return c.UDP.Packets }},
	{"udp_bps", func(c *traffic.Counts) uint64 { return c.UDP.Bytes * 8 }},
	{"icmp_pps", func(c *traffic.Counts) uint64 { return c.ICMP.Packets }},
	{"icmp_bps", func(c *traffic.Counts) uint64 { return c.ICMP.Bytes * 8 }},
	{"tcp_syn_pps", func(c *traffic.Counts) uint64 { return c.TCPSYN.Packets }},
	{"tcp_syn_bps", func(c *traffic.Counts) uint64 { return c.TCPSYN.Bytes * 8 }},
	{"fragments_pps", func(c *traffic.Counts) uint64 { return c.Fragments.Packets }},
	{"fragments_bps", func(c *traffic.Counts) uint64 { return c.Fragments.Bytes * 8 }},
	{"dropped_pps", func(c *traffic.Counts) uint64 { return c.Dropped.Packets }},
	{"dropped_bps", func(c *traffic.Counts) uint64 { return c.Dropped.Bytes * 8 }},
}

const (
	rateFields = 2 // pps and bps
	flowFields = 3 // and flows
)

// write writes what the options ask for. Totals, networks and hostgroups are written whatever they are: that they exist is the configuration's doing.
func (s *Sink) write(snapshot *traffic.Snapshot) {
	most := flowFields
	if s.options.Detailed {
		most = len(fields)
	}
	var both traffic.Totals
	for d := range both {
		both[d] = snapshot.Version[0][d]
		both[d].Add(&snapshot.Version[1][d])
	}
	s.totals(".total.", &both, most)
	s.totals(".total_ipv4.", &snapshot.Version[0], most)
	s.totals(".total_ipv6.", &snapshot.Version[1], most)

	for i := range snapshot.Networks {
		n := &snapshot.Networks[i]
		fieldsOfNetwork := most
		if !s.options.Detailed {
			fieldsOfNetwork = rateFields
		}
		s.out.path(".networks.")
		s.out.prefix(n.Prefix, true)
		s.twoWay(&n.TwoWay, fieldsOfNetwork)
	}
	if s.options.Detailed {
		for i := range snapshot.Groups {
			g := &snapshot.Groups[i]
			s.out.path(".hostgroups.")
			s.out.more(clean(g.Name))
			s.twoWay(&g.TwoWay, most)
		}
	}
	if s.options.Hosts != NoHosts {
		s.hosts(snapshot.Hosts, most)
	}
}

func (s *Sink) totals(kind string, t *traffic.Totals, most int) {
	for d := range t {
		direction := traffic.Direction(d)
		n := most
		if direction == traffic.Internal || direction == traffic.Other {
			n = rateFields // nothing else is known of them
		}
		s.out.path(kind)
		s.out.more(direction.String())
		for f := range fields[:n] {
			s.out.point(fields[f].name, fields[f].of(&t[d]))
		}
	}
}

func (s *Sink) twoWay(t *traffic.TwoWay, most int) {
	subject := s.out.mark()
	for d, counts := range [...]*traffic.Counts{&t.Incoming, &t.Outgoing} {
		s.out.back(subject)
		s.out.direction(d)
		for f := range fields[:most] {
			s.out.point(fields[f].name, fields[f].of(counts))
		}
	}
}

// hosts writes what is not zero, and zeros where something else was written before.
func (s *Sink) hosts(hosts []traffic.HostRate, most int) {
	for i := range hosts {
		h := &hosts[i]
		if s.options.Hosts == IPv4Hosts && !h.Host.Addr().Is4() {
			continue
		}
		if s.options.NoFinalZero {
			s.host(h.Host, &h.TwoWay, 0, most)
			continue
		}
		before := s.before[h.Host]
		if written := s.host(h.Host, &h.TwoWay, before, most); written|before != 0 {
			s.now[h.Host] = written
		}
	}
	// Those that the snapshot does not speak of any more.
	var nothing traffic.TwoWay
	for host, written := range s.before {
		if _, spoken := s.now[host]; !spoken {
			s.host(host, &nothing, written, most)
		}
	}
}

// host returns what it has written that is not zero.
func (s *Sink) host(host netip.Prefix, t *traffic.TwoWay, before series, most int) (written series) {
	if before == 0 && t.Incoming == (traffic.Counts{}) && t.Outgoing == (traffic.Counts{}) {
		return 0
	}
	s.out.path(".hosts.")
	s.out.prefix(host, !host.IsSingleIP())
	subject := s.out.mark()
	for d, counts := range [...]*traffic.Counts{&t.Incoming, &t.Outgoing} {
		s.out.back(subject)
		s.out.direction(d)
		for f := range fields[:most] {
			bit := series(1) << (d*outgoingShift + f)
			value := fields[f].of(counts)
			if value == 0 && before&bit == 0 {
				continue
			}
			if value != 0 {
				written |= bit
			}
			s.out.point(fields[f].name, value)
		}
	}
	return written
}
