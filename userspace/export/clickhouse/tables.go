package clickhouse

import (
	"fmt"
	"strings"
	"time"
)

// column is one of a table's. Both types have the same bytes in RowBinary, so that rows are the same for every server.
type column struct {
	name string
	kind string // its type
	old  string // its type on servers that are not modern; empty: the same
}

// table is one that rows are written to, and what this Sink knows of it.
type table struct {
	name    string
	columns []column
	engine  string
	order   string
	day     string // the expression that parts a table by days
	date    string // the column that a TTL counts from
	days    int    // rows are kept so long; below zero: it is not Weir's business

	insert string    // the statement in front of rows
	ready  bool      // it has been created since something went wrong
	kept   time.Time // when old rows were last seen to
}

const (
	mergeTree = "MergeTree"
	// Rows of the same key become one when their parts are merged: what is told twice is not there twice for long.
	replacing = "ReplacingMergeTree"
)

func plain(kind string, names ...string) []column {
	all := make([]column, len(names))
	for i, n := range names {
		all[i] = column{name: n, kind: kind}
	}
	return all
}

// words are texts of few different values.
func words(names ...string) []column {
	all := plain("LowCardinality(String)", names...)
	for i := range all {
		all[i].old = "String"
	}
	return all
}

func addresses(names ...string) []column {
	all := plain("IPv6", names...)
	for i := range all {
		all[i].old = "FixedString(16)"
	}
	return all
}

func join(parts ...[]column) (all []column) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// suffixed are 64-bit columns of one direction.
func suffixed(suffix string, names ...string) []column {
	all := plain("UInt64", names...)
	for i := range all {
		all[i].name += suffix
	}
	return all
}

// own is a table of Weir's.
func (o *Options) own(name, engine, order string, days int, columns ...[]column) *table {
	t := &table{
		name: name, engine: engine, order: order, day: "toYYYYMMDD(time)", date: "time", days: days,
		// The server's time zone must not decide where a day ends.
		columns: join(append([][]column{plain("DateTime('UTC')", "time"), words("instance")}, columns...)...),
	}
	t.prepare(o.Database, t.columns)
	return t
}

// prepare sets the statement that inserts values of columns.
func (t *table) prepare(database string, columns []column) {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	t.insert = fmt.Sprintf("INSERT INTO `%s`.%s (%s) FORMAT RowBinary", database, t.name, strings.Join(names, ","))
}

// create is the statement that creates the table.
func (t *table) create(database string, modern bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS `%s`.%s (", database, t.name)
	for i, c := range t.columns {
		if i > 0 {
			b.WriteString(", ")
		}
		kind := c.kind
		if !modern && c.old != "" {
			kind = c.old
		}
		fmt.Fprintf(&b, "%s %s", c.name, kind)
	}
	fmt.Fprintf(&b, ") ENGINE = %s PARTITION BY %s ORDER BY (%s)", t.engine, t.day, t.order)
	if modern && t.days > 0 {
		// Whole days go at once: to rewrite a part for some of its rows costs far more than to keep them for some hours.
		fmt.Fprintf(&b, " %s SETTINGS ttl_only_drop_parts = 1", t.ttl())
	}
	return b.String()
}

// ttl is how the server writes it, too, so that one can be looked for in the other.
func (t *table) ttl() string { return fmt.Sprintf("TTL %s + toIntervalDay(%d)", t.date, t.days) }

func (o *Options) attacks() *table {
	return o.own("attacks", replacing, "instance, id, time_ms, kind", o.AttackDays,
		plain("Int64", "time_ms"), plain("String", "id"),
		words("kind", "scope"), plain("String", "target"), words("hostgroup", "direction", "phase", "metric"),
		plain("Float64", "value", "threshold"), plain("UInt64", "packets", "bits", "flows", "peak_packets", "peak_bits", "peak_flows"),
		plain("UInt64", "total_packets", "total_bytes"), plain("UInt32", "hosts"),
		plain("DateTime('UTC')", "started", "detected", "ended"), plain("Float64", "duration"),
		plain("UInt8", "manual", "dry_run", "banned"), plain("String", "does", "held", "reason"),
		words("class", "sources"), plain("Float64", "confidence"), plain("Array(String)", "vectors", "patterns", "rules", "router_rules"),
		plain("String", "capture", "json"),
	)
}

func (o *Options) flows() *table {
	return o.own("flows", mergeTree, "time, dst", o.FlowDays,
		plain("Int64", "start_ms", "end_ms"), addresses("exporter"), words("source"), plain("UInt32", "domain"),
		addresses("src", "dst", "next_hop"), plain("UInt16", "src_port", "dst_port"),
		plain("UInt8", "protocol", "tcp_flags", "ttl", "tos", "fragment"),
		plain("UInt64", "packets", "bytes"), plain("UInt32", "rate"), words("rate_origin"),
		plain("UInt32", "length", "input", "output", "src_as", "dst_as"), plain("UInt8", "src_mask", "dst_mask"), plain("UInt16", "vlan"),
		words("side"), plain("UInt8", "end_reason", "dropped", "notice"),
	)
}
