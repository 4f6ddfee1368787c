package bgp_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/bgp"
	"weir/userspace/lab"
	"weir/userspace/traffic"
)

// rawPeer speaks BGP byte by byte.
type rawPeer struct {
	t      *testing.T
	listen net.Listener
	as     uint16
}

func newRawPeer(t *testing.T, h *lab.Host, as uint16) *rawPeer {
	t.Helper()
	p := &rawPeer{t: t, as: as}
	err := h.Do(func() (err error) {
		p.listen, err = net.Listen("tcp", ":179")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.listen.Close() })
	return p
}

func bgpMessage(kind byte, body ...byte) []byte {
	m := append(bytes.Repeat([]byte{0xff}, 16), 0, 0, kind)
	m = append(m, body...)
	binary.BigEndian.PutUint16(m[16:], uint16(len(m)))
	return m
}

// openMessage offers the capabilities that are given as codes with their values.
func (p *rawPeer) openMessage(capabilities ...[]byte) []byte {
	body := []byte{4, byte(p.as >> 8), byte(p.as), 0, 90, 192, 0, 2, 99, 0}
	for _, c := range capabilities {
		body = append(body, 2, byte(len(c)+1), c[0], byte(len(c)-1))
		body = append(body, c[1:]...)
	}
	body[9] = byte(len(body) - 10)
	return bgpMessage(1, body...)
}

// session accepts a connection and brings a session up. What the speaker sends afterwards comes out of the channel, message by message.
func (p *rawPeer) session() (net.Conn, <-chan []byte) {
	p.t.Helper()
	conn, err := p.listen.Accept()
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	p.send(conn, p.openMessage([]byte{1, 0, 1, 0, 1}, []byte{1, 0, 2, 0, 1}, []byte{2}, []byte{64, 0, 120}), bgpMessage(4))
	messages := make(chan []byte, 1000)
	go func() {
		defer close(messages)
		for {
			header := make([]byte, 19)
			if _, err := io.ReadFull(conn, header); err != nil {
				return
			}
			body := make([]byte, binary.BigEndian.Uint16(header[16:])-19)
			if _, err := io.ReadFull(conn, body); err != nil {
				return
			}
			messages <- append(header, body...)
		}
	}()
	return conn, messages
}

func (p *rawPeer) send(conn net.Conn, messages ...[]byte) {
	p.t.Helper()
	if _, err := conn.Write(bytes.Join(messages, nil)); err != nil {
		p.t.Fatal(err)
	}
}

// next returns the next message of a type.
func next(t *testing.T, messages <-chan []byte, kind byte) []byte {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case m, open := <-messages:
			if !open {
				t.Fatalf("the connection was closed before a message of type %d", kind)
			}
			if m[18] == kind {
				return m
			}
		case <-timeout:
			t.Fatalf("no message of type %d", kind)
		}
	}
}

// A peer that sends what it likes as an UPDATE disturbs nobody, its own session included.
func TestMalformedUpdates(t *testing.T) {
	s := newScene(t)
	raw := newRawPeer(t, s.router(1), 65001)
	b := startBIRD(t, s.router(2), birdPeer("weir", 2, 65002, false, ""))
	sp := s.speak(bgp.Config{Peers: []bgp.Peer{{Name: "raw", Address: v4(1), AS: 65001}, {Name: "bird", Address: v4(2), AS: 65002, Multihop: 2}}})
	sp.Apply(nil)
	conn, messages := raw.session()
	sp.waitEstablished("raw", "bird")
	pid := sp.State().PID
	const count = 5000
	random := rand.New(rand.NewPCG(1, 2))
	valid := []byte{0, 0, 0, 20, 0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9, 0x40, 3, 4, 10, 0, 1, 2, 24, 198, 51, 100}
	for range count {
		body := bytes.Clone(valid)
		for range 1 + random.IntN(6) {
			body[random.IntN(len(body))] = byte(random.Uint32())
		}
		if random.IntN(4) == 0 {
			body = make([]byte, 4+random.IntN(300))
			for i := range body {
				body[i] = byte(random.Uint32())
			}
		}
		raw.send(conn, bgpMessage(2, body...))
	}
	raw.send(conn, bgpMessage(5, 0, 1, 0, 1)) // the answer shows that all of it has been read
	update := next(t, messages, 2)
	if len(update) > 30 { // nothing is announced: End-of-RIB, of whichever family comes first
		t.Errorf("got % x", update)
	}
	sp.Apply([]traffic.Announcement{blackhole("203.0.113.7/32")})
	update = next(t, messages, 2)
	for len(update) <= 30 { // End-of-RIB of the other family, and those that were asked for
		update = next(t, messages, 2)
	}
	if !bytes.HasSuffix(update, []byte{32, 203, 0, 113, 7}) {
		t.Errorf("got % x", update)
	}
	eventually(t, "BIRD has the route", func() bool { return strings.Contains(b.show("route"), "203.0.113.7/32") })
	eventually(t, "all are counted", func() bool { return sp.peer("raw").Received.Update == count })
	p := sp.peer("raw")
	if p.Session != bgp.Established || p.Broken < count/4 || !strings.Contains(p.Error, "the peer has sent a malformed UPDATE message, which was ignored") {
		t.Errorf("%+v", p)
	}
	if st := sp.State(); st.PID != pid {
		t.Error("the speaker was started again")
	}
}

