package clickhouse_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/export/clickhouse"
	"weir/userspace/traffic"
)

func manyHosts(n int) []traffic.HostRate {
	hosts := make([]traffic.HostRate, n)
	for i := range hosts {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 10<<24+uint32(i))
		hosts[i] = traffic.HostRate{Host: netip.PrefixFrom(netip.AddrFrom4(a), 32), Group: "default", TwoWay: bothWays(uint64(i))}
	}
	return hosts
}

func change(id string, kind traffic.ChangeKind, at time.Time) traffic.Change {
	started := at.Add(-90 * time.Second)
	c := traffic.Change{Kind: kind, At: at, Group: "web", Capture: "a.pcap"}
	c.Record.Attack = traffic.Attack{
		ID:     id,
		Target: traffic.Target{Scope: traffic.ScopeHost, Prefix: netip.MustParsePrefix("192.0.2.7/32"), Group: "web"},
		Trip:   traffic.Trip{Metric: traffic.PPS, Count: 10, Window: time.Second, Value: 52000.5, Limit: 20000},
		Phase:  traffic.PhaseMitigated, Started: started, Detected: started.Add(time.Second),
		Rate: bothWays(100), Peak: counts(200), Volume: counts(300), Hosts: 1,
		Analysis: &traffic.Analysis{
			Class: "dns_amplification", Confidence: 0.9, Sources: "reflectors", Vectors: []traffic.Vector{{Class: "dns_amplification"}, {Class: "ntp"}},
			Patterns: []string{"pulse: every 10 s"},
			Rules:    traffic.RuleSet{Rules: []traffic.MeasuredRule{{Rule: "proto udp and sport 53"}}},
		},
	}
	c.Record.Ban = traffic.Ban{Since: at, Drop: true, Reason: "it's\tbad"}
	return c
}

func (s *server) testAttacks(t *testing.T) {
	sink := newSink(t, s.options("attacks"))
	at := today().Add(250 * time.Millisecond)
	group := change("02", traffic.ChangeEnded, at.Add(time.Second))
	group.Record.Attack.Target = traffic.Target{Scope: traffic.ScopeGroup, Group: "web", Direction: traffic.Outgoing}
	group.Record.Attack.Analysis = nil
	group.Record.Attack.Ended = at
	group.Record.Ban = traffic.Ban{}
	group.Record.Held = "watched only"
	changes := []traffic.Change{change("01", traffic.ChangeBanned, at), group}
	must(t, sink.Tell(in(t), changes))
	must(t, sink.Tell(in(t), changes)) // as after an error that came when all had been written
	must(t, sink.Tell(in(t), nil))
	s.rows(t, "OPTIMIZE TABLE attacks.attacks FINAL")

	got := s.rows(t, "SELECT * FROM attacks.attacks ORDER BY id FORMAT Vertical")
	var values []string
	for _, line := range got {
		name, value, found := strings.Cut(line, ": ")
		if !found || name == "json" {
			continue
		}
		value = strings.Replace(value, "0000-00-00", "1970-01-01", 1) // older servers show zero seconds so
		values = append(values, name+" "+strings.TrimSpace(value))
	}
	clock := func(d time.Duration) string { return at.Add(d).Format(time.DateTime) }
	want := []string{
		"time " + clock(0), "instance ", fmt.Sprintf("time_ms %d", at.UnixMilli()), "id 01", "kind banned", "scope host", "target 192.0.2.7",
		"hostgroup web", "direction incoming", "phase mitigated", "metric pps", "value 52000.5", "threshold 20000",
		"packets 101", "bits 8008", "flows 102", "peak_packets 201", "peak_bits 16008", "peak_flows 202", "total_packets 301", "total_bytes 3001", "hosts 1",
		"started " + clock(-90*time.Second), "detected " + clock(-89*time.Second), "ended 1970-01-01 00:00:00", "duration 90",
		"manual 0", "dry_run 0", "banned 1", "does drop", "held ", "reason it's\tbad", "class dns_amplification", "sources reflectors", "confidence 0.9",
		"vectors ['dns_amplification','ntp']", "patterns ['pulse: every 10 s']", "rules ['proto udp and sport 53']", "router_rules []", "capture a.pcap",

		"time " + clock(time.Second), "instance ", fmt.Sprintf("time_ms %d", at.UnixMilli()+1000), "id 02", "kind ended", "scope hostgroup", "target web",
		"hostgroup web", "direction outgoing", "phase mitigated", "metric pps", "value 52000.5", "threshold 20000",
		"packets 1101", "bits 88008", "flows 1102", "peak_packets 201", "peak_bits 16008", "peak_flows 202", "total_packets 301", "total_bytes 3001", "hosts 1",
		"started " + clock(-89*time.Second), "detected " + clock(-88*time.Second), "ended " + clock(0), "duration 89",
		"manual 0", "dry_run 0", "banned 0", "does ", "held watched only", "reason ", "class ", "sources ", "confidence 0",
		"vectors []", "patterns []", "rules []", "router_rules []", "capture a.pcap",
	}
	if diff := cmp.Diff(want, values); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if got := s.rows(t, "SELECT visitParamExtractString(json, 'id') FROM attacks.attacks ORDER BY id"); !cmp.Equal(got, []string{"01", "02"}) {
		t.Errorf("ids in json: %q", got)
	}
}

