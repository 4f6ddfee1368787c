package sflow

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

func addresses() cmp.Option { return cmpopts.EquateComparable(netip.Addr{}) }

// told is what of packettest.TCP4 is told by the base sample; changes are made to it.
func told(changes ...func(*traffic.Flow)) traffic.Flow {
	f := traffic.Flow{
		Packet: traffic.Packet{
			Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("198.51.100.7"), SrcPort: 40000, DstPort: 443,
			Protocol: traffic.ProtoTCP, TCPFlags: traffic.FlagSYN, TTL: 64, Length: 69,
		},
		Packets: 1, Bytes: 69, Start: noon().UnixNano(), End: noon().UnixNano(), Rate: 100, RateOrigin: traffic.RateHeader, Source: traffic.SFlow5,
		Side: traffic.SideIngress, Exporter: exporter(), Domain: 7, Input: 3, Output: 4, Header: packettest.TCP4().Bytes(),
	}
	for _, change := range changes {
		change(&f)
	}
	return f
}

func TestSamples(t *testing.T) {
	tcp := ethernet(packettest.TCP4())
	expanded := func(class, index, inFormat, in, outFormat, out uint32) []byte {
		return tagged(sampleFlowExpanded, words(1, class, index, 100, 100, 0, inFormat, in, outFormat, out, 1), tcp)
	}
	ports := func(in, out uint32) []byte {
		x := plain()
		x.input, x.output = in, out
		return x.with(tcp)
	}
	for _, tt := range []struct {
		name   string
		sample []byte
		want   traffic.Flow
	}{
		{"flow sample", plain().with(tcp), told()},
		{"expanded", expanded(0, 3, 0, 3, 0, 4), told()},
		{"expanded with long indexes", expanded(0, 0x41000000, 0, 0x41000000, 0, 0x7fffffff), told(func(f *traffic.Flow) {
			f.Input, f.Output = 0x41000000, 0x7fffffff
		})},
		{"of what goes out", ports(9, 3), told(func(f *traffic.Flow) { f.Input, f.Output, f.Side = 9, 3, traffic.SideEgress })},
		{"back where it came from", ports(3, 3), told(func(f *traffic.Flow) { f.Output, f.Side = 3, traffic.SideUnknown })},
		{"data source is no interface", expanded(2, 3, 0, 3, 0, 4), told(func(f *traffic.Flow) { f.Side = traffic.SideUnknown })},
		{"to several", ports(3, 2<<30|5), told(func(f *traffic.Flow) { f.Output = 0 })},
		{"to nobody knows how many", ports(3, 2<<30), told(func(f *traffic.Flow) { f.Output = 0 })},
		{"discarded", ports(3, 1<<30|256), told(func(f *traffic.Flow) { f.Output, f.Dropped = 0, true })},
		{"expanded, discarded", expanded(0, 3, 0, 3, 1, 256), told(func(f *traffic.Flow) { f.Output, f.Dropped = 0, true })},
		{"to the exporter itself", ports(3, internal), told(func(f *traffic.Flow) { f.Output = 0 })},
		{"from the exporter itself", ports(internal, 3), told(func(f *traffic.Flow) { f.Input, f.Output, f.Side = 0, 3, traffic.SideEgress })},
		{"rate that is not said", flow{sequence: 1, id: 3, input: 3, output: 4}.with(tcp), told(func(f *traffic.Flow) {
			f.Rate, f.RateOrigin = 1, traffic.RateUnknown
		})},
		{"notification of a discarded packet", tagged(sampleDiscarded, words(1, 0, 3, 0, 3, 0, 258, 1), tcp), told(func(f *traffic.Flow) {
			f.Output, f.Rate, f.Dropped, f.Notice = 0, 1, true, true
		})},
		{"switch", plain().with(tcp, tagged(recordSwitch, words(20, 0, 30, 0))), told(func(f *traffic.Flow) { f.VLAN = 20 })},
		{"switch without VLAN", plain().with(tcp, tagged(recordSwitch, words(0xffffffff, 0, 0xffffffff, 0))), told()},
		{"router", plain().with(tcp, tagged(recordRouter, addr("192.0.2.9"), words(24, 16))), told(func(f *traffic.Flow) {
			f.NextHop, f.SrcMask, f.DstMask = netip.MustParseAddr("192.0.2.9"), 24, 16
		})},
		{"router of IPv6", plain().with(tagged(recordRouter, addr("2001:db8::9"), words(48, 32)), tcp), told(func(f *traffic.Flow) {
			f.NextHop, f.SrcMask, f.DstMask = netip.MustParseAddr("2001:db8::9"), 48, 32
		})},
		{"router without next hop", plain().with(tcp, tagged(recordRouter, addr("0.0.0.0"), words(0xffffffff, 8))), told(func(f *traffic.Flow) { f.DstMask = 8 })},
		{"gateway", plain().with(tcp, tagged(recordGateway, gatewayRecord("192.0.2.10"))), told(func(f *traffic.Flow) {
			f.NextHop, f.SrcAS, f.DstAS = netip.MustParseAddr("192.0.2.10"), 64500, 64511
		})},
		{"gateway without path", plain().with(tcp, tagged(recordGateway, words(0, 64496, 64500, 64501, 0, 0, 100))), told(func(f *traffic.Flow) { f.SrcAS = 64500 })},
		{"gateway, then router", plain().with(tcp, tagged(recordGateway, gatewayRecord("192.0.2.10")), tagged(recordRouter, addr("192.0.2.9"), words(0, 0))),
			told(func(f *traffic.Flow) {
				f.NextHop, f.SrcAS, f.DstAS = netip.MustParseAddr("192.0.2.9"), 64500, 64511
			})},
		{"router, then gateway", plain().with(tagged(recordRouter, addr("192.0.2.9"), words(0, 0)), tagged(recordGateway, gatewayRecord("192.0.2.10")), tcp),
			told(func(f *traffic.Flow) {
				f.NextHop, f.SrcAS, f.DstAS = netip.MustParseAddr("192.0.2.9"), 64500, 64511
			})},
		{"half a router", plain().with(tcp, tagged(recordRouter, addr("192.0.2.9"))), told()},
		{"a router whose address is of an unknown type", plain().with(tcp, tagged(recordRouter, words(9, 1, 2, 3))), told()},
		{"a gateway whose path is too long", plain().with(tcp, tagged(recordGateway, words(0, 1, 2, 3, 1, 2, 0xffffffff))), told()},
		{"a gateway with too many paths", plain().with(tcp, tagged(recordGateway, words(0, 1, 2, 3, 0xffffffff))), told()},
		{"half a switch", plain().with(tcp, tagged(recordSwitch, words(20))), told()},
		{"unknown records around it", plain().with(tagged(9<<12|1, words(1)), tcp, tagged(9<<12|2)), told()},
		{"header and spelled out: the header says more", plain().with(tagged(recordIPv6, spelledUDP6()), tcp), told()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decode(session(), base().with(tt.sample))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]traffic.Flow{tt.want}, got, addresses()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestPackets(t *testing.T) {
	tcp4 := packettest.TCP4()
	spelled := func(p traffic.Packet, tos uint8) traffic.Flow {
		return told(func(f *traffic.Flow) { f.Packet, f.Bytes, f.TOS, f.Header = p, uint64(p.Length), tos, nil })
	}
	header := func(link traffic.Link, b []byte, length uint32) traffic.Flow {
		return told(func(f *traffic.Flow) { f.Link, f.Header, f.Bytes, f.Length = link, b, uint64(length), length })
	}
	network := tcp4.Network()
	for _, tt := range []struct {
		name   string
		record []byte
		want   traffic.Flow
	}{
		{"IPv4", raw(headerIPv4, uint32(len(network)), 0, network), header(traffic.LinkIP, network, 55)},
		{"IPv4 marked IPv6", raw(headerIPv6, uint32(len(network)), 0, network), header(traffic.LinkIP, network, 55)},
		{"PPP", raw(headerPPP, 61, 4, join([]byte{0, 0x21}, network)), header(traffic.LinkPPP, join([]byte{0, 0x21}, network), 61)},
		{"POS", raw(headerPOS, 61, 4, join([]byte{0, 0x21}, network)), header(traffic.LinkPPP, join([]byte{0, 0x21}, network), 61)},
		{"MPLS", raw(headerMPLS, 59, 0, join(words(1<<8), network)), header(traffic.LinkMPLS, join(words(1<<8), network), 59)},
		{"cut off behind the ports", raw(headerEthernet, 1518, 4, tcp4.Bytes()[:54]), told(func(f *traffic.Flow) {
			f.Header, f.Bytes, f.Length = tcp4.Bytes()[:54], 1514, 1514
		})},
		{"sampled_ipv4", tagged(recordIPv4, spelledTCP4()), spelled(traffic.Packet{
			Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("198.51.100.7"), SrcPort: 40000, DstPort: 443,
			Protocol: traffic.ProtoTCP, TCPFlags: traffic.FlagSYN | traffic.FlagACK, Length: 1500,
		}, 0xb8)},
		{"sampled_ipv6", tagged(recordIPv6, spelledUDP6()), spelled(traffic.Packet{
			Src: netip.MustParseAddr("2001:db8:1::1"), Dst: netip.MustParseAddr("2001:db8:2::7"), SrcPort: 40000, DstPort: 53, Protocol: traffic.ProtoUDP, Length: 900,
		}, 4)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decode(session(), base().with(plain().with(tt.record)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]traffic.Flow{tt.want}, got, addresses()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// What has no readable addresses is counted, and not told.
func TestUnparsed(t *testing.T) {
	tcp := packettest.TCP4().Bytes()
	arp := append([]byte(nil), tcp...)
	arp[12], arp[13] = 0x08, 0x06
	for _, tt := range []struct {
		name    string
		records [][]byte
		flows   int
	}{
		{"no records", nil, 0},
		{"ARP", [][]byte{raw(headerEthernet, 64, 4, arp)}, 0},
		{"ARP and spelled out", [][]byte{raw(headerEthernet, 64, 4, arp), tagged(recordIPv4, spelledTCP4())}, 1},
		{"a protocol without parser", [][]byte{raw(5, 64, 4, tcp)}, 0},
		{"empty header", [][]byte{raw(headerEthernet, 64, 4, nil)}, 0},
		{"sampled_ethernet alone", [][]byte{tagged(2, make([]byte, 24))}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := session()
			got, err := decode(s, base().with(plain().with(tt.records...)))
			if err != nil {
				t.Fatal(err)
			}
			want := Counts{Datagrams: 1, Samples: 1, Records: uint64(tt.flows), Unparsed: uint64(1 - tt.flows)}
			if diff := cmp.Diff(want, s.Health(noon()).Counts); diff != "" || len(got) != tt.flows {
				t.Errorf("%d flows; (-want +got)\n%s", len(got), diff)
			}
		})
	}
	if got, err := decode(session(func(o *Options) { o.Frame = nil }), base().with(plain().with(ethernet(packettest.TCP4())))); err != nil || len(got) > 0 {
		t.Errorf("without a parser of headers: %d flows, error %v", len(got), err)
	}
}

func TestExporterIsAgent(t *testing.T) {
	for _, tt := range []struct {
		name, agent string
		use         bool
		want        netip.Addr
	}{
		{"sender", "192.0.2.254", false, exporter()},
		{"agent", "192.0.2.254", true, netip.MustParseAddr("192.0.2.254")},
		{"agent of IPv6", "2001:db8::fe", true, netip.MustParseAddr("2001:db8::fe")},
		{"agent without address", "0.0.0.0", true, exporter()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var told []traffic.InterfaceCounters
			s := session(func(o *Options) {
				o.UseAgent, o.Counters = tt.use, func(c *traffic.InterfaceCounters) { told = append(told, *c) }
			})
			h := base()
			h.agent = tt.agent
			got, err := decode(s, h.with(plain().with(ethernet(packettest.TCP4())), tagged(sampleCounters, words(1, 3, 1), tagged(counterInterface, interfaceCounters()))))
			if err != nil || len(got) != 1 || len(told) != 1 {
				t.Fatalf("%d flows, %d counters, error %v", len(got), len(told), err)
			}
			if got[0].Exporter != tt.want || told[0].Exporter != tt.want {
				t.Errorf("exporter of the flow %s, of the counters %s, want %s", got[0].Exporter, told[0].Exporter, tt.want)
			}
		})
	}
}
