package lab

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"weir/userspace/traffic"
)

var (
	mac1 = []byte{2, 0, 0, 0, 0, 1}
	mac2 = []byte{2, 0, 0, 0, 0, 2}
)

func frame4() Frame {
	return Frame{
		SrcMAC: mac1, DstMAC: mac2, Src: netip.MustParseAddr("198.51.100.7"), Dst: netip.MustParseAddr("192.0.2.9"),
		Protocol: traffic.ProtoUDP, SrcPort: 5353, DstPort: 4444,
	}
}

func frame6() Frame {
	f := frame4()
	f.Src, f.Dst = netip.MustParseAddr("2001:db8:1::7"), netip.MustParseAddr("2001:db8:2::9")
	return f
}

// decoded is what an independent decoder makes of a frame.
type decoded struct {
	Layers   []string
	Src, Dst string
	Length   int
	Error    string
}

func decode(t *testing.T, frame []byte) decoded {
	t.Helper()
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	var d decoded
	for _, l := range p.Layers() {
		d.Layers = append(d.Layers, l.LayerType().String())
	}
	if n := p.NetworkLayer(); n != nil {
		d.Src, d.Dst = n.NetworkFlow().Src().String(), n.NetworkFlow().Dst().String()
	}
	if e := p.ErrorLayer(); e != nil {
		d.Error = e.Error().Error()
	}
	d.Length = len(frame)
	for _, l := range p.Layers() {
		if transport, ok := l.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			if err := transport.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
				t.Fatal(err)
			}
		}
	}
	// gopacket computes the checksums again; ours must agree with it byte for byte.
	if d.Error == "" && len(d.Layers) > 2 {
		if err, mismatches := p.VerifyChecksums(); err != nil {
			t.Errorf("verify checksums: %v", err)
		} else if len(mismatches) > 0 {
			t.Errorf("wrong checksums: %v", mismatches)
		}
	}
	return d
}

func TestFrameBytes(t *testing.T) {
	const src4, dst4, src6, dst6 = "198.51.100.7", "192.0.2.9", "2001:db8:1::7", "2001:db8:2::9"
	tests := []struct {
		name  string
		frame func() Frame
		want  decoded
	}{
		{"udp", frame4, decoded{[]string{"Ethernet", "IPv4", "UDP", "Payload"}, src4, dst4, 60, ""}},
		{"tcp of odd length", func() Frame {
			f := frame4()
			f.Protocol, f.TCPFlags, f.Length = traffic.ProtoTCP, traffic.FlagSYN, 101
			return f
		}, decoded{[]string{"Ethernet", "IPv4", "TCP", "Payload"}, src4, dst4, 101, ""}},
		{"icmp", func() Frame {
			f := frame4()
			f.Protocol = traffic.ProtoICMP
			return f
		}, decoded{[]string{"Ethernet", "IPv4", "ICMPv4", "Payload"}, src4, dst4, 60, ""}},
		{"two tags", func() Frame {
			f := frame4()
			f.VLANs, f.Length = []uint16{100, 200}, 1522
			return f
		}, decoded{[]string{"Ethernet", "Dot1Q", "Dot1Q", "IPv4", "UDP", "Payload"}, src4, dst4, 1522, ""}},
		{"later fragment", func() Frame {
			f := frame4()
			f.Fragment = traffic.LaterFragment
			return f
		}, decoded{[]string{"Ethernet", "IPv4", "Fragment"}, src4, dst4, 60, ""}},
		{"udp over IPv6", frame6, decoded{[]string{"Ethernet", "IPv6", "UDP"}, src6, dst6, 62, ""}},
		{"tcp over IPv6", func() Frame {
			f := frame6()
			f.Protocol, f.Length = traffic.ProtoTCP, 1514
			return f
		}, decoded{[]string{"Ethernet", "IPv6", "TCP", "Payload"}, src6, dst6, 1514, ""}},
		{"icmpv6", func() Frame {
			f := frame6()
			f.Protocol = traffic.ProtoICMPv6
			return f
		}, decoded{[]string{"Ethernet", "IPv6", "ICMPv6", "ICMPv6Echo"}, src6, dst6, 62, ""}},
		{"later fragment over IPv6", func() Frame {
			f := frame6()
			f.Fragment = traffic.LaterFragment
			return f
		}, decoded{[]string{"Ethernet", "IPv6", "IPv6Fragment"}, src6, dst6, 62, ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.frame()
			b, err := f.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(decode(t, b), tt.want); diff != "" {
				t.Errorf("frame (-got +want):\n%s", diff)
			}
		})
	}
}

func TestFrameBytesRefuses(t *testing.T) {
	tests := []struct {
		name   string
		mutate func(*Frame)
		want   string
	}{
		{"no address", func(f *Frame) { f.Src = netip.Addr{} }, "build frame: source invalid IP and destination 192.0.2.9 must both be IPv4 or both IPv6 addresses"},
		{"two families", func(f *Frame) { f.Dst = netip.IPv6Loopback() }, "build frame: source 198.51.100.7 and destination ::1 must both be IPv4 or both IPv6 addresses"},
		{"too short", func(f *Frame) { f.Length = 41 }, "build frame: length 41 is outside of 42 (the headers) to 65549 (the largest packet)"},
		{"too long", func(f *Frame) { f.Length = 70000 }, "build frame: length 70000 is outside of 42 (the headers) to 65549 (the largest packet)"},
		{"short MAC", func(f *Frame) { f.DstMAC = []byte{1, 2} }, "build frame: a MAC address must have 6 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := frame4()
			tt.mutate(&f)
			_, err := f.Bytes()
			if err == nil || err.Error() != tt.want {
				t.Errorf("got error %v, want %s", err, tt.want)
			}
		})
	}
}
