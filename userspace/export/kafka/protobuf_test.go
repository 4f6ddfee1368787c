package kafka

import (
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"weir/tests/need"
	"weir/userspace/traffic"
)

// schemas compiles the committed .proto files.
func schemas(t *testing.T) *protoregistry.Files {
	t.Helper()
	protoc := need.Tool(t, "protoc", "protobuf-compiler")
	out := filepath.Join(t.TempDir(), "set")
	if text, err := exec.Command(protoc, "--descriptor_set_out="+out, "weirkafka/weir.proto", "weirkafka/fastnetmon.proto").CombinedOutput(); err != nil {
		t.Fatalf("protoc: %v\n%s", err, text)
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// decoded is a message as the schema reads it: names and values. No byte may be of an unknown field.
func decoded(t *testing.T, files *protoregistry.Files, name protoreflect.FullName, b []byte) map[string]any {
	t.Helper()
	d, err := files.FindDescriptorByName(name)
	if err != nil {
		t.Fatal(err)
	}
	m := dynamicpb.NewMessage(d.(protoreflect.MessageDescriptor))
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if n := len(m.GetUnknown()); n > 0 {
		t.Errorf("%s: %d bytes of unknown fields", name, n)
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

type object = map[string]any
type list = []any

// Bytes are base64 and 64-bit numbers are text, as protobuf's JSON has them.
const (
	source      = "xjNkBw==" // 198.51.100.7
	destination = "wAACAQ==" // 192.0.2.1
	agent       = "ywBxAQ==" // 203.0.113.1
)

func count(packets, bytes string) object { return object{"packets": packets, "bytes": bytes} }

func TestTraffic(t *testing.T) {
	files := schemas(t)
	at := time.Unix(1, 5)
	c := traffic.Counts{
		Total: traffic.Count{Packets: 1, Bytes: 2}, Flows: 3, TCP: traffic.Count{Packets: 4, Bytes: 5}, UDP: traffic.Count{Packets: 6, Bytes: 7},
		ICMP: traffic.Count{Packets: 8, Bytes: 9}, TCPSYN: traffic.Count{Packets: 10, Bytes: 11}, Fragments: traffic.Count{Packets: 12, Bytes: 13},
		Dropped: traffic.Count{Packets: 1 << 60, Bytes: 15},
	}
	counts := object{
		"total": count("1", "2"), "flows": "3", "tcp": count("4", "5"), "udp": count("6", "7"), "icmp": count("8", "9"), "tcp_syn": count("10", "11"),
		"fragments": count("12", "13"), "dropped": count("1152921504606846976", "15"),
	}
	both := traffic.TwoWay{Incoming: c, Outgoing: traffic.Counts{Flows: 1}}
	rate := object{"incoming": counts, "outgoing": object{"flows": "1"}}
	prefix := netip.MustParsePrefix("192.0.2.1/32")
	for name, tt := range map[string]struct {
		got  []byte
		want object
	}{
		"host": {appendHost(nil, at, &traffic.HostRate{Host: prefix, Group: "web\xff", TwoWay: both}),
			object{"host": object{"host": object{"address": destination, "bits": 32.0}, "hostgroup": "web\ufffd", "rate": rate}}},
		"network": {appendNetwork(nil, at, &traffic.NetworkRate{Prefix: prefix, TwoWay: both}),
			object{"network": object{"prefix": object{"address": destination, "bits": 32.0}, "rate": rate}}},
		"hostgroup": {appendGroup(nil, at, &traffic.GroupRate{Name: "web", TwoWay: both}), object{"hostgroup": object{"name": "web", "rate": rate}}},
		"total": {appendTotal(nil, at, 6, traffic.Outgoing, &c),
			object{"total": object{"ip_version": 6.0, "direction": "DIRECTION_OUTGOING", "rate": counts}}},
	} {
		tt.want["time_ns"] = "1000000005"
		if diff := cmp.Diff(tt.want, decoded(t, files, "weir.kafka.v1.Traffic", tt.got)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestAttack(t *testing.T) {
	files := schemas(t)
	at := time.Unix(100, 0)
	c := traffic.Change{
		Kind: traffic.ChangeUnbanned, At: at, Report: "report", Capture: "/a.pcap",
		Record: traffic.Record{
			Held: "held",
			Attack: traffic.Attack{
				ID: "A1", Phase: traffic.PhaseOver, Started: at.Add(-3), Detected: at.Add(-2), Ended: at.Add(-1), Hosts: 4, Manual: true,
				Target: traffic.Target{Scope: traffic.ScopePrefix, Prefix: netip.MustParsePrefix("192.0.2.0/24"), Group: "web", Direction: traffic.Outgoing},
				Trip:   traffic.Trip{Metric: traffic.BPS, Count: 5, Window: time.Second, Value: 1.5, Limit: 1},
				Rate:   traffic.TwoWay{Outgoing: traffic.Counts{Flows: 1}}, Peak: traffic.Counts{Flows: 2}, Volume: traffic.Counts{Flows: 3},
				Analysis: &traffic.Analysis{
					At: at, Class: "dns", Confidence: 0.5, Sources: "real", Samples: 6, Vectors: []traffic.Vector{{Class: "dns", Share: 1, Confidence: 0.5}},
					Patterns: []string{"p"}, Evidence: []string{"e"},
					Rules: traffic.RuleSet{Rules: []traffic.MeasuredRule{{Rule: "drop", Coverage: 1, Collateral: 0.25}}, Coverage: 1, Collateral: 0.25},
				},
			},
			Ban: traffic.Ban{
				Since: at, Until: at.Add(1), Lifted: at.Add(2), Drop: true, DryRun: true, Manual: true, Reason: "why", Power: 7,
				Response: &traffic.Response{Rung: 2, Rules: traffic.RulesEnforce},
			},
		},
		Sources: []traffic.SourceShare{{Source: netip.MustParseAddr("198.51.100.7"), Share: 0.5, AS: 64500, ASName: "X", Country: "NL", Name: "n"}},
		Packets: []traffic.SampledPacket{{Time: at, Rate: 9, Packet: traffic.Packet{
			Src: netip.MustParseAddr("198.51.100.7"), Dst: netip.MustParseAddr("192.0.2.1"), Protocol: 17, SrcPort: 53, DstPort: 4, TCPFlags: 1, TTL: 2,
			Fragment: traffic.FirstFragment, Length: 64,
		}}},
	}
	want := object{
		"time_ns": "100000000000", "kind": "CHANGE_KIND_UNBANNED", "id": "A1", "phase": "PHASE_OVER", "started_ns": "99999999997",
		"detected_ns": "99999999998", "ended_ns": "99999999999", "hosts": 4.0, "manual": true, "held": "held", "report": "report", "capture": "/a.pcap",
		"target": object{"scope": "SCOPE_PREFIX", "prefix": object{"address": "wAACAA==", "bits": 24.0}, "hostgroup": "web", "direction": "DIRECTION_OUTGOING"},
		"trip":   object{"metric": "mbps", "count": "5", "window_ns": "1000000000", "value": 1.5, "limit": 1.0},
		"rate":   object{"outgoing": object{"flows": "1"}}, "peak": object{"flows": "2"}, "volume": object{"flows": "3"},
		"ban": object{
			"since_ns": "100000000000", "until_ns": "100000000001", "lifted_ns": "100000000002", "drop": true, "dry_run": true, "manual": true,
			"reason": "why", "power": "7", "rung": 2.0, "response": "filter",
		},
		"analysis": object{
			"time_ns": "100000000000", "class": "dns", "confidence": 0.5, "sources": "real", "samples": 6.0, "coverage": 1.0, "collateral": 0.25,
			"vectors": list{object{"class": "dns", "share": 1.0, "confidence": 0.5}}, "patterns": list{"p"}, "evidence": list{"e"},
			"rules": list{object{"rule": "drop", "coverage": 1.0, "collateral": 0.25}},
		},
		"sources": list{object{"address": source, "share": 0.5, "as": 64500.0, "as_name": "X", "country": "NL", "name": "n"}},
		"packets": list{object{
			"time_ns": "100000000000", "rate": 9.0, "source": source, "destination": destination, "protocol": 17.0, "source_port": 53.0,
			"destination_port": 4.0, "tcp_flags": 1.0, "ttl": 2.0, "fragment": true, "length": 64.0,
		}},
	}
	if diff := cmp.Diff(want, decoded(t, files, "weir.kafka.v1.Attack", appendAttack(nil, &c))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestFlows(t *testing.T) {
	files := schemas(t)
	f := flow()
	f.TCPFlags, f.TTL, f.TOS, f.Fragment, f.Domain, f.NextHop = 0x12, 60, 8, traffic.LaterFragment, 5, f.Exporter
	f.SrcMask, f.DstMask, f.VLAN, f.Side, f.Dropped, f.Protocol = 24, 32, 100, traffic.SideEgress, true, 6
	f.RateOrigin = traffic.RateUnknown
	want := object{
		"start_ns": "1777636800000000000", "end_ns": "1777636801000000000", "source_protocol": "FLOW_SOURCE_NETFLOW_9", "exporter": agent, "domain": 5.0,
		"source": source, "destination": destination, "protocol": 6.0, "source_port": 53.0, "destination_port": 4000.0, "tcp_flags": 18.0, "ttl": 60.0,
		"tos": 8.0, "fragment": "FRAGMENT_LATER", "packets": "3", "bytes": "4200", "sampling_rate": 1000.0, "sampling_rate_unknown": true,
		"input": 3.0, "output": 4.0, "source_as": 64500.0, "destination_as": 64501.0, "next_hop": agent, "source_mask": 24.0, "destination_mask": 32.0,
		"vlan": 100.0, "side": "SIDE_EGRESS", "dropped": true,
	}
	if diff := cmp.Diff(want, decoded(t, files, "weir.kafka.v1.Flow", appendFlow(nil, &f, time.Time{}))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	want = object{
		"timestamp_seconds": "1777636801", "telemetry_type": "TELEMETRY_TYPE_NETFLOW", "ip_version": 4.0, "sampling_ratio": "1000", "protocol": 6.0,
		"source_ip": source, "destination_ip": destination, "source_port": 53.0, "destination_port": 4000.0, "packets": "3", "octets": "4200",
		"ttl": 60.0, "tcp_flags": 18.0, "ip_fragmented": true, "source_interface": "3", "destination_interface": "4",
		"source_asn": 64500.0, "destination_asn": 64501.0, "agent_address": agent,
	}
	if diff := cmp.Diff(want, decoded(t, files, "weir.kafka.fastnetmon.TrafficData", appendTrafficData(nil, &f, time.Time{}))); diff != "" {
		t.Errorf("FastNetMon (-want +got)\n%s", diff)
	}
}

func TestFastNetMonJSON(t *testing.T) {
	f := flow()
	tcp := f
	tcp.Protocol, tcp.TCPFlags, tcp.End, tcp.Dropped, tcp.Exporter = 6, 0x12, 0, true, netip.Addr{}
	icmp := f
	icmp.Protocol = 1
	icmp.Src, icmp.Dst = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	const head = `{"timestamp":1777636801,"ip_version":"ipv4","source_ip":"198.51.100.7","destination_ip":"192.0.2.1",`
	const middle = `"source_asn":64500,"destination_asn":64501,"source_country":"","destination_country":"","input_interface":3,"output_interface":4,`
	const tail = `"fragmentation":false,"packets":3,"length":4200,"ip_length":4200,"ttl":0,"sample_ratio":1000,"protocol":`
	for _, tt := range []struct {
		f    traffic.Flow
		want string
	}{
		{f, head + middle + `"source_port":53,"destination_port":4000,"agent_address":"203.0.113.1","forwarding_status":"unknown",` + tail + `"udp"}`},
		{tcp, `{"timestamp":9` + head[len(`{"timestamp":1777636801`):] + middle +
			`"source_port":53,"destination_port":4000,"agent_address":"","tcp_flags":"syn,ack","forwarding_status":"dropped",` + tail + `"tcp"}`},
		{icmp, `{"timestamp":1777636801,"ip_version":"ipv6","source_ip":"2001:db8::1","destination_ip":"2001:db8::2",` + middle +
			`"agent_address":"203.0.113.1","forwarding_status":"unknown",` + tail + `"icmp"}`},
	} {
		got := appendFastNetMonJSON(nil, &tt.f, time.Unix(9, 0))
		if diff := cmp.Diff(tt.want, string(got)); diff != "" || !json.Valid(got) {
			t.Errorf("valid %v (-want +got)\n%s", json.Valid(got), diff)
		}
	}
	if got := string(appendFlags(nil, 0)) + " " + string(appendFlags(nil, 0xff)); got != "- fin,syn,rst,psh,ack,urg" {
		t.Errorf("flags %q", got)
	}
}
