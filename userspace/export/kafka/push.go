package kafka

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"weir/userspace/eventjson"
	"weir/userspace/traffic"
)

// Push writes a snapshot's rates, each as a record of its own: hosts, networks, hostgroups, and totals by IP version and direction.
// After an error some of them may have been written.
func (s *Sink) Push(ctx context.Context, snapshot *traffic.Snapshot) error {
	if s.options.Traffic == "" {
		return nil
	}
	if err := s.connect(ctx); err != nil {
		return err
	}
	encode := trafficEncoder(s.options.Format)
	var problem error
	flush := func(always bool) bool {
		if problem == nil && (always || s.full()) {
			_, problem = s.send(ctx, s.options.Traffic)
		}
		return problem == nil
	}
	if !s.options.NoTotals {
		for v := range snapshot.Version {
			for d := range snapshot.Version[v] {
				version, direction := 4+2*v, traffic.Direction(d)
				s.bytes = encode.total(s.bytes, snapshot.Time, version, direction, &snapshot.Version[v][d])
				s.key = append(s.key[:0], totalKeys[v]...)
				s.add(s.key)
			}
		}
	}
	if !s.options.NoGroups {
		for i := range snapshot.Groups {
			g := &snapshot.Groups[i]
			s.bytes = encode.group(s.bytes, snapshot.Time, g)
			s.key = append(s.key[:0], g.Name...)
			s.add(s.key)
			if !flush(false) {
				return problem
			}
		}
	}
	if !s.options.NoNetworks {
		for i := range snapshot.Networks {
			n := &snapshot.Networks[i]
			s.bytes = encode.network(s.bytes, snapshot.Time, n)
			s.key = n.Prefix.AppendTo(s.key[:0])
			s.add(s.key)
			if !flush(false) {
				return problem
			}
		}
	}
	if !s.options.NoHosts {
		for i := range snapshot.Hosts {
			h := &snapshot.Hosts[i]
			s.bytes = encode.host(s.bytes, snapshot.Time, h)
			s.key = appendHostKey(s.key[:0], h.Host)
			s.add(s.key)
			if !flush(false) {
				return problem
			}
		}
	}
	flush(true)
	return problem
}

// totalKeys are the keys of totals by IP version.
var totalKeys = [2]string{"ipv4", "ipv6"}

// appendHostKey writes a host as its address, and hosts that share their counters as their prefix.
func appendHostKey(b []byte, p netip.Prefix) []byte {
	if p.IsSingleIP() {
		return p.Addr().AppendTo(b)
	}
	return p.AppendTo(b)
}

// Tell writes changes of attacks. The key is the attack's target: its address, prefix or hostgroup.
func (s *Sink) Tell(ctx context.Context, changes []traffic.Change) error {
	if s.options.Attacks == "" || len(changes) == 0 {
		return nil
	}
	return s.each(ctx, s.options.Attacks, len(changes), func(i int) error {
		c := &changes[i]
		if s.options.Format == JSON {
			text, err := eventjson.Change(c)
			if err != nil {
				return fmt.Errorf("write attack %s to Kafka as JSON: %w: %w", c.Record.Attack.ID, traffic.ErrPermanent, err)
			}
			s.bytes = append(s.bytes, text...)
		} else {
			s.bytes = appendAttack(s.bytes, c)
		}
		if t := c.Record.Attack.Target; t.Scope == traffic.ScopeGroup {
			s.key = append(s.key[:0], t.Group...)
		} else {
			s.key = appendHostKey(s.key[:0], t.Prefix)
		}
		return nil
	})
}

// Flows writes flow records.
func (s *Sink) Flows(ctx context.Context, flows []traffic.Flow) error {
	if s.options.Flows == "" || len(flows) == 0 {
		return nil
	}
	encode, now := flowEncoder(s.options.FlowFormat), time.Now()
	return s.each(ctx, s.options.Flows, len(flows), func(i int) error {
		f := &flows[i]
		s.bytes = encode(s.bytes, f, now)
		s.key = s.key[:0]
		switch {
		case s.options.FlowKey == KeyExporter && f.Exporter.IsValid():
			s.key = f.Exporter.AppendTo(s.key)
		case s.options.FlowKey == KeyDestination && f.Dst.IsValid():
			s.key = f.Dst.AppendTo(s.key)
		}
		return nil
	})
}

// each writes n records, each of which encode appends to s.bytes and gives a key in s.key. An error is an *Unsent.
func (s *Sink) each(ctx context.Context, topic string, n int, encode func(i int) error) error {
	if err := s.connect(ctx); err != nil {
		return &Unsent{last: n, err: err}
	}
	begin := 0
	for i := range n {
		bad := encode(i)
		if bad == nil {
			s.add(s.key)
			if !s.full() && i+1 < n {
				continue
			}
		}
		if first, err := s.send(ctx, topic); err != nil {
			return &Unsent{last: n - begin - first, err: err}
		}
		if bad != nil {
			return &Unsent{last: n - i, err: bad}
		}
		begin = i + 1
	}
	return nil
}

// encoder appends values of the traffic topic in one format.
type encoder struct {
	total   func(b []byte, at time.Time, version int, d traffic.Direction, c *traffic.Counts) []byte
	group   func(b []byte, at time.Time, g *traffic.GroupRate) []byte
	network func(b []byte, at time.Time, n *traffic.NetworkRate) []byte
	host    func(b []byte, at time.Time, h *traffic.HostRate) []byte
}

func trafficEncoder(format string) encoder {
	if format == JSON {
		return encoder{eventjson.AppendTotal, eventjson.AppendGroup, eventjson.AppendNetwork, eventjson.AppendHost}
	}
	return encoder{appendTotal, appendGroup, appendNetwork, appendHost}
}

// flowEncoder is what appends a flow record in a format; now stands in for a time that is not known.
func flowEncoder(format string) func(b []byte, f *traffic.Flow, now time.Time) []byte {
	switch format {
	case JSON:
		return appendFlowJSON
	case FastNetMonJSON:
		return appendFastNetMonJSON
	case FastNetMonProtobuf:
		return appendTrafficData
	}
	return appendFlow
}
