package replay

import (
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/ip4defrag"
	"github.com/gopacket/gopacket/layers"

	"weir/userspace/traffic"
)

// payloads takes UDP datagrams out of frames; those that IPv4 has cut up are put together again.
type payloads struct {
	fragments *ip4defrag.IPv4Defragmenter
	last      time.Time
}

func newPayloads() *payloads {
	return &payloads{fragments: ip4defrag.NewIPv4Defragmenter()}
}

// of returns who sent the datagram in a frame and what it carries; false when there is none, or not all of it yet.
func (p *payloads) of(f *traffic.Frame, at time.Time) (netip.AddrPort, []byte, bool) {
	p.last = at
	first := firstLayer(f)
	if first == gopacket.LayerTypeZero {
		return netip.AddrPort{}, nil, false
	}
	frame := gopacket.NewPacket(f.Data, first, gopacket.DecodeOptions{NoCopy: true})
	network := frame.NetworkLayer()
	if network == nil {
		return netip.AddrPort{}, nil, false
	}
	udp, ok := frame.TransportLayer().(*layers.UDP)
	if ip, v4 := network.(*layers.IPv4); v4 && !ok {
		udp, ok = p.whole(ip, at)
	}
	if !ok {
		return netip.AddrPort{}, nil, false
	}
	from, valid := netip.AddrFromSlice(network.NetworkFlow().Src().Raw())
	return netip.AddrPortFrom(from.Unmap(), uint16(udp.SrcPort)), udp.Payload, valid
}

// whole puts a fragment with the others of its datagram, and returns the datagram when it is complete.
func (p *payloads) whole(ip *layers.IPv4, at time.Time) (*layers.UDP, bool) {
	if ip.Protocol != layers.IPProtocolUDP || ip.FragOffset == 0 && ip.Flags&layers.IPv4MoreFragments == 0 {
		return nil, false
	}
	joined, err := p.fragments.DefragIPv4WithTimestamp(ip, at)
	if err != nil || joined == nil {
		return nil, false // broken, or not complete: there is no datagram to count
	}
	udp := &layers.UDP{}
	return udp, udp.DecodeFromBytes(joined.Payload, gopacket.NilDecodeFeedback) == nil
}

// firstLayer is how gopacket calls what a frame begins with.
func firstLayer(f *traffic.Frame) gopacket.LayerType {
	switch f.Link {
	case traffic.LinkEthernet:
		return layers.LayerTypeEthernet
	case traffic.LinkSLL:
		return layers.LayerTypeLinuxSLL
	case traffic.LinkPPP:
		return layers.LayerTypePPP
	case traffic.LinkNull:
		return layers.LayerTypeLoopback
	case traffic.LinkMPLS:
		return layers.LayerTypeMPLS
	case traffic.LinkIP:
		if len(f.Data) > 0 && f.Data[0]>>4 == 6 {
			return layers.LayerTypeIPv6
		}
		return layers.LayerTypeIPv4
	}
	return gopacket.LayerTypeZero
}
