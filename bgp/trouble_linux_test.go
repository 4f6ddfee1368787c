package bgp_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/bgp"
	"weir/userspace/traffic"
)

// waitError waits until a peer's state says why there is no session.
func (s *speaker) waitError(peer, want string) {
	s.t.Helper()
	eventually(s.t, peer+"'s error has "+want, func() bool { return strings.Contains(s.peer(peer).Error, want) })
	if p := s.peer(peer); p.Session == bgp.Established || p.ErrorAt.IsZero() {
		s.t.Errorf("%+v", p)
	}
}

func TestMD5(t *testing.T) {
	s := newScene(t)
	startBIRD(t, s.router(1), birdPeer("weir4", 1, 65001, false, `password "right";`)+birdPeer("weir6", 1, 65001, true, `password "right";`))
	startBIRD(t, s.router(2), birdPeer("weir", 2, 65002, false, `password "theirs";`))
	startBIRD(t, s.router(3), birdPeer("weir", 3, 65003, false, `password "unexpected";`))
	startBIRD(t, s.router(4), birdPeer("weir", 4, 65004, true, `password "right"; passive;`))
	startBIRD(t, s.router(5), birdPeer("weir", 5, 65005, true, `password "right";`))
	sp := s.speak(bgp.Config{
		Listen: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:179"), netip.MustParseAddrPort("[::]:179")},
		Peers: []bgp.Peer{
			{Name: "right4", Address: v4(1), AS: 65001, Multihop: 2, Password: "right"},
			{Name: "right6", Address: v6(1), AS: 65001, Multihop: 2, Password: "right"},
			{Name: "wrong", Address: v4(2), AS: 65002, Multihop: 2, Password: "ours", Passive: true},
			{Name: "none", Address: v4(3), AS: 65003, Multihop: 2},
			{Name: "we connect", Address: v6(4), AS: 65004, Multihop: 2, Password: "right"},
			{Name: "they connect", Address: v6(5), AS: 65005, Multihop: 2, Password: "right", Passive: true},
		},
	})
	sp.Apply(nil)
	sp.waitEstablished("right4", "right6", "we connect", "they connect")
	sp.waitError("none", "if the peer expects a TCP-MD5 password, one must be configured")
	sp.waitError("wrong", "segments with a missing or wrong TCP-MD5 signature")
}

// The other side's password is wrong, and it does not connect by itself.
func TestMD5Timeout(t *testing.T) {
	s := newScene(t)
	startBIRD(t, s.router(1), birdPeer("weir", 1, 65001, false, `password "theirs"; passive;`))
	sp := s.speak(bgp.Config{Peers: []bgp.Peer{{Name: "wrong", Address: v4(1), AS: 65001, Multihop: 2, Password: "ours"}}})
	sp.Apply(nil)
	sp.waitError("wrong", "connect to 10.0.1.2 port 179: no answer within 5s; with TCP-MD5 that is also what a wrong password looks like")
}

func TestWrongAS(t *testing.T) {
	s := newScene(t)
	ours := strings.ReplaceAll(birdPeer("weir", 1, 65001, false, ""), "as 65000", "as 64999")
	startBIRD(t, s.router(1), ours)
	startBIRD(t, s.router(2), birdPeer("weir", 2, 65002, false, ""))
	sp := s.speak(bgp.Config{Peers: []bgp.Peer{
		{Name: "they", Address: v4(1), AS: 65001, Multihop: 2},
		{Name: "we", Address: v4(2), AS: 65099, Multihop: 2},
	}})
	sp.Apply([]traffic.Announcement{blackhole("203.0.113.7/32")})
	sp.waitError("they", "the peer sent NOTIFICATION OPEN Message Error / Bad Peer AS: it does not expect AS 65000")
	sp.waitError("we", "NOTIFICATION sent to the peer: OPEN Message Error / Bad Peer AS: the peer is AS 65002, the configuration says 65099")
	for _, r := range sp.State().Routes[0].Peers {
		if r.Error != "the session is not up" {
			t.Errorf("%+v", r)
		}
	}
}

// Who connects, from where, and how far away: all of it together, with TTL security, which drops what has come further.
func TestTransport(t *testing.T) {
	s := newScene(t)
	const neighbour = "ttl security on;"
	direct := strings.NewReplacer("multihop 2;", "direct;")
	startBIRD(t, s.router(1), direct.Replace(birdPeer("weir", 1, 65001, false, neighbour)))
	startBIRD(t, s.router(2), direct.Replace(birdPeer("weir", 2, 65002, true, neighbour+"passive;")))
	startBIRD(t, s.router(3), direct.Replace(birdPeer("weir", 3, 65003, false, "passive;"))) // an ordinary neighbour: TTL 1
	startBIRD(t, s.router(4), birdPeer("weir", 4, 65004, false, ""))                         // TTL 64
	sp := s.speak(bgp.Config{
		Listen: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:179")},
		Peers: []bgp.Peer{
			{Name: "secure and passive", Address: v4(1), AS: 65001, TTLSecurity: 1, Passive: true},
			{Name: "secure", Address: v6(2), LocalAddress: our6(2), AS: 65002, TTLSecurity: 1},
			{Name: "plain", Address: v4(3), AS: 65003},
			{Name: "too far", Address: v4(4), AS: 65004, TTLSecurity: 1, Passive: true},
		},
	})
	sp.Apply(nil)
	sp.waitEstablished("secure and passive", "secure", "plain")
	eventually(t, "it has come", func() bool { return sp.peer("too far").Sent.Open > 0 })
	// What it had sent before the connection was taken over is read: at most its OPEN. The others were up within milliseconds.
	still := time.After(time.Second)
	eventually(t, "a second has passed", func() bool {
		if p := sp.peer("too far"); p.Session == bgp.Established || p.Received.KeepAlive > 0 {
			t.Fatalf("%+v", p)
		}
		select {
		case <-still:
			return true
		default:
			return false
		}
	})
}

// What is wrong on our own side.
func TestOwnSide(t *testing.T) {
	s := newScene(t)
	s.router(1)
	var taken net.Listener
	err := s.us.Do(func() (err error) {
		taken, err = net.Listen("tcp4", "10.0.1.1:179")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sp := s.speak(bgp.Config{
		Listen: []netip.AddrPort{netip.AddrPortFrom(our4(1), 179)},
		Peers: []bgp.Peer{
			{Name: "refused", Address: v4(1), AS: 65001},
			{Name: "no source", Address: v6(1), LocalAddress: our6(9), AS: 65001},
		},
	})
	sp.Apply(nil)
	sp.waitError("refused", "connection refused: no BGP speaker listens there")
	sp.waitError("no source", "this machine does not have the local address fd00:9::1")
	eventually(t, "the address in use is told", func() bool {
		return strings.Contains(sp.State().Error, "listen on 10.0.1.1:179: another program listens there")
	})
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the address is taken over", func() bool { return sp.State().Error == "" })
}
