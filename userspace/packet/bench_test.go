package packet_test

import (
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"weir/userspace/packet"
	. "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

var benchFrames = []struct {
	name  string
	frame []byte
}{
	{"udp4", UDP4().Bytes()},
	{"tcp4", TCP4().Bytes()},
	{"tcp6", TCP6().Bytes()},
	{"vlan_tcp4", TCP4(VLAN(TypeVLAN, 5)).Bytes()},
	{"extensions_udp6", UDP6(Extended(HopByHop, 1, 8), Extended(Destination, 1, 8)).Bytes()},
}

func BenchmarkParse(b *testing.B) {
	for _, bb := range benchFrames {
		b.Run(bb.name, func(b *testing.B) {
			var p traffic.Packet
			b.ReportAllocs()
			for b.Loop() {
				packet.Parse(bb.frame, uint32(len(bb.frame)), &p)
			}
		})
	}
}

// BenchmarkGopacket is the peer: gopacket's fastest way to the same fields, without the copy into our own packet.
func BenchmarkGopacket(b *testing.B) {
	for _, bb := range benchFrames {
		b.Run(bb.name, func(b *testing.B) {
			var (
				eth   layers.Ethernet
				vlan  layers.Dot1Q
				ip4   layers.IPv4
				ip6   layers.IPv6
				skip  layers.IPv6ExtensionSkipper
				tcp   layers.TCP
				udp   layers.UDP
				found []gopacket.LayerType
			)
			parser := gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &eth, &vlan, &ip4, &ip6, &skip, &tcp, &udp)
			parser.IgnoreUnsupported = true
			b.ReportAllocs()
			for b.Loop() {
				if err := parser.DecodeLayers(bb.frame, &found); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
