package redis

import (
	"context"
	"crypto/tls"
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
	if kind == traffic.ChangeBanned || kind == traffic.ChangeDetails {
		c.Record.Ban = traffic.Ban{Since: noon, Drop: true}
	}
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
	document := func(kind traffic.ChangeKind) string {
		c := change(kind)
		text, err := fastnetmon.Document(fastnetmon.Ban, &c)
		must(t, err)
		return string(text)
	}
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
			for _, last := range []traffic.ChangeKind{traffic.ChangeBanned, traffic.ChangeDetails} {
				must(t, tell(t, s, traffic.ChangeStarted, last))
				got, err := client.Get(t.Context(), tt.key+"_information").Result()
				must(t, err)
				if diff := cmp.Diff(document(last), got); diff != "" {
					t.Errorf("after %s (-want +got)\n%s", last, diff)
				}
			}
			if got, err := client.Get(t.Context(), tt.key+"_packets_dump").Result(); err != nil || got != "the packets\n" {
				t.Errorf("packets: %q, %v", got, err)
			}
			if left := client.TTL(t.Context(), tt.key+"_information").Val(); (left > 0) != tt.ttl {
				t.Errorf("lives for %s", left)
			}
			must(t, tell(t, s, traffic.ChangeUnbanned, traffic.ChangeEnded))
			keys := func() int64 {
				return client.Exists(t.Context(), tt.key+"_information", tt.key+"_packets_dump").Val()
			}
			if n := keys(); (n == 2) != tt.stays || n == 1 {
				t.Errorf("%d keys after the ban", n)
			}
			if tt.stays {
				must(t, client.FlushDB(t.Context()).Err())
			}
			// Packets that are told of too late bring nothing back, and a dry run bans nobody.
			late, dry := change(traffic.ChangeDetails), change(traffic.ChangeBanned)
			late.Record.Ban.Lifted, dry.Record.Ban.DryRun = noon, true
			must(t, s.Tell(t.Context(), []traffic.Change{late, dry}))
			if n := keys(); n != 0 {
				t.Errorf("%d keys of what is not banned", n)
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
	quiet := newSink(t, Options{Addresses: []string{address}, Password: "s3cret", Stream: "history", StreamLength: 100})
	for range 20 {
		must(t, tell(t, quiet, make([]traffic.ChangeKind, 100)...))
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
	if err := tell(t, taken, traffic.ChangeStarted); err == nil || !strings.Contains(err.Error(), "take another name") || errors.Is(err, traffic.ErrPermanent) {
		t.Errorf("a stream whose name is another key's: %v", err)
	}
	// What could not be stored is not published again and again.
	taken.options.Channel = "attacks"
	if err := tell(t, taken, traffic.ChangeStarted); err == nil {
		t.Error("all is well with a stream that is none")
	}
	must(t, client.Publish(t.Context(), "attacks", "the end").Err())
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		m, err := listener.ReceiveMessage(ctx)
		cancel()
		must(t, err)
		if m.Payload == "the end" {
			break
		}
		t.Errorf("published: %.80s", m.Payload)
	}
}

// TestSentinel: the master is found by a sentinel.
func TestSentinel(t *testing.T) {
	master := start(t, redis.UniversalOptions{})
	s := newSink(t, Options{Addresses: []string{startSentinel(t, master)}, Sentinel: "weir", Stream: "history"})
	must(t, tell(t, s, traffic.ChangeStarted))
	direct := redis.NewClient(&redis.Options{Addr: master})
	defer direct.Close()
	if n := direct.XLen(t.Context(), "history").Val(); n != 1 {
		t.Errorf("by a sentinel: %d entries", n)
	}
}

// TestCluster: each key goes to the node that has its slot.
func TestCluster(t *testing.T) {
	nodes := startCluster(t)
	c := newSink(t, Options{Addresses: nodes[:1], Cluster: true, Keys: true, Channel: "attacks", Stream: "history"})
	within(t, func() error { return tell(t, c, traffic.ChangeDetails) }) // they need a moment to agree
	for _, key := range []string{"192.0.2.1_information", "192.0.2.1_packets_dump", "history"} {
		var n int64
		for _, node := range nodes {
			client := redis.NewClient(&redis.Options{Addr: node})
			found, err := client.Exists(t.Context(), key).Result() // a node without its slot says MOVED
			if err != nil && !strings.HasPrefix(err.Error(), "MOVED") {
				t.Errorf("%s: %v", node, err)
			}
			n += found
			must(t, client.Close())
		}
		if n != 1 {
			t.Errorf("%s is on %d nodes", key, n)
		}
	}
}

// TestUserAndTLS: a user who may do no more than is needed, whom the server knows by a certificate, too.
func TestUserAndTLS(t *testing.T) {
	ca, pool, certificate := certify(t)
	port := free(t)
	server := startTLS(t, port, ca,
		"--user", "weir", "on", ">s3cret", "~*", "&attacks", "+set", "+unlink", "+xadd", "+publish", "--user", "idle", "on", ">s3cret", "~*", "&attacks")
	o := Options{
		Addresses: []string{server}, Username: "weir", Password: "s3cret", Keys: true, Channel: "attacks", Stream: "history",
		TLS: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}},
	}
	must(t, tell(t, newSink(t, o), traffic.ChangeBanned, traffic.ChangeDetails, traffic.ChangeUnbanned))
	for _, tt := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"no certificate", func(o *Options) { o.TLS.Certificates = nil }, "certificate required"},
		{"unknown authority", func(o *Options) { o.TLS.RootCAs = nil }, "certificate signed by unknown authority"},
		{"in the clear", func(o *Options) { o.TLS = nil }, server},
		{"password", func(o *Options) { o.Password = "another" }, "check username and password"},
		{"rights", func(o *Options) { o.Username = "idle" }, "allow the user"},
	} {
		wrong := o
		wrong.TLS = o.TLS.Clone()
		tt.change(&wrong)
		err := tell(t, newSink(t, wrong), traffic.ChangeBanned)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "another") || strings.Contains(err.Error(), "s3cret") || errors.Is(err, traffic.ErrPermanent) {
			t.Errorf("%s: %v; want %q", tt.name, err, tt.want)
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
			for _, o := range []Options{{}, {Sentinel: "weir"}, {Cluster: true}} {
				o.Addresses, o.Stream = []string{address}, "history"
				s := newSink(t, o)
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				told := make(chan error, 1)
				go func() { told <- s.Tell(ctx, []traffic.Change{change(traffic.ChangeStarted)}) }()
				var err error
				select {
				case err = <-told:
				case <-time.After(3 * time.Second):
					t.Fatalf("%+v: the call goes on behind its deadline", o)
				}
				cancel()
				if err == nil || !strings.Contains(err.Error(), address) || errors.Is(err, traffic.ErrPermanent) {
					t.Errorf("got %v", err)
				}
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
		{}, {Stream: "a", Cluster: true, Sentinel: "b"}, {Stream: "a", Cluster: true, Database: 1}, {Stream: "a", Addresses: []string{"a:1", "b:1"}}, {Keys: true, TTL: -time.Second}, {Keys: true, TTL: time.Microsecond},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
