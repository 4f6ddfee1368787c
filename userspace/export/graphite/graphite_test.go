package graphite_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/export/graphite"
	"weir/userspace/traffic"
)

var at = time.Unix(1763900000, 500)

func rate(packets, bytes, flows uint64) traffic.Counts {
	return traffic.Counts{Total: traffic.Count{Packets: packets, Bytes: bytes}, Flows: flows}
}

func host(prefix string, in, out traffic.Counts) traffic.HostRate {
	return traffic.HostRate{Host: netip.MustParsePrefix(prefix), Group: "default", TwoWay: traffic.TwoWay{Incoming: in, Outgoing: out}}
}

func example() *traffic.Snapshot {
	s := &traffic.Snapshot{Time: at, Interval: 10 * time.Second}
	s.Version[0][traffic.Incoming] = rate(1000, 64000, 30)
	s.Version[1][traffic.Incoming] = rate(1, 100, 2)
	s.Version[0][traffic.Other] = rate(5, 500, 0)
	s.Networks = []traffic.NetworkRate{
		{Prefix: netip.MustParsePrefix("192.0.2.0/24"), TwoWay: traffic.TwoWay{Incoming: rate(1000, 64000, 30)}},
		{Prefix: netip.MustParsePrefix("2001:db8::/32")},
	}
	udp := rate(900, 57600, 20)
	udp.UDP = udp.Total
	s.Groups = []traffic.GroupRate{{Name: "web & co.", TwoWay: traffic.TwoWay{Outgoing: udp}}}
	s.Hosts = []traffic.HostRate{
		host("192.0.2.1/32", rate(1000, 64000, 30), rate(7, 700, 0)),
		host("192.0.2.2/32", traffic.Counts{}, traffic.Counts{}),
		host("192.0.2.64/28", rate(3, 300, 1), traffic.Counts{}),
		host("2001:db8::1/128", rate(1, 100, 2), traffic.Counts{}),
	}
	return s
}

// listen returns a server that gives what each connection sent until it was closed.
func listen(t *testing.T) (address string, received <-chan string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	all := make(chan string, 8)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b, _ := io.ReadAll(conn)
			_ = conn.Close()
			all <- string(b)
		}
	}()
	return l.Addr().String(), all
}

