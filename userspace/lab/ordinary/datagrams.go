package ordinary

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

func (m *maker) ends(p *peer, near, far uint16) (host, other netip.AddrPort) {
	return netip.AddrPortFrom(m.Host, near), netip.AddrPortFrom(p.addr, far)
}

const dnsPort = 53

// dns has resolvers that ask the host, and the host's own questions to two resolvers.
func (m *maker) dns() {
	askers, resolvers := m.crowd(m.many(60)), m.crowd(2)
	m.events(30*m.Scale, func(at time.Duration) {
		p := m.one(askers)
		query, answer := m.question()
		port := p.ephemeral(m)
		m.datagram(at, DNS, true, p, dnsPort, port, 0, query)
		m.datagram(at+200*time.Microsecond, DNS, false, p, dnsPort, port, 0, answer)
	})
	m.events(25*m.Scale, func(at time.Duration) {
		p := m.one(resolvers)
		query, answer := m.question()
		port := uint16(m.between(1024, 65535))
		m.datagram(at, DNS, false, p, port, dnsPort, 0, query)
		m.datagram(at+p.trip, DNS, true, p, port, dnsPort, 0, answer)
	})
}

// question is a query with EDNS (RFC 1035 section 4.1, RFC 6891) and what is answered: addresses mostly, now and then long text.
func (m *maker) question() (query, answer []byte) {
	const a, aaaa, txt, in = 1, 28, 16, 1
	kind := []uint16{a, a, a, aaaa, aaaa, txt}[m.random.IntN(6)]
	id := uint16(m.random.Uint32())
	host := fmt.Sprintf("h%x", m.bytes(m.between(1, 8)))
	domain := []string{"example", "shop-example", "a-longer-name-of-an-example"}[m.random.IntN(3)]
	var name []byte
	for _, label := range []string{host, domain, "net"} {
		name = append(append(name, byte(len(label))), label...)
	}
	name = append(name, 0)
	message := func(flags uint16, answers int) []byte {
		var b []byte
		for _, v := range []uint16{id, flags, 1, uint16(answers), 0, 1} {
			b = binary.BigEndian.AppendUint16(b, v)
		}
		b = binary.BigEndian.AppendUint16(append(b, name...), kind)
		return binary.BigEndian.AppendUint16(b, in)
	}
	edns := []byte{0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0} // 1232 bytes are welcome
	query = append(message(0x0100, 0), edns...)
	n, size := m.between(1, 6), 4
	switch kind {
	case aaaa:
		size = 16
	case txt:
		n, size = m.between(1, 3), m.between(30, 250)
	}
	answer = message(0x8180, n)
	for range n {
		answer = binary.BigEndian.AppendUint16(append(answer, 0xc0, 12), kind)
		answer = append(answer, 0, in, 0, 0, byte(m.between(0, 14)), byte(m.between(1, 255)), 0, byte(size))
		data := m.bytes(size)
		if kind == txt {
			data[0] = byte(size - 1)
		}
		answer = append(answer, data...)
	}
	return query, append(answer, edns...)
}

// game has players who send 30 to 60 packets a second to a server that answers each with the state of its world, in the form of Source's
// network channel: two sequence numbers, flags, a check sum and data. Others ask what is played there.
func (m *maker) game() {
	const server, client = 27015, 27005
	for range m.many(8) {
		player := m.somebody()
		port := uint16(client)
		if m.random.IntN(3) == 0 {
			port = uint16(m.between(1024, 65535)) // behind address translation
		}
		for _, side := range []struct {
			in          bool
			rate        int
			least, most int
		}{{true, m.between(30, 60), 24, 110}, {false, m.between(30, 60), 40, 420}} {
			sequence := uint32(m.random.IntN(100_000))
			step := time.Second / time.Duration(side.rate)
			for at := m.jitter(step); at < m.Duration; at += step - time.Millisecond + m.jitter(2*time.Millisecond) {
				b := binary.LittleEndian.AppendUint32(nil, sequence)
				b = binary.LittleEndian.AppendUint32(b, sequence-uint32(m.between(1, 4)))
				m.datagram(at, Game, side.in, &player, server, port, 0, append(b, m.bytes(m.between(side.least, side.most))...))
				sequence++
			}
		}
	}
	curious := m.crowd(m.many(20))
	m.events(3*m.Scale, func(at time.Duration) {
		p := m.one(curious)
		port := p.ephemeral(m)
		m.datagram(at, Game, true, p, server, port, 0, []byte("\xff\xff\xff\xffTSource Engine Query\x00"))
		m.datagram(at+150*time.Microsecond, Game, false, p, server, port, 0, append([]byte("\xff\xff\xff\xffI\x11"), m.bytes(m.between(80, 160))...))
	})
}
