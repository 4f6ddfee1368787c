package fastnetmon

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

var update = flag.Bool("update", false, "write testdata/ban.json anew")

// at is a time whose local form is known.
func at() time.Time { return time.Date(2026, 7, 1, 12, 30, 45, 0, time.Local) }

// seen is when packets were seen: in JSON that is no local time.
var seen = time.Date(2026, 7, 1, 10, 30, 45, 999_000_000, time.UTC)

func example() *traffic.Change {
	count := func(n uint64) traffic.Count { return traffic.Count{Packets: n, Bytes: 100 * n} }
	return &traffic.Change{
		At: at(), Group: "web",
		Record: traffic.Record{Attack: traffic.Attack{
			ID: "20260701T103045.000-0000", Target: traffic.Target{Prefix: netip.MustParsePrefix("2001:db8::1/128")},
			Rate: traffic.TwoWay{
				Incoming: traffic.Counts{Total: count(1000), Flows: 7, TCP: count(600), TCPSYN: count(500), UDP: count(300), ICMP: count(100), Fragments: count(10), Dropped: count(900)},
				Outgoing: traffic.Counts{Total: count(20), Flows: 2, TCP: count(20)},
			},
		}},
		Packets: []traffic.SampledPacket{
			{Time: seen, Rate: 10, Packet: traffic.Packet{
				Src: netip.MustParseAddr("2001:db8:f::7"), Dst: netip.MustParseAddr("2001:db8::1"), SrcPort: 1024, DstPort: 80, Protocol: 6, TCPFlags: traffic.FlagSYN | traffic.FlagACK, TTL: 60, Length: 74,
			}},
			{Time: seen, Packet: traffic.Packet{
				Src: netip.MustParseAddr("198.51.100.7"), Dst: netip.MustParseAddr("192.0.2.1"), Protocol: 17, Fragment: traffic.LaterFragment, Length: 10,
			}},
			{Time: seen, Packet: traffic.Packet{Src: netip.MustParseAddr("198.51.100.7"), Dst: netip.MustParseAddr("192.0.2.1"), Protocol: 6}},
			{Time: seen, Packet: traffic.Packet{Src: netip.MustParseAddr("198.51.100.7"), Dst: netip.MustParseAddr("192.0.2.1"), Protocol: 1}},
		},
	}
}

// TestDocument pins the form, with the address of an IPv6 attack, which FastNetMon gets wrong.
func TestDocument(t *testing.T) {
	text, err := Document(Ban, example())
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(json.RawMessage(text), "", "  ")
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	const golden = "testdata/ban.json"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestKeys(t *testing.T) {
	host := traffic.Target{Prefix: netip.MustParsePrefix("192.0.2.1/32")}
	prefix := traffic.Target{Scope: traffic.ScopePrefix, Prefix: netip.MustParsePrefix("192.0.2.0/24")}
	group := traffic.Target{Scope: traffic.ScopeGroup, Group: "web"}
	for _, tt := range []struct{ got, want string }{
		{Key("", host), "192.0.2.1"}, {Key("weir", host), "weir_192.0.2.1"}, {Key("", prefix), "192.0.2.0/24"}, {Key("", group), "web"},
		{Field(host, at()), "192_0_2_1_information_01_07_26_12:30:45"}, {Field(prefix, at()), "192_0_2_0_24_information_01_07_26_12:30:45"}, {Field(group, at()), "web_information_01_07_26_12:30:45"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

// TestUUID: it is one, always the same for an attack, and another for another.
func TestUUID(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	one, other := UUID("20260701T103045.000-0000"), UUID("20260701T103045.000-0001")
	if !form.MatchString(one) || !form.MatchString(other) || one == other || one != UUID("20260701T103045.000-0000") {
		t.Errorf("got %s and %s", one, other)
	}
}
