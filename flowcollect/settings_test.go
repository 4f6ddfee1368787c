package flowcollect

import (
	"net/netip"
	"strings"
	"testing"
)

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestAllowed(t *testing.T) {
	s := newSettings(prefixes("192.0.2.128/25", "10.1.0.0/16", "10.1.2.0/24", "10.0.0.0/8", "2001:db8::/32", "203.0.113.7/32"), nil)
	for a, want := range map[string]bool{
		"192.0.2.127": false, "192.0.2.128": true, "192.0.2.255": true, "192.0.3.0": false, "10.0.0.0": true, "10.1.2.3": true, "10.255.255.255": true,
		"11.0.0.0": false, "9.255.255.255": false, "2001:db8::": true, "2001:db8:ffff::1": true, "2001:db9::": false, "::1": false,
		"203.0.113.6": false, "203.0.113.7": true, "203.0.113.8": false,
	} {
		if got := s.allowed(addr(a)); got != want {
			t.Errorf("%s: allowed %t, want %t", a, got, want)
		}
	}
	if !newSettings(nil, nil).allowed(addr("::1")) {
		t.Error("an empty list must allow everybody")
	}
}

func TestMostSpecific(t *testing.T) {
	var list []ExporterOptions
	for _, p := range prefixes("10.0.0.0/8", "10.1.1.1/32", "10.1.0.0/16", "2001:db8::/32", "::/0") {
		list = append(list, ExporterOptions{Prefix: p, Name: p.String()})
	}
	s := newSettings(nil, list)
	for a, want := range map[string]string{
		"10.1.1.1": "10.1.1.1/32", "10.1.1.2": "10.1.0.0/16", "10.2.0.0": "10.0.0.0/8", "11.0.0.0": "", "2001:db8::1": "2001:db8::/32", "2001:db9::1": "::/0",
	} {
		o := s.of(addr(a))
		if o.Name != want || o.known() != (want != "") {
			t.Errorf("%s: %q (known: %t), want %q", a, o.Name, o.known(), want)
		}
	}
}

func TestCheck(t *testing.T) {
	listen := func(list ...string) []netip.AddrPort {
		var out []netip.AddrPort
		for _, s := range list {
			out = append(out, netip.MustParseAddrPort(s))
		}
		return out
	}
	for _, tt := range []struct {
		name string
		opts Options
		want string // of the error; empty: none
	}{
		{"nothing", Options{}, "no address to listen on"},
		{"no address", Options{Listen: []netip.AddrPort{{}}}, "no address"},
		{"all of both", Options{Listen: listen("0.0.0.0:2055", "[::]:2055", "0.0.0.0:6343"), TCP: listen("[::]:2055")}, ""},
		{"any port, twice", Options{Listen: listen("127.0.0.1:0", "127.0.0.1:0")}, ""},
		{"twice", Options{Listen: listen("192.0.2.1:2055", "192.0.2.1:2055")}, "another address that holds it"},
		{"within all", Options{Listen: listen("192.0.2.1:2055", "0.0.0.0:2055")}, "another address that holds it"},
		{"of one link", Options{Listen: listen("[fe80::1%eth0]:2055")}, "take [::]:2055"},
		{"exporter without prefix", Options{Listen: listen("0.0.0.0:2055"), Exporters: []ExporterOptions{{Name: "border"}}}, `"border" has no prefix`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.opts)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