func open(t *testing.T, o graphite.Options) *graphite.Sink {
	t.Helper()
	s, err := graphite.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func push(t *testing.T, s *graphite.Sink, snapshot *traffic.Snapshot) {
	t.Helper()
	if err := s.Push(t.Context(), snapshot); err != nil {
		t.Fatal(err)
	}
}

// lines returns what the snapshots become, without those whose path is below one of the kinds left out.
func lines(t *testing.T, o graphite.Options, without []string, snapshots ...*traffic.Snapshot) (kept []string) {
	t.Helper()
	address, received := listen(t)
	o.Address = address
	s := open(t, o)
	for _, snapshot := range snapshots {
		push(t, s, snapshot)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(<-received) {
		if !slices.ContainsFunc(without, func(w string) bool { return strings.HasPrefix(line, w) }) {
			kept = append(kept, strings.TrimSuffix(line, "\n"))
		}
	}
	return kept
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestPaths(t *testing.T) {
	got := lines(t, graphite.Options{}, []string{"fastnetmon.total_ipv4."}, example())
	same(t, got, []string{
		"fastnetmon.total.incoming.pps 1001 1763900000",
		"fastnetmon.total.incoming.bps 512800 1763900000",
		"fastnetmon.total.incoming.flows 32 1763900000",
		"fastnetmon.total.outgoing.pps 0 1763900000",
		"fastnetmon.total.outgoing.bps 0 1763900000",
		"fastnetmon.total.outgoing.flows 0 1763900000",
		"fastnetmon.total.internal.pps 0 1763900000",
		"fastnetmon.total.internal.bps 0 1763900000",
		"fastnetmon.total.other.pps 5 1763900000",
		"fastnetmon.total.other.bps 4000 1763900000",
		"fastnetmon.total_ipv6.incoming.pps 1 1763900000",
		"fastnetmon.total_ipv6.incoming.bps 800 1763900000",
		"fastnetmon.total_ipv6.incoming.flows 2 1763900000",
		"fastnetmon.total_ipv6.outgoing.pps 0 1763900000",
		"fastnetmon.total_ipv6.outgoing.bps 0 1763900000",
		"fastnetmon.total_ipv6.outgoing.flows 0 1763900000",
		"fastnetmon.total_ipv6.internal.pps 0 1763900000",
		"fastnetmon.total_ipv6.internal.bps 0 1763900000",
		"fastnetmon.total_ipv6.other.pps 0 1763900000",
		"fastnetmon.total_ipv6.other.bps 0 1763900000",
		"fastnetmon.networks.192_0_2_0_24.incoming.pps 1000 1763900000",
		"fastnetmon.networks.192_0_2_0_24.incoming.bps 512000 1763900000",
		"fastnetmon.networks.192_0_2_0_24.outgoing.pps 0 1763900000",
		"fastnetmon.networks.192_0_2_0_24.outgoing.bps 0 1763900000",
		"fastnetmon.networks.2001_db8___32.incoming.pps 0 1763900000",
		"fastnetmon.networks.2001_db8___32.incoming.bps 0 1763900000",
		"fastnetmon.networks.2001_db8___32.outgoing.pps 0 1763900000",
		"fastnetmon.networks.2001_db8___32.outgoing.bps 0 1763900000",
		"fastnetmon.hosts.192_0_2_1.incoming.pps 1000 1763900000",
		"fastnetmon.hosts.192_0_2_1.incoming.bps 512000 1763900000",
		"fastnetmon.hosts.192_0_2_1.incoming.flows 30 1763900000",
		"fastnetmon.hosts.192_0_2_1.outgoing.pps 7 1763900000",
		"fastnetmon.hosts.192_0_2_1.outgoing.bps 5600 1763900000",
		"fastnetmon.hosts.192_0_2_64_28.incoming.pps 3 1763900000",
		"fastnetmon.hosts.192_0_2_64_28.incoming.bps 2400 1763900000",
		"fastnetmon.hosts.192_0_2_64_28.incoming.flows 1 1763900000",
		"fastnetmon.hosts.2001_db8__1.incoming.pps 1 1763900000",
		"fastnetmon.hosts.2001_db8__1.incoming.bps 800 1763900000",
		"fastnetmon.hosts.2001_db8__1.incoming.flows 2 1763900000",
	})
}

func TestDetails(t *testing.T) {
	got := lines(t, graphite.Options{Prefix: "net.weir-1", Detailed: true, Hosts: graphite.IPv4Hosts}, []string{"net.weir-1.total", "net.weir-1.networks"}, example())
	var want []string
	for _, direction := range []string{"incoming", "outgoing"} {
		for _, field := range strings.Fields("pps bps flows tcp_pps tcp_bps udp_pps udp_bps icmp_pps icmp_bps " +
			"tcp_syn_pps tcp_syn_bps fragments_pps fragments_bps dropped_pps dropped_bps") {
			value := map[string]string{"pps": "900", "bps": "460800", "flows": "20", "udp_pps": "900", "udp_bps": "460800"}[field]
			if value == "" || direction == "incoming" {
				value = "0"
			}
			want = append(want, fmt.Sprintf("net.weir-1.hostgroups.web___co_.%s.%s %s 1763900000", direction, field, value))
		}
	}
	same(t, got, append(want,
		"net.weir-1.hosts.192_0_2_1.incoming.pps 1000 1763900000",
		"net.weir-1.hosts.192_0_2_1.incoming.bps 512000 1763900000",
		"net.weir-1.hosts.192_0_2_1.incoming.flows 30 1763900000",
		"net.weir-1.hosts.192_0_2_1.outgoing.pps 7 1763900000",
		"net.weir-1.hosts.192_0_2_1.outgoing.bps 5600 1763900000",
		"net.weir-1.hosts.192_0_2_64_28.incoming.pps 3 1763900000",
		"net.weir-1.hosts.192_0_2_64_28.incoming.bps 2400 1763900000",
		"net.weir-1.hosts.192_0_2_64_28.incoming.flows 1 1763900000",
	))
}

// after is a snapshot of hosts alone, so many seconds later.
func after(seconds int, hosts ...traffic.HostRate) *traffic.Snapshot {
	return &traffic.Snapshot{Time: time.Unix(int64(seconds), 0), Hosts: hosts}
}

var totals = []string{"fastnetmon.total"}

func TestTrafficThatHasEndedIsWrittenAsZeroOnce(t *testing.T) {
	var none traffic.Counts
	snapshots := []*traffic.Snapshot{
		after(1, host("10.0.0.1/32", rate(1, 10, 1), rate(2, 20, 0)), host("10.0.0.2/32", rate(3, 30, 0), none)),
		after(2, host("10.0.0.1/32", rate(4, 40, 0), none)), // the second is not spoken of
		after(3, host("10.0.0.1/32", none, none), host("10.0.0.2/32", none, none)),
		after(4, host("10.0.0.1/32", none, none)),
		after(5),
	}
	always := []string{
		"fastnetmon.hosts.10_0_0_1.incoming.pps 1 1", "fastnetmon.hosts.10_0_0_1.incoming.bps 80 1", "fastnetmon.hosts.10_0_0_1.incoming.flows 1 1",
		"fastnetmon.hosts.10_0_0_1.outgoing.pps 2 1", "fastnetmon.hosts.10_0_0_1.outgoing.bps 160 1",
		"fastnetmon.hosts.10_0_0_2.incoming.pps 3 1", "fastnetmon.hosts.10_0_0_2.incoming.bps 240 1",
		"fastnetmon.hosts.10_0_0_1.incoming.pps 4 2", "fastnetmon.hosts.10_0_0_1.incoming.bps 320 2",
	}
	same(t, lines(t, graphite.Options{NoFinalZero: true}, totals, snapshots...), always)
	same(t, lines(t, graphite.Options{}, totals, snapshots...), append(always,
		"fastnetmon.hosts.10_0_0_1.incoming.flows 0 2",
		"fastnetmon.hosts.10_0_0_1.outgoing.pps 0 2", "fastnetmon.hosts.10_0_0_1.outgoing.bps 0 2",
		"fastnetmon.hosts.10_0_0_2.incoming.pps 0 2", "fastnetmon.hosts.10_0_0_2.incoming.bps 0 2",
		"fastnetmon.hosts.10_0_0_1.incoming.pps 0 3", "fastnetmon.hosts.10_0_0_1.incoming.bps 0 3",
	))
	same(t, lines(t, graphite.Options{Hosts: graphite.NoHosts}, totals, snapshots...), nil)
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		options graphite.Options
		want    string
	}{
		{graphite.Options{Protocol: "http"}, `use graphite protocol "http": unknown; expected one of tcp, pickle, udp`},
		{graphite.Options{Hosts: "ipv6"}, `write hosts "ipv6" to graphite: unknown; expected one of all, ipv4, none`},
		{graphite.Options{Address: "localhost"}, `use graphite address "localhost": address localhost: missing port in address; write it as host:port, such as 127.0.0.1:2003`},
		{graphite.Options{Address: ":2003"}, `use graphite address ":2003": no host; write it as host:port, such as 127.0.0.1:2003`},
		{graphite.Options{Address: "a:0"}, `use graphite address "a:0": port "0" is not 1 to 65535; write it as host:port, such as 127.0.0.1:2003`},
		{graphite.Options{Prefix: "weir."}, `use graphite prefix "weir.": "" cannot be part of a path; use letters, digits, _ and -, with single dots between`},
		{graphite.Options{Prefix: "a b"}, `use graphite prefix "a b": "a b" cannot be part of a path; use letters, digits, _ and -, with single dots between`},
	} {
		_, err := graphite.New(tt.options)
		if err == nil || err.Error() != tt.want {
			t.Errorf("New(%+v): %v\nwant %s", tt.options, err, tt.want)
		}
	}
}