func flow(at time.Time) traffic.Flow {
	return traffic.Flow{
		Packet: traffic.Packet{
			Src: netip.MustParseAddr("198.51.100.9"), Dst: netip.MustParseAddr("2001:db8::7"), SrcPort: 53, DstPort: 4444, Protocol: 17, TCPFlags: 18, TTL: 63,
			Fragment: traffic.LaterFragment, Length: 1400,
		},
		Packets: 10, Bytes: 14000, Start: at.Add(-time.Second).UnixNano(), End: at.UnixNano(), Rate: 100, RateOrigin: traffic.RateOptions, Source: traffic.IPFIX,
		Side: traffic.SideIngress, EndReason: traffic.EndActive, Dropped: true, TOS: 184, VLAN: 12, Exporter: netip.MustParseAddr("203.0.113.1"), Domain: 5,
		Input: 6, Output: 7, SrcAS: 64500, DstAS: 4200000000, NextHop: netip.MustParseAddr("203.0.113.2"), SrcMask: 24, DstMask: 48,
	}
}

func (s *server) testFlows(t *testing.T) {
	at := time.Now().UTC().Truncate(time.Millisecond)
	long := flow(at.Add(-1000 * time.Hour)) // too old for its day to be opened again
	long.Exporter = netip.MustParseAddr("203.0.113.9")
	long.Notice = true
	o := s.options("flows")
	o.Instance = "edge1"
	sink := newSink(t, o)
	must(t, sink.Flows(in(t), []traffic.Flow{flow(at), long}))
	must(t, sink.Flows(in(t), nil))
	const columns = "start_ms, end_ms, IPv6NumToString(exporter), source, domain, IPv6NumToString(src), IPv6NumToString(dst), IPv6NumToString(next_hop), " +
		"src_port, dst_port, protocol, tcp_flags, ttl, tos, fragment, packets, bytes, rate, rate_origin, length, input, output, src_as, dst_as, src_mask, dst_mask, " +
		"vlan, side, end_reason, dropped, notice, instance"
	row := func(at time.Time, exporter string, notice int) string {
		return fmt.Sprintf("%d\t%d\t::ffff:%s\tipfix\t5\t::ffff:198.51.100.9\t2001:db8::7\t::ffff:203.0.113.2\t53\t4444\t17\t18\t63\t184\t2\t1000\t1400000\t100\toptions\t"+
			"1400\t6\t7\t64500\t4200000000\t24\t48\t12\tingress\t2\t1\t%d\tedge1", at.UnixMilli()-1000, at.UnixMilli(), exporter, notice)
	}
	want := []string{row(at, "203.0.113.1", 0), row(at.Add(-1000*time.Hour), "203.0.113.9", 1)}
	if diff := cmp.Diff(want, s.rows(t, "SELECT "+columns+" FROM flows.flows ORDER BY notice")); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	near := fmt.Sprintf("SELECT count() FROM flows.flows WHERE abs(toUnixTimestamp(time) - %d) < 60", at.Unix())
	if got := s.rows(t, near); !cmp.Equal(got, []string{"2"}) {
		t.Errorf("%s: %q, expected both", near, got)
	}
	if got := s.rows(t, "SELECT count() FROM flows.flows WHERE time = "+fmt.Sprint(at.Unix())); got[0] == "0" {
		t.Error("no row has the time of its record's end")
	}
	many := make([]traffic.Flow, 130_000)
	for i := range many {
		many[i] = flow(at)
		many[i].Input = uint32(i)
	}
	must(t, sink.Flows(in(t), many))
	if got := s.rows(t, "SELECT count(), uniqExact(input) FROM flows.flows"); !cmp.Equal(got, []string{"130002\t130000"}) {
		t.Errorf("rows and interfaces: %q", got)
	}
}

