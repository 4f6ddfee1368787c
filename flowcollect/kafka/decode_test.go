package kafka

import (
	"encoding/binary"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	flowpb "github.com/netsampler/goflow2/v2/pb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"weir/userspace/traffic"
)

var addresses = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// decode returns the records of one message.
func decode(t testing.TB, o Options, message []byte) ([]traffic.Flow, error) {
	t.Helper()
	var got []traffic.Flow
	o.Sink = func(f *traffic.Flow) { got = append(got, *f) }
	d, err := newDecoder(&o)
	if err != nil {
		t.Fatal(err)
	}
	err = d.message(message)
	return got, err
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func delimited(b []byte) []byte { return protowire.AppendBytes(nil, b) }

func message() *flowpb.FlowMessage {
	return &flowpb.FlowMessage{
		Type: flowpb.FlowMessage_NETFLOW_V9, TimeReceivedNs: 30e9, SequenceNum: 9, SamplingRate: 512, SamplerAddress: []byte{203, 0, 113, 1},
		TimeFlowStartNs: 10e9, TimeFlowEndNs: 20e9, Bytes: 4200, Packets: 3, SrcAddr: []byte{198, 51, 100, 7}, DstAddr: []byte{192, 0, 2, 1},
		Etype: 0x800, Proto: 6, SrcPort: 443, DstPort: 51000, InIf: 3, OutIf: 4, SrcMac: 1 << 40, DstMac: 5, VlanId: 100, IpTos: 8, ForwardingStatus: 130,
		IpTtl: 61, IpFlags: 1, TcpFlags: 0x12, SrcAs: 64500, DstAs: 64501, NextHop: []byte{10, 0, 0, 1}, NextHopAs: 5, SrcNet: 24, DstNet: 32,
		ObservationDomainId: 77, AsPath: []uint32{1, 2, 3}, MplsLabel: []uint32{16}, MplsIp: [][]byte{{1, 2, 3, 4}},
	}
}

func want() traffic.Flow {
	return traffic.Flow{
		Packet: traffic.Packet{
			Src: netip.MustParseAddr("198.51.100.7"), Dst: netip.MustParseAddr("192.0.2.1"), SrcPort: 443, DstPort: 51000,
			Protocol: 6, TCPFlags: 0x12, TTL: 61, Fragment: traffic.FirstFragment,
		},
		Packets: 3, Bytes: 4200, Start: 10e9, End: 20e9, Rate: 512, RateOrigin: traffic.RateRecord, Source: traffic.NetFlow9, Dropped: true, TOS: 8,
		VLAN: 100, Exporter: netip.MustParseAddr("203.0.113.1"), Domain: 77, Input: 3, Output: 4, SrcAS: 64500, DstAS: 64501,
		NextHop: netip.MustParseAddr("10.0.0.1"), SrcMask: 24, DstMask: 32,
	}
}

// What GoFlow2's own code writes is read as what it means.
func TestGoFlow2(t *testing.T) {
	for _, tt := range []struct {
		name   string
		o      Options
		change func(*flowpb.FlowMessage)
		want   func(*traffic.Flow)
	}{
		{name: "all"},
		{name: "sFlow", change: func(m *flowpb.FlowMessage) { m.Type, m.Packets, m.Bytes = flowpb.FlowMessage_SFLOW_5, 1, 1400 },
			want: func(f *traffic.Flow) { f.Source, f.Packets, f.Bytes, f.Length = traffic.SFlow5, 1, 1400, 1400 }},
		{name: "NetFlow 5", change: func(m *flowpb.FlowMessage) { m.Type = flowpb.FlowMessage_NETFLOW_V5 }, want: func(f *traffic.Flow) { f.Source = traffic.NetFlow5 }},
		{name: "IPFIX", change: func(m *flowpb.FlowMessage) { m.Type = flowpb.FlowMessage_IPFIX }, want: func(f *traffic.Flow) { f.Source = traffic.IPFIX }},
		{name: "no rate", change: func(m *flowpb.FlowMessage) { m.SamplingRate = 0 }, want: func(f *traffic.Flow) { f.Rate, f.RateOrigin = 1, traffic.RateUnknown }},
		{name: "configured rate", o: Options{Rate: 1000}, change: func(m *flowpb.FlowMessage) { m.SamplingRate = 0 },
			want: func(f *traffic.Flow) { f.Rate, f.RateOrigin = 1000, traffic.RateConfigured }},
		{name: "rate known", o: Options{Rate: 1000}},
		{name: "huge rate", change: func(m *flowpb.FlowMessage) { m.SamplingRate = 1 << 40 }, want: func(f *traffic.Flow) { f.Rate = 1<<32 - 1 }},
		{name: "IPv6", change: func(m *flowpb.FlowMessage) {
			m.SrcAddr, m.DstAddr = netip.MustParseAddr("2001:db8::1").AsSlice(), netip.MustParseAddr("2001:db8::2").AsSlice()
		}, want: func(f *traffic.Flow) {
			f.Src, f.Dst = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
		}},
		{name: "mapped", change: func(m *flowpb.FlowMessage) { m.SrcAddr = netip.MustParseAddr("::ffff:198.51.100.7").AsSlice() }},
		{name: "later fragment", change: func(m *flowpb.FlowMessage) { m.FragmentOffset = 185 }, want: func(f *traffic.Flow) { f.Fragment = traffic.LaterFragment }},
		{name: "do not fragment", change: func(m *flowpb.FlowMessage) { m.IpFlags = 2 }, want: func(f *traffic.Flow) { f.Fragment = traffic.Whole }},
		{name: "ICMP", change: func(m *flowpb.FlowMessage) { m.Proto = 1 }, want: func(f *traffic.Flow) { f.Protocol, f.SrcPort, f.DstPort = 1, 0, 0 }},
		{name: "only received", change: func(m *flowpb.FlowMessage) { m.TimeFlowStartNs, m.TimeFlowEndNs = 0, 0 }, want: func(f *traffic.Flow) { f.Start, f.End = 30e9, 30e9 }},
		{name: "turned round", change: func(m *flowpb.FlowMessage) { m.TimeFlowStartNs = 25e9 }, want: func(f *traffic.Flow) { f.Start = 20e9 }},
		{name: "forwarded", change: func(m *flowpb.FlowMessage) { m.ForwardingStatus = 64 }, want: func(f *traffic.Flow) { f.Dropped = false }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, f := message(), want()
			if tt.change != nil {
				tt.change(m)
			}
			if tt.want != nil {
				tt.want(&f)
			}
			plain := marshal(t, m)
			for framing, b := range map[Framing][]byte{FramingPlain: plain, FramingAuto: plain, FramingDelimited: delimited(plain)} {
				tt.o.Framing = framing
				got, err := decode(t, tt.o, b)
				if diff := cmp.Diff([]traffic.Flow{f}, got, addresses); err != nil || diff != "" {
					t.Errorf("framing %d: %v (-want +got)\n%s", framing, err, diff)
				}
			}
			tt.o.Framing = FramingAuto
			if got, err := decode(t, tt.o, delimited(plain)); err != nil || len(got) != 1 {
				t.Errorf("with a length: %d records, %v", len(got), err)
			}
		})
	}
	two := append(delimited(marshal(t, message())), delimited(marshal(t, message()))...)
	if got, err := decode(t, Options{Framing: FramingDelimited}, two); err != nil || len(got) != 2 {
		t.Errorf("two in one: %d records, %v", len(got), err)
	}
}

