package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/userspace/traffic"
)

// The broker of these tests is kfake, the client library's own: Debian has no Kafka.

func cluster(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(3, "attacks", "traffic", "flows")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func sink(t testing.TB, o Options) *Sink {
	t.Helper()
	s, err := New(o)
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

func deadline(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// read returns n records of a topic.
func read(t *testing.T, brokers []string, topic string, n int) []*kgo.Record {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var all []*kgo.Record
	for len(all) < n {
		fetches := client.PollFetches(deadline(t, 10*time.Second))
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(all), n, err)
		}
		all = append(all, fetches.Records()...)
	}
	return all
}

func snapshot(hosts int) *traffic.Snapshot {
	rate := traffic.TwoWay{Incoming: traffic.Counts{Total: traffic.Count{Packets: 1000, Bytes: 64000}, Flows: 7, UDP: traffic.Count{Packets: 900, Bytes: 60000}}}
	s := &traffic.Snapshot{
		Time:     time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
		Networks: []traffic.NetworkRate{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), TwoWay: rate}},
		Groups:   []traffic.GroupRate{{Name: "web", TwoWay: rate}},
		Hosts:    make([]traffic.HostRate, hosts),
	}
	s.Version[0][traffic.Incoming] = rate.Incoming
	for i := range s.Hosts {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		s.Hosts[i] = traffic.HostRate{Host: netip.PrefixFrom(a, 32), Group: "web", TwoWay: rate}
	}
	return s
}

func change() traffic.Change {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	return traffic.Change{
		Kind: traffic.ChangeBanned, At: at, Group: "web",
		Record: traffic.Record{Attack: traffic.Attack{
			ID: "A1", Started: at.Add(-time.Second), Detected: at, Hosts: 1, Phase: traffic.PhaseMitigated,
			Target: traffic.Target{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Group: "web"},
			Trip:   traffic.Trip{Metric: traffic.PPS, Count: 52000, Window: time.Second, Value: 52000, Limit: 20000},
		}},
	}
}

func flow() traffic.Flow {
	return traffic.Flow{
		Packet: traffic.Packet{
			Src: netip.MustParseAddr("198.51.100.7"), Dst: netip.MustParseAddr("192.0.2.1"), SrcPort: 53, DstPort: 4000, Protocol: 17,
		},
		Packets: 3, Bytes: 4200, Start: 1777636800e9, End: 1777636801e9, Rate: 1000, RateOrigin: traffic.RateOptions, Source: traffic.NetFlow9,
		Exporter: netip.MustParseAddr("203.0.113.1"), Input: 3, Output: 4, SrcAS: 64500, DstAS: 64501,
	}
}

func TestKeysAndTopics(t *testing.T) {
	for _, compression := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		c := cluster(t)
		s := sink(t, Options{Brokers: c.ListenAddrs(), Attacks: "attacks", Traffic: "traffic", Flows: "flows", Compression: compression, FlowKey: KeyExporter, Buffer: 2})
		ctx := deadline(t, 10*time.Second)
		if err := errors.Join(s.Push(ctx, snapshot(3)), s.Tell(ctx, []traffic.Change{change()}), s.Flows(ctx, []traffic.Flow{flow(), flow(), flow()})); err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for topic, n := range map[string]int{"attacks": 1, "traffic": 13, "flows": 3} {
			for _, r := range read(t, c.ListenAddrs(), topic, n) {
				got[topic+" "+string(r.Key)]++
				if !json.Valid(r.Value) {
					t.Errorf("topic %s: not JSON: %s", topic, r.Value)
				}
			}
		}
		want := map[string]int{
			"attacks 192.0.2.1": 1, "flows 203.0.113.1": 3,
			"traffic ipv4": 4, "traffic ipv6": 4, "traffic web": 1, "traffic 10.0.0.0/8": 1, "traffic 10.0.0.0": 1, "traffic 10.0.0.1": 1, "traffic 10.0.0.2": 1,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", compression, diff)
		}
	}
}

