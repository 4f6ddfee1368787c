package flowcollect

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

func TestSourceOf(t *testing.T) {
	for _, tt := range []struct {
		name  string
		data  []byte
		want  traffic.FlowSource
		known bool
	}{
		{"sFlow 2", []byte{0, 0, 0, 2, 0}, traffic.SFlow2, true},
		{"sFlow 4", []byte{0, 0, 0, 4}, traffic.SFlow4, true},
		{"sFlow 5", []byte{0, 0, 0, 5}, traffic.SFlow5, true},
		{"NetFlow 1", []byte{0, 1, 0, 0}, traffic.NetFlow1, true},
		{"NetFlow 5", []byte{0, 5, 0, 30}, traffic.NetFlow5, true},
		{"NetFlow 7", []byte{0, 7, 0, 30}, traffic.NetFlow7, true},
		{"NetFlow 9", []byte{0, 9, 0, 1}, traffic.NetFlow9, true},
		{"IPFIX", []byte{0, 10, 0, 16}, traffic.IPFIX, true},
		{"sFlow 3 never was", []byte{0, 0, 0, 3}, traffic.FlowSourceCount, false},
		{"too short", []byte{0, 5, 0}, traffic.FlowSourceCount, false},
		{"something else", []byte("GET / HTTP"), traffic.FlowSourceCount, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, known := SourceOf(tt.data)
			if got != tt.want || known != tt.known {
				t.Errorf("got %s, %t; want %s, %t", got, known, tt.want, tt.known)
			}
		})
	}
}

// counted is where an exporter's records went.
type counted struct {
	Told, Withheld, Duplicates, Filtered uint64
	Packets                              uint64 // scaled
	Rate                                 uint32
	Origin                               traffic.RateOrigin
}

func TestRecord(t *testing.T) {
	exporter := func(change func(*ExporterOptions)) Options {
		e := ExporterOptions{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Name: "border"}
		change(&e)
		return Options{Exporters: []ExporterOptions{e}}
	}
	const ingress, egress = 0, 1
	// Three records of ten packets: in by interface 1, out by interface 2, and from 3 to 4 without saying on which side.
	sided := netflow9(1, 7, template9(), set(256, one{input: 1, output: 2}.data(ingress), one{input: 3, output: 2}.data(egress)))
	sideless := netflow5(0, 0, one{input: 3, output: 4})
	for _, tt := range []struct {
		name string
		opts Options
		want counted
	}{
		{"all count", Options{}, counted{Told: 3, Packets: 30, Rate: 1}},
		{"configured rate", exporter(func(e *ExporterOptions) { e.Rate = 100 }), counted{Told: 3, Packets: 3000, Rate: 100, Origin: traffic.RateConfigured}},
		{"rate by domain", exporter(func(e *ExporterOptions) { e.Rate, e.DomainRates = 100, map[uint32]uint32{7: 5} }),
			counted{Told: 3, Packets: 10*5 + 10*5 + 10*100, Rate: 100, Origin: traffic.RateConfigured}},
		{"rate by interface, of the side that it was metered at",
			exporter(func(e *ExporterOptions) {
				e.DomainRates, e.InterfaceRates = map[uint32]uint32{7: 5}, map[uint32]uint32{2: 1000}
			}),
			counted{Told: 3, Packets: 10*5 + 10*1000 + 10, Rate: 1}},
		{"ingress only", exporter(func(e *ExporterOptions) { e.Side = traffic.SideIngress }), counted{Told: 2, Duplicates: 1, Packets: 20, Rate: 1}},
		{"egress only", exporter(func(e *ExporterOptions) { e.Side = traffic.SideEgress }), counted{Told: 2, Duplicates: 1, Packets: 20, Rate: 1}},
		{"only interface 2", exporter(func(e *ExporterOptions) { e.OnlyInterfaces = []uint32{2} }), counted{Told: 2, Filtered: 1, Packets: 20, Rate: 1}},
		{"not what is metered at 2", exporter(func(e *ExporterOptions) { e.IgnoreInterfaces = []uint32{2} }), counted{Told: 2, Filtered: 1, Packets: 20, Rate: 1}},
		{"not what is metered at 3", exporter(func(e *ExporterOptions) { e.IgnoreInterfaces = []uint32{3} }), counted{Told: 2, Filtered: 1, Packets: 20, Rate: 1}},
		{"another exporter's", Options{Exporters: []ExporterOptions{{Prefix: netip.MustParsePrefix("203.0.114.0/24"), Rate: 9}}}, counted{Told: 3, Packets: 30, Rate: 1}},
		{"a filter that drops", Options{Filter: func() func(*traffic.Flow) bool {
			return func(f *traffic.Flow) bool { return f.Output != 2 }
		}}, counted{Told: 1, Filtered: 2, Packets: 10, Rate: 1}},
		{"a filter that rescales", Options{Filter: func() func(*traffic.Flow) bool {
			return func(f *traffic.Flow) bool { f.Rate *= 3; return true }
		}}, counted{Told: 3, Packets: 90, Rate: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, tt.opts)
			b.take("203.0.113.1", at(0), sided, sideless)
			s := b.only(at(0))
			got := counted{uint64(len(b.flows)), s.Withheld, s.Duplicates, s.Filtered, b.packets, s.Rate, s.RateOrigin}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			if s.Records != 3 || s.Packets != b.packets || s.Bytes != b.packets*bytesPerPacket {
				t.Errorf("state: %d records, %d packets, %d bytes; want 3, %d, %d", s.Records, s.Packets, s.Bytes, b.packets, b.packets*bytesPerPacket)
			}
		})
	}
}

