package gobgpd

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"weir/bgp/gobgpd/gobgppb"
	"weir/userspace/traffic"
)

func blackhole(prefix, nextHop string) traffic.Announcement {
	return traffic.Announcement{
		Prefix: netip.MustParsePrefix(prefix), NextHop: netip.MustParseAddr(nextHop), Communities: []uint32{65001<<16 | 666},
	}
}

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

// What we write is what GoBGP's own decoder reads.
func TestPath(t *testing.T) {
	number := func(n uint32) *uint32 { return &n }
	for _, tt := range []struct {
		name string
		a    traffic.Announcement
		want string // NLRI and attributes as GoBGP prints them
	}{
		{"IPv4", blackhole("203.0.113.7/32", "192.0.2.1"), "203.0.113.7/32 {Origin: i} {Communities: 65001:666} {Nexthop: 192.0.2.1}"},
		{"IPv4, a length that ends within an octet", blackhole("203.0.112.0/22", "192.0.2.1"), "203.0.112.0/22 {Origin: i} {Communities: 65001:666} {Nexthop: 192.0.2.1}"},
		{"IPv6", blackhole("2001:db8:bad::/48", "100::1"),
			"2001:db8:bad::/48 {Origin: i} {Communities: 65001:666} {MpReach(ipv6-unicast): {Nexthop: 100::1, NLRIs: [2001:db8:bad::/48]}}"},
		{"everything", with(blackhole("203.0.113.0/24", "192.0.2.1"), func(a *traffic.Announcement) {
			a.Communities = []uint32{0xffff029a, 0xffffff01}
			a.LargeCommunities = [][3]uint32{{4200000000, 1, 2}}
			a.ExtendedCommunities = [][8]byte{{0x00, 0x02, 0xfd, 0xe9, 0, 0, 0, 100}}
			a.LocalPref, a.MED, a.Prepend = number(200), number(0), 2
		}), "203.0.113.0/24 {Origin: i} {AsPath: 65001 65001} {Med: 0} {LocalPref: 200} {Communities: blackhole, no-export} {Extcomms: [65001:100]}" +
			" {LargeCommunity: [ 4200000000:1:2]} {Nexthop: 192.0.2.1}"},
		{"flow", with(rule(t, "destination 203.0.113.7/32 protocol udp then discard"), func(a *traffic.Announcement) {
			a.ExtendedCommunities = [][8]byte{{0x00, 0x02, 0xfd, 0xe9, 0, 0, 0, 100}}
		}), "[destination: 203.0.113.7/32][protocol: ==udp] {Origin: i} {Extcomms: [discard], [65001:100]}" +
			" {MpReach(ipv4-flowspec): {Nexthop: 0.0.0.0, NLRIs: [[destination: 203.0.113.7/32][protocol: ==udp]]}}"},
		{"IPv6 flow", rule(t, "destination 2001:db8::7/128 then redirect 2001:db8::9"),
			"[destination: 2001:db8::7/128/0] {Origin: i} {Extcomms: [2001:db8::9:0]}" +
				" {MpReach(ipv6-flowspec): {Nexthop: ::, NLRIs: [[destination: 2001:db8::7/128/0]]}}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, p, err := path(tt.a, 65001)
			if err != nil {
				t.Fatal(err)
			}
			nlri, err := packet.NewPrefixFromRouteFamily(uint16(p.GetFamily().GetAfi()), uint8(p.GetFamily().GetSafi()))
			if err != nil {
				t.Fatal(err)
			}
			if err := nlri.DecodeFromBytes(p.GetNlriBinary()); err != nil {
				t.Fatal(err)
			}
			got := []string{nlri.String()}
			for _, b := range p.GetPattrsBinary() {
				attribute, err := packet.GetPathAttribute(b)
				if err != nil {
					t.Fatal(err)
				}
				if err := attribute.DecodeFromBytes(b); err != nil {
					t.Fatalf("%x: %v", b, err)
				}
				got = append(got, attribute.String())
				if back, err := attribute.Serialize(); err != nil || hex.EncodeToString(back) != hex.EncodeToString(b) && attribute.GetType() != attributeMPReach {
					t.Errorf("%s is %x; GoBGP writes %x, %v", attribute, b, back, err)
				}
			}
			if diff := cmp.Diff(strings.Join(got, " "), tt.want); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

func TestPathRefused(t *testing.T) {
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
		{"too many prepended", with(host, func(a *traffic.Announcement) { a.Prepend = 256 }), "0 to 255"},
		{"prepended less than never", with(host, func(a *traffic.Announcement) { a.Prepend = -1 }), "0 to 255"},
		{"too many communities", with(host, func(a *traffic.Announcement) { a.Communities = make([]uint32, 1001) }), "more communities"},
		{"payload", rule(t, "destination 203.0.113.7/32 payload 0:ff then discard"), "payload"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := path(tt.a, 65001); err == nil || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("got %v, want an error about %q", err, tt.reason)
			}
		})
	}
}

// GoBGP writes attributes in its own order, and gives some a length of two octets.
func TestSameAttributes(t *testing.T) {
	_, a, err := path(blackhole("203.0.113.7/32", "192.0.2.1"), 65001)
	if err != nil {
		t.Fatal(err)
	}
	parse := func(all ...string) [][]byte {
		var attributes [][]byte
		for _, one := range all {
			b, err := hex.DecodeString(one)
			if err != nil {
				t.Fatal(err)
			}
			attributes = append(attributes, b)
		}
		return attributes
	}
	for i, tt := range []struct {
		attributes []string
		same       bool
	}{
		{[]string{"c00804fde9029a", "40010100", "40030400000000"}, true},
		{[]string{"d0080004fde9029a", "400200", "40010100"}, true},
		{[]string{"c00804fde9029a"}, false},
		{[]string{"c00804fde90001", "40010100"}, false},
		{[]string{"c00804fde9029a", "40010100", "4005040000"}, true}, // what is no attribute is none
		{[]string{"c00804fde9029a", "40010100", "40050400000064"}, false},
	} {
		b := &gobgppb.Path{PattrsBinary: parse(tt.attributes...)}
		if got := sameAttributes(b, a); got != tt.same {
			t.Errorf("%d: %v: got %t, want %t", i, tt.attributes, got, tt.same)
		}
	}
}
