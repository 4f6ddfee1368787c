package bgp

import (
	"strings"
	"testing"

	"github.com/osrg/gobgp/v3/pkg/apiutil"

	"weir/userspace/traffic"
)

// Every kind of condition and action passes through GoBGP's parser and comes out as it went in; what does not is refused.
func TestAPIPath(t *testing.T) {
	for _, text := range []string{
		"destination 203.0.113.0/24 then discard",
		"destination 203.0.113.7/32 source 198.51.100.0/24 then accept",
		"destination 203.0.113.7/32 protocol udp port 53 then rate-bytes 1M",
		"destination 203.0.113.7/32 protocol tcp destination-port 80,443,>=8000&<=8100 then rate-packets 1000",
		"destination 203.0.113.7/32 protocol 17,6 source-port 123,65535 then discard",
		"destination 203.0.113.7/32 protocol icmp icmp-type 8 icmp-code 0 then discard",
		"destination 203.0.113.7/32 protocol tcp tcp-flags syn&!ack then discard",
		"destination 203.0.113.7/32 length >=400&<=1500 then discard",
		"destination 203.0.113.7/32 dscp 46 then mark 0",
		"destination 203.0.113.7/32 fragment is-fragment then discard",
		"destination 203.0.113.7/32 then redirect-vrf 65000:99",
		"destination 203.0.113.7/32 then redirect-vrf 4200000000:99",
		"destination 203.0.113.7/32 then redirect-vrf 192.0.2.1:99",
		"destination 203.0.113.7/32 then redirect 192.0.2.1",
		"destination 203.0.113.7/32 then copy 192.0.2.1",
		"destination 203.0.113.7/32 then sample continue",
		"destination 2001:db8::7/128 protocol udp then discard",
		"destination 2001:db8::/32 source 2001:db8:1::/48 flow-label 5 then discard",
		"destination 2001:db8::7/128 protocol tcp destination-port 22 fragment first-fragment then rate-bytes 1000",
		"destination 2001:db8::7/128 then redirect 2001:db8:ffff::1",
	} {
		t.Run(text, func(t *testing.T) {
			rule, err := traffic.ParseRule(text)
			if err != nil {
				t.Fatal(err)
			}
			r, err := newRoute(&traffic.Announcement{Rule: &rule})
			if err != nil {
				t.Fatal(err)
			}
			p, err := apiPath(r, 65000, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := apiutil.GetNativePathAttributes(p); err != nil {
				t.Error(err)
			}
		})
	}
	for _, tt := range []struct {
		name string
		r    route
		want string
	}{
		{"length", route{ID: "x", Family: IPv4FlowSpec, NLRI: []byte{9, 1, 24, 203, 0, 113}}, "the NLRI's length is wrong"},
		{"as it should be", route{ID: "x", Family: IPv4FlowSpec, NLRI: []byte{5, 1, 24, 203, 0, 113}}, ""},
		{"out of order", route{ID: "x", Family: IPv4FlowSpec, NLRI: []byte{8, 3, 0x81, 17, 1, 24, 203, 0, 113}}, "GoBGP writes the rule differently"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := apiPath(&tt.r, 65000, 0); tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
