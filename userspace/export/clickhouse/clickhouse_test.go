package clickhouse_test

import (
	"context"
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

// counts are counters of which no two are the same, so that one in another's place would be seen.
func counts(n uint64) traffic.Counts {
	c := func(i uint64) traffic.Count { return traffic.Count{Packets: n + i, Bytes: 10*n + i} }
	return traffic.Counts{Total: c(1), Flows: n + 2, TCP: c(3), UDP: c(4), ICMP: c(5), TCPSYN: c(6), Fragments: c(7), Dropped: c(8)}
}

func bothWays(n uint64) traffic.TwoWay {
	return traffic.TwoWay{Incoming: counts(n), Outgoing: counts(n + 1000)}
}

func snapshot(at time.Time) *traffic.Snapshot {
	s := &traffic.Snapshot{Time: at, Interval: time.Second}
	for v := range s.Version {
		for d := range s.Version[v] {
			s.Version[v][d] = counts(uint64(10_000*(v+1) + 100*d))
		}
	}
	s.Networks = []traffic.NetworkRate{
		{Prefix: netip.MustParsePrefix("192.0.2.0/24"), TwoWay: bothWays(100)},
		{Prefix: netip.MustParsePrefix("198.51.100.1/32")},
		{Prefix: netip.MustParsePrefix("2001:db8::/32"), TwoWay: bothWays(200)},
	}
	s.Groups = []traffic.GroupRate{{Name: "web\t'&'", TwoWay: bothWays(300)}}
	s.Hosts = []traffic.HostRate{
		{Host: netip.MustParsePrefix("192.0.2.7/32"), Group: "web", TwoWay: bothWays(400)},
		{Host: netip.MustParsePrefix("192.0.2.64/28"), Group: "default", TwoWay: bothWays(500)},
		{Host: netip.MustParsePrefix("2001:db8::7/128"), Group: "default", TwoWay: bothWays(600)},
	}
	return s
}

// expected is how the counters of counts(n) stand in a row: a column's value by its name.
func expected(n uint64, suffix string) map[string]uint64 {
	return map[string]uint64{
		"packets" + suffix: n + 1, "bits" + suffix: 8 * (10*n + 1), "flows" + suffix: n + 2,
		"tcp_packets" + suffix: n + 3, "tcp_bits" + suffix: 8 * (10*n + 3), "udp_packets" + suffix: n + 4, "udp_bits" + suffix: 8 * (10*n + 4),
		"icmp_packets" + suffix: n + 5, "icmp_bits" + suffix: 8 * (10*n + 5), "tcp_syn_packets" + suffix: n + 6, "tcp_syn_bits" + suffix: 8 * (10*n + 6),
		"fragmented_packets" + suffix: n + 7, "fragmented_bits" + suffix: 8 * (10*n + 7), "dropped_packets" + suffix: n + 8, "dropped_bits" + suffix: 8 * (10*n + 8),
	}
}

// check looks for the row that meets a condition, and for the values of counts(n) in its columns, but those without which the table is.
func (s *server) check(t *testing.T, table, condition string, without string, wants ...map[string]uint64) {
	t.Helper()
	for _, want := range wants {
		var names, values []string
		for name, value := range want {
			if kind, _, _ := strings.Cut(name, "_"); without == "" || !strings.Contains(without, kind) {
				names, values = append(names, name), append(values, fmt.Sprint(value))
			}
		}
		got := s.rows(t, fmt.Sprintf("SELECT %s FROM %s WHERE %s", strings.Join(names, ", "), table, condition))
		if diff := cmp.Diff([]string{strings.Join(values, "\t")}, got); diff != "" {
			t.Errorf("%q of %s where %s (-want +got):\n%s", names, table, condition, diff)
		}
	}
}

func newSink(t testing.TB, o clickhouse.Options) *clickhouse.Sink {
	t.Helper()
	s, err := clickhouse.New(o)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// in gives what a call needs: a context with a deadline.
func in(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (s *server) options(database string) clickhouse.Options {
	return clickhouse.Options{Address: s.address, Database: database, Username: user, Password: password}
}

// today is a time of this day that is not near its ends.
func today() time.Time { return time.Now().UTC().Truncate(24 * time.Hour).Add(12 * time.Hour) }

func TestServer(t *testing.T) {
	s := startServer(t)
	t.Run("traffic", s.testTraffic)
	t.Run("traffic compressed", s.testCompressed)
	t.Run("attacks", s.testAttacks)
	t.Run("flows", s.testFlows)
	t.Run("fastnetmon", s.testFastNetMon)
	t.Run("many hosts", s.testMany)
	t.Run("old rows", s.testOld)
	t.Run("no create", s.testNoCreate)
	t.Run("wrong table", s.testWrongTable)
	t.Run("credentials", s.testCredentials)
	t.Run("TLS", s.testTLS)
	t.Run("restart", s.testRestart) // last: the server is another process afterwards
}

func (s *server) testTraffic(t *testing.T) {
	o := s.options("tr-affic")
	o.Instance = "edge1"
	at := today()
	must(t, newSink(t, o).Push(in(t), snapshot(at)))
	stamp := at.Format(time.DateTime) + "\tedge1\t"
	for _, tt := range []struct {
		query string
		want  []string
	}{
		{"SELECT time, instance, host, hostgroup FROM `tr-affic`.traffic_hosts ORDER BY packets_incoming",
			[]string{stamp + "192.0.2.7\tweb", stamp + "192.0.2.64/28\tdefault", stamp + "2001:db8::7\tdefault"}},
		{"SELECT time, instance, network FROM `tr-affic`.traffic_networks ORDER BY network",
			[]string{stamp + "192.0.2.0/24", stamp + "198.51.100.1/32", stamp + "2001:db8::/32"}},
		{"SELECT time, instance, hostgroup FROM `tr-affic`.traffic_hostgroups", []string{stamp + `web\t\'&\'`}},
		{"SELECT version, direction, packets FROM `tr-affic`.traffic_total ORDER BY packets", []string{
			"4\tincoming\t10001", "4\toutgoing\t10101", "4\tinternal\t10201", "4\tother\t10301",
			"6\tincoming\t20001", "6\toutgoing\t20101", "6\tinternal\t20201", "6\tother\t20301",
		}},
	} {
		if diff := cmp.Diff(tt.want, s.rows(t, tt.query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.query, diff)
		}
	}
	s.check(t, "`tr-affic`.traffic_hosts", "host = '192.0.2.64/28'", "", expected(500, "_incoming"), expected(1500, "_outgoing"))
	s.check(t, "`tr-affic`.traffic_networks", "network = '2001:db8::/32'", "", expected(200, "_incoming"), expected(1200, "_outgoing"))
	s.check(t, "`tr-affic`.traffic_hostgroups", "1", "", expected(300, "_incoming"), expected(1300, "_outgoing"))
	s.check(t, "`tr-affic`.traffic_total", "version = 6 AND direction = 'other'", "", expected(20_300, ""))
}

func (s *server) testCompressed(t *testing.T) {
	o := s.options("packed")
	o.Gzip, o.NoHosts = true, true
	sink := newSink(t, o)
	must(t, sink.Push(in(t), snapshot(today())))
	must(t, sink.Push(in(t), snapshot(today().Add(time.Second))))
	s.check(t, "packed.traffic_total", "version = 4 AND direction = 'incoming' AND toSecond(time) = 1", "", expected(10_000, ""))
	if diff := cmp.Diff([]string{"traffic_hostgroups", "traffic_networks", "traffic_total"}, s.rows(t, "SHOW TABLES FROM packed")); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
}

func (s *server) testFastNetMon(t *testing.T) {
	o := s.options("")
	o.FastNetMon = true
	at := today()
	must(t, newSink(t, o).Push(in(t), snapshot(at)))
	stamp := fmt.Sprintf("%d\t", at.Unix())
	for _, tt := range []struct {
		query string
		want  []string
	}{
		{"SELECT toUnixTimestamp(metricDateTime), host, schema_version FROM fastnetmon.host_metrics ORDER BY packets_incoming",
			[]string{stamp + "192.0.2.7\t0", stamp + "192.0.2.64/28\t0"}},
		{"SELECT toUnixTimestamp(metricDateTime), host FROM fastnetmon.host_metrics_ipv6", []string{stamp + "2001:db8::7"}},
		{"SELECT network FROM fastnetmon.network_metrics", []string{"192.0.2.0/24"}},
		{"SELECT network FROM fastnetmon.network_metrics_ipv6", []string{"2001:db8::/32"}},
		{"SELECT direction, packets, bits FROM fastnetmon.total_metrics ORDER BY packets", []string{
			"incoming\t30002\t2400016", "outgoing\t30202\t2416016", "internal\t30402\t2432016", "other\t30602\t2448016",
		}},
		{"SELECT DISTINCT metricDate = toDate(metricDateTime) FROM fastnetmon.total_metrics", []string{"1"}},
	} {
		if diff := cmp.Diff(tt.want, s.rows(t, tt.query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.query, diff)
		}
	}
	s.check(t, "fastnetmon.host_metrics", "host = '192.0.2.7'", "dropped", expected(400, "_incoming"), expected(1400, "_outgoing"))
	s.check(t, "fastnetmon.network_metrics", "1", "dropped flows", expected(100, "_incoming"), expected(1100, "_outgoing"))
	s.check(t, "fastnetmon.total_metrics_ipv4", "direction = 'incoming'", "", expected(10_000, ""))
	s.check(t, "fastnetmon.total_metrics_ipv6", "direction = 'outgoing'", "", expected(20_100, ""))
}

func (s *server) testMany(t *testing.T) {
	const many = 120_000
	hosts := &traffic.Snapshot{Time: today(), Hosts: manyHosts(many)}
	must(t, newSink(t, s.options("many")).Push(in(t), hosts))
	want := []string{fmt.Sprintf("%d\t%d\t%d", many, many, uint64(many)*(many-1)/2+many)} // packets_incoming is 1 more than the number of the host
	if diff := cmp.Diff(want, s.rows(t, "SELECT count(), uniqExact(host), sum(packets_incoming) FROM many.traffic_hosts")); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
}

func (s *server) testRestart(t *testing.T) {
	sink := newSink(t, s.options("again"))
	must(t, sink.Push(in(t), snapshot(today())))
	s.stop(t)
	err := sink.Push(in(t), snapshot(today().Add(time.Second)))
	if err == nil || errors.Is(err, traffic.ErrPermanent) || !strings.Contains(err.Error(), s.address) {
		t.Errorf("without a server: %v, expected an error that names it and may pass", err)
	}
	s.start(t)
	must(t, sink.Push(in(t), snapshot(today().Add(2*time.Second))))
	if diff := cmp.Diff([]string{"0", "2"}, s.rows(t, "SELECT toSecond(time) FROM again.traffic_hosts WHERE host = '192.0.2.7' ORDER BY time")); diff != "" {
		t.Errorf("seconds of which there are rows (-want +got):\n%s", diff)
	}
	// All is lost, as when another server takes the place of one.
	s.rows(t, "DROP DATABASE again")
	if err := sink.Push(in(t), snapshot(today())); err == nil {
		t.Error("the database is gone, and rows were written")
	}
	must(t, sink.Push(in(t), snapshot(today())))
}