// testOld writes rows of many days ago, which a Sink drops that comes later.
func (s *server) testOld(t *testing.T) {
	o := s.options("old")
	o.AttackDays, o.TrafficDays = 10, -1
	for _, days := range []int{0, 9, 10, 11, 12, 40} {
		at := today().AddDate(0, 0, -days)
		must(t, newSink(t, o).Push(in(t), snapshot(at)))
		o := o
		o.AttackDays = -1
		must(t, newSink(t, o).Tell(in(t), []traffic.Change{change(fmt.Sprintf("%02d", days), traffic.ChangeStarted, at)}))
	}
	must(t, newSink(t, o).Tell(in(t), []traffic.Change{change("new", traffic.ChangeStarted, today())}))
	if diff := cmp.Diff([]string{"00", "09", "10", "new"}, s.rows(t, "SELECT id FROM old.attacks ORDER BY id")); diff != "" {
		t.Errorf("attacks (-want +got):\n%s", diff)
	}
	if got := s.rows(t, "SELECT count() FROM old.traffic_hostgroups"); !cmp.Equal(got, []string{"6"}) {
		t.Errorf("rows that are kept for good: %q, expected 6", got)
	}

	// A table of somebody else's, parted by months: rows are written, and that old ones stay is said.
	s.rows(t, "CREATE TABLE old.flows AS flows.flows ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY time")
	err := newSink(t, o).Flows(in(t), []traffic.Flow{flow(time.Now())})
	var partial *clickhouse.Unsent
	if !errors.As(err, &partial) || partial.Unsent() != 0 || !strings.Contains(err.Error(), "partitioned by days") {
		t.Errorf("a table by months: %v, expected that all is written but old rows stay", err)
	}
	if got := s.rows(t, "SELECT count() FROM old.flows"); !cmp.Equal(got, []string{"1"}) {
		t.Errorf("rows in a table by months: %q", got)
	}
}

func (s *server) testNoCreate(t *testing.T) {
	o := s.options("mine")
	o.NoCreate = true
	sink := newSink(t, o)
	err := sink.Tell(in(t), []traffic.Change{change("01", traffic.ChangeStarted, today())})
	if err == nil || errors.Is(err, traffic.ErrPermanent) || !strings.Contains(err.Error(), "mine") {
		t.Errorf("there is no database: %v", err)
	}
	s.rows(t, "CREATE DATABASE mine")
	s.rows(t, "CREATE TABLE mine.attacks AS attacks.attacks ENGINE = Log")
	must(t, sink.Tell(in(t), []traffic.Change{change("01", traffic.ChangeStarted, today())}))
	if got := s.rows(t, "SELECT id FROM mine.attacks"); !cmp.Equal(got, []string{"01"}) {
		t.Errorf("rows: %q", got)
	}
}
