package clickhouse

import (
	"context"
	"fmt"
	"slices"

	"weir/userspace/traffic"
)

// fastnetmonTables are FastNetMon's tables of traffic. The pairs are by IP version, as in a snapshot.
type fastnetmonTables struct {
	total    *table
	totals   [2]*table
	networks [2]*table
	hosts    [2]*table
}

func (t *fastnetmonTables) all() []*table {
	return slices.Concat([]*table{t.total}, t.totals[:], t.networks[:], t.hosts[:])
}

// theirs is a table as FastNetMon creates it. The server fills in the date and the schema's version.
func (o *Options) theirs(name, key, schema string, columns ...[]column) *table {
	filled := join(append([][]column{plain("DateTime", "metricDateTime"), plain("String", key)}, columns...)...)
	t := &table{
		name: name, engine: mergeTree, order: key + ", metricDate", day: "metricDate", date: "metricDate", days: o.TrafficDays,
		columns: join(
			plain("Date DEFAULT toDate(metricDateTime)", "metricDate"), filled,
			plain(fmt.Sprintf("UInt8 DEFAULT 0 COMMENT '%s'", schema), "schema_version"),
		),
	}
	t.prepare(o.Database, filled)
	return t
}

func (o *Options) fastnetmon() (t fastnetmonTables) {
	bothWays := join(suffixed("_incoming", counters()...), suffixed("_outgoing", counters()...))
	flows := plain("UInt64", "flows_incoming", "flows_outgoing")
	t.total = o.theirs("total_metrics", "direction", "1", everything(""))
	for v, suffix := range []string{"_ipv4", "_ipv6"} {
		t.totals[v] = o.theirs("total_metrics"+suffix, "direction", "1", everything(""))
	}
	for v, suffix := range []string{"", "_ipv6"} {
		t.networks[v] = o.theirs("network_metrics"+suffix, "network", "1", bothWays)
		t.hosts[v] = o.theirs("host_metrics"+suffix, "host", "2", flows, bothWays)
	}
	return t
}

func (s *Sink) pushFastNetMon(ctx context.Context, snapshot *traffic.Snapshot) error {
	t := &s.fastnetmon
	all := snapshot.Version[0]
	for d := range all {
		all[d].Add(&snapshot.Version[1][d])
	}
	if err := s.theirTotals(ctx, t.total, snapshot, &all); err != nil {
		return s.failed(t.total, err)
	}
	used := []*table{t.total}
	for v := range snapshot.Version {
		if err := s.theirTotals(ctx, t.totals[v], snapshot, &snapshot.Version[v]); err != nil {
			return s.failed(t.totals[v], err)
		}
		if err := s.theirNetworks(ctx, t.networks[v], snapshot, v == 1); err != nil {
			return s.failed(t.networks[v], err)
		}
		used = append(used, t.totals[v], t.networks[v])
		if s.options.NoHosts {
			continue
		}
		if err := s.theirHosts(ctx, t.hosts[v], snapshot, v == 1); err != nil {
			return s.failed(t.hosts[v], err)
		}
		used = append(used, t.hosts[v])
	}
	return s.keep(ctx, used...)
}

func (s *Sink) theirTotals(ctx context.Context, t *table, snapshot *traffic.Snapshot, totals *traffic.Totals) error {
	if err := s.begin(ctx, t); err != nil {
		return err
	}
	for d := range traffic.DirectionCount {
		s.buffer = appendText(appendTime(s.buffer, snapshot.Time), d.String())
		s.buffer = appendAll(s.buffer, &totals[d])
		if err := s.row(ctx, t); err != nil {
			return err
		}
	}
	return s.flush(ctx, t)
}

func (s *Sink) theirNetworks(ctx context.Context, t *table, snapshot *traffic.Snapshot, six bool) error {
	if err := s.begin(ctx, t); err != nil {
		return err
	}
	for i := range snapshot.Networks {
		n := &snapshot.Networks[i]
		if n.Prefix.Addr().Is6() != six || n.Incoming.Zero() && n.Outgoing.Zero() {
			continue
		}
		s.buffer = appendPrefix(appendTime(s.buffer, snapshot.Time), n.Prefix, true)
		s.buffer = appendCounters(appendCounters(s.buffer, &n.Incoming), &n.Outgoing)
		if err := s.row(ctx, t); err != nil {
			return err
		}
	}
	return s.flush(ctx, t)
}

func (s *Sink) theirHosts(ctx context.Context, t *table, snapshot *traffic.Snapshot, six bool) error {
	if err := s.begin(ctx, t); err != nil {
		return err
	}
	for i := range snapshot.Hosts {
		h := &snapshot.Hosts[i]
		if h.Host.Addr().Is6() != six {
			continue
		}
		s.buffer = appendPrefix(appendTime(s.buffer, snapshot.Time), h.Host, false)
		s.buffer = appendNumber(appendNumber(s.buffer, h.Incoming.Flows), h.Outgoing.Flows)
		s.buffer = appendCounters(appendCounters(s.buffer, &h.Incoming), &h.Outgoing)
		if err := s.row(ctx, t); err != nil {
			return err
		}
	}
	return s.flush(ctx, t)
}
