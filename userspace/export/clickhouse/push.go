package clickhouse

import (
	"context"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// snapshotTables are Weir's tables of traffic.
type snapshotTables struct{ totals, networks, groups, hosts *table }

func (t *snapshotTables) all() []*table { return []*table{t.totals, t.networks, t.groups, t.hosts} }

// everything are the columns that appendAll fills.
func everything(suffix string) []column {
	return suffixed(suffix, slices.Concat(counters(), []string{"flows", "dropped_packets", "dropped_bits"})...)
}

func (o *Options) snapshot() snapshotTables {
	bothWays := join(everything("_incoming"), everything("_outgoing"))
	return snapshotTables{
		totals: o.own("traffic_total", mergeTree, "version, direction, time", o.TrafficDays,
			plain("UInt8", "version"), words("direction"), everything("")),
		networks: o.own("traffic_networks", mergeTree, "network, time", o.TrafficDays, words("network"), bothWays),
		groups:   o.own("traffic_hostgroups", mergeTree, "hostgroup, time", o.TrafficDays, words("hostgroup"), bothWays),
		hosts:    o.own("traffic_hosts", mergeTree, "host, time", o.TrafficDays, plain("String", "host"), words("hostgroup"), bothWays),
	}
}

// Push writes a row for all traffic of each IP version and direction, each network, each hostgroup and each host. After an error some may have been written.
func (s *Sink) Push(ctx context.Context, snapshot *traffic.Snapshot) error {
	if s.options.FastNetMon {
		return s.pushFastNetMon(ctx, snapshot)
	}
	t := &s.snapshot
	if err := s.pushTotals(ctx, t.totals, snapshot); err != nil {
		return s.failed(t.totals, err)
	}
	if err := s.pushNetworks(ctx, t.networks, snapshot); err != nil {
		return s.failed(t.networks, err)
	}
	if err := s.pushGroups(ctx, t.groups, snapshot); err != nil {
		return s.failed(t.groups, err)
	}
	if s.options.NoHosts {
		return s.keep(ctx, t.totals, t.networks, t.groups)
	}
	if err := s.pushHosts(ctx, t.hosts, snapshot); err != nil {
		return s.failed(t.hosts, err)
	}
	return s.keep(ctx, t.all()...)
}

// start appends what each row of Weir's tables begins with.
func (s *Sink) start(at time.Time) { s.buffer = append(appendTime(s.buffer, at), s.instance...) }

func (s *Sink) pushTotals(ctx context.Context, t *table, snapshot *traffic.Snapshot) error {
	if err := s.begin(ctx, t); err != nil {
		return err
	}
	for v, version := range []byte{4, 6} {
		for d := range traffic.DirectionCount {
			s.start(snapshot.Time)
			s.buffer = appendText(append(s.buffer, version), d.String())
			s.buffer = appendAll(s.buffer, &snapshot.Version[v][d])
			if err := s.row(ctx, t); err != nil {
				return err
			}
		}
	}
	return s.flush(ctx, t)
}

func (s *Sink) pushNetworks(ctx context.Context, t *table, snapshot *traffic.Snapshot) error {
	if err := s.begin(ctx, t); err != nil {
		return err
	}
	for i := range snapshot.Networks {
		n := &snapshot.Networks[i]
		s.start(snapshot.Time)
		s.buffer = appendPrefix(s.buffer, n.Prefix, true)
		if err := s.bothWays(ctx, t, &n.TwoWay); err != nil {
			return err
		}
	}
	return s.flush(ctx, t)
}

func (s *Sink) pushGroups(ctx context.Context, t *table, snapshot *traffic.Snapshot) error {
	if err := s.begin(ctx, t); err != nil {
		return err
	}
	for i := range snapshot.Groups {
		g := &snapshot.Groups[i]
		s.start(snapshot.Time)
		s.buffer = appendText(s.buffer, g.Name)
		if err := s.bothWays(ctx, t, &g.TwoWay); err != nil {
			return err
		}
	}
	return s.flush(ctx, t)
}

func (s *Sink) pushHosts(ctx context.Context, t *table, snapshot *traffic.Snapshot) error {
	if err := s.begin(ctx, t); err != nil {
		return err
	}
	for i := range snapshot.Hosts {
		h := &snapshot.Hosts[i]
		s.start(snapshot.Time)
		s.buffer = appendText(appendPrefix(s.buffer, h.Host, false), h.Group)
		if err := s.bothWays(ctx, t, &h.TwoWay); err != nil {
			return err
		}
	}
	return s.flush(ctx, t)
}

// bothWays appends the counters of both directions and ends the row.
func (s *Sink) bothWays(ctx context.Context, t *table, r *traffic.TwoWay) error {
	s.buffer = appendAll(appendAll(s.buffer, &r.Incoming), &r.Outgoing)
	return s.row(ctx, t)
}