// What cannot be ignored ends the session, with the reason on both sides.
func TestRefused(t *testing.T) {
	broken := bgpMessage(4)
	broken[3] = 0
	short := bgpMessage(2, 0, 0)
	giant := bgpMessage(2, 0, 0, 0, 0)
	binary.BigEndian.PutUint16(giant[16:], 5000)
	for _, tt := range []struct {
		name    string
		open    bool // what is sent comes in place of the OPEN message
		message []byte
		notice  []byte
		want    string
	}{
		{"no marker", false, broken, []byte{1, 1}, "message header without its marker; NOTIFICATION sent to the peer: Message Header Error / Connection Not Synchronized"},
		{"short", false, short, []byte{1, 2, 0, 21}, "message of type 2 with impossible length 21; NOTIFICATION sent to the peer: Message Header Error / Bad Message Length"},
		{"giant", false, giant, []byte{1, 2, 0x13, 0x88}, "message of type 2 with impossible length 5000"},
		{"unknown type", false, bgpMessage(9), []byte{1, 3, 9}, "message of unknown type 9; NOTIFICATION sent to the peer: Message Header Error / Bad Message Type"},
		{"second OPEN", false, bgpMessage(1, 4, 0xfd, 0xe9, 0, 90, 1, 2, 3, 4, 0), []byte{5, 3}, "Finite State Machine Error / Unexpected Message in Established State"},
		{"its own NOTIFICATION", false, bgpMessage(3, 6, 2, 5, 'l', 'a', 't', 'e', 'r'), nil, `the peer sent NOTIFICATION Cease / Administrative Shutdown: "later"`},
		{"UPDATE first", true, bgpMessage(2, 0, 0, 0, 0), []byte{5, 1}, "Finite State Machine Error / Unexpected Message in OpenSent State"},
		{"version", true, bgpMessage(1, 5, 0xfd, 0xe9, 0, 90, 1, 2, 3, 4, 0), []byte{2, 1, 0, 4}, "the peer speaks BGP version 5; only 4 is known"},
		{"hold time", true, bgpMessage(1, 4, 0xfd, 0xe9, 0, 2, 1, 2, 3, 4, 0), []byte{2, 6}, "NOTIFICATION sent to the peer: OPEN Message Error / Unacceptable Hold Time"},
		{"capability", true, bgpMessage(1, 4, 0xfd, 0xe9, 0, 90, 1, 2, 3, 4, 4, 2, 2, 1, 9), []byte{2, 0}, "malformed OPEN message"},
		{"router ID", true, bgpMessage(1, 4, 0xfd, 0xe9, 0, 90, 0, 0, 0, 0, 0), []byte{2, 3}, "OPEN Message Error / Bad BGP Identifier: the peer's router ID is 0.0.0.0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			raw := newRawPeer(t, s.router(1), 65001)
			sp := s.speak(bgp.Config{Peers: []bgp.Peer{{Name: "raw", Address: v4(1), AS: 65001}}})
			sp.Apply(nil)
			var conn net.Conn
			var messages <-chan []byte
			if tt.open {
				raw.as = 0
				var err error
				if conn, err = raw.listen.Accept(); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
			} else {
				conn, messages = raw.session()
				sp.waitEstablished("raw")
			}
			raw.send(conn, tt.message)
			sp.waitError("raw", tt.want)
			if tt.notice == nil {
				return
			}
			var got []byte
			if tt.open {
				if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
					t.Fatal(err)
				}
				all, err := io.ReadAll(conn)
				if err != nil {
					t.Fatal(err)
				}
				got = all[max(0, len(all)-len(tt.notice)):]
			} else {
				got = next(t, messages, 3)[19:]
			}
			if !bytes.Equal(got, tt.notice) {
				t.Errorf("the peer was told % x, want % x", got, tt.notice)
			}
		})
	}
}

// A peer is alive as long as it says anything, be it only what is dropped; a silent one is given up.
func TestHoldTime(t *testing.T) {
	s := newScene(t)
	silent, busy := newRawPeer(t, s.router(1), 65001), newRawPeer(t, s.router(2), 65002)
	sp := s.speak(bgp.Config{Peers: []bgp.Peer{
		{Name: "silent", Address: v4(1), AS: 65001, HoldTime: 3 * time.Second}, {Name: "busy", Address: v4(2), AS: 65002, HoldTime: 3 * time.Second},
	}})
	sp.Apply(nil)
	_, messages := silent.session()
	conn, _ := busy.session()
	sp.waitEstablished("silent", "busy")
	eventually(t, "the silent one is given up", func() bool {
		busy.send(conn, bgpMessage(2, 0, 0, 0, 0))
		return strings.Contains(sp.peer("silent").Error, "NOTIFICATION sent to the peer: Hold Timer Expired: nothing was heard of it for that long")
	})
	if m := next(t, messages, 3); !bytes.Equal(m[19:], []byte{4, 0}) {
		t.Errorf("it was told % x", m[19:])
	}
	later := time.After(2 * time.Second)
	eventually(t, "the busy one's time would have been over", func() bool {
		busy.send(conn, bgpMessage(2, 0, 0, 0, 0))
		select {
		case <-later:
			return true
		default:
			return false
		}
	})
	if p := sp.peer("busy"); p.Session != bgp.Established || p.Ups != 1 {
		t.Errorf("%+v", p)
	}
}