func TestSwitches(t *testing.T) {
	c := cluster(t)
	s := sink(t, Options{Brokers: c.ListenAddrs(), Traffic: "traffic", NoHosts: true, NoTotals: true, NoGroups: true, Acks: AcksNone})
	ctx := deadline(t, 10*time.Second)
	if err := errors.Join(s.Tell(ctx, []traffic.Change{change()}), s.Flows(ctx, []traffic.Flow{flow()}), s.Push(ctx, snapshot(2))); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c.ListenAddrs(), "traffic", 1); len(got) != 1 || string(got[0].Key) != "10.0.0.0/8" {
		t.Errorf("got %d records, the first with key %q; want the network alone", len(got), got[0].Key)
	}
	for _, topic := range []string{"attacks", "flows"} {
		for _, p := range c.PartitionInfos(topic) {
			if p.HighWatermark != 0 {
				t.Errorf("topic %s is switched off but has records", topic)
			}
		}
	}
}

func TestLogin(t *testing.T) {
	c := cluster(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "weir", "right"), kfake.Superuser("PLAIN", "plain", "right"))
	for mechanism, user := range map[string]string{"scram-sha-256": "weir", "plain": "plain"} {
		o := Options{Brokers: c.ListenAddrs(), Attacks: "attacks", Mechanism: mechanism, User: user, Password: "right"}
		if err := sink(t, o).Tell(deadline(t, 5*time.Second), []traffic.Change{change()}); err != nil {
			t.Errorf("%s: %v", mechanism, err)
		}
		// The fake hangs up; Kafka itself answers with a code.
		o.Password = "wrong-secret"
		refusedLogin(t, o, "the broker hung up")
	}
	c.ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		answer := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		answer.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return answer, nil, true
	})
	refusedLogin(t, Options{Brokers: c.ListenAddrs(), Attacks: "attacks", Mechanism: "plain", User: "plain", Password: "wrong-secret"}, "check user and password")
}

func refusedLogin(t *testing.T, o Options, want string) {
	t.Helper()
	err := sink(t, o).Tell(deadline(t, 3*time.Second), []traffic.Change{change()})
	switch {
	case err == nil || !strings.Contains(err.Error(), want):
		t.Errorf("%s with a wrong password: got %v, want %q", o.Mechanism, err, want)
	case errors.Is(err, traffic.ErrPermanent) || strings.Contains(err.Error(), "secret"):
		t.Errorf("%s with a wrong password: permanent, or tells it: %v", o.Mechanism, err)
	}
}

func TestTooLarge(t *testing.T) {
	c := cluster(t)
	s := sink(t, Options{Brokers: c.ListenAddrs(), Attacks: "attacks", MaxRecord: 4096, Compression: "none"})
	ctx := deadline(t, 10*time.Second)
	long := change()
	long.Record.Attack.Analysis = &traffic.Analysis{Evidence: []string{strings.Repeat("x", 8192)}}
	err := s.Tell(ctx, []traffic.Change{change(), change(), long, change()})
	var unsent *Unsent
	if !errors.Is(err, traffic.ErrPermanent) || !errors.As(err, &unsent) || unsent.Unsent() != 2 {
		t.Fatalf("got %v (%+v), want a permanent error with 2 unsent", err, unsent)
	}
	if err := s.Tell(ctx, []traffic.Change{change()}); err != nil {
		t.Errorf("the call after: %v", err)
	}
}

func TestMissingTopic(t *testing.T) {
	c := cluster(t, kfake.AllowAutoTopicCreation())
	s := sink(t, Options{Brokers: c.ListenAddrs(), Attacks: "missing"})
	err := s.Tell(deadline(t, 10*time.Second), []traffic.Change{change()})
	if err == nil || errors.Is(err, traffic.ErrPermanent) || !strings.Contains(err.Error(), "create the topic") {
		t.Fatalf("got %v, want that the topic is not there", err)
	}
	s = sink(t, Options{Brokers: c.ListenAddrs(), Attacks: "missing", CreateTopics: true})
	if err := s.Tell(deadline(t, 10*time.Second), []traffic.Change{change()}); err != nil {
		t.Errorf("with CreateTopics: %v", err)
	}
}

