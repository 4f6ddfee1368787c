package kafka

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/userspace/traffic"
)

// The broker of these tests is kfake, the client library's own: Debian has no Kafka.

func cluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(4, "flows")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// run starts a source, and sees to it that it ends in time.
func run(t *testing.T, o Options) *Source {
	t.Helper()
	if o.Sink == nil {
		o.Sink = func(*traffic.Flow) {}
	}
	o.Topics = []string{"flows"}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.check = 100 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("Run goes on 5 s after its context has ended")
		}
	})
	return s
}

func producer(t *testing.T, brokers []string) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic("flows"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func produce(t *testing.T, client *kgo.Client, records ...*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// await calls try until done says that it is enough.
func await(t *testing.T, s *Source, try func(), done func(Stats) bool) Stats {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(15 * time.Second)
	for {
		if stats := s.Stats(); done(stats) {
			return stats
		}
		try()
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not reached in 15 s: %+v", s.Stats())
		}
	}
}

func nothing() {}

// Where a source begins to read is known to the cluster alone: one record after the other is written until the first has come through.
func begun(t *testing.T, s *Source, client *kgo.Client, value []byte) Stats {
	t.Helper()
	var written uint64
	await(t, s, func() {
		records := make([]*kgo.Record, 4)
		for i := range records {
			records[i] = &kgo.Record{Value: value}
		}
		produce(t, client, records...)
		written += 4
	}, func(st Stats) bool { return st.Partitions == 4 })
	return await(t, s, nothing, func(st Stats) bool { return st.Lag == 0 && st.Messages > 0 })
}

func TestRun(t *testing.T) {
	c := cluster(t)
	good := delimited(marshal(t, message()))
	client := producer(t, c.ListenAddrs())
	produce(t, client, &kgo.Record{Value: []byte("from before, which is not read")})
	var sunk atomic.Uint64
	s := run(t, Options{Brokers: c.ListenAddrs(), Sink: func(*traffic.Flow) { sunk.Add(1) }})
	begun(t, s, client, good)
	settled := await(t, s, nothing, func(st Stats) bool { return st.Connected })
	produce(t, client, &kgo.Record{Value: good}, &kgo.Record{Value: []byte("broken")}, &kgo.Record{Value: good},
		&kgo.Record{Value: good, Timestamp: time.Now().Add(-time.Hour)})
	got := await(t, s, nothing, func(st Stats) bool { return st.Messages >= settled.Messages+4 })
	if got.Records != settled.Records+2 || got.Errors != 1 || got.Late != 1 || settled.Errors != 0 {
		t.Errorf("got %+v after %+v; want 2 more records, 1 error, 1 late", got, settled)
	}
	if sunk.Load() != got.Records {
		t.Errorf("%d records handed over, %d counted", sunk.Load(), got.Records)
	}
	if !strings.Contains(got.LastError, `decode message of topic "flows"`) {
		t.Errorf("last error %q", got.LastError)
	}
}

// Two members of a group read each record once.
func TestGroup(t *testing.T) {
	c := cluster(t)
	client := producer(t, c.ListenAddrs())
	good := marshal(t, message())
	one := run(t, Options{Brokers: c.ListenAddrs(), Group: "weir"})
	begun(t, one, client, good)
	two := run(t, Options{Brokers: c.ListenAddrs(), Group: "weir"})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := c.WaitGroupStable(ctx, "weir", 2); err != nil {
		t.Fatal(err)
	}
	await(t, two, func() {
		produce(t, client, &kgo.Record{Value: good}, &kgo.Record{Value: good}, &kgo.Record{Value: good}, &kgo.Record{Value: good})
	}, func(st Stats) bool { return st.Records > 0 })
	await(t, one, nothing, func(st Stats) bool { return st.Partitions <= 2 })
}

// The cluster that comes back has the topic anew: the harder case.
func TestComesBack(t *testing.T) {
	c := cluster(t)
	good := marshal(t, message())
	client := producer(t, c.ListenAddrs())
	s := run(t, Options{Brokers: c.ListenAddrs()})
	before := begun(t, s, client, good)
	_, port, err := net.SplitHostPort(c.ListenAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	c.Close()
	await(t, s, nothing, func(st Stats) bool { return !st.Connected && strings.Contains(st.LastError, "refused") })
	again := cluster(t, kfake.Ports(number))
	client = producer(t, again.ListenAddrs())
	await(t, s, func() { produce(t, client, &kgo.Record{Value: good}) }, func(st Stats) bool { return st.Connected && st.Records > before.Records })
}

func TestUnreachable(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	run(t, Options{Brokers: []string{silent.Addr().String()}, Group: "weir"}) // ends in time
	c := cluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "weir", "right"))
	s := run(t, Options{Brokers: c.ListenAddrs(), Mechanism: "plain", User: "weir", Password: "wrong-secret"})
	got := await(t, s, nothing, func(st Stats) bool { return strings.Contains(st.LastError, "user and password") })
	if strings.Contains(got.LastError, "secret") {
		t.Errorf("the password is told: %s", got.LastError)
	}
	s = run(t, Options{Brokers: c.ListenAddrs(), Mechanism: "plain", User: "weir", Password: "right"})
	await(t, s, nothing, func(st Stats) bool { return st.Connected })
}

func TestOptions(t *testing.T) {
	_, err := New(Options{Brokers: []string{"nohost"}, Format: 7, Memory: 1, Mechanism: "gssapi"})
	if err == nil {
		t.Fatal("everything wrong is accepted")
	}
	for _, want := range []string{"host:port", "topics", "memory", "format", "gssapi", "belong together", "sink"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if _, err := New(Options{Brokers: []string{"a:1"}, Topics: []string{"t"}, Sink: func(*traffic.Flow) {}, Schema: "message X {"}); err == nil {
		t.Error("a broken schema is accepted")
	}
}
