package plugin

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"weir/userspace/plugin/pluginpb"
	"weir/userspace/traffic"
)

// now is when the tests take place.
func now() time.Time { return time.Unix(1700000000, 0) }

func goodFlow() *pluginpb.Flow {
	return &pluginpb.Flow{
		Source: "192.0.2.1", Destination: "::ffff:198.51.100.1", SourcePort: 53, DestinationPort: 4444, Protocol: 17, TcpFlags: 2,
		Fragment: pluginpb.Fragment_FRAGMENT_FIRST, Packets: 10, Bytes: 15000, End: timestamppb.New(now()), Rate: 1000, Dropped: true,
		Exporter: "203.0.113.9", Input: 3, Output: 4, SourceAs: 64500, DestinationAs: 64501, Format: "sflow5", Tos: 8, Vlan: 12,
	}
}

func TestFlow(t *testing.T) {
	want := traffic.Flow{
		Packet: traffic.Packet{
			Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("198.51.100.1"), SrcPort: 53, DstPort: 4444, Protocol: 17, TCPFlags: 2,
			Fragment: traffic.FirstFragment, Length: 1500,
		},
		Packets: 10, Bytes: 15000, Start: now().UnixNano(), End: now().UnixNano(), Rate: 1000, RateOrigin: traffic.RateRecord,
		Source: traffic.SFlow5, Dropped: true, TOS: 8, VLAN: 12, Exporter: netip.MustParseAddr("203.0.113.9"), Input: 3, Output: 4, SrcAS: 64500, DstAS: 64501,
	}
	var got traffic.Flow
	if err := flowIn(goodFlow(), now(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("flow (-want +got)\n%s", diff)
	}
	least := &pluginpb.Flow{Source: "192.0.2.1", Destination: "198.51.100.1", Packets: 1, Bytes: 40}
	if err := flowIn(least, now(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Rate != 1 || got.RateOrigin != traffic.RateAssumed || got.Source != traffic.IPFIX || got.Start != 0 || got.Exporter != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("least flow: %+v", got)
	}
}

func TestBrokenFlows(t *testing.T) {
	for want, spoil := range map[string]func(*pluginpb.Flow){
		`source "": expected an address`:                                func(f *pluginpb.Flow) { f.Source = "" },
		`destination "fe80::1%eth0": expected an address`:               func(f *pluginpb.Flow) { f.Destination = "fe80::1%eth0" },
		"source and destination are of two IP versions":                 func(f *pluginpb.Flow) { f.Source = "2001:db8::1" },
		"source_port 65536: expected at most 65535":                     func(f *pluginpb.Flow) { f.SourcePort = 65536 },
		"destination_port 65536: expected at most 65535":                func(f *pluginpb.Flow) { f.DestinationPort = 65536 },
		"protocol 256: expected at most 255":                            func(f *pluginpb.Flow) { f.Protocol = 256 },
		"tcp_flags 256: expected at most 255":                           func(f *pluginpb.Flow) { f.TcpFlags = 256 },
		"tos 256: expected at most 255":                                 func(f *pluginpb.Flow) { f.Tos = 256 },
		"vlan 4096: expected at most 4095":                              func(f *pluginpb.Flow) { f.Vlan = 4096 },
		"packets 0: expected at least 1":                                func(f *pluginpb.Flow) { f.Packets = 0 },
		"packets 18446744073709551615: expected at most 35184372088832": func(f *pluginpb.Flow) { f.Packets = math.MaxUint64 },
		"bytes 9: fewer than packets":                                   func(f *pluginpb.Flow) { f.Bytes = 9 },
		"fragment 9: no such part":                                      func(f *pluginpb.Flow) { f.Fragment = 9 },
		"fragment -1: no such part":                                     func(f *pluginpb.Flow) { f.Fragment = -1 },
		"end is before start":                                           func(f *pluginpb.Flow) { f.Start = timestamppb.New(now().Add(time.Second)) },
		"start: not a time":                                             func(f *pluginpb.Flow) { f.Start = &timestamppb.Timestamp{Nanos: -1} },
		"end 2023-11-14T23:13:21Z: more than 1h0m0s from now":           func(f *pluginpb.Flow) { f.End = timestamppb.New(now().Add(time.Hour + time.Second)) },
		`exporter "x": expected an address`:                             func(f *pluginpb.Flow) { f.Exporter = "x" },
		`format "x": expected one of netflow1, netflow5, netflow7, netflow9, ipfix, sflow2, sflow4, sflow5`: func(f *pluginpb.Flow) { f.Format = "x" },
	} {
		f := goodFlow()
		spoil(f)
		var got traffic.Flow
		if err := flowIn(f, now(), &got); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	if err := flowIn(nil, now(), new(traffic.Flow)); err == nil {
		t.Error("no flow was taken")
	}
}

func TestFrame(t *testing.T) {
	var got traffic.Frame
	in := &pluginpb.Packet{Frame: []byte{1, 2, 3}, Length: 100, Time: timestamppb.New(now().Add(-time.Second)), Interface: 4, Link: pluginpb.Link_LINK_SLL}
	if err := frameIn(in, now(), &got); err != nil {
		t.Fatal(err)
	}
	want := traffic.Frame{Data: []byte{1, 2, 3}, Length: 100, Time: now().Add(-time.Second).UnixNano(), Interface: 4, Link: traffic.LinkSLL}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("frame (-want +got)\n%s", diff)
	}
	if err := frameIn(&pluginpb.Packet{Frame: []byte{1}}, now(), &got); err != nil || got.Length != 1 || got.Time != now().UnixNano() {
		t.Errorf("least frame: %+v, error %v", got, err)
	}
	for want, p := range map[string]*pluginpb.Packet{
		"frame is empty": {},
		"length 2: shorter than the frame's 3 bytes":           {Frame: make([]byte, 3), Length: 2},
		"bytes of frame 65536: expected at most 65535":         {Frame: make([]byte, 65536)},
		"length 262145: expected at most 262144":               {Frame: make([]byte, 3), Length: 1<<18 + 1},
		"interface 2147483648: expected at most 2147483647":    {Frame: make([]byte, 3), Interface: 1 << 31},
		"link 7: no such link type":                            {Frame: make([]byte, 3), Link: 7},
		"link -1: no such link type":                           {Frame: make([]byte, 3), Link: -1},
		"time 1970-01-01T00:00:00Z: more than 1h0m0s from now": {Frame: make([]byte, 3), Time: &timestamppb.Timestamp{}},
	} {
		if err := frameIn(p, now(), &got); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestBrokenDetections(t *testing.T) {
	good := &pluginpb.DetectRequest{Target: "192.0.2.0/24", Direction: pluginpb.Direction_DIRECTION_OUTGOING, Reason: "odd"}
	if d, err := detectionIn(good, now()); err != nil || d.Direction != traffic.Outgoing || !d.Started.Equal(now()) {
		t.Fatalf("detection %+v, error %v", d, err)
	}
	for want, spoil := range map[string]func(*pluginpb.DetectRequest){
		`target "192.0.2.1/24": host bits are set; expected 192.0.2.0/24`:                   func(d *pluginpb.DetectRequest) { d.Target = "192.0.2.1/24" },
		`target "": expected an address or a prefix such as 192.0.2.0/24`:                   func(d *pluginpb.DetectRequest) { d.Target = "" },
		`target "::ffff:1.2.3.0/120": expected an address or a prefix such as 192.0.2.0/24`: func(d *pluginpb.DetectRequest) { d.Target = "::ffff:1.2.3.0/120" },
		"direction: expected incoming or outgoing":                                          func(d *pluginpb.DetectRequest) { d.Direction = pluginpb.Direction_DIRECTION_OTHER },
		"reason: say why it is an attack":                                                   func(d *pluginpb.DetectRequest) { d.Reason = " " },
		"reason holds control characters":                                                   func(d *pluginpb.DetectRequest) { d.Reason = "a\nb" },
		"reason has 201 characters; expected at most 200":                                   func(d *pluginpb.DetectRequest) { d.Reason = strings.Repeat("ä", 201) },
		"value NaN: expected 0 to 1e+15":                                                    func(d *pluginpb.DetectRequest) { d.Value = math.NaN() },
		"value -1: expected 0 to 1e+15":                                                     func(d *pluginpb.DetectRequest) { d.Value = -1 },
		"limit +Inf: expected 0 to 1e+15":                                                   func(d *pluginpb.DetectRequest) { d.Limit = math.Inf(1) },
		"started: in the future":                                                            func(d *pluginpb.DetectRequest) { d.Started = timestamppb.New(now().Add(time.Second)) },
	} {
		d := proto.Clone(good).(*pluginpb.DetectRequest)
		spoil(d)
		if _, err := detectionIn(d, now()); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// Each of ours has its name in the protobuf definition, in the same place.
func TestEnumsAgree(t *testing.T) {
	same := func(got, prefix, want string) {
		t.Helper()
		if got != prefix+strings.ToUpper(want) {
			t.Errorf("protobuf has %s where we have %s", got, want)
		}
	}
	for k := range kindCount {
		same(pluginpb.Kind(k+1).String(), "KIND_", k.String())
		if back, err := ParseKind(k.String()); back != k || err != nil {
			t.Errorf("ParseKind(%s) = %s, %v", k, back, err)
		}
	}
	for d := range traffic.DirectionCount {
		same(directionOut(d).String(), "DIRECTION_", d.String())
	}
	for l := range traffic.LinkUnknown {
		same(pluginpb.Link(l).String(), "LINK_", strings.TrimPrefix(l.String(), "linux-"))
	}
	for f, want := range map[traffic.Fragment]pluginpb.Fragment{
		traffic.Whole: pluginpb.Fragment_FRAGMENT_WHOLE, traffic.FirstFragment: pluginpb.Fragment_FRAGMENT_FIRST, traffic.LaterFragment: pluginpb.Fragment_FRAGMENT_LATER,
	} {
		if got, err := fragmentIn(want); got != f || err != nil {
			t.Errorf("fragment %s is %d, error %v", want, got, err)
		}
	}
}
