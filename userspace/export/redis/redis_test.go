package redis

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"weir/userspace/eventjson"
	"weir/userspace/fastnetmon"
	"weir/userspace/traffic"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func change(kind traffic.ChangeKind) traffic.Change {
	c := traffic.Change{Kind: kind, At: noon, Group: "web", Record: traffic.Record{Attack: traffic.Attack{
		ID: "attack-1", Target: traffic.Target{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Group: "web"}, Started: noon,
		Rate: traffic.TwoWay{Incoming: traffic.Counts{Total: traffic.Count{Packets: 5000, Bytes: 500_000}}},
	}}}
	if kind == traffic.ChangeDetails {
		c.Report = "IP: 192.0.2.1\n\n\n\nAttack traffic dump\n\nthe packets\n\n\nFlow dump\n\n"
		c.Packets = make([]traffic.SampledPacket, 1)
	}
	return c
}

func newSink(t *testing.T, o Options) *Sink {
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

// tell tells changes of these kinds, in one go.
func tell(t *testing.T, s *Sink, kinds ...traffic.ChangeKind) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var list []traffic.Change
	for _, k := range kinds {
		list = append(list, change(k))
	}
	return s.Tell(ctx, list)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestKeys: FastNetMon's keys come with a ban, live as long as is said, and go with it unless they are to stay.
func TestKeys(t *testing.T) {
	address := start(t, redis.UniversalOptions{})
	client := redis.NewClient(&redis.Options{Addr: address, DB: 3})
	defer client.Close()
	want, err := fastnetmon.Document(fastnetmon.Ban, &traffic.Change{Group: "web", Record: change(0).Record})
	must(t, err)
	for _, tt := range []struct {
		name  string
		o     Options
		key   string
		ttl   bool
		stays bool
	}{
		{"as Weir has it", Options{Prefix: "weir", TTL: time.Hour}, "weir_192.0.2.1", true, false},
		{"as FastNetMon has it", Options{KeepUnbanned: true}, "192.0.2.1", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Addresses, tt.o.Database, tt.o.Keys = []string{address}, 3, true
			s := newSink(t, tt.o)
			must(t, tell(t, s, traffic.ChangeStarted, traffic.ChangeBanned, traffic.ChangeDetails))
			if got, err := client.Get(t.Context(), tt.key+"_information").Result(); err != nil || got != string(want) {
				t.Errorf("information: %v (-want +got)\n%s", err, cmp.Diff(string(want), got))
			}
			if got, err := client.Get(t.Context(), tt.key+"_packets_dump").Result(); err != nil || got != "the packets\n" {
				t.Errorf("packets: %q, %v", got, err)
			}
			if left := client.TTL(t.Context(), tt.key+"_information").Val(); (left > 0) != tt.ttl {
				t.Errorf("lives for %s", left)
			}
			must(t, tell(t, s, traffic.ChangeUnbanned, traffic.ChangeEnded))
			if n := client.Exists(t.Context(), tt.key+"_information", tt.key+"_packets_dump").Val(); (n == 2) != tt.stays || n == 1 {
				t.Errorf("%d keys after the ban", n)
			}
		})
	}
}

