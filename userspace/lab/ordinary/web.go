package ordinary

import (
	"encoding/binary"
	"fmt"
	"time"

	"weir/userspace/traffic"
)

// web has clients that open connections, ask a few times and close them: HTTP on one in five, else TLS.
func (m *maker) web() {
	clients := m.crowd(m.many(150))
	m.events(14*m.Scale, func(at time.Duration) {
		p := m.one(clients)
		port := uint16(443)
		if m.random.IntN(5) == 0 {
			port = 80
		}
		s := m.open(Web, p, port, p.ephemeral(m), at)
		at = s.shake(true)
		if port == 443 {
			s.send(at, true, push, m.hello())
			s.send(at+100*time.Microsecond, false, ack, nil)
			at = s.transfer(at+p.trip/2, false, m.records(m.between(2500, 4500)), 200*time.Microsecond)
			s.send(at+p.trip, true, push, m.records(m.between(58, 126)))
			at += p.trip + time.Millisecond
		}
		for range m.between(1, 5) {
			s.send(at, true, push, m.request(port))
			answer := m.records(m.between(300, 14_000))
			if port == 80 {
				answer = append([]byte("HTTP/1.1 200 OK\r\nServer: weir-test\r\nContent-Type: text/html\r\n\r\n"), answer...)
			}
			at = s.transfer(at+time.Millisecond+m.jitter(10*time.Millisecond), false, answer, 150*time.Microsecond)
			at += p.trip + m.jitter(200*time.Millisecond)
		}
		s.end(at, m.random.IntN(2) == 0)
	})
}

// hello is a TLS ClientHello (RFC 8446 section 4.1.2) of the size that browsers send, for a server by its name.
func (m *maker) hello() []byte {
	const name = "www.example.net"
	server := binary.BigEndian.AppendUint16([]byte{0, 0, 0, byte(len(name) + 5), 0, byte(len(name) + 3), 0}, uint16(len(name)))
	extensions := append(server, name...)
	padding := m.between(280, 420)
	extensions = append(extensions, 0, 21, byte(padding>>8), byte(padding))
	extensions = append(extensions, make([]byte, padding)...)
	body := append([]byte{3, 3}, m.bytes(32)...)
	body = append(body, 0, 0, 2, 0x13, 1, 1, 0, byte(len(extensions)>>8), byte(len(extensions)))
	body = append(body, extensions...)
	record := []byte{22, 3, 1, byte((len(body) + 4) >> 8), byte(len(body) + 4), 1, 0, byte(len(body) >> 8), byte(len(body))}
	return append(record, body...)
}

// records is n bytes of encrypted TLS and its header (RFC 8446 section 5.2).
func (m *maker) records(n int) []byte {
	return append([]byte{23, 3, 3, byte(n >> 8), byte(n)}, m.bytes(n)...)
}

func (m *maker) request(port uint16) []byte {
	if port == 443 {
		return m.records(m.between(60, 900))
	}
	return fmt.Appendf(nil, "GET /page/%d HTTP/1.1\r\nHost: www.example.net\r\nUser-Agent: browser/%d\r\nAccept: */*\r\nCookie: id=%x\r\n\r\n",
		m.random.IntN(1000), m.between(80, 130), m.bytes(m.between(8, 60)))
}

// download fetches a large file: segments of 1500 bytes, every second one acknowledged.
func (m *maker) download() {
	mirror := m.somebody()
	s := m.open(Download, &mirror, uint16(m.between(32768, 60999)), 443, 0)
	at := s.shake(false)
	s.send(at, false, push, m.hello())
	rate := 220 * m.Scale
	for at += mirror.trip; at < m.Duration; at += m.pause(rate / 10) {
		s.transfer(at, true, m.bytes(10*s.size()), 300*time.Microsecond)
	}
}

// voice is calls: 50 packets a second each way, 20 ms of G.711 in each (RFC 3550, RFC 3551), and their reports.
func (m *maker) voice() {
	for range m.many(3) {
		caller := m.somebody()
		near, far := uint16(2*m.between(5000, 10000)), uint16(2*m.between(8192, 16000))
		for _, in := range []bool{true, false} {
			begin, source := m.jitter(20*time.Millisecond), m.random.Uint32()
			sequence, stamp := uint16(m.random.Uint32()), m.random.Uint32()
			for at := begin; at < m.Duration; at += 20 * time.Millisecond {
				b := binary.BigEndian.AppendUint16([]byte{0x80, 0}, sequence)
				b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, stamp), source)
				m.datagram(at+m.jitter(2*time.Millisecond), Voice, in, &caller, near, far, 46, append(b, m.bytes(160)...))
				sequence++
				stamp += 160
			}
			for at := begin + time.Second; at < m.Duration; at += 5 * time.Second {
				m.datagram(at, Voice, in, &caller, near+1, far+1, 46, append([]byte{0x80, 200, 0, 6}, m.bytes(24)...))
			}
		}
	}
}

// datagram is UDP between the host and a peer. The peer's networks have cleared what DSCP there was.
func (m *maker) datagram(at time.Duration, k Kind, in bool, p *peer, near, far uint16, dscp uint8, payload []byte) {
	u := packet{protocol: traffic.ProtoUDP, ttl: hostTTL, dscp: dscp, payload: payload}
	host, other := m.ends(p, near, far)
	u.src, u.dst = host, other
	if in {
		u.src, u.dst, u.ttl, u.dscp = other, host, p.ttl, 0
	}
	m.emit(at, k, u)
}
