package eventjson

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

var update = flag.Bool("update", false, "write testdata/change.json anew")

var noon = time.Date(2026, 7, 1, 12, 0, 0, 5_000_000, time.FixedZone("east", 7200))

func counts(n uint64) traffic.Counts {
	return traffic.Counts{
		Total: traffic.Count{Packets: n, Bytes: 100 * n}, Flows: n + 1, TCP: traffic.Count{Packets: n + 2, Bytes: 3}, UDP: traffic.Count{Packets: n + 4, Bytes: 5},
		ICMP: traffic.Count{Packets: n + 6, Bytes: 7}, TCPSYN: traffic.Count{Packets: n + 8, Bytes: 9}, Fragments: traffic.Count{Packets: n + 10, Bytes: 11},
		Dropped: traffic.Count{Packets: n + 12, Bytes: 13}, Unseen: n,
	}
}

func example() *traffic.Change {
	return &traffic.Change{
		Kind: traffic.ChangeEscalated, At: noon.Add(time.Minute), Group: "web", Capture: "20260701T100000.005-0000.pcapng",
		Record: traffic.Record{
			Attack: traffic.Attack{
				ID: "20260701T100000.005-0000", Target: traffic.Target{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Group: "web"},
				Trip:  traffic.Trip{Metric: traffic.BPS, Count: 5e8, Window: time.Second, Value: 5e9, Limit: 1e9},
				Phase: traffic.PhaseMitigated, Started: noon.Add(-100 * time.Millisecond), Detected: noon, Rate: traffic.TwoWay{Incoming: counts(9), Outgoing: counts(1)},
				Peak: counts(20), Volume: counts(100), Hosts: 1,
				Analysis: &traffic.Analysis{At: noon.UTC(), Samples: 7, Class: "dns_amplification", Confidence: 0.9, Sources: "reflectors"},
			},
			Ban: traffic.Ban{
				Since: noon, Until: noon.Add(time.Hour), Power: 9,
				Response: &traffic.Response{Rung: 2, Rungs: 3, Since: noon.UTC(), Rules: traffic.RulesEnforce, LimitPackets: 5000, Announce: []string{"scrub"}},
			},
		},
		Sources: []traffic.SourceShare{{Source: netip.MustParseAddr("198.51.100.7"), Share: 0.25, AS: 64500, ASName: "Example", Country: "NL", Name: "host.example"}},
	}
}

// TestChange pins the form: people's programs read it.
func TestChange(t *testing.T) {
	got, err := Change(example())
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, got, "", "  "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	const golden = "testdata/change.json"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), pretty.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if none, err := Change(&traffic.Change{}); err != nil || !json.Valid(none) {
		t.Errorf("of nothing: %s, %v", none, err)
	}
}

// TestAppend: what is written without encoding/json is what that would read.
func TestAppend(t *testing.T) {
	both := traffic.TwoWay{Incoming: counts(1e15), Outgoing: traffic.Counts{}}
	type row struct {
		Event, Time, Host, Hostgroup, Network, Direction string
		IPVersion                                        int            `json:"ip_version"`
		Incoming, Outgoing, Rate                         traffic.Counts `json:",omitzero"`
	}
	at := "2026-07-01T10:00:00.005Z"
	for _, tt := range []struct {
		got  []byte
		want row
	}{
		{AppendHost(nil, noon, &traffic.HostRate{Host: netip.MustParsePrefix("192.0.2.1/32"), Group: `a"b\c`, TwoWay: both}),
			row{Event: "host", Time: at, Host: "192.0.2.1", Hostgroup: `a"b\c`, Incoming: both.Incoming}},
		{AppendHost(nil, noon, &traffic.HostRate{Host: netip.MustParsePrefix("2001:db8::/64"), TwoWay: both}), row{Event: "host", Time: at, Host: "2001:db8::/64", Incoming: both.Incoming}},
		{AppendNetwork(nil, noon, &traffic.NetworkRate{Prefix: netip.MustParsePrefix("192.0.2.0/24"), TwoWay: both}), row{Event: "network", Time: at, Network: "192.0.2.0/24", Incoming: both.Incoming}},
		{AppendGroup(nil, noon, &traffic.GroupRate{Name: "web", TwoWay: both}), row{Event: "hostgroup", Time: at, Hostgroup: "web", Incoming: both.Incoming}},
		{AppendTotal(nil, noon, 6, traffic.Outgoing, &both.Incoming), row{Event: "total", Time: at, IPVersion: 6, Direction: "outgoing", Rate: both.Incoming}},
	} {
		var got row
		if err := json.Unmarshal(tt.got, &got); err != nil {
			t.Errorf("%s: %v", tt.got, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	reference, err := json.Marshal(both.Incoming)
	if got := string(appendCounts(nil, &both.Incoming)); err != nil || got != string(reference) {
		t.Errorf("counts: got %s, want %s", got, reference)
	}
}

func flow() *traffic.Flow {
	return &traffic.Flow{
		Packet:  traffic.Packet{Src: netip.MustParseAddr("198.51.100.7"), Dst: netip.MustParseAddr("2001:db8::1"), SrcPort: 53, DstPort: 4711, Protocol: 17, TCPFlags: 3, TTL: 60},
		Packets: 12, Bytes: 3456, Start: noon.UnixNano(), End: noon.Add(time.Second).UnixNano(), Rate: 1000, Source: traffic.IPFIX, Exporter: netip.MustParseAddr("192.0.2.254"), Input: 5, SrcAS: 64500, Dropped: true,
	}
}

func TestAppendFlow(t *testing.T) {
	const want = `{"event":"flow","time":"2026-07-01T10:00:01.005Z","start":"2026-07-01T10:00:00.005Z","protocol_version":"ipfix","exporter":"192.0.2.254","domain":0,"rate":1000,` +
		`"packets":12,"bytes":3456,"protocol":17,"source_port":53,"destination_port":4711,"tcp_flags":3,"tos":0,"ttl":60,"fragment":0,"input":5,"output":0,` +
		`"source_as":64500,"destination_as":0,"vlan":0,"source":"198.51.100.7","destination":"2001:db8::1","dropped":true}`
	if diff := cmp.Diff(want, string(AppendFlow(nil, flow()))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if none := AppendFlow(nil, &traffic.Flow{}); !json.Valid(none) {
		t.Errorf("of nothing: %s", none)
	}
	if notice := string(AppendFlow(nil, &traffic.Flow{Notice: true})); !strings.HasSuffix(notice, `"dropped":false,"notice":true}`) {
		t.Errorf("a notice: %s", notice)
	}
	buffer, f := make([]byte, 0, 4096), flow()
	if n := testing.AllocsPerRun(100, func() { buffer = AppendFlow(buffer[:0], f) }); n > 0 {
		t.Errorf("%v allocations for a flow, want none", n)
	}
	host := &traffic.HostRate{Host: netip.MustParsePrefix("192.0.2.1/32"), Group: "web", TwoWay: traffic.TwoWay{Incoming: counts(7)}}
	if n := testing.AllocsPerRun(100, func() { buffer = AppendHost(buffer[:0], noon, host) }); n > 0 {
		t.Errorf("%v allocations for a host, want none", n)
	}
}

func BenchmarkAppendFlow(b *testing.B) {
	f, buffer := flow(), make([]byte, 0, 4096)
	for b.Loop() {
		buffer = AppendFlow(buffer[:0], f)
	}
}