// A record whose rate nobody knows is not handed over until the configuration says it.
func TestWithheld(t *testing.T) {
	unknown := netflow5(0, 1<<14, one{}) // a mode without interval
	var withheld uint64
	o := Options{Withheld: func(f *traffic.Flow) { withheld += f.Packets }}
	b := newBed(t, o)
	b.take("203.0.113.1", at(0), unknown)
	s := b.only(at(0))
	if len(b.flows) != 0 || s.Withheld != 1 || withheld != 10 || s.RateOrigin != traffic.RateUnknown || s.Packets != 0 {
		t.Errorf("told %d, withheld %d (%d packets), origin %s, counted %d packets", len(b.flows), s.Withheld, withheld, s.RateOrigin, s.Packets)
	}
	if len(s.Problems) != 1 {
		t.Errorf("problems: %v; want one", s.Problems)
	}
	b.reconfigure(newSettings(nil, []ExporterOptions{{Prefix: netip.MustParsePrefix("203.0.113.1/32"), Rate: 50}}), nil)
	b.take("203.0.113.1", at(1), netflow5(1, 1<<14, one{}))
	if s = b.only(at(1)); b.packets != 500 || s.RateOrigin != traffic.RateConfigured || s.Withheld != 1 {
		t.Errorf("with a rate in the configuration: %d packets, origin %s, withheld %d", b.packets, s.RateOrigin, s.Withheld)
	}
}

func TestBadDatagrams(t *testing.T) {
	b := newBed(t, Options{})
	good := netflow5(0, 0, one{})
	for _, bad := range [][]byte{nil, {0}, []byte("hello"), good[:len(good)-1], {0, 10, 0, 4}, {0, 0, 0, 5, 0}, {0, 9, 0, 1}} {
		if err := b.Datagram(from("203.0.113.1"), bad, at(0)); err == nil || errors.Is(err, ErrRefused) {
			t.Errorf("%x: error %v", bad, err)
		}
	}
	b.take("203.0.113.1", at(0), good)
	s := b.only(at(0))
	if len(b.flows) != 1 || s.Datagrams != 8 || s.Errors != 7 || s.LastError == "" {
		t.Errorf("told %d; %d datagrams, %d errors, the last %q", len(b.flows), s.Datagrams, s.Errors, s.LastError)
	}
	want := map[string]uint64{"unknown": 3, "netflow1": 0, "netflow5": 1, "netflow7": 0, "netflow9": 1, "ipfix": 1, "sflow2": 0, "sflow4": 0, "sflow5": 1}
	if diff := cmp.Diff(want, b.Stats().Undecodable); diff != "" {
		t.Errorf("undecodable (-want +got):\n%s", diff)
	}
}

// One exporter may speak everything, to any port.
func TestMixedProtocols(t *testing.T) {
	b := newBed(t, Options{})
	b.take("203.0.113.1", at(0), netflow5(0, 0, one{}), netflow9(1, 7, template9(), set(256, one{}.data(0))), ipfix(1, 7, template10(), set(256, one{}.data(0))),
		sflow5("203.0.113.1", 1, 1000, one{input: 1, output: 2}))
	s := b.only(at(0))
	want := []traffic.FlowSource{traffic.NetFlow5, traffic.NetFlow9, traffic.IPFIX, traffic.SFlow5}
	if diff := cmp.Diff(want, s.Sources); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	if s.Templates != 2 || b.packets != 10+10+10+1000 {
		t.Errorf("%d templates, %d packets; want 2 and 1030", s.Templates, b.packets)
	}
}

