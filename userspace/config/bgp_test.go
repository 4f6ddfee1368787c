package config

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// compareBGP looks into a BGP, which would otherwise be compared by its own Equal.
var compareBGP = cmp.Options{compareNet, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().Type() == reflect.TypeFor[BGP]() }, cmp.Transformer("parts", func(b BGP) any {
	type parts BGP
	return parts(b)
}))}

func pointer(v uint32) *uint32 { return &v }

// TestBGP sets every value of a peer and of each kind of action.
func TestBGP(t *testing.T) {
	got := mustParse(t, `
bgp:
  as: 64500
  router_id: 192.0.2.9
  listen: [192.0.2.9:1179, "[2001:db8::9]:1179", ":1179"]
  graceful_restart: {long_lived: 1d}
  gobgp: {address: "gobgp.example:50051", families: {ipv4-unicast: 5}}
  actions:
    rtbh:
      kind: blackhole
      directions: [outgoing]
      next_hop: {ipv4: 192.0.2.66, ipv6: off}
      length: {ipv4: network, ipv6: 64}
      widest: {ipv4: 20, ipv6: 56}
      communities: [blackhole, "64496:1", no-export, no-advertise, no-export-subconfed, no-peer]
      local_pref: 0
      announcements:
        - {peers: [a]}
        - {peers: [b, gobgp], large_communities: ["1:2:4294967295"], communities: [], local_pref: 7, prepend: 3}
        - {extended_communities: ["rt:1:2", "soo:70000:2", "rt:192.0.2.1:2", "0x800600000000ABCD"], med: 4294967295}
    scrub:
      length: {ipv4: 22}
      kind: divert
      next_hop: {ipv6: "2001:db8::7"}
      over_never_ban: true
      group_prefixes: [198.51.100.0/24, 192.0.2.0/24, 192.0.2.0/24]
      peers: [a]
    flow:
      kind: flowspec
      widest: {ipv4: 32}
      communities: [no-export]
      rules: [then rate-bytes 1M, "flow-label 7 then discard", "source 192.0.2.0/24 then discard", "protocol icmp dscp 1 then mark 2", "family ipv6 protocol udp then discard"]
  peers:
    - {name: a, address: 192.0.2.1, as: 64500, port: 1179, local_address: 192.0.2.9, password: "x y", passive: true, ttl_security: 2, hold_time: 10s, connect_retry: 1s, families: [ipv6-flowspec, ipv4-unicast]}
    - {name: b, address: "2001:db8::1", as: 4200000000, multihop: 3, hold_time: 9s, keepalive: 1s}
hostgroups:
  default: {actions: [flow, drop, rtbh]}
  other: {networks: [], actions: [notify]}
  same: {networks: []}
`)
	addr, addrPort := netip.MustParseAddr, netip.MustParseAddrPort
	rule := func(text string, version uint8) traffic.Rule {
		r, err := traffic.ParseRule("destination " + map[uint8]string{6: "2001:db8::"}[version] + strings.Repeat("192.0.2.0", int(1-version/6)) + " " + text)
		if err != nil {
			t.Fatal(err)
		}
		r.Destination, r.Version = netip.Prefix{}, version
		return r
	}
	base := [2]netip.Addr{addr("192.0.2.66")}
	wellKnown := []uint32{0xFFFF029A, 64496<<16 | 1, 0xFFFFFF01, 0xFFFFFF02, 0xFFFFFF03, 0xFFFFFF04}
	want := BGP{
		RouterID:        addr("192.0.2.9"),
		AS:              64500,
		Listen:          []netip.AddrPort{addrPort("192.0.2.9:1179"), addrPort("[2001:db8::9]:1179"), addrPort("0.0.0.0:1179"), addrPort("[::]:1179")},
		OnStop:          BGPWithdraw,
		GracefulRestart: BGPGracefulRestart{Enabled: true, Time: 2 * time.Minute, LongLived: 24 * time.Hour},
		Aggregate:       BGPAggregate{IPv4: 24, IPv6: 48},
		Peers: []BGPPeer{{
			Name: "a", Address: addr("192.0.2.1"), Port: 1179, LocalAddress: addr("192.0.2.9"), AS: 64500, Password: "x y", Passive: true, TTLSecurity: 2,
			HoldTime: 10 * time.Second, Keepalive: 3 * time.Second, ConnectRetry: time.Second,
			Families: map[BGPFamily]int{BGPFlowSpec6: 1000, BGPUnicast4: 1000},
		}, {
			Name: "b", Address: addr("2001:db8::1"), Port: 179, AS: 4200000000, Multihop: 3,
			HoldTime: 9 * time.Second, Keepalive: time.Second, ConnectRetry: 2 * time.Second,
			Families: map[BGPFamily]int{BGPUnicast4: 1000, BGPUnicast6: 1000},
		}},
		GoBGP: BGPGoBGP{Address: "gobgp.example:50051", Families: map[BGPFamily]int{BGPUnicast4: 5}},
		Actions: []BGPAction{{
			Name: "rtbh", Kind: BGPBlackhole, Directions: [2]bool{traffic.Outgoing: true}, Length: [2]int{BGPLengthNetwork, 64}, Widest: [2]int{20, 56},
			Announcements: []BGPAnnouncement{
				{Peers: []string{"a"}, NextHop: base, Communities: wellKnown, LocalPref: pointer(0)},
				{Peers: []string{"b", "gobgp"}, NextHop: base, LargeCommunities: [][3]uint32{{1, 2, 4294967295}}, LocalPref: pointer(7), Prepend: 3},
				{NextHop: base, Communities: wellKnown, LocalPref: pointer(0), MED: pointer(4294967295), ExtendedCommunities: [][8]byte{
					{0, 2, 0, 1, 0, 0, 0, 2}, {2, 3, 0, 1, 0x11, 0x70, 0, 2}, {1, 2, 192, 0, 2, 1, 0, 2}, {0x80, 6, 0, 0, 0, 0, 0xAB, 0xCD},
				}},
			},
		}, {
			Name: "scrub", Kind: BGPDivert, Directions: [2]bool{true, false}, Length: [2]int{22, 48}, Widest: [2]int{8, 16},
			OverNeverBan: true, GroupPrefixes: prefixes("192.0.2.0/24", "198.51.100.0/24"),
			Announcements: []BGPAnnouncement{{Peers: []string{"a"}, NextHop: [2]netip.Addr{1: addr("2001:db8::7")}}},
		}, {
			Name: "flow", Kind: BGPFlowSpec, Directions: [2]bool{true, false}, Length: [2]int{32, 128}, Widest: [2]int{32, 16},
			Rules: []traffic.Rule{
				rule("then rate-bytes 1M", 0), rule("flow-label 7 then discard", 6), rule("source 192.0.2.0/24 then discard", 4),
				rule("protocol icmp dscp 1 then mark 2", 0), rule("protocol udp then discard", 6),
			},
			Announcements: []BGPAnnouncement{{Communities: []uint32{0xFFFFFF01}}},
		}},
	}
	if diff := cmp.Diff(got.BGP, want, compareBGP); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	if !got.BGP.Equal(want) || got.BGP.Equal(Default().BGP) {
		t.Error("Equal does not tell configurations apart")
	}
	if diff := cmp.Diff(got.BGP.Receivers(), []string{"a", "b", "gobgp"}); diff != "" {
		t.Errorf("receivers (-got +want)\n%s", diff)
	}
	for i, want := range []struct {
		drop, notify bool
		actions      []string
	}{{true, false, []string{"flow", "rtbh"}}, {false, true, nil}, {true, false, []string{"flow", "rtbh"}}} {
		if g := got.Hostgroups[i]; g.Drop != want.drop || g.Notify != want.notify || cmp.Diff(g.Actions, want.actions) != "" {
			t.Errorf("hostgroup %s: got drop %t, notify %t, %v, want %+v", g.Name, g.Drop, g.Notify, g.Actions, want)
		}
	}
}

