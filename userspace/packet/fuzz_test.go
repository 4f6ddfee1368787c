package packet_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"weir/userspace/packet"
	. "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

func seeds() [][]byte {
	frames := []Frame{
		TCP4(), UDP4(), ICMP4(), TCP6(), UDP6(), ICMP6(),
		TCP4(Options(40)), UDP4(Fragmented4(MoreFragments)), UDP4(Fragmented4(7)),
		TCP4(VLAN(TypeVLAN, 1), VLAN(TypeQinQ, 2), VLAN(TypeQinQOld, 3)), TCP4(VLAN(TypeVLAN, 1), VLAN(TypeVLAN, 2), VLAN(TypeVLAN, 3), VLAN(TypeVLAN, 4)),
		UDP6(MPLS(8)), UDP6(MPLS(9)), TCP4(Ethertype(TypeARP)), TCP4(Ethertype(TypeLLDP)),
		UDP6(Extended(HopByHop, 1, 8), Extended(Routing, 1, 24), Extended(AH, 1, 12), Fragmented6(0, true)),
		UDP6(Fragmented6(9, true)), TCP6(Extended(Destination, 8, 8)), TCP6(Extended(Destination, 9, 8)), UDP6(Upper(ESP)), UDP6(Upper(NoNext)),
	}
	var all [][]byte
	for _, f := range frames {
		b := f.Bytes()
		all = append(all, b, Cut(b, len(b)/2))
	}
	return all
}

// FuzzParse holds the parser to what is true of every result, and to gopacket wherever gopacket reads plain TCP or UDP over IP.
func FuzzParse(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var p, again traffic.Packet
		reason := packet.Parse(frame, 4242, &p)
		again = traffic.Packet{SrcPort: 9, Fragment: traffic.LaterFragment, Anomaly: traffic.AnomalyShortTransport}
		if packet.Parse(frame, 4242, &again) != reason || p != again {
			t.Fatalf("a second parse differs: %+v, %+v", p, again)
		}
		if problem := inconsistent(reason, &p); problem != "" {
			t.Fatalf("%s: %s, %+v", problem, reason, p)
		}
		if want, ok := peer(frame); ok {
			if diff := cmp.Diff(want, p, equateAddr); reason != traffic.ReasonOK || diff != "" {
				t.Fatalf("%s, packet (-gopacket +parser)\n%s", reason, diff)
			}
		}
		if len(frame) > 14 && (reason == traffic.ReasonOK) && ethertype(frame) != 0 {
			var bare traffic.Packet
			if r := packet.ParseIP(frame[14:], 4242, &bare); r != reason || bare != p {
				t.Fatalf("ParseIP differs from Parse: %s, %+v, want %+v", r, bare, p)
			}
		}
	})
}

// ethertype returns the type of an untagged IP frame, else 0.
func ethertype(frame []byte) uint16 {
	if t := binary.BigEndian.Uint16(frame[12:]); t == TypeIPv4 || t == TypeIPv6 {
		return t
	}
	return 0
}

// inconsistent names what cannot be in a result, or "".
func inconsistent(reason traffic.Reason, p *traffic.Packet) string {
	ports := p.SrcPort != 0 || p.DstPort != 0
	switch {
	case reason >= traffic.ReasonCount || reason != traffic.ReasonOK && reason < traffic.ReasonARP:
		return "a parser has no such reason"
	case reason != traffic.ReasonOK && *p != traffic.Packet{Length: 4242}:
		return "a refused frame left something in the packet"
	case reason != traffic.ReasonOK:
		return ""
	case p.Length != 4242:
		return "the length is not the wire's"
	case !p.Src.IsValid() || p.Src.Is4() != p.Dst.Is4():
		return "the addresses are not of one family"
	case p.TCPFlags != 0 && p.Protocol != traffic.ProtoTCP:
		return "flags without TCP"
	case ports && p.Protocol != traffic.ProtoTCP && p.Protocol != traffic.ProtoUDP:
		return "ports without TCP or UDP"
	case p.Anomaly >= traffic.AnomalyCount:
		return "no such anomaly"
	case (p.Fragment == traffic.LaterFragment || p.Anomaly != traffic.AnomalyNone) && (ports || p.TCPFlags != 0):
		return "ports or flags that cannot have been read"
	case p.Anomaly > traffic.AnomalyShortTransport && (p.Src.Is4() || p.Protocol != packet.ProtocolUnknown):
		return "a broken extension header with a protocol"
	case p.Anomaly != traffic.AnomalyNone && p.Fragment == traffic.LaterFragment:
		return "an anomaly behind a later fragment"
	}
	return ""
}

// peer is gopacket's reading of an untagged whole TCP or UDP packet over IP without extension headers; false for all else.
func peer(frame []byte) (traffic.Packet, bool) {
	all := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
	found := all.Layers()
	if len(found) < 3 {
		return traffic.Packet{}, false
	}
	p := traffic.Packet{Length: 4242}
	switch ip := found[1].(type) {
	case *layers.IPv4:
		if ip.FragOffset != 0 || ip.Flags&layers.IPv4MoreFragments != 0 || ip.Version != 4 || binary.BigEndian.Uint16(ip.Contents[2:]) == 0 { // gopacket takes length 0 for an offloaded packet
			return p, false
		}
		p.Src, p.Dst, p.Protocol = netip.AddrFrom4([4]byte(ip.SrcIP.To4())), netip.AddrFrom4([4]byte(ip.DstIP.To4())), uint8(ip.Protocol)
		p.TTL = ip.TTL
	case *layers.IPv6:
		if ip.Version != 6 {
			return p, false
		}
		p.Src, p.Dst, p.Protocol = netip.AddrFrom16([16]byte(ip.SrcIP)), netip.AddrFrom16([16]byte(ip.DstIP)), uint8(ip.NextHeader)
		p.TTL = ip.HopLimit
	default:
		return p, false
	}
	switch transport := found[2].(type) {
	case *layers.TCP: // a header that gopacket could not read is there all the same, without contents
		if len(transport.Contents) < 20 {
			return p, false
		}
		p.SrcPort, p.DstPort, p.TCPFlags = uint16(transport.SrcPort), uint16(transport.DstPort), transport.Contents[13]
	case *layers.UDP:
		if len(transport.Contents) != 8 {
			return p, false
		}
		p.SrcPort, p.DstPort = uint16(transport.SrcPort), uint16(transport.DstPort)
	default:
		return p, false
	}
	return p, true
}

// TestPeerReads keeps the comparison in FuzzParse from becoming empty.
func TestPeerReads(t *testing.T) {
	for _, f := range []Frame{TCP4(), UDP4(), TCP6(), UDP6(), TCP4(Options(8), Flags(0x12))} {
		want := f.Parsed()
		want.Length = 4242
		got, ok := peer(f.Bytes())
		if diff := cmp.Diff(want, got, equateAddr); !ok || diff != "" {
			t.Errorf("gopacket reads %+v: %t (-want +got)\n%s", f, ok, diff)
		}
	}
}
