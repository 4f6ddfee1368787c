package influxdb

import (
	"net/netip"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// The tags that Weir gives points itself.
const (
	tagDirection = "direction"
	tagHost      = "host"
	tagNetwork   = "network"
	tagHostgroup = "hostgroup"
	tagKind      = "kind"
	tagScope     = "scope"
)

func ours(key string) bool {
	return slices.Contains([]string{tagDirection, tagHost, tagNetwork, tagHostgroup, tagKind, tagScope, "time"}, key)
}

// field is one value of Counts and its names: alone, and of a direction.
type field struct {
	name, incoming, outgoing string
	of                       func(*traffic.Counts) float64
}

func packets(name string, of func(*traffic.Counts) *traffic.Count) field {
	return field{name, name + "_incoming", name + "_outgoing", func(c *traffic.Counts) float64 { return float64(of(c).Packets) }}
}

func bits(name string, of func(*traffic.Counts) *traffic.Count) field {
	return field{name, name + "_incoming", name + "_outgoing", func(c *traffic.Counts) float64 { return float64(of(c).Bytes) * 8 }}
}

func total(c *traffic.Counts) *traffic.Count     { return &c.Total }
func udp(c *traffic.Counts) *traffic.Count       { return &c.UDP }
func tcp(c *traffic.Counts) *traffic.Count       { return &c.TCP }
func icmp(c *traffic.Counts) *traffic.Count      { return &c.ICMP }
func fragments(c *traffic.Counts) *traffic.Count { return &c.Fragments }
func syn(c *traffic.Counts) *traffic.Count       { return &c.TCPSYN }
func dropped(c *traffic.Counts) *traffic.Count   { return &c.Dropped }

// The first two are of everything, the first three of whatever has flows, the rest is what Options.Brief leaves out.
var fields = [...]field{
	packets("packets", total),
	bits("bits", total),
	{"flows", "flows_incoming", "flows_outgoing", func(c *traffic.Counts) float64 { return float64(c.Flows) }},
	packets("udp_packets", udp), bits("udp_bits", udp),
	packets("tcp_packets", tcp), bits("tcp_bits", tcp),
	packets("icmp_packets", icmp), bits("icmp_bits", icmp),
	packets("fragmented_packets", fragments), bits("fragmented_bits", fragments),
	packets("tcp_syn_packets", syn), bits("tcp_syn_bits", syn),
	packets("dropped_packets", dropped), bits("dropped_bits", dropped),
}

const (
	rateFields = 2 // packets and bits
	flowFields = 3 // and flows
)

// measurement is a pair of names by IP version.
type measurement [2]string

func (m measurement) of(a netip.Addr) string {
	if a.Is4() {
		return m[0]
	}
	return m[1]
}

// write writes what the options ask for. Totals, networks and hostgroups are written whatever they are: that they exist is the configuration's doing.
func (s *Sink) write(snapshot *traffic.Snapshot) {
	at := time.Unix(snapshot.Time.Unix(), 0)
	for version, name := range (measurement{"total_traffic", "total_traffic_ipv6"}) {
		for d := range snapshot.Version[version] {
			s.total(at, name, traffic.Direction(d), &snapshot.Version[version][d])
		}
	}
	for i := range snapshot.Networks {
		n := &snapshot.Networks[i]
		s.lines.line(measurement{"networks_traffic", "networks_ipv6_traffic"}.of(n.Prefix.Addr()))
		s.lines.prefixTag(tagNetwork, n.Prefix, true)
		s.twoWay(at, &n.TwoWay)
	}
	for i := range snapshot.Groups {
		g := &snapshot.Groups[i]
		s.lines.line("hostgroups_traffic")
		s.lines.tag(tagHostgroup, g.Name)
		s.twoWay(at, &g.TwoWay)
	}
	if s.options.Hosts != NoHosts {
		s.hosts(at, snapshot.Hosts)
	}
}

func (s *Sink) total(at time.Time, name string, d traffic.Direction, counts *traffic.Counts) {
	known := fields[:]
	if d == traffic.Internal || d == traffic.Other {
		known = fields[:rateFields] // nothing else is known of them, and that is not zero
	}
	s.lines.line(name)
	s.lines.tag(tagDirection, d.String())
	for i := range known {
		s.lines.float(known[i].name, known[i].of(counts))
	}
	s.lines.finish(at)
}

func (s *Sink) twoWay(at time.Time, t *traffic.TwoWay) {
	wanted := fields[:]
	if s.options.Brief {
		wanted = fields[:flowFields]
	}
	for i := range wanted {
		s.lines.float(wanted[i].incoming, wanted[i].of(&t.Incoming))
		s.lines.float(wanted[i].outgoing, wanted[i].of(&t.Outgoing))
	}
	s.lines.finish(at)
}

// hosts writes those with traffic, and zeros for those that had some when they were written before.
func (s *Sink) hosts(at time.Time, hosts []traffic.HostRate) {
	for i := range hosts {
		h := &hosts[i]
		if s.options.Hosts == IPv4Hosts && !h.Host.Addr().Is4() {
			continue
		}
		if h.TwoWay == (traffic.TwoWay{}) {
			continue
		}
		if !s.options.NoFinalZero {
			s.now[h.Host] = struct{}{}
		}
		s.host(at, h.Host, &h.TwoWay)
	}
	var nothing traffic.TwoWay
	for host := range s.before {
		if _, still := s.now[host]; !still {
			s.host(at, host, &nothing)
		}
	}
}

func (s *Sink) host(at time.Time, host netip.Prefix, t *traffic.TwoWay) {
	s.lines.line(measurement{"hosts_traffic", "hosts_ipv6_traffic"}.of(host.Addr()))
	s.lines.prefixTag(tagHost, host, false)
	s.twoWay(at, t)
}