// TestEvents: each change goes to whoever listens, and into the stream.
func TestEvents(t *testing.T) {
	address := start(t, redis.UniversalOptions{Password: "s3cret"}, "--requirepass", "s3cret")
	client := redis.NewClient(&redis.Options{Addr: address, Password: "s3cret"})
	defer client.Close()
	listener := client.Subscribe(t.Context(), "attacks")
	defer listener.Close()
	if _, err := listener.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := newSink(t, Options{Addresses: []string{address}, Password: "s3cret", Channel: "attacks", Stream: "history", StreamLength: 100})
	kinds := []traffic.ChangeKind{traffic.ChangeStarted, traffic.ChangeBanned, traffic.ChangeEnded}
	must(t, tell(t, s, kinds...))
	entries, err := client.XRange(t.Context(), "history", "-", "+").Result()
	if err != nil || len(entries) != len(kinds) {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for i, kind := range kinds {
		c := change(kind)
		want, err := eventjson.Change(&c)
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		m, err := listener.ReceiveMessage(ctx)
		cancel()
		if err != nil || m.Payload != string(want) {
			t.Errorf("%s: published %v, %v", kind, m, err)
		}
		if diff := cmp.Diff(map[string]any{"id": "attack-1", "kind": kind.String(), "json": string(want)}, entries[i].Values); diff != "" {
			t.Errorf("%s in the stream (-want +got)\n%s", kind, diff)
		}
	}
	for range 20 {
		must(t, tell(t, s, make([]traffic.ChangeKind, 100)...))
	}
	if n := client.XLen(t.Context(), "history").Val(); n > 300 {
		t.Errorf("the stream has %d entries, want about 100", n)
	}

	wrong := newSink(t, Options{Addresses: []string{address}, Password: "another", Stream: "history"})
	if err := tell(t, wrong, traffic.ChangeStarted); err == nil || !strings.Contains(err.Error(), "check username and password") || strings.Contains(err.Error(), "another") || errors.Is(err, traffic.ErrPermanent) {
		t.Errorf("a wrong password: %v", err)
	}
	must(t, client.Set(t.Context(), "taken", "a string", 0).Err())
	taken := newSink(t, Options{Addresses: []string{address}, Password: "s3cret", Stream: "taken"})
	if err := tell(t, taken, traffic.ChangeStarted); !errors.Is(err, traffic.ErrPermanent) {
		t.Errorf("a stream whose name is another key's: %v", err)
	}
}

// TestSentinelAndCluster: the master is found by a sentinel, and slots by a cluster.
func TestSentinelAndCluster(t *testing.T) {
	master := start(t, redis.UniversalOptions{})
	s := newSink(t, Options{Addresses: []string{startSentinel(t, master)}, Sentinel: "weir", Stream: "history"})
	must(t, tell(t, s, traffic.ChangeStarted))
	direct := redis.NewClient(&redis.Options{Addr: master})
	defer direct.Close()
	if n := direct.XLen(t.Context(), "history").Val(); n != 1 {
		t.Errorf("by a sentinel: %d entries", n)
	}

	node := start(t, redis.UniversalOptions{}, "--cluster-enabled", "yes")
	client := redis.NewClient(&redis.Options{Addr: node})
	defer client.Close()
	must(t, client.ClusterAddSlotsRange(t.Context(), 0, 16383).Err())
	c := newSink(t, Options{Addresses: []string{node}, Cluster: true, Keys: true, Stream: "history"})
	deadline, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for err := tell(t, c, traffic.ChangeBanned); err != nil; err = tell(t, c, traffic.ChangeBanned) { // it takes a moment to find itself well
		select {
		case <-tick.C:
		case <-deadline.Done():
			t.Fatal(err)
		}
	}
	for _, key := range []string{"192.0.2.1_information", "history"} {
		if n, err := client.Exists(t.Context(), key).Result(); n != 1 {
			t.Errorf("in a cluster: no %s, %v", key, err)
		}
	}
}

// TestTroubles: whatever a server does, a call ends in time, with an error that names the server.
func TestTroubles(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve func(net.Conn) // nil: nobody listens
	}{
		{"away", nil},
		{"hangs", func(c net.Conn) { var b [1]byte; _, _ = c.Read(b[:]); <-t.Context().Done() }},
		{"closes", func(c net.Conn) { c.Close() }},
		{"garbage", func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); c.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			defer l.Close()
			address := l.Addr().String()
			if tt.serve == nil {
				l.Close()
			} else {
				go func() {
					for {
						c, err := l.Accept()
						if err != nil {
							return
						}
						go tt.serve(c)
					}
				}()
			}
			s := newSink(t, Options{Addresses: []string{address}, Stream: "history"})
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := s.Tell(ctx, []traffic.Change{change(traffic.ChangeStarted)}); err == nil || !strings.Contains(err.Error(), address) || errors.Is(err, traffic.ErrPermanent) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestReturns: a server that was away is written to again by the same sink.
func TestReturns(t *testing.T) {
	port := free(t)
	s := newSink(t, Options{Addresses: []string{"127.0.0.1:" + port}, Stream: "history"})
	if err := tell(t, s, traffic.ChangeStarted); err == nil {
		t.Fatal("nobody listens, and all is well")
	}
	startAt(t, port)
	must(t, tell(t, s, traffic.ChangeStarted))
}

func TestNewRefuses(t *testing.T) {
	for _, o := range []Options{
		{}, {Stream: "a", Cluster: true, Sentinel: "b"}, {Stream: "a", Cluster: true, Database: 1}, {Stream: "a", Addresses: []string{"a:1", "b:1"}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