// A peer that comes and goes does not harm the others, nor does it leave anything behind.
func TestFlapping(t *testing.T) {
	const times = 40
	s := newScene(t)
	h := s.router(1)
	b := startBIRD(t, s.router(2), birdPeer("weir", 2, 65002, false, ""))
	sp := s.speak(bgp.Config{
		Listen: []netip.AddrPort{netip.AddrPortFrom(our4(1), 179)},
		Peers:  []bgp.Peer{{Name: "flapping", Address: v4(1), AS: 65001, Passive: true}, {Name: "bird", Address: v4(2), AS: 65002, Multihop: 2}},
	})
	sp.Apply([]traffic.Announcement{blackhole("203.0.113.7/32")})
	sp.waitEstablished("bird")
	pid := sp.State().PID
	raw := &rawPeer{t: t, as: 65001}
	for i := range times {
		var conn net.Conn
		err := h.Do(func() (err error) {
			conn, err = net.DialTimeout("tcp4", "10.0.1.1:179", patience)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		raw.send(conn, raw.openMessage([]byte{1, 0, 1, 0, 1}), bgpMessage(4))
		eventually(t, "the session is up again", func() bool { return sp.peer("flapping").Ups == uint64(i+1) })
		if i%2 == 0 {
			_ = conn.(*net.TCPConn).SetLinger(0) // reset
		}
		if i%3 > 0 { // else it is the next connection that ends this one
			_ = conn.Close()
			eventually(t, "the session is gone", func() bool { return sp.peer("flapping").Session != bgp.Established })
		}
	}
	if !strings.Contains(b.show("route"), "203.0.113.7/32") || sp.peer("bird").Ups != 1 || sp.State().PID != pid {
		t.Errorf("the other peer was disturbed: %+v", sp.peer("bird"))
	}
	if n := resident(t, pid); n > 100<<20 {
		t.Errorf("the speaker has %d MiB", n>>20)
	}
}

// A full table is ignored, and takes no memory.
func TestFullTable(t *testing.T) {
	const count = 100_000
	s := newScene(t)
	var routes strings.Builder
	for i := range count {
		fmt.Fprintf(&routes, "route %d.%d.%d.0/24 blackhole;\n", 20+i>>16, i>>8&255, i&255)
	}
	b := startBIRD(t, s.router(1), "protocol static { ipv4 { import all; };\n"+routes.String()+"}\n"+
		strings.ReplaceAll(birdPeer("weir", 1, 65001, false, ""), "export none", "export all"))
	sp := s.speak(bgp.Config{Peers: []bgp.Peer{{Name: "bird", Address: v4(1), AS: 65001, Multihop: 2}}})
	sp.Apply([]traffic.Announcement{blackhole("203.0.113.7/32")})
	sp.waitEstablished("bird")
	before := resident(t, sp.State().PID)
	eventually(t, "BIRD has sent all of it", func() bool {
		return strings.Contains(b.show("protocols all weir"), fmt.Sprintf("%d exported", count))
	})
	eventually(t, "BIRD has our route", func() bool { return strings.Contains(b.show("route 203.0.113.7/32"), "203.0.113.7/32") })
	p := sp.peer("bird")
	after := resident(t, sp.State().PID)
	t.Logf("%d UPDATE messages; %d MiB before, %d MiB after", p.Received.Update, before>>20, after>>20)
	if p.Session != bgp.Established || p.Broken > 0 || p.Ups != 1 {
		t.Errorf("%+v", p)
	}
	if after > 100<<20 {
		t.Errorf("the speaker has %d MiB", after>>20)
	}
}

// A child that crashes is told about, and started again within a second.
func TestCrash(t *testing.T) {
	s := newScene(t)
	out := &output{}
	sp, stop := s.run(bgp.Config{}, bgp.Options{Executable: "/bin/sh", Arguments: []string{"-c", "echo panic: at the disco >&2; exit 2"}}, out)
	eventually(t, "it is started again", func() bool { return sp.State().Restarts >= 2 })
	eventually(t, "the state says why", func() bool {
		return strings.Contains(sp.State().Error, "the speaker ended: exit status 2: panic: at the disco")
	})
	stop()
	if !strings.Contains(out.String(), "panic: at the disco") {
		t.Errorf("the log says only:\n%s", out)
	}
}