func TestBGPWarnings(t *testing.T) {
	const whole = "networks: {prefixes: [192.0.2.0/24]}\ninterfaces: [{name: eth0}]\n"
	const group = "hostgroups: {default: {thresholds: {pps: 1}, actions: [rtbh]}}\n"
	tests := map[string]struct {
		text string
		want []Error
	}{
		"nobody is told": {
			whole + group + "bgp: {actions: {rtbh: {kind: blackhole}}}\n",
			[]Error{{"weir.yaml", 3, 56, `"hostgroups.default.actions": rtbh reaches nobody: "bgp" has no peers, exabgp or gobgp`}},
		},
		"somebody is told": {whole + group + "bgp: {exabgp: {pipe: /run/x}, actions: {rtbh: {kind: blackhole}}}\n", nil},
		"nobody understands": {
			whole + group + "bgp: {gobgp: {address: '[::1]:50051', families: [ipv4-unicast]}, actions: {rtbh: {kind: flowspec, rules: [then discard]}}}\n",
			[]Error{{"weir.yaml", 4, 76, `action "rtbh" reaches nobody: none of its peers has ipv4-flowspec or ipv6-flowspec in "families"`}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff([]Error(mustParse(t, test.text).Warnings), test.want); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

// TestPasswordsStayHidden: errors are logged.
func TestPasswordsStayHidden(t *testing.T) {
	secret := strings.Repeat("secret", 20)
	_, err := Parse("weir.yaml", []byte("bgp: {peers: [{name: a, password: "+secret+"}]}"), nil)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}