// A broker that is away, hangs, closes or talks nonsense ends in an error by the deadline.
func TestBadBrokers(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"closes":  func(c net.Conn) { c.Close() },
		"hangs":   func(net.Conn) {},
		"garbage": func(c net.Conn) { c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) },
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					t.Cleanup(func() { c.Close() })
					serve(c)
				}
			}()
			s := sink(t, Options{Brokers: []string{l.Addr().String()}, Attacks: "attacks"})
			err = s.Tell(deadline(t, 500*time.Millisecond), []traffic.Change{change()})
			if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || errors.Is(err, traffic.ErrPermanent) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A broker that takes records and never answers: the call ends by its deadline, its buffers are not used again, and the next call works.
func TestNeverAnswers(t *testing.T) {
	c := cluster(t)
	answered := make(chan struct{})
	answer := sync.OnceFunc(func() { close(answered) })
	defer answer()
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.SleepControl(func() { <-answered })
		return nil, nil, false
	})
	s := sink(t, Options{Brokers: c.ListenAddrs(), Attacks: "attacks"})
	ended := make(chan error, 1)
	go func() { ended <- s.Tell(deadline(t, 500*time.Millisecond), []traffic.Change{change()}) }()
	select {
	case err := <-ended:
		if err == nil || errors.Is(err, traffic.ErrPermanent) || !errors.Is(err, context.DeadlineExceeded) || s.bytes != nil {
			t.Errorf("got %v, %d bytes kept", err, len(s.bytes))
		}
	case <-time.After(5 * time.Second):
		t.Fatal("goes on long after its deadline")
	}
	answer()
	if err := s.Tell(deadline(t, 5*time.Second), []traffic.Change{change()}); err != nil {
		t.Errorf("the call after: %v", err)
	}
}

// A broker that goes away between two calls, and comes back: the calls meanwhile fail by their deadline, the one after works.
func TestComesBack(t *testing.T) {
	c := cluster(t)
	s := sink(t, Options{Brokers: c.ListenAddrs(), Attacks: "attacks"})
	if err := s.Tell(deadline(t, 5*time.Second), []traffic.Change{change()}); err != nil {
		t.Fatal(err)
	}
	addr := c.ListenAddrs()[0]
	c.Close()
	for range 2 {
		err := s.Tell(deadline(t, 500*time.Millisecond), []traffic.Change{change()})
		var unsent *Unsent
		if !errors.As(err, &unsent) || unsent.Unsent() != 1 {
			t.Fatalf("away: got %v, want one unsent", err)
		}
		if !strings.Contains(err.Error(), "refused") {
			t.Errorf("away: %v; want the cause", err)
		}
	}
	_, port, _ := net.SplitHostPort(addr)
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	cluster(t, kfake.Ports(number))
	if err := s.Tell(deadline(t, 5*time.Second), []traffic.Change{change()}); err != nil {
		t.Errorf("back: %v", err)
	}
}

func TestOptions(t *testing.T) {
	_, err := New(Options{Brokers: []string{"nohost"}, Format: "xml", Acks: "two", Compression: "rar", FlowKey: "x", Mechanism: "gssapi", Linger: time.Hour, Buffer: -1, MaxRecord: 5})
	if err == nil {
		t.Fatal("everything wrong is accepted")
	}
	for _, want := range []string{"host:port", `"xml"`, `"two"`, `"rar"`, `"gssapi"`, "linger", "buffer", "longest record", "topics", "belong together", "flow key"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if _, err := New(Options{Brokers: []string{"[::1]:9092"}, Flows: "f", NotIdempotent: true}); err != nil {
		t.Error(err)
	}
}

func BenchmarkPush100k(b *testing.B) {
	c := cluster(b, kfake.BlackholeProduce())
	s := sink(b, Options{Brokers: c.ListenAddrs(), Traffic: "traffic", Format: Protobuf})
	all := snapshot(100_000)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Push(b.Context(), all); err != nil {
			b.Fatal(err)
		}
	}
}
