// Package ordinary makes the traffic that a busy host has on an ordinary day: web, DNS, calls, a game and a download.
package ordinary

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// Kind is what a frame is for.
type Kind uint8

// The kinds of ordinary traffic.
const (
	Web      Kind = iota // the host is a web server
	DNS                  // it answers queries, and asks resolvers itself
	Voice                // RTP with callers
	Game                 // players of a game server
	Download             // the host fetches a large file
)

var kindNames = [...]string{"web", "DNS", "voice", "game", "download"}

// Kinds is how many kinds there are.
const Kinds = len(kindNames)

// String returns the kind's name.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Options say whose traffic is made, and how much. At a Scale of 1 about 950 packets/s come in and as many go out.
type Options struct {
	Host     netip.Addr
	Seed     uint64        // the same frames for the same options
	Duration time.Duration // of the traffic; up to an hour
	Scale    float64       // how busy the host is; 0 is 1, at most 100
}

// Frame is one Ethernet frame without check sequence. Its MAC addresses are zero and all its checksums right.
type Frame struct {
	At       time.Duration // since the beginning
	Incoming bool          // to the host
	Kind     Kind
	Data     []byte
}

// Make returns the traffic in the order of its time.
func Make(o Options) ([]Frame, error) {
	if !o.Host.IsValid() || o.Host.Is4In6() {
		return nil, fmt.Errorf("make ordinary traffic: host %s must be an IPv4 or IPv6 address", o.Host)
	}
	if o.Scale == 0 {
		o.Scale = 1
	}
	if o.Duration < 0 || o.Duration > time.Hour || !(o.Scale > 0 && o.Scale <= 100) {
		return nil, errors.New("make ordinary traffic: the duration must be up to an hour, and the scale over 0 and up to 100")
	}
	m := maker{Options: o, random: rand.New(rand.NewPCG(o.Seed, 6))}
	m.web()
	m.dns()
	m.voice()
	m.game()
	m.download()
	slices.SortStableFunc(m.frames, func(a, b Frame) int { return cmp.Compare(a.At, b.At) })
	return m.frames, nil
}

// maker collects frames.
type maker struct {
	Options
	random *rand.Rand
	frames []Frame
}

// emit adds a packet at a time, unless the traffic has ended by then.
func (m *maker) emit(at time.Duration, k Kind, p packet) {
	if at < 0 || at >= m.Duration {
		return
	}
	m.frames = append(m.frames, Frame{At: at, Incoming: p.dst.Addr() == m.Host, Kind: k, Data: p.frame(m.random)})
}

// events calls f at random times, so many in a second on average.
func (m *maker) events(rate float64, f func(at time.Duration)) {
	for at := m.pause(rate); at < m.Duration; at += m.pause(rate) {
		f(at)
	}
}

// pause is the time to the next of so many events in a second.
func (m *maker) pause(rate float64) time.Duration {
	return time.Duration(m.random.ExpFloat64() / rate * float64(time.Second))
}

// many scales a number that is right for a Scale of 1, and is at least 1.
func (m *maker) many(n float64) int { return max(1, int(n*m.Scale+0.5)) }

// jitter is a time of up to so much.
func (m *maker) jitter(most time.Duration) time.Duration {
	return time.Duration(m.random.Int64N(int64(most) + 1))
}

func (m *maker) between(low, high int) int { return low + m.random.IntN(high-low+1) }

func (m *maker) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.random.Uint32())
	}
	return b
}

// peer is somebody that the host speaks with.
type peer struct {
	addr    netip.Addr
	ttl     uint8         // of what arrives from there
	trip    time.Duration // there and back
	windows bool          // the stack of Windows: TTL from 128 down, no time stamps
}

// somebody is a peer at any public address.
func (m *maker) somebody() peer {
	p := peer{trip: 8*time.Millisecond + m.jitter(90*time.Millisecond), windows: m.random.IntN(5) < 2, ttl: 64}
	if p.windows {
		p.ttl = 128
	}
	p.ttl -= uint8(m.between(5, 22))
	if m.Host.Is6() {
		b := [16]byte{0: 0x2a, 1: byte(m.between(0, 15))}
		copy(b[2:], m.bytes(14))
		p.addr = netip.AddrFrom16(b)
		return p
	}
	// First bytes of which nothing is reserved.
	first := []byte{2, 5, 24, 31, 37, 46, 62, 71, 77, 78, 80, 82, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 109, 151, 176, 178, 188, 193, 194, 195, 212, 213, 217}
	p.addr = netip.AddrFrom4([4]byte{first[m.random.IntN(len(first))], byte(m.between(0, 254)), byte(m.between(0, 255)), byte(m.between(1, 254))})
	return p
}

func (m *maker) crowd(n int) []peer {
	all := make([]peer, n)
	for i := range all {
		all[i] = m.somebody()
	}
	return all
}

func (m *maker) one(of []peer) *peer { return &of[m.random.IntN(len(of))] }

// ephemeral is a port that a client's stack chooses.
func (p *peer) ephemeral(m *maker) uint16 {
	switch {
	case p.windows:
		return uint16(m.between(49152, 65535))
	case m.random.IntN(4) == 0: // behind address translation
		return uint16(m.between(1024, 65535))
	}
	return uint16(m.between(32768, 60999))
}