func TestBroken(t *testing.T) {
	good := marshal(t, message())
	for name, b := range map[string][]byte{
		"empty":      nil,
		"cut":        good[:len(good)-1],
		"garbage":    []byte("{\"json\": true}"),
		"mixed":      marshal(t, &flowpb.FlowMessage{SrcAddr: []byte{1, 2, 3, 4}, DstAddr: make([]byte, 15), Packets: 1}),
		"versions":   marshal(t, &flowpb.FlowMessage{SrcAddr: []byte{1, 2, 3, 4}, DstAddr: netip.MustParseAddr("2001:db8::2").AsSlice()}),
		"port":       marshal(t, &flowpb.FlowMessage{SrcPort: 70000, SrcAddr: []byte{1, 2, 3, 4}, DstAddr: []byte{1, 2, 3, 4}}),
		"wrong kind": protowire.AppendFixed32(protowire.AppendTag(nil, 9, protowire.Fixed32Type), 1),
	} {
		if got, err := decode(t, Options{}, b); err == nil || len(got) != 0 {
			t.Errorf("%s: %d records, error %v", name, len(got), err)
		}
	}
	// ARP has no addresses, and is no fault.
	if got, err := decode(t, Options{}, marshal(t, &flowpb.FlowMessage{Etype: 0x806, Packets: 1})); err != nil || len(got) != 0 {
		t.Errorf("ARP: %d records, error %v", len(got), err)
	}
}

// akvoradoMessage is written by the schema's own text: names to numbers.
func akvoradoMessage(t testing.TB, text string, values map[string]any) []byte {
	t.Helper()
	s, err := parseSchema(text)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for name, v := range values {
		number := protowire.Number(0)
		for n, c := range s {
			if c != unused && c == columnOf(name) {
				number = protowire.Number(n)
			}
		}
		switch v := v.(type) {
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), uint64(v))
		case string:
			a := netip.MustParseAddr(v).As16()
			b = protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), a[:])
		}
	}
	return b
}

