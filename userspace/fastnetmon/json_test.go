package fastnetmon

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

var update = flag.Bool("update", false, "write testdata/ban.json anew")

func at() time.Time { return time.Date(2026, 7, 1, 12, 30, 45, 0, time.Local) }

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
		Packets: []traffic.SampledPacket{{Time: at(), Rate: 10, Packet: traffic.Packet{
			Src: netip.MustParseAddr("2001:db8:f::7"), Dst: netip.MustParseAddr("2001:db8::1"), SrcPort: 1024, DstPort: 80, Protocol: 6, TCPFlags: traffic.FlagSYN | traffic.FlagACK, TTL: 60, Length: 74,
		}}},
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
