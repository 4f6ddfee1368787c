package bgp_test

import (
	"strings"
	"testing"

	"weir/bgp"
	"weir/userspace/traffic"
)

func number(v uint32) *uint32 { return &v }

// Routes as BIRD shows them: both families over both transports, eBGP and iBGP, other communities for other peers.
func TestBIRD(t *testing.T) {
	s := newScene(t)
	outside := startBIRD(t, s.router(1), birdPeer("weir", 1, 65001, false, ""))
	inside := startBIRD(t, s.router(2), birdPeer("weir", 2, ourAS, true, ""))
	sp := s.speak(bgp.Config{Peers: []bgp.Peer{
		{Name: "outside", Address: v4(1), AS: 65001, Multihop: 2, Prepend: 1},
		{Name: "inside", Address: v6(2), LocalAddress: our6(2), AS: ourAS},
	}})
	one := blackhole("203.0.113.7/32", 65535<<16|666, 65000<<16|1)
	one.LargeCommunities = [][3]uint32{{65000, 1, 2}}
	one.ExtendedCommunities = [][8]byte{{0x00, 0x02, 0xfd, 0xe8, 0, 0, 0, 99}} // route target 65000:99
	one.MED, one.LocalPref, one.Prepend = number(50), number(200), 2
	forInside := blackhole("203.0.113.7/32", 65000<<16|2)
	forInside.Peers, forInside.LocalPref = []string{"inside"}, number(300)
	six := blackhole("2001:db8::7/128", 65535<<16|666)
	sp.Apply([]traffic.Announcement{one, forInside, six})
	sp.waitEstablished("outside", "inside")
	for _, tt := range []struct {
		name   string
		router *bird
		show   string
		want   []string
		not    []string
	}{
		{"v4 outside", outside, "route 203.0.113.7/32 all", []string{
			"BGP.as_path: 65000 65000 65000 65000\n", "BGP.next_hop: 192.0.2.1\n", "BGP.med: 50\n", "BGP.community: (65535,666) (65000,1)\n",
			"BGP.large_community: (65000, 1, 2)\n", "BGP.ext_community: (rt, 65000, 99)\n",
		}, []string{"(65000,2)"}},
		{"v6 outside", outside, "route 2001:db8::7/128 all", []string{"BGP.as_path: 65000 65000\n", "BGP.next_hop: 100::1\n", "(65535,666)"}, nil},
		{"v4 inside", inside, "route 203.0.113.7/32 all", []string{
			"BGP.as_path: \n", "BGP.local_pref: 300\n", "BGP.community: (65000,2)\n",
		}, []string{"BGP.med", "large", "ext_community"}},
		{"v6 inside", inside, "route 2001:db8::7/128 all", []string{"BGP.local_pref: 100\n", "BGP.next_hop: 100::1\n"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var text string
			eventually(t, tt.show, func() bool {
				text = tt.router.show(tt.show)
				return strings.Contains(text, "BGP.as_path")
			})
			for _, w := range tt.want {
				if !strings.Contains(text, w) {
					t.Errorf("%q is missing in\n%s", w, text)
				}
			}
			for _, n := range tt.not {
				if strings.Contains(text, n) {
					t.Errorf("%q is in\n%s", n, text)
				}
			}
		})
	}
	t.Run("withdrawn", func(t *testing.T) {
		sp.Apply([]traffic.Announcement{forInside})
		eventually(t, "only one route is left", func() bool {
			return !strings.Contains(outside.show("route"), "BGP") && !strings.Contains(outside.show("route"), "203.0.113.7") &&
				!strings.Contains(inside.show("route"), "2001:db8::7") && strings.Contains(inside.show("route"), "203.0.113.7")
		})
	})
}
