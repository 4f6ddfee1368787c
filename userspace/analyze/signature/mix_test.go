package signature

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"weir/userspace/analyze"
	"weir/userspace/traffic"
)

// maker makes samples of packets to one host, the same ones for the same seed.
type maker struct {
	random *rand.Rand
	host   netip.Addr
	made   int
}

func newMaker(seed uint64) *maker {
	return &maker{random: rand.New(rand.NewPCG(seed, 1)), host: netip.MustParseAddr("203.0.113.7")}
}

func target() traffic.Target {
	return traffic.Target{Prefix: netip.MustParsePrefix("203.0.113.7/32"), Direction: traffic.Incoming}
}

// anyone is one of the n clients of a host, or with n = 0 any address at all.
func (m *maker) anyone(n int) netip.Addr {
	a := m.random.Uint32()
	if n > 0 {
		a = uint32(m.random.IntN(n)+1) * 2654435761
	}
	return netip.AddrFrom4([4]byte{byte(a>>24)%223 + 1, byte(a >> 16), byte(a >> 8), byte(a)})
}

func (m *maker) between(low, high int) uint16 { return uint16(low + m.random.IntN(high-low+1)) }

func (m *maker) high() uint16 { return m.between(32768, 60999) }

func (m *maker) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.random.Uint32())
	}
	return b
}

// ip is a packet of a protocol from someone.
func (m *maker) ip(protocol uint8, src netip.Addr, length uint16, content []byte) analyze.Seen {
	m.made++
	ttls := []uint8{50, 52, 55, 57, 60, 113, 118, 245}
	s := analyze.Seen{Time: time.Unix(1700000000, int64(m.made)*1e6), TTL: ttls[m.random.IntN(len(ttls))], IPLength: length, Rate: 100, Payload: content, PayloadLength: int(length) - 20}
	s.Packet = traffic.Packet{Src: src, Dst: m.host, Protocol: protocol, TTL: s.TTL, Length: uint32(length) + 14}
	return s
}

// udp has length bytes behind the UDP header.
func (m *maker) udp(src netip.Addr, from, to uint16, length uint16, content []byte) analyze.Seen {
	s := m.ip(traffic.ProtoUDP, src, length+28, content[:min(len(content), int(length), 200)])
	s.Packet.SrcPort, s.Packet.DstPort = from, to
	return s
}

func (m *maker) tcp(src netip.Addr, from, to uint16, flags uint8, length uint16, content []byte) analyze.Seen {
	s := m.ip(traffic.ProtoTCP, src, length, content)
	s.Packet.SrcPort, s.Packet.DstPort, s.Packet.TCPFlags, s.TCPAllFlags = from, to, flags, uint16(flags)
	s.DontFragment, s.TCPWindow, s.TCPOptions = true, m.between(500, 65000), 0x1234
	return s
}

// times calls f n times.
func times(n int, f func() analyze.Seen) (list []analyze.Seen) {
	for range n {
		list = append(list, f())
	}
	return list
}

// web is what a web server gets: connections, requests, acknowledgements.
func (m *maker) web() analyze.Seen {
	src, from := m.anyone(400), m.high()
	switch n := m.random.IntN(100); {
	case n < 6:
		return m.tcp(src, from, 443, traffic.FlagSYN, []uint16{52, 60, 64}[m.random.IntN(3)], nil)
	case n < 55:
		return m.tcp(src, from, 443, traffic.FlagACK, []uint16{40, 52, 64}[m.random.IntN(3)], nil)
	case n < 60:
		return m.tcp(src, from, 443, traffic.FlagACK|traffic.FlagFIN, 52, nil)
	case n < 62:
		return m.tcp(src, from, 443, traffic.FlagRST, 40, nil)
	}
	return m.tcp(src, from, 443, traffic.FlagACK|traffic.FlagPSH, m.between(120, 1500), append([]byte{0x17, 3, 3}, m.bytes(40)...))
}

// dns is an answer to the host as a resolver's client.
func (m *maker) dns() analyze.Seen {
	b := append(m.bytes(2), 0x81, 0x80, 0, 1, 0, 1)
	return m.udp(netip.AddrFrom4([4]byte{9, 9, 9, byte(9 + m.random.IntN(3))}), 53, m.high(), m.between(45, 240), append(b, m.bytes(40)...))
}

func (m *maker) voip() analyze.Seen {
	return m.udp(m.anyone(20), m.between(16384, 32000), 10000+2*m.between(0, 30), 172, append([]byte{0x80, 0}, m.bytes(60)...))
}

func (m *maker) game() analyze.Seen {
	return m.udp(m.anyone(60), m.between(27000, 27100), 27015, m.between(30, 180), m.bytes(60))
}

// download is what a host gets from a mirror.
func (m *maker) download() analyze.Seen {
	return m.tcp(netip.MustParseAddr("151.101.2.132"), 443, 45678, traffic.FlagACK, 1500, m.bytes(60))
}

// mix is a host's ordinary traffic.
func (m *maker) mix(n int) []analyze.Seen {
	kinds := []func() analyze.Seen{m.web, m.web, m.web, m.dns, m.voip, m.voip, m.game, m.game, m.download, m.download}
	return times(n, func() analyze.Seen { return kinds[m.random.IntN(len(kinds))]() })
}

// attacks are what the tests throw at it, each with a name.
func (m *maker) attacks() map[string]func() analyze.Seen {
	return map[string]func() analyze.Seen{
		"dns": func() analyze.Seen {
			b := append(m.bytes(2), 0x81, 0x80, 0, 1, 0, 20)
			if m.random.IntN(5) == 0 {
				return m.fragment()
			}
			return m.udp(m.anyone(3000), 53, m.between(1024, 65535), m.between(900, 1472), append(b, m.bytes(60)...))
		},
		"ntp": func() analyze.Seen {
			return m.udp(m.anyone(2000), 123, 80, 440, append([]byte{0xd7, 0, 3, 0x2a, 0, 6, 0, 0x48}, m.bytes(60)...))
		},
		"syn": func() analyze.Seen {
			return m.tcp(m.anyone(0), m.between(1024, 65535), 443, traffic.FlagSYN, 40, nil)
		},
		"udp": func() analyze.Seen {
			return m.udp(m.anyone(0), m.between(1, 65535), m.between(1, 65535), m.between(0, 1400), m.bytes(64))
		},
		"fragments": m.fragment,
		"icmp": func() analyze.Seen {
			s := m.ip(traffic.ProtoICMP, m.anyone(0), 1028, append([]byte{8, 0}, m.bytes(40)...))
			s.ICMPType = 8
			return s
		},
		"gre": func() analyze.Seen { return m.ip(47, m.anyone(0), m.between(500, 1400), m.bytes(60)) },
		"ack": func() analyze.Seen {
			return m.tcp(m.anyone(0), m.high(), 443, traffic.FlagACK|traffic.FlagPSH, m.between(120, 1500), append([]byte("XMASFLOOD"), m.bytes(30)...))
		},
	}
}

func (m *maker) fragment() analyze.Seen {
	s := m.ip(traffic.ProtoUDP, m.anyone(3000), 1500, nil)
	s.Packet.Fragment, s.MoreFragments, s.FragmentOffset = traffic.LaterFragment, true, 1480
	return s
}
