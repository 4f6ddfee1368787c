package ordinary

import (
	"encoding/binary"
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

const (
	ack  = traffic.FlagACK
	push = traffic.FlagACK | traffic.FlagPSH

	hostTTL = 64
)

// stream is a TCP connection between the host and a peer.
type stream struct {
	m      *maker
	kind   Kind
	peer   *peer
	near   netip.AddrPort // the host
	far    netip.AddrPort
	label  uint32
	begun  time.Duration
	seq    [2]uint32 // next to be sent, by whether the host is to get it
	stamps bool
}

func (m *maker) open(kind Kind, p *peer, near, far uint16, at time.Duration) *stream {
	return &stream{
		m: m, kind: kind, peer: p, near: netip.AddrPortFrom(m.Host, near), far: netip.AddrPortFrom(p.addr, far), label: m.random.Uint32() & 0xfffff,
		begun: at, seq: [2]uint32{m.random.Uint32(), m.random.Uint32()}, stamps: !p.windows,
	}
}

// send emits one segment and counts what it takes of the sequence.
func (s *stream) send(at time.Duration, in bool, flags uint8, payload []byte) {
	mine, other := 0, 1
	p := packet{src: s.near, dst: s.far, protocol: traffic.ProtoTCP, ttl: hostTTL, label: s.label, payload: payload}
	if in {
		mine, other = 1, 0
		p.src, p.dst, p.ttl = s.far, s.near, s.peer.ttl
	}
	p.tcp = segment{flags: flags, seq: s.seq[mine], window: uint16(s.m.between(229, 2060)), options: s.options(at, flags)}
	if flags&ack != 0 {
		p.tcp.ack = s.seq[other]
	}
	s.seq[mine] += uint32(len(payload))
	if flags&(traffic.FlagSYN|traffic.FlagFIN) != 0 {
		s.seq[mine]++
	}
	if flags&traffic.FlagSYN != 0 {
		p.tcp.window = 64240
	}
	s.m.emit(at, s.kind, p)
}

// options are those that Linux, macOS and Windows send: segment size, SACK, window scale, time stamps (RFC 9293, RFC 7323, RFC 2018).
func (s *stream) options(at time.Duration, flags uint8) []byte {
	const nop = 1
	stamp := []byte{nop, nop, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(stamp[4:], uint32(at.Milliseconds())+s.label)
	switch {
	case flags&traffic.FlagSYN != 0 && s.stamps:
		return append([]byte{2, 4, 0x05, 0xb4, 4, 2, 8, 10}, append(stamp[4:], nop, 3, 3, 7)...)
	case flags&traffic.FlagSYN != 0:
		return []byte{2, 4, 0x05, 0xb4, nop, 3, 3, 8, nop, nop, 4, 2}
	case s.stamps:
		return stamp
	}
	return nil
}

// size is how much of a stream fits into one segment: 1500 bytes in all.
func (s *stream) size() int {
	header := ipv4Bytes + tcpBytes
	if s.near.Addr().Is6() {
		header = ipv6Bytes + tcpBytes
	}
	if s.stamps {
		header += 12
	}
	return 1500 - header
}

// shake opens the connection; the client is the peer or the host. It returns when the client may send.
func (s *stream) shake(byPeer bool) time.Duration {
	trip := s.peer.trip
	s.send(s.begun, byPeer, traffic.FlagSYN, nil)
	answered := s.begun + 40*time.Microsecond
	if !byPeer {
		answered = s.begun + trip
	}
	s.send(answered, !byPeer, traffic.FlagSYN|ack, nil)
	done := s.begun + trip
	s.send(done, byPeer, ack, nil)
	return done
}

// transfer sends data in segments, at a pace, with an acknowledgement of every second one, and returns when it is over.
func (s *stream) transfer(at time.Duration, in bool, data []byte, pace time.Duration) time.Duration {
	for n := 1; len(data) > 0; n++ {
		part := data[:min(len(data), s.size())]
		data = data[len(part):]
		flags := uint8(ack)
		if len(data) == 0 {
			flags = push
		}
		s.send(at, in, flags, part)
		if n%2 == 0 || len(data) == 0 {
			s.send(at+50*time.Microsecond, !in, ack, nil)
		}
		at += pace + s.m.jitter(pace/2)
	}
	return at
}

// end closes the connection from one side; now and then a peer resets it instead.
func (s *stream) end(at time.Duration, byPeer bool) {
	if byPeer && s.m.random.IntN(12) == 0 {
		s.send(at, true, traffic.FlagRST|ack, nil)
		return
	}
	s.send(at, byPeer, traffic.FlagFIN|ack, nil)
	s.send(at+s.peer.trip/2, !byPeer, traffic.FlagFIN|ack, nil)
	s.send(at+s.peer.trip, byPeer, ack, nil)
}
