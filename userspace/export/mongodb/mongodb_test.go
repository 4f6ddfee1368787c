package mongodb

import (
	"context"
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"

	"weir/userspace/traffic"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// change is the step of an attack that happens so many seconds after noon.
func change(id string, kind traffic.ChangeKind, second int) traffic.Change {
	at := noon.Add(time.Duration(second) * time.Second)
	c := traffic.Change{Kind: kind, At: at, Group: "web", Record: traffic.Record{Attack: traffic.Attack{
		ID: id, Target: traffic.Target{Prefix: netip.MustParsePrefix("2001:db8::1/128"), Group: "web"}, Started: noon, Detected: noon, Phase: traffic.PhaseActive,
		Rate: traffic.TwoWay{Incoming: traffic.Counts{Total: traffic.Count{Packets: 1 << 40, Bytes: 500_000}}},
	}}}
	switch kind {
	case traffic.ChangeStarted:
		c.Record.Held = "by the kill switch"
	case traffic.ChangeBanned, traffic.ChangeDetails:
		c.Record.Ban = traffic.Ban{Since: noon.Add(time.Second), Until: noon.Add(time.Hour), Drop: true}
		c.Record.Attack.Analysis = &traffic.Analysis{At: at, Class: "dns_amplification", Rules: traffic.RuleSet{Rules: []traffic.MeasuredRule{{Rule: "udp sport 53", Coverage: 0.5}}}}
	case traffic.ChangeEnded:
		c.Record.Attack.Ended, c.Record.Attack.Phase = at, traffic.PhaseOver
	}
	if kind == traffic.ChangeDetails {
		c.Packets = []traffic.SampledPacket{{Time: at, Rate: 1, Packet: traffic.Packet{Src: netip.MustParseAddr("2001:db8::2"), Dst: netip.MustParseAddr("2001:db8::1"), Protocol: 17}}}
	}
	return c
}

func newSink(t *testing.T, o Options) *Sink {
	t.Helper()
	s, err := New(o)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func tell(t *testing.T, s *Sink, changes ...traffic.Change) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return s.Tell(ctx, changes)
}

func TestServer(t *testing.T) {
	folder, address := t.TempDir(), free(t)
	s := start(t, folder, address)
	t.Run("attack", func(t *testing.T) { testAttack(t, s) })
	t.Run("bound", func(t *testing.T) { testBound(t, s) })
	t.Run("instances", func(t *testing.T) { testInstances(t, s) })
	t.Run("FastNetMon", func(t *testing.T) { testFastNetMon(t, s) })
	t.Run("TLS", func(t *testing.T) { testTLS(t, s) })
	t.Run("return", func(t *testing.T) {
		sink := newSink(t, Options{Addresses: []string{address}, Database: "return"})
		must(t, tell(t, sink, change("a", traffic.ChangeStarted, 0)))
		s.stop(t)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := sink.Tell(ctx, []traffic.Change{change("b", traffic.ChangeStarted, 0)}); err == nil {
			t.Fatal("the server has ended, and all is well")
		}
		again := start(t, folder, address)
		must(t, tell(t, sink, change("b", traffic.ChangeStarted, 0)))
		if all := again.documents(t, "return", DefaultCollection); len(all) != 2 {
			t.Errorf("%d documents", len(all))
		}
	})
}

// testAttack: one document per attack says how it stands, in types that can be asked for.
func testAttack(t *testing.T, s *server) {
	sink := newSink(t, Options{Addresses: []string{s.address}})
	life := []traffic.Change{change("a", traffic.ChangeStarted, 0), change("a", traffic.ChangeBanned, 1), change("b", traffic.ChangeStarted, 1), change("a", traffic.ChangeEnded, 9)}
	for range 2 { // told twice, it comes to the same
		must(t, tell(t, sink, life...))
	}
	all := s.documents(t, DefaultDatabase, DefaultCollection)
	if len(all) != 2 {
		t.Fatalf("%d documents: %v", len(all), all)
	}
	date := func(second int) bson.DateTime {
		return bson.NewDateTimeFromTime(noon.Add(time.Duration(second) * time.Second))
	}
	got := bson.M{}
	for _, key := range []string{"_id", "id", "event", "kind", "time", "target", "hostgroup", "phase", "started", "ended", "held", "duration_seconds", "changes"} {
		if value, is := all[0][key]; is {
			got[key] = value
		}
	}
	want := bson.M{
		"_id": "a", "id": "a", "event": "attack", "kind": "ended", "time": date(9), "target": "2001:db8::1", "hostgroup": "web", "phase": "over", "started": date(0), "ended": date(9),
		"duration_seconds": int32(9),
		"changes": bson.A{
			bson.D{{Key: "kind", Value: "started"}, {Key: "time", Value: date(0)}, {Key: "phase", Value: "active"}, {Key: "packets", Value: int64(1 << 40)}, {Key: "bytes", Value: int64(500_000)}, {Key: "held", Value: "by the kill switch"}},
			bson.D{{Key: "kind", Value: "banned"}, {Key: "time", Value: date(1)}, {Key: "phase", Value: "active"}, {Key: "packets", Value: int64(1 << 40)}, {Key: "bytes", Value: int64(500_000)}, {Key: "does", Value: "drop"}, {Key: "class", Value: "dns_amplification"}},
			bson.D{{Key: "kind", Value: "ended"}, {Key: "time", Value: date(9)}, {Key: "phase", Value: "over"}, {Key: "packets", Value: int64(1 << 40)}, {Key: "bytes", Value: int64(500_000)}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if all[1]["held"] != "by the kill switch" {
		t.Errorf("held: %v", all[1]["held"])
	}
	// What is deeper can be asked for, too.
	attacks := s.client(t).Database(DefaultDatabase).Collection(DefaultCollection)
	for name, filter := range map[string]bson.D{
		"class": {{Key: "analysis.class", Value: "dns_amplification"}}, "packets": {{Key: "rate.incoming.total.packets", Value: int64(1 << 40)}, {Key: "_id", Value: "a"}},
		"until": {{Key: "ban.until", Value: bson.D{{Key: "$gt", Value: date(3599)}}}},
	} {
		if n, err := attacks.CountDocuments(t.Context(), filter); n != 1 || err != nil {
			t.Errorf("by %s: %d found, %v", name, n, err)
		}
	}
	specs, err := attacks.Indexes().ListSpecifications(t.Context())
	must(t, err)
	var names []string
	for _, spec := range specs {
		names = append(names, spec.Name)
	}
	if diff := cmp.Diff([]string{"_id_", "hostgroup_1_started_-1", "started_-1", "target_1_started_-1"}, names); diff != "" {
		t.Errorf("indexes (-want +got)\n%s", diff)
	}
}

// testBound: an attack that goes on for months has no endless document.
func testBound(t *testing.T, s *server) {
	sink := newSink(t, Options{Addresses: []string{s.address}, Database: "bound", Changes: 3, NoIndexes: true})
	var many []traffic.Change
	for i := range 7 {
		many = append(many, change("a", traffic.ChangeEscalated, i))
	}
	must(t, tell(t, sink, many...))
	var seconds []int64
	for _, c := range s.documents(t, "bound", DefaultCollection)[0]["changes"].(bson.A) {
		seconds = append(seconds, int64(c.(bson.D)[1].Value.(bson.DateTime).Time().Sub(noon)/time.Second))
	}
	if diff := cmp.Diff([]int64{4, 5, 6}, seconds); diff != "" {
		t.Errorf("the last changes (-want +got)\n%s", diff)
	}
	if specs, err := s.client(t).Database("bound").Collection(DefaultCollection).Indexes().ListSpecifications(t.Context()); err != nil || len(specs) != 1 {
		t.Errorf("indexes that nobody wants: %v, %v", specs, err)
	}
}

func testInstances(t *testing.T, s *server) {
	for _, name := range []string{"east", "west"} {
		must(t, tell(t, newSink(t, Options{Addresses: []string{s.address}, Database: "instances", Instance: name}), change("a", traffic.ChangeStarted, 0)))
	}
	all := s.documents(t, "instances", DefaultCollection)
	if len(all) != 2 || all[0]["_id"] != "east/a" || all[0]["id"] != "a" || all[1]["instance"] != "west" {
		t.Errorf("got %v", all)
	}
}

// testFastNetMon: a ban is one document; packets come into it.
func testFastNetMon(t *testing.T, s *server) {
	sink := newSink(t, Options{Addresses: []string{s.address}, Database: "fastnetmon", FastNetMon: true})
	dry := change("b", traffic.ChangeBanned, 1)
	dry.Record.Ban.DryRun = true
	life := []traffic.Change{change("a", traffic.ChangeStarted, 0), change("a", traffic.ChangeBanned, 1), dry}
	for range 2 {
		must(t, tell(t, sink, life...))
	}
	field := "2001_db8__1_information_" + noon.Add(time.Second).Local().Format("02_01_06_15:04:05")
	check := func(packets int) {
		t.Helper()
		all := s.documents(t, "fastnetmon", "attacks")
		if len(all) != 1 || len(all[0]) != 2 {
			t.Fatalf("got %v", all)
		}
		if id, is := all[0]["_id"].(bson.ObjectID); !is || !id.Timestamp().Equal(noon.Add(time.Second)) {
			t.Errorf("_id %v", all[0]["_id"])
		}
		inner, _ := all[0][field].(bson.D)
		got := map[string]any{}
		for _, e := range inner {
			got[e.Key] = e.Value
		}
		if got["ip"] != "2001:db8::1" || got["action"] != "ban" || got["alert_scope"] != "host" {
			t.Errorf("under %s: %v", field, all[0])
		}
		if dump, _ := got["packet_dump_detailed"].(bson.A); len(dump) != packets {
			t.Errorf("%d packets, want %d", len(dump), packets)
		}
	}
	check(0)
	must(t, tell(t, sink, change("a", traffic.ChangeDetails, 4), change("a", traffic.ChangeUnbanned, 5), change("a", traffic.ChangeEnded, 6)))
	check(1)
}

func testTLS(t *testing.T, s *server) {
	sink := newSink(t, Options{Addresses: []string{s.tls}, Database: "tls", TLS: &tls.Config{RootCAs: s.authority}})
	must(t, tell(t, sink, change("a", traffic.ChangeStarted, 0)))
	if all := s.documents(t, "tls", DefaultCollection); len(all) != 1 {
		t.Errorf("%d documents", len(all))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	stranger := newSink(t, Options{Addresses: []string{s.tls}, Database: "tls", TLS: &tls.Config{}})
	if err := stranger.Tell(ctx, []traffic.Change{change("a", traffic.ChangeStarted, 0)}); err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{Addresses: []string{"example"}}, `use MongoDB address "example": address example: missing port in address; write it as host:port`},
		{Options{Addresses: []string{":27017"}}, "host or port is empty"},
		{Options{Addresses: []string{"mongodb://user:hidden@example:1"}}, "it has an @; write it as host:port"},
		{Options{Database: "a.b"}, `use MongoDB database "a.b"`},
		{Options{Collection: "system.users"}, `use MongoDB collection "system.users"`},
		{Options{Changes: -1}, "keep -1 changes"},
		{Options{Mechanism: "GSSAPI", Username: "a", Password: "hidden"}, `log in to MongoDB by "GSSAPI": unknown`},
		{Options{Mechanism: X509}, "there is none; set TLS"},
		{Options{Password: "hidden"}, "username and password belong together"},
		{Options{Mechanism: Plain}, "there is no username"},
	} {
		_, err := New(tt.o)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%v: %v; want %q", tt.o.Addresses, err, tt.want)
		}
	}
	certificate := &tls.Config{Certificates: make([]tls.Certificate, 1)}
	for _, o := range []Options{
		{}, {Mechanism: X509, TLS: certificate, AuthSource: DefaultAuthSource}, {Mechanism: Plain, Username: "a", Password: "b"}, {Addresses: []string{"a:1", "b:1"}, ReplicaSet: "rs0"},
	} {
		if _, err := New(o); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
