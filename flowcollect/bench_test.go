package flowcollect

import (
	"testing"
	"time"

	"weir/userspace/packet"
	"weir/userspace/traffic"
)

// BenchmarkDatagram is what a record takes from the datagram to the sink, all that this package adds included.
func BenchmarkDatagram(b *testing.B) {
	const perDatagram = 24
	many := make([]one, perDatagram)
	var data []byte
	for i := range many {
		many[i] = one{port: uint16(i), input: 1, output: 2}
		data = append(data, many[i].data(0)...)
	}
	for _, bb := range []struct {
		name    string
		head    []byte
		data    []byte
		records int
		group   string
	}{
		{"netflow5", nil, netflow5(0, 0, many...), perDatagram, ""},
		{"netflow5 in a group", nil, netflow5(0, 0, many...), perDatagram, "border"},
		{"netflow5 sampled in a group", nil, netflow5(0, 1<<14|100, many...), perDatagram, "border"},
		{"netflow9", netflow9(0, 7, template9()), netflow9(1, 7, set(256, data)), perDatagram, ""},
		{"ipfix", ipfix(0, 7, template10()), ipfix(0, 7, set(256, data)), perDatagram, ""},
		{"sflow5", nil, sflow5(memberA, 1, 100, one{input: 1, output: 2}), 1, ""},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var told uint64
			o := Options{Frame: packet.ParseLink, Sink: func(int) func(*traffic.Flow) { return func(*traffic.Flow) { told++ } }}
			if bb.group != "" {
				o.Exporters = []ExporterOptions{{Prefix: prefixes("203.0.113.0/24")[0], Group: bb.group}}
			}
			d := NewDecoder(&o, 0)
			sender, now := from(memberA), at(0)
			if bb.head != nil {
				if err := d.Datagram(sender, bb.head, now); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				now = now.Add(100 * time.Microsecond)
				if err := d.Datagram(sender, bb.data, now); err != nil {
					b.Fatal(err)
				}
				n += bb.records
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
			if told != uint64(n) {
				b.Errorf("told %d records of %d", told, n)
			}
		})
	}
}

// No datagram costs an allocation once its exporter is known.
func TestAllocations(t *testing.T) {
	o := Options{Frame: packet.ParseLink, Exporters: []ExporterOptions{{Prefix: prefixes("203.0.113.0/24")[0], Group: "border", InterfaceRates: map[uint32]uint32{1: 5}}}}
	for _, tt := range []struct {
		name       string
		head, data []byte
	}{
		{"netflow5", nil, netflow5(0, 0, one{}, one{port: 7})},
		{"netflow5 sampled", nil, netflow5(0, 1<<14|100, one{}, one{port: 7})},
		{"netflow9", netflow9(0, 7, template9()), netflow9(1, 7, set(256, one{}.data(0), one{input: 1, output: 2}.data(1)))},
		{"ipfix", ipfix(0, 7, template10()), ipfix(0, 7, set(256, one{}.data(0), one{input: 1, output: 2}.data(1)))},
		{"sflow5", nil, sflow5(memberA, 1, 100, one{input: 1, output: 2})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := NewDecoder(&o, 0)
			now := at(0)
			if tt.head != nil {
				if err := d.Datagram(from(memberA), tt.head, now); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Datagram(from(memberA), tt.data, now); err != nil {
				t.Fatal(err)
			}
			if n := testing.AllocsPerRun(1000, func() {
				now = now.Add(time.Millisecond)
				if err := d.Datagram(from(memberA), tt.data, now); err != nil {
					t.Error(err)
				}
			}); n != 0 {
				t.Errorf("%.1f allocations a datagram", n)
			}
		})
	}
}
