package signature

import (
	"net/netip"

	"weir/userspace/analyze"
	"weir/userspace/traffic"
)

// usualPacket is one kind of packet that hosts on the internet receive.
type usualPacket struct {
	protocol uint8
	far      uint16 // port
	near     uint16
	flags    uint8 // of TCP; of ICMP the type
	lengths  []uint16
	rate     uint32 // how usual it is
}

// ordinary returns packets as nearly every host may get them at some time, to and from well-known services. They are no measurement:
// they keep rules from being wider than the attack where the host's own normal traffic is small or unknown.
func ordinary(target netip.Prefix, outgoing bool) []analyze.Seen {
	const ack, push, syn = traffic.FlagACK, traffic.FlagACK | traffic.FlagPSH, traffic.FlagSYN
	const client = 65535 // stands for each of clients
	wide := []uint16{52, 576, 1500}
	small := []uint16{46, 80, 200}
	list := []usualPacket{
		{traffic.ProtoTCP, client, 443, syn, []uint16{52, 60, 64}, 2}, {traffic.ProtoTCP, client, 443, ack, []uint16{40, 52}, 6},
		{traffic.ProtoTCP, client, 443, push, []uint16{200, 569, 1500}, 6}, {traffic.ProtoTCP, client, 443, traffic.FlagFIN | ack, []uint16{52}, 1},
		{traffic.ProtoTCP, client, 80, push, []uint16{400}, 2}, {traffic.ProtoTCP, client, 22, push, []uint16{88, 120}, 1},
		{traffic.ProtoTCP, client, 25, push, wide, 1}, {traffic.ProtoTCP, client, 53, push, []uint16{90}, 1},
		{traffic.ProtoTCP, 443, client, syn | ack, []uint16{52, 60}, 2}, {traffic.ProtoTCP, 443, client, push, wide, 6},
		{traffic.ProtoTCP, 443, client, ack, []uint16{40, 52, 1420, 1500}, 6}, {traffic.ProtoTCP, 80, client, ack, wide, 2},
		{traffic.ProtoTCP, 443, client, traffic.FlagRST, []uint16{40}, 1},
		{traffic.ProtoUDP, client, 443, 0, []uint16{60, 1278}, 4}, {traffic.ProtoUDP, 443, client, 0, []uint16{60, 700, 1278}, 4},
		{traffic.ProtoUDP, 53, client, 0, []uint16{80, 150, 300, 512, 1232}, 2}, {traffic.ProtoUDP, client, 53, 0, []uint16{60, 70, 85}, 2},
		{traffic.ProtoUDP, 123, 123, 0, []uint16{76}, 1}, {traffic.ProtoUDP, 123, client, 0, []uint16{76}, 1},
		{traffic.ProtoUDP, 16384, 10000, 0, []uint16{60, 200}, 2}, {traffic.ProtoUDP, 27005, 27015, 0, small, 2},
		{traffic.ProtoUDP, 5060, 5060, 0, []uint16{450, 900}, 1}, {traffic.ProtoUDP, 51820, 51820, 0, []uint16{60, 124, 1452}, 2},
	}
	echo, reply, unreachable := uint8(8), uint8(0), uint8(3)
	icmp := uint8(traffic.ProtoICMP)
	if target.Addr().Is6() {
		icmp, echo, reply, unreachable = traffic.ProtoICMPv6, 128, 129, 1
	}
	list = append(list, usualPacket{icmp, 0, 0, echo, []uint16{84, 60}, 1}, usualPacket{icmp, 0, 0, reply, []uint16{84}, 1},
		usualPacket{icmp, 0, 0, unreachable, []uint16{68, 576}, 1}, usualPacket{50, 0, 0, 0, []uint16{120, 1400}, 1}, usualPacket{47, 0, 0, 0, []uint16{120, 1400}, 1})
	from := netip.IPv6Unspecified() // within no prefix that a rule would name
	if target.Addr().Is4() {
		from = netip.IPv4Unspecified()
	}
	var all []analyze.Seen
	clients := []uint16{1100, 5200, 11000, 18500, 26000, 33500, 41000, 47500, 52000, 57000, 60500, 64800} // any, not least behind address translation
	for _, u := range list {
		ports := 1
		if u.far == client || u.near == client {
			ports = len(clients)
		}
		for i := range ports * len(u.lengths) {
			n, far, near, rate := u.lengths[i/ports], u.far, u.near, u.rate*uint32(len(clients)/ports)
			if far == client {
				far = clients[i%ports]
			}
			if near == client {
				near = clients[i%ports]
			}
			s := analyze.Seen{IPLength: n, DontFragment: u.protocol == traffic.ProtoTCP && target.Addr().Is4(), Rate: rate}
			s.Packet = traffic.Packet{Src: from, Dst: target.Addr(), Protocol: u.protocol, SrcPort: far, DstPort: near}
			if outgoing {
				s.Packet.Src, s.Packet.Dst, s.Packet.SrcPort, s.Packet.DstPort = target.Addr(), from, near, far
			}
			switch u.protocol {
			case traffic.ProtoTCP:
				s.Packet.TCPFlags, s.TCPAllFlags = u.flags, uint16(u.flags)
			case icmp:
				s.ICMPType = u.flags
			}
			all = append(all, s)
		}
	}
	later := all[len(all)-1]
	later.Packet.Protocol, later.Packet.Fragment, later.MoreFragments, later.FragmentOffset = traffic.ProtoUDP, traffic.LaterFragment, false, 1480
	first := later
	first.Packet.Fragment, first.Packet.SrcPort, first.MoreFragments, first.FragmentOffset = traffic.FirstFragment, 53, true, 0
	return append(all, first, later)
}
