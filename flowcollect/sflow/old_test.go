package sflow

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// oldSample is a flow sample of version 2 or 4: of interface 3, one in 100, from 3 to out.
func oldSample(out uint32, packet []byte, extended ...[]byte) []byte {
	return join(words(oldFlow, 1, 3, 100, 100, 0, 3, out), packet, words(uint32(len(extended))), join(extended...))
}

func oldRaw(f packettest.Frame) []byte {
	b := f.Bytes()
	return join(words(oldHeader, headerEthernet, uint32(len(b))+4), opaque(b))
}

func TestOldVersions(t *testing.T) {
	raw := oldRaw(packettest.TCP4())
	path := words(64496, 64500, 64501, 2, 2, 2, 64502, 64503, 1, 1, 64511, 2, 0xfde80001, 0xfde80002, 100)
	old := func(source traffic.FlowSource, changes ...func(*traffic.Flow)) traffic.Flow {
		return told(append([]func(*traffic.Flow){func(f *traffic.Flow) { f.Source, f.Domain = source, 0 }}, changes...)...)
	}
	for _, tt := range []struct {
		name    string
		version uint32
		samples [][]byte
		want    traffic.Flow
	}{
		{"version 4", 4, [][]byte{oldSample(4, raw)}, old(traffic.SFlow4)},
		{"version 2", 2, [][]byte{oldSample(4, raw)}, old(traffic.SFlow2)},
		{"to several", 4, [][]byte{oldSample(1<<31|2, raw)}, old(traffic.SFlow4, func(f *traffic.Flow) { f.Output = 0 })},
		{"IPv4 spelled out", 4, [][]byte{oldSample(4, join(words(oldIPv4), spelledTCP4()))}, old(traffic.SFlow4, func(f *traffic.Flow) {
			f.Header, f.Length, f.Bytes, f.TTL, f.TCPFlags, f.TOS = nil, 1500, 1500, 0, 0x12, 0xb8
		})},
		{"IPv6 spelled out", 4, [][]byte{oldSample(4, join(words(oldIPv6), spelledUDP6()))}, old(traffic.SFlow4, func(f *traffic.Flow) {
			f.Header, f.Bytes, f.TOS = nil, 900, 4
			f.Packet = traffic.Packet{Src: netip.MustParseAddr("2001:db8:1::1"), Dst: netip.MustParseAddr("2001:db8:2::7"), SrcPort: 40000, DstPort: 53, Protocol: traffic.ProtoUDP, Length: 900}
		})},
		{"all extended data of version 4", 4, [][]byte{oldSample(4, raw,
			join(words(oldSwitch, 20, 1, 30, 2)),
			join(words(oldRouter), addr("192.0.2.9"), words(24, 16)),
			join(words(oldGateway), path),
			join(words(oldUser), opaque([]byte("alice")), opaque([]byte("bob"))),
			join(words(oldURL, 1), opaque([]byte("http://example.net/"))))},
			old(traffic.SFlow4, func(f *traffic.Flow) {
				f.VLAN, f.NextHop, f.SrcMask, f.DstMask, f.SrcAS, f.DstAS = 20, netip.MustParseAddr("192.0.2.9"), 24, 16, 64500, 64511
			})},
		{"gateway of version 2", 2, [][]byte{oldSample(4, raw, words(oldGateway, 64496, 64500, 64501, 2, 64502, 64511), words(oldSwitch, 20, 0, 0, 0))},
			old(traffic.SFlow2, func(f *traffic.Flow) { f.VLAN, f.SrcAS, f.DstAS = 20, 64500, 64511 })},
		{"behind counters of every kind", 4, [][]byte{
			join(words(oldCounters, 1, 3, 30, 1), interfaceCounters()),
			join(words(oldCounters, 1, 3, 30, 2), interfaceCounters(), make([]byte, 52)),
			join(words(oldCounters, 1, 3, 30, 3), interfaceCounters(), make([]byte, 72)),
			join(words(oldCounters, 1, 3, 30, 4), interfaceCounters()),
			join(words(oldCounters, 1, 3, 30, 5), interfaceCounters(), make([]byte, 80)),
			join(words(oldCounters, 1, 3, 30, 6), interfaceCounters()),
			join(words(oldCounters, 1, 3, 30, 7), make([]byte, 28)),
			oldSample(4, raw)}, old(traffic.SFlow4)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var counters int
			h := base()
			h.version = tt.version
			s := session(func(o *Options) { o.Counters = func(*traffic.InterfaceCounters) { counters++ } })
			got, err := decode(s, h.with(tt.samples...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]traffic.Flow{tt.want}, got, addresses()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			samples := len(tt.samples) - 1
			if got := s.Health(noon()); counters != max(samples-1, 0) || got.Counts.Counters != uint64(samples) || got.Agents[0].Source != tt.want.Source {
				t.Errorf("%d interfaces told of in %d counter samples of %s", counters, got.Counts.Counters, got.Agents[0].Source)
			}
		})
	}
}

func TestOldUnparsed(t *testing.T) {
	h := base()
	h.version = 4
	s := session()
	got, err := decode(s, h.with(oldSample(4, oldRaw(packettest.TCP4(packettest.Ethertype(0x0806)))), oldSample(4, words(oldHeader, headerEthernet, 64, 0))))
	if c := s.Health(noon()).Counts; err != nil || len(got) != 0 || c.Unparsed != 2 || c.Samples != 2 {
		t.Errorf("%d flows, error %v, %+v", len(got), err, c)
	}
}
