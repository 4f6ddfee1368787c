package influxdb_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"weir/userspace/export/influxdb"
	"weir/userspace/traffic"
)

// at is not a whole second: points of traffic are.
func at() time.Time { return time.Unix(1763900000, 123456789) }

func rate(packets, bytes, flows uint64) traffic.Counts {
	return traffic.Counts{Total: traffic.Count{Packets: packets, Bytes: bytes}, Flows: flows}
}

// distinct has a number of its own in each counter, so that none can stand in another's place.
func distinct(base uint64) traffic.Counts {
	pair := func(n uint64) traffic.Count { return traffic.Count{Packets: base + n, Bytes: base + n + 1} }
	return traffic.Counts{Total: pair(0), Flows: base + 2, UDP: pair(3), TCP: pair(5), ICMP: pair(7), Fragments: pair(9), TCPSYN: pair(11), Dropped: pair(13)}
}

func host(prefix string, in, out traffic.Counts) traffic.HostRate {
	return traffic.HostRate{Host: netip.MustParsePrefix(prefix), TwoWay: traffic.TwoWay{Incoming: in, Outgoing: out}}
}

func example() *traffic.Snapshot {
	s := &traffic.Snapshot{Time: at()}
	for version := range s.Version {
		for d := range s.Version[version] {
			s.Version[version][d] = distinct(uint64(1000*(version+1) + 100*d))
		}
	}
	both := traffic.TwoWay{Incoming: distinct(5000), Outgoing: distinct(6000)}
	s.Networks = []traffic.NetworkRate{
		{Prefix: netip.MustParsePrefix("192.0.2.0/24"), TwoWay: both},
		{Prefix: netip.MustParsePrefix("2001:db8::/32")},
	}
	s.Groups = []traffic.GroupRate{{Name: `web, "a" = b\`, TwoWay: both}}
	s.Hosts = []traffic.HostRate{
		host("192.0.2.1/32", distinct(7000), distinct(8000)),
		host("192.0.2.64/28", rate(1, 100, 0), traffic.Counts{}),
		host("2001:db8::1/128", rate(0, 0, 0), rate(1<<63, 1<<62, 3)),
	}
	return s
}

func change(kind traffic.ChangeKind, after time.Duration) traffic.Change {
	return traffic.Change{
		Kind: kind, At: at().Add(after), Group: "web",
		Record: traffic.Record{
			Attack: traffic.Attack{
				ID:       "a-1",
				Target:   traffic.Target{Prefix: netip.MustParsePrefix("192.0.2.7/32"), Group: "default"},
				Trip:     traffic.Trip{Metric: traffic.PPS, Count: 5200, Window: time.Second, Value: 52000, Limit: 20000},
				Phase:    traffic.PhaseActive,
				Started:  at().Add(-2 * time.Second),
				Detected: at().Add(-time.Second),
				Rate:     traffic.TwoWay{Incoming: rate(52000, 6000000, 40)},
				Peak:     rate(60000, 7000000, 50),
				Volume:   rate(104000, 12000000, 60),
				Hosts:    1,
				Analysis: &traffic.Analysis{Class: "dns_amplification"},
			},
		},
	}
}

func open(t testing.TB, o influxdb.Options) *influxdb.Sink {
	t.Helper()
	s, err := influxdb.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// limited is a context as the runner's: with a deadline.
func limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}