// Addresses are told as plain ones, whatever socket they came by.
func TestMappedSender(t *testing.T) {
	b := newBed(t, Options{Allow: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}})
	mapped := netip.AddrPortFrom(netip.AddrFrom16(addr("203.0.113.1").As16()), 9)
	if err := b.Datagram(mapped, netflow5(0, 0, one{}), at(0)); err != nil {
		t.Fatal(err)
	}
	if got := b.only(at(0)).Address; got != addr("203.0.113.1") {
		t.Errorf("the exporter is %s", got)
	}
}

// Agents behind one sender are exporters of their own where the configuration says so; who may send is still the sender.
func TestUseAgent(t *testing.T) {
	o := Options{UseAgent: true, Allow: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, Exporters: []ExporterOptions{
		{Prefix: netip.MustParsePrefix("10.0.0.2/32"), Name: "second", Rate: 7},
	}}
	b := newBed(t, o)
	b.take("203.0.113.1", at(0), sflow5("10.0.0.1", 1, 1000, one{}), sflow5("10.0.0.2", 1, 1000, one{}), sflow5("0.0.0.0", 1, 1000, one{}))
	if err := b.Datagram(from("198.51.100.1"), sflow5("10.0.0.1", 2, 1000, one{}), at(0)); !errors.Is(err, ErrRefused) {
		t.Errorf("a sender that is not allowed: %v", err)
	}
	b.take("203.0.113.2", at(0), sflow5("10.0.0.1", 2, 1000, one{})) // another way, but the same agent
	got := map[string]uint64{}
	for _, s := range b.Exporters(at(0)) {
		got[s.Address.String()+" "+s.Name] = s.Packets
	}
	want := map[string]uint64{"10.0.0.1 ": 2000, "10.0.0.2 second": 7, "203.0.113.1 ": 1000}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packets by exporter (-want +got):\n%s", diff)
	}
	if got := b.flows[0].Exporter; got != addr("10.0.0.1") {
		t.Errorf("the record's exporter is %s", got)
	}
}

func TestReconfigure(t *testing.T) {
	b := newBed(t, Options{})
	template, data := netflow9(1, 7, template9()), func(n uint32) []byte { return netflow9(n, 7, set(256, one{}.data(0))) }
	b.take("203.0.113.1", at(0), template, data(2))
	b.take("203.0.114.1", at(0), netflow5(0, 0, one{}))
	allow := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	drop := func(*traffic.Flow) bool { return false }
	b.reconfigure(newSettings(allow, []ExporterOptions{{Prefix: netip.MustParsePrefix("203.0.113.1/32"), Name: "kept"}}), drop)
	b.take("203.0.113.1", at(1), data(3)) // its template is still there
	if err := b.Datagram(from("203.0.114.1"), netflow5(1, 0, one{}), at(1)); !errors.Is(err, ErrRefused) {
		t.Errorf("a sender that is not allowed any more: %v", err)
	}
	s := b.only(at(1))
	if s.Name != "kept" || s.Records != 2 || s.Filtered != 1 || len(b.flows) != 2 || s.UnknownTemplate != 0 || s.Lost != 0 {
		t.Errorf("after the change: %+v, told %d", s, len(b.flows))
	}
	if got := b.Stats(); got.Exporters != 1 || got.Refused != 1 || b.places.used.Load() != 1 {
		t.Errorf("stats %+v, places taken %d", got, b.places.used.Load())
	}
}

// What is told both coming in and going out is found out, unless the configuration says which side counts.
func TestTwice(t *testing.T) {
	const ingress, egress = 0, 1
	both := netflow9(1, 7, template9(), set(256, one{input: 1, output: 2}.data(ingress), one{input: 1, output: 2}.data(egress)))
	borders := netflow9(1, 7, template9(), set(256, one{input: 1, output: 2}.data(ingress), one{input: 2, output: 1}.data(egress)))
	for _, tt := range []struct {
		name string
		opts ExporterOptions
		data []byte
		want *InterfacePair
	}{
		{"both sides", ExporterOptions{}, both, &InterfacePair{1, 2}},
		{"the outer interface only", ExporterOptions{}, borders, nil},
		{"configured", ExporterOptions{Side: traffic.SideEgress}, both, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.opts.Prefix = netip.MustParsePrefix("0.0.0.0/0")
			b := newBed(t, Options{Exporters: []ExporterOptions{tt.opts}})
			b.take("203.0.113.1", at(0), tt.data)
			if diff := cmp.Diff(tt.want, b.only(at(0)).Twice); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
