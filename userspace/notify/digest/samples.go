package digest

import (
	"net/netip"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// samples are rates over time in bounded room: where they grow too many, two neighbours become one that keeps the higher values.
type samples struct {
	list []Sample
	step time.Duration // samples so near to the one before are joined with it
}

func (s *samples) add(n Sample) {
	if last := len(s.list) - 1; last >= 0 {
		gap := n.Time.Sub(s.list[last].Time)
		if gap < 0 {
			return
		}
		if gap == 0 {
			s.list[last] = n // the same moment, known better
			return
		}
		if gap < s.step {
			s.list[last] = higher(s.list[last], n)
			return
		}
	}
	s.list = append(s.list, n)
	if len(s.list) <= MaxSamples {
		return
	}
	half := s.list[:0]
	for i := 0; i < len(s.list); i += 2 {
		one := s.list[i]
		if i+1 < len(s.list) {
			one = higher(one, s.list[i+1])
		}
		half = append(half, one)
	}
	s.list = half
	s.step = max(2*s.step, s.list[len(s.list)-1].Time.Sub(s.list[0].Time)/(MaxSamples-1))
}

func higher(a, b Sample) Sample {
	return Sample{Time: a.Time, Packets: max(a.Packets, b.Packets), Bytes: max(a.Bytes, b.Bytes)}
}

// Observe takes the rates of the attacks that were told of from a snapshot, for the chart and for the peaks of groups.
func (d *Digest) Observe(s *traffic.Snapshot) {
	for _, in := range d.incidents {
		if in.over() {
			continue
		}
		var rate traffic.Counts
		for _, a := range in.attacks {
			if c, known := rateOf(s, &a.record.Attack.Target); known {
				way := directed(&a.record.Attack)
				*way = c
			}
			rate.Add(directed(&a.record.Attack))
		}
		in.rate = rate
		in.measure(s.Time)
	}
}

// rateOf finds the target's rate in a snapshot; false where it cannot be told.
func rateOf(s *traffic.Snapshot, t *traffic.Target) (c traffic.Counts, known bool) {
	way := func(w *traffic.TwoWay) *traffic.Counts {
		if t.Direction == traffic.Outgoing {
			return &w.Outgoing
		}
		return &w.Incoming
	}
	if t.Scope == traffic.ScopeGroup {
		for i := range s.Groups {
			if s.Groups[i].Name == t.Group {
				return *way(&s.Groups[i].TwoWay), true
			}
		}
		return c, false
	}
	for i := range s.Networks {
		if s.Networks[i].Prefix == t.Prefix {
			return *way(&s.Networks[i].TwoWay), true
		}
	}
	// Hosts are by address: those of a prefix stand together. A host that is not there has no traffic.
	i, _ := slices.BinarySearchFunc(s.Hosts, t.Prefix.Addr(), func(h traffic.HostRate, a netip.Addr) int { return h.Host.Addr().Compare(a) })
	for ; i < len(s.Hosts) && t.Prefix.Contains(s.Hosts[i].Host.Addr()); i++ {
		c.Add(way(&s.Hosts[i].TwoWay))
	}
	return c, true
}
