package exabgp

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

func blackhole(prefix, nextHop string) traffic.Announcement {
	return traffic.Announcement{
		Prefix: netip.MustParsePrefix(prefix), NextHop: netip.MustParseAddr(nextHop), Communities: []uint32{65001<<16 | 666},
	}
}

func prefix32(b [4]byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4(b), 32) }

func with(a traffic.Announcement, change func(*traffic.Announcement)) traffic.Announcement {
	change(&a)
	return a
}

func rule(t *testing.T, text string) traffic.Announcement {
	t.Helper()
	r, err := traffic.ParseRule(text)
	if err != nil {
		t.Fatal(err)
	}
	return traffic.Announcement{Rule: &r}
}

func TestStatements(t *testing.T) {
	o := Options{Name: "exabgp", AS: 65001, Neighbors: map[string]netip.Addr{
		"upstream": netip.MustParseAddr("192.0.2.1"), "ix": netip.MustParseAddr("2001:db8::1"),
	}}
	number := func(n uint32) *uint32 { return &n }
	host := blackhole("203.0.113.7/32", "192.0.2.1")
	for _, tt := range []struct {
		name string
		a    traffic.Announcement
		want []string // for each target in order: announcing, withdrawing
	}{
		{"FastNetMon's form", host, []string{
			"announce route 203.0.113.7/32 next-hop 192.0.2.1 community [65001:666]",
			"withdraw route 203.0.113.7/32 next-hop 192.0.2.1",
		}},
		{"no community", with(host, func(a *traffic.Announcement) { a.Communities = nil }), []string{
			"announce route 203.0.113.7/32 next-hop 192.0.2.1",
			"withdraw route 203.0.113.7/32 next-hop 192.0.2.1",
		}},
		{"IPv6", blackhole("2001:db8:bad::/48", "100::1"), []string{
			"announce route 2001:db8:bad::/48 next-hop 100::1 community [65001:666]",
			"withdraw route 2001:db8:bad::/48 next-hop 100::1",
		}},
		{"everything", with(host, func(a *traffic.Announcement) {
			a.Communities = []uint32{0xffff029a, 0xffffff01}
			a.LargeCommunities = [][3]uint32{{4200000000, 1, 2}}
			a.ExtendedCommunities = [][8]byte{{0x00, 0x02, 0xfd, 0xe9, 0, 0, 0, 100}}
			a.LocalPref, a.MED, a.Prepend = number(200), number(0), 2
		}), []string{
			"announce route 203.0.113.7/32 next-hop 192.0.2.1 community [65535:666 65535:65281] large-community [4200000000:1:2]" +
				" extended-community [0x0002fde900000064] local-preference 200 med 0 as-path [65001 65001 65001]",
			"withdraw route 203.0.113.7/32 next-hop 192.0.2.1",
		}},
		{"to neighbors", with(host, func(a *traffic.Announcement) { a.Peers = []string{"ix", "elsewhere", "upstream"} }), []string{
			"neighbor 192.0.2.1 announce route 203.0.113.7/32 next-hop 192.0.2.1 community [65001:666]",
			"neighbor 192.0.2.1 withdraw route 203.0.113.7/32 next-hop 192.0.2.1",
			"neighbor 2001:db8::1 announce route 203.0.113.7/32 next-hop 192.0.2.1 community [65001:666]",
			"neighbor 2001:db8::1 withdraw route 203.0.113.7/32 next-hop 192.0.2.1",
		}},
		{"to all of this ExaBGP", with(host, func(a *traffic.Announcement) { a.Peers = []string{"exabgp", "upstream"} }), []string{
			"announce route 203.0.113.7/32 next-hop 192.0.2.1 community [65001:666]",
			"withdraw route 203.0.113.7/32 next-hop 192.0.2.1",
		}},
		{"to others", with(host, func(a *traffic.Announcement) { a.Peers = []string{"elsewhere"} }), nil},
		{"flow", with(rule(t, "destination 203.0.113.7/32 protocol udp source-port 53,123 length >=400&<=1500 fragment is-fragment then discard"),
			func(a *traffic.Announcement) { a.Communities = []uint32{65001<<16 | 1}; a.Peers = []string{"ix"} }), []string{
			"neighbor 2001:db8::1 announce flow route { match { destination 203.0.113.7/32; protocol [ =17 ]; source-port [ =53 =123 ];" +
				" packet-length [ >=400&<=1500 ]; fragment [ =2 ]; } then { discard; community [65001:1]; } }",
			"neighbor 2001:db8::1 withdraw flow route { match { destination 203.0.113.7/32; protocol [ =17 ]; source-port [ =53 =123 ];" +
				" packet-length [ >=400&<=1500 ]; fragment [ =2 ]; } then { discard; community [65001:1]; } }",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wishes, refused := o.statements([]traffic.Announcement{tt.a})
			if len(refused) > 0 {
				t.Fatal(refused)
			}
			var got []string
			for _, w := range wishes {
				for _, target := range []string{everybody, "192.0.2.1", "2001:db8::1"} {
					if s, there := w.targets[target]; there {
						got = append(got, s.announce, s.withdraw)
					}
				}
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

func TestFlowRoutes(t *testing.T) {
	for _, tt := range []struct{ rule, match, then string }{
		{"destination 2001:db8::7/128 protocol tcp dscp 46 flow-label >=5 then rate-bytes 9600",
			"destination 2001:db8::7/128/0; next-header [ =6 ]; traffic-class [ =46 ]; flow-label [ >=5 ];", "rate-limit 9600;"},
		{"destination 203.0.113.0/24 source 198.51.100.0/24 port !=80 icmp-type 8 icmp-code 0 then rate-bytes 0.5",
			"destination 203.0.113.0/24; source 198.51.100.0/24; port [ !=80 ]; icmp-type [ =8 ]; icmp-code [ =0 ];", "extended-community [0x800600003f000000];"},
		{"destination 203.0.113.7/32 then rate-packets 100", "destination 203.0.113.7/32;", "extended-community [0x800c000042c80000];"},
		{"destination 203.0.113.7/32 then mark 46 sample continue", "destination 203.0.113.7/32;", "mark 46; extended-community [0x8007000000000003];"},
		{"destination 203.0.113.7/32 then sample", "destination 203.0.113.7/32;", "extended-community [0x8007000000000002];"},
		{"destination 203.0.113.7/32 then accept", "destination 203.0.113.7/32;", "accept;"},
		{"destination 203.0.113.7/32 then redirect-vrf 65001:100", "destination 203.0.113.7/32;", "redirect 65001:100;"},
		{"destination 203.0.113.7/32 then redirect-vrf 4200000000:100", "destination 203.0.113.7/32;", "redirect 4200000000:100;"},
		{"destination 203.0.113.7/32 then redirect-vrf 192.0.2.9:100", "destination 203.0.113.7/32;", "extended-community [0x8108c00002090064];"},
		{"destination 203.0.113.7/32 then redirect 192.0.2.9", "destination 203.0.113.7/32;", "redirect-to-nexthop-ietf 192.0.2.9;"},
		{"destination 203.0.113.7/32 then copy 192.0.2.9", "destination 203.0.113.7/32;", "extended-community [0x010cc00002090001];"},
		{"destination 2001:db8::7/128 then redirect 2001:db8::9", "destination 2001:db8::7/128/0;", "redirect-to-nexthop-ietf 2001:db8::9;"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			_, announce, withdraw, err := new(Options).flow(rule(t, tt.rule))
			if err != nil {
				t.Fatal(err)
			}
			want := "flow route { match { " + tt.match + " } then { " + tt.then + " } }"
			if diff := cmp.Diff([]string{announce, withdraw}, []string{want, want}); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

// Bits and numbers that the text form may not be able to say in the same way.
func TestTerms(t *testing.T) {
	numbers := traffic.Terms{
		{Op: traffic.True}, {And: true, Op: traffic.Greater, Value: 1}, {Op: traffic.False}, {Op: traffic.Less, Value: 2},
		{And: true, Op: traffic.NotEqual, Value: 3}, {Op: traffic.LessOrEqual, Value: 4}, {Op: traffic.GreaterOrEqual, Value: 5}, {Op: traffic.Equal, Value: 6},
	}
	bits := traffic.Masks{{Any: true, Bits: 1}, {And: true, Bits: 2}, {Not: true, Any: true, Bits: 3}, {Not: true, Bits: 4}}
	got := []string{terms(numbers), masks(bits)}
	want := []string{">=0&>1 <0 <2&!=3 <=4 >=5 =6", "1&=2 !3 !=4"}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

func TestRefused(t *testing.T) {
	host := blackhole("203.0.113.7/32", "192.0.2.1")
	for _, tt := range []struct {
		name   string
		a      traffic.Announcement
		reason string
	}{
		{"nothing", traffic.Announcement{}, "no prefix"},
		{"unmasked", with(host, func(a *traffic.Announcement) { a.Prefix = netip.MustParsePrefix("203.0.113.7/24") }), "no prefix"},
		{"no next hop", with(host, func(a *traffic.Announcement) { a.NextHop = netip.Addr{} }), "next hop of its own family"},
		{"next hop of the other family", with(host, func(a *traffic.Announcement) { a.NextHop = netip.MustParseAddr("100::1") }), "next hop of its own family"},
		{"next hop with a zone", with(blackhole("2001:db8::/48", "fe80::1%eth0"), func(*traffic.Announcement) {}), "next hop of its own family"},
		{"prepend without AS", with(host, func(a *traffic.Announcement) { a.Prepend = 1 }), "AS of this ExaBGP is not known"},
		{"too long", with(host, func(a *traffic.Announcement) { a.Communities = make([]uint32, pipeBuffer/4+1) }), "in one piece"},
		{"payload", rule(t, "destination 203.0.113.7/32 payload 0:ff then discard"), "payload"},
		{"IPv6 without prefix", rule(t, "flow-label 5 then discard"), "for one of IPv4"},
		{"invalid", with(rule(t, "destination 203.0.113.7/32 then discard"), func(a *traffic.Announcement) { a.Rule.Actions = nil }), "action"},
		{"copy to IPv6", rule(t, "destination 2001:db8::7/128 then copy 2001:db8::9"), "cannot encode"},
		{"IPv6 route target", rule(t, "destination 2001:db8::7/128 then redirect-vrf [2001:db8::9]:5"), "cannot encode"},
		{"small AS in 4 octets", rule(t, "destination 203.0.113.7/32 then redirect-vrf 65001L:100"), "cannot encode"},
		{"flow with MED", with(rule(t, "destination 203.0.113.7/32 then discard"), func(a *traffic.Announcement) { a.MED = new(uint32) }), "MED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wishes, refused := new(Options).statements([]traffic.Announcement{tt.a, host})
			if len(wishes) != 1 || len(refused) != 1 {
				t.Fatalf("got %v, refused %v; want the sane one and one refused", wishes, refused)
			}
			if !strings.Contains(refused[0].Reason, tt.reason) || refused[0].Key != tt.a.Key() {
				t.Errorf("refused %q because %q, want something of %q", refused[0].Key, refused[0].Reason, tt.reason)
			}
		})
	}
}
