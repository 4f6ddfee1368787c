package traffic

import (
	"net/netip"
	"testing"
)

func TestAnnouncementKey(t *testing.T) {
	rule := func(text string) *Rule {
		r, err := ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		return &r
	}
	for _, tt := range []struct {
		name string
		a    Announcement
		want string
	}{
		{"IPv4", Announcement{Prefix: netip.MustParsePrefix("203.0.113.7/24")}, "ipv4-unicast 203.0.113.0/24"},
		{"attributes do not matter", Announcement{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Communities: []uint32{1}, Prepend: 2, Owner: "x"}, "ipv4-unicast 203.0.113.0/24"},
		{"IPv6", Announcement{Prefix: netip.MustParsePrefix("2001:db8::/48")}, "ipv6-unicast 2001:db8::/48"},
		{"peers in any order", Announcement{Prefix: netip.MustParsePrefix("2001:db8::/48"), Peers: []string{"b", "a", "b"}}, "ipv6-unicast 2001:db8::/48 to a,b"},
		{"nothing", Announcement{}, " invalid Prefix"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.a.Key(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	drop, limit := rule("destination 203.0.113.7/32 protocol udp then discard"), rule("destination 203.0.113.7/32 protocol udp then rate-bytes 1000")
	if a, b := (Announcement{Rule: drop}), (Announcement{Rule: limit}); a.Key() != b.Key() || a.Route() == b.Route() {
		t.Errorf("one match with two actions: %q and %q", a.Key(), b.Key())
	}
	if len(drop.Actions) == 0 {
		t.Error("Key has changed the rule")
	}
	other := Announcement{Rule: rule("destination 203.0.113.7/32 protocol tcp then discard")}
	if a := (Announcement{Rule: drop}); a.Key() == other.Key() || a.Family() != "ipv4-flowspec" {
		t.Errorf("%q and %q", a.Key(), other.Key())
	}
	if six := (Announcement{Rule: rule("destination 2001:db8::7/128 then discard")}); six.Family() != "ipv6-flowspec" {
		t.Errorf("got family %q", six.Family())
	}
	if both := (Announcement{Rule: rule("protocol udp then discard")}); both.Family() != "" {
		t.Errorf("got family %q", both.Family())
	}
}