func TestAkvorado(t *testing.T) {
	file, err := os.ReadFile("testdata/akvorado.proto")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{
		"TimeReceived": 1700000000, "SamplingRate": 1000, "ExporterAddress": "203.0.113.1", "SrcAddr": "198.51.100.7", "DstAddr": "192.0.2.1",
		"EType": 0x800, "Proto": 17, "SrcPort": 53, "DstPort": 4000, "Bytes": 1400, "Packets": 1, "FlowDirection": 2, "SrcAS": 64500, "DstAS": 64501,
		"SrcNetMask": 24, "DstNetMask": 32,
	}
	f := traffic.Flow{
		Packet:  traffic.Packet{Src: netip.MustParseAddr("198.51.100.7"), Dst: netip.MustParseAddr("192.0.2.1"), SrcPort: 53, DstPort: 4000, Protocol: 17},
		Packets: 1, Bytes: 1400, Start: 1700000000e9, End: 1700000000e9, Rate: 1000, RateOrigin: traffic.RateRecord, Source: traffic.IPFIX,
		Side: traffic.SideEgress, Exporter: netip.MustParseAddr("203.0.113.1"), SrcAS: 64500, DstAS: 64501, SrcMask: 24, DstMask: 32,
	}
	for name, tt := range map[string]struct{ schema, text string }{"built in": {"", akvorado}, "given": {string(file), string(file)}} {
		got, err := decode(t, Options{Format: Akvorado, Schema: tt.schema}, akvoradoMessage(t, tt.text, values))
		if diff := cmp.Diff([]traffic.Flow{f}, got, addresses); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", name, err, diff)
		}
	}
	// Of another version: refused, not read as nonsense.
	if got, err := decode(t, Options{Format: Akvorado}, akvoradoMessage(t, string(file), values)); err == nil || len(got) != 0 {
		t.Errorf("another schema: %d records, error %v", len(got), err)
	}
}

func TestParseSchema(t *testing.T) {
	const body = "bytes SrcAddr = 1; bytes DstAddr = 2; uint64 Bytes = 3; uint64 Packets = 4;"
	for _, tt := range []struct{ name, text, want string }{
		{"good", "syntax = \"proto3\"; /* x */ message A { option x = 1; enum B { C = 0; } reserved 9; " + body + " // end\n }", ""},
		{"options", "message A {" + body + " uint32 Proto = 5 [deprecated = true]; }", ""},
		{"empty", "", "no message"},
		{"no end", "message A {" + body, "ends within"},
		{"open block", "message A { enum X { ", "ends within a block"},
		{"lone slash", "message A { / }", "no field for the source"},
		{"missing", "message A { bytes SrcAddr = 1; bytes DstAddr = 2; uint64 Bytes = 3; }", "packets"},
		{"number", "message A { bytes SrcAddr = 5000; }", "1 to 1023"},
		{"zero", "message A { bytes SrcAddr = 0; }", "1 to 1023"},
		{"twice", "message A {" + body + " uint32 Proto = 4; }", "another field's"},
		{"same meaning", "message A {" + body + " uint32 src_addr = 9; }", "another field's"},
	} {
		_, err := parseSchema(tt.text)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(marshal(f, message()), uint8(0))
	f.Add(delimited(marshal(f, message())), uint8(1))
	f.Add(binary.AppendUvarint(nil, 1<<60), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, framing uint8) {
		n := 0
		o := Options{Framing: Framing(framing % 3), Sink: func(f *traffic.Flow) {
			n++
			if f.Rate == 0 || !f.Src.IsValid() || f.Src.Is4() != f.Dst.Is4() || f.Start > f.End || f.Start < 0 {
				t.Errorf("a record that cannot be: %+v", *f)
			}
		}}
		d, err := newDecoder(&o)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.message(b); err != nil && n > 0 && o.Framing != FramingDelimited {
			t.Errorf("%d records and the error %v", n, err)
		}
	})
}

func FuzzSchema(f *testing.F) {
	f.Add(goFlow2)
	f.Add(akvorado + "/")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := parseSchema(text); (s == nil) == (err == nil) {
			t.Errorf("schema %v, error %v", s != nil, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	o := Options{Sink: func(*traffic.Flow) {}}
	d, err := newDecoder(&o)
	if err != nil {
		b.Fatal(err)
	}
	m := delimited(marshal(b, message()))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.message(m); err != nil {
			b.Fatal(err)
		}
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	o := Options{Sink: func(*traffic.Flow) {}}
	d, err := newDecoder(&o)
	if err != nil {
		t.Fatal(err)
	}
	m := delimited(marshal(t, message()))
	if n := testing.AllocsPerRun(100, func() {
		if err := d.message(m); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per record", n)
	}
}
