package flowspec

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir/userspace/traffic"
)

var sameRule = cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})

func parse(t testing.TB, text string) traffic.Rule {
	t.Helper()
	r, err := traffic.ParseRule(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

// unhex reads hexadecimal digits with blanks between them.
func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNLRI holds rules against bytes in both directions; the first ones are the examples of the RFCs.
func TestNLRI(t *testing.T) {
	for _, tt := range []struct{ name, rule, nlri string }{
		{"RFC 8955 section 4.3.1", "destination 192.0.2.0/24 protocol tcp port 25", "0b 01 18 c0 00 02 03 81 06 04 81 19"},
		{"RFC 8955 section 4.3.2", "destination 192.0.2.0/24 source 203.0.113.0/24 port 137-139,8080",
			"12 01 18 c0 00 02 02 18 cb 00 71 04 03 89 45 8b 91 1f 90"},
		{"RFC 8955 section 4.3.3", "destination 192.0.2.1/32 fragment any:dont-fragment+first-fragment", "09 01 20 c0 00 02 01 0c 80 05"},
		{"RFC 8956 section 3.8.1", "destination ::1234:5678:9a00:0/64-104 source 2001:db8::/32 protocol tcp",
			"12 01 68 40 12 34 56 78 9a 02 20 00 20 01 0d b8 03 81 06"},
		{"RFC 8956 section 3.8.2", "destination ::1234:5678:9a00:0/65-104 source 2001:db8::/32 protocol tcp",
			"12 01 68 41 24 68 ac f1 34 02 20 00 20 01 0d b8 03 81 06"},
		{"offset of half a byte", "source ::1:1234:5678:9800:0/60-104", "09 02 68 3c 11 23 45 67 89 80"},
		{"everything in IPv4", "destination 0.0.0.0/0 source 10.0.0.0/7 protocol != 17 port true destination-port false source-port >1&<5,7 icmp-type 8 icmp-code >=0 tcp-flags syn&!any:ack+rst,0x800 length <=1500 dscp 46 fragment !is-fragment",
			"2d 01 00 02 07 0a 03 86 11 04 87 00 05 80 00 06 02 01 44 05 81 07 07 81 08 08 83 00 09 01 02 42 14 91 08 00 0a 95 05 dc 0b 81 2e 0c 83 02"},
		{"flow label", "flow-label 1,>65535", "0b 0d 21 00 00 00 01 a2 00 00 ff ff"},
		{"no prefix", "family ipv6 protocol icmpv6", "03 03 81 3a"},
		{"bit by bit", "destination 128.0.0.0/1 source 255.255.255.255/32", "09 01 01 80 02 20 ff ff ff ff"},
		{"240 bytes and more", "family ipv4 source-port " + strings.TrimSuffix(strings.Repeat("256,", 80), ","), "f0f1 06" + strings.Repeat(" 11 01 00", 79) + " 91 01 00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := parse(t, strings.ReplaceAll(tt.rule, "!= ", "!=")+" then discard")
			route, err := Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(hex.EncodeToString(route.NLRI), strings.ReplaceAll(tt.nlri, " ", "")); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
			back, err := Unmarshal(Route{IPv6: r.Family() == 6, NLRI: unhex(t, tt.nlri), Communities: route.Communities})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(back, r, sameRule); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

// TestActions holds actions against communities in both directions; IPv6 communities stand behind a bar, the next hop behind an at sign.
func TestActions(t *testing.T) {
	for _, tt := range []struct{ name, actions, communities string }{
		{"accept", "accept", ""},
		{"discard", "discard", "8006000000000000"},
		{"bytes", "rate-bytes 1000", "80060000447a0000"},
		{"packets", "rate-packets 0.5", "800c00003f000000"},
		{"both rates", "rate-bytes 1000 rate-packets 0.5", "80060000447a0000 800c00003f000000"},
		{"mark", "mark 46", "800900000000002e"},
		{"sample", "sample", "8007000000000002"},
		{"continue", "continue", "8007000000000001"},
		{"sample and continue", "sample continue", "8007000000000003"},
		{"VRF, AS of 2 octets", "redirect-vrf 65000:4294967295", "8008fde8ffffffff"},
		{"VRF, IPv4", "redirect-vrf 192.0.2.1:258", "8108c00002010102"},
		{"VRF, AS of 4 octets", "redirect-vrf 4200000000:258", "8208fa56ea000102"},
		{"VRF, short AS of 4 octets", "redirect-vrf 65000L:258", "82080000fde80102"},
		{"VRF, IPv6", "redirect-vrf [2001:db8::1]:258", "|000d20010db80000000000000000000000010102"},
		{"IPv4", "redirect 192.0.2.1", "010cc00002010000"},
		{"copy to IPv4", "copy 192.0.2.1", "010cc00002010001"},
		{"IPv6", "redirect 2001:db8::1", "|000c20010db80000000000000000000000010000"},
		{"copy to IPv6", "copy 2001:db8::1", "|000c20010db80000000000000000000000010001"},
		{"several", "redirect 192.0.2.1 redirect 192.0.2.2 sample", "010cc00002010000 010cc00002020000 8007000000000002"},
		{"next hop", "redirect 192.0.2.1 sample", "0800000000000000 8007000000000002@192.0.2.1"},
		{"copy to next hop", "copy 2001:db8::1", "0800000000000001@2001:db8::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := parse(t, "destination 192.0.2.7/32 then "+tt.actions)
			marshal := Marshal
			if strings.Contains(tt.communities, "@") {
				marshal = MarshalNextHop
			}
			route, err := marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(communities(route), tt.communities); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
			back, err := Unmarshal(route)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(back, r, sameRule); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

func communities(route Route) string {
	var text []string
	for _, c := range route.Communities {
		text = append(text, hex.EncodeToString(c[:]))
	}
	all := strings.Join(text, " ")
	for _, c := range route.IPv6Communities {
		all += "|" + hex.EncodeToString(c[:])
	}
	if route.NextHop.IsValid() {
		all += "@" + route.NextHop.String()
	}
	return all
}

// TestUnmarshal is for what others send and we never do.
func TestUnmarshal(t *testing.T) {
	for _, tt := range []struct {
		name              string
		ipv6              bool
		nlri, communities string
		want              string // the rule, or behind "error: " the error
	}{
		{"other communities", false, "03 03 81 06", "0002fde800000001 8006fde800000000 030c000000000008", "family ipv4 protocol tcp then discard"},
		{"negative rate", false, "03 03 81 06", "80060000bf800000", "family ipv4 protocol tcp then discard"},
		{"no packets at all", false, "03 03 81 06", "800c000000000000 800600003f800000", "family ipv4 protocol tcp then discard"},
		{"twice the same", false, "03 03 81 06", "800900000000000a 800900000000000a", "family ipv4 protocol tcp then mark 10"},
		{"unused bits", false, "03 03 89 06", "8009ffffffffffca 8007fffffffffffe", "family ipv4 protocol tcp then mark 10 sample"},
		{"nothing of the traffic action", false, "03 03 81 06", "8007000000000000", "family ipv4 protocol tcp then accept"},
		{"host bits", false, "05 01 11 c0 a8 ff", "", "destination 192.168.128.0/17 then accept"},
		{"prefix cut off in IPv6", true, "04 01 10 00 08", "", "error: decode flow specification: component type 1 at byte 0: the NLRI ends within it"},
		{"padding ignored", true, "04 01 0c 08 ff", "", "destination f0::/8-12 then accept"},
		{"and first", false, "03 03 c1 06", "", "family ipv4 protocol tcp then accept"},
		{"wide values", false, "0a 04 b1 00 00 00 00 00 00 00 19", "", "family ipv4 port 25 then accept"},
		{"length of two bytes", false, "f0 03 03 81 06", "", "family ipv4 protocol tcp then accept"},
		{"DSCP with upper bits", false, "03 0b 81 ee", "", "family ipv4 dscp 46 then accept"},
		{"reserved fragment bits", false, "03 0c 81 f2", "", "family ipv4 fragment is-fragment then accept"},
		{"dont-fragment in IPv6", true, "03 0c 80 03", "", "family ipv6 fragment any:is-fragment then accept"},
		{"GoBGP's IPv6 redirection", true, "03 03 81 06", "|800b20010db80000000000000000000000010102", "family ipv6 protocol tcp then redirect-vrf [2001:db8::1]:258"},

		{"empty", false, "", "", "error: decode flow specification: the NLRI is empty"},
		{"no component", false, "00", "", "error: decode flow specification: the rule has no condition; for all packets, write destination 0.0.0.0/0 or ::/0"},
		{"half a length", false, "f1", "", "error: decode flow specification: the NLRI ends within its length"},
		{"too long", false, "04 03 81 06", "", "error: decode flow specification: the NLRI has 3 bytes behind its length, which says 4"},
		{"too short", false, "03 03 81 06 00", "", "error: decode flow specification: the NLRI has 4 bytes behind its length, which says 3"},
		{"out of order", false, "06 04 81 19 03 81 06", "", "error: decode flow specification: component type 3 at byte 3 stands behind type 4; types must increase"},
		{"twice", false, "06 03 81 06 03 81 11", "", "error: decode flow specification: component type 3 at byte 3 stands behind type 3; types must increase"},
		{"type 0", false, "03 00 81 06", "", "error: decode flow specification: component type 0 at byte 0 stands behind type 0; types must increase"},
		{"unknown type", false, "03 0e 81 06", "", "error: decode flow specification: component type 14 at byte 0: there is no such type"},
		{"flow label of IPv4", false, "03 0d 81 06", "", "error: decode flow specification: component type 13 at byte 0: flow labels are of IPv6 only"},
		{"no end", false, "03 03 01 06", "", "error: decode flow specification: component type 3 at byte 0: the NLRI ends within it"},
		{"value cut off", false, "03 04 91 06", "", "error: decode flow specification: component type 4 at byte 0: the NLRI ends within it"},
		{"prefix too long", false, "07 01 21 01 02 03 04 05", "", "error: decode flow specification: component type 1 at byte 0: an IPv4 prefix has at most 32 bits, not 33"},
		{"prefix cut off", false, "04 01 18 c0 00", "", "error: decode flow specification: component type 1 at byte 0: the NLRI ends within it"},
		{"offset behind length", true, "03 02 08 08", "", "error: decode flow specification: component type 2 at byte 0: length 8 does not end behind offset 8, within 128 bits"},
		{"offset of everything", true, "03 02 00 01", "", "error: decode flow specification: component type 2 at byte 0: length 0 does not end behind offset 1, within 128 bits"},
		{"port out of range", false, "06 04 a1 00 01 00 00", "", "error: decode flow specification: component type 4 at byte 0: value 65536 is out of range; at most 65535 can be met"},
		{"wide fragment", false, "04 0c 91 00 02", "", "error: decode flow specification: component type 12 at byte 0: fragment bits have 1 byte, not 2"},
		{"wide DSCP", false, "04 0b 91 00 02", "", "error: decode flow specification: component type 11 at byte 0: a DSCP has 1 byte, not 2"},
		{"wide TCP flags", false, "06 09 a1 00 00 00 02", "", "error: decode flow specification: component type 9 at byte 0: TCP flags have 1 or 2 bytes, not 4"},
		{"data offset", false, "04 09 91 50 02", "", "error: decode flow specification: component type 9 at byte 0: TCP flags 0x5002 have bits of the data offset set"},
		{"two rates", false, "03 03 81 06", "80060000447a0000 800600003f800000", "error: decode flow specification: rate-bytes: a rule has one rate-bytes, not two"},
		{"no number", false, "03 03 81 06", "800600007fc00000", "error: decode flow specification: community 800600007fc00000: its rate is no number"},
		{"next hop missing", false, "03 03 81 06", "0800000000000000", "error: decode flow specification: community 0800000000000000: it redirects to the route's next hop, and the route has none"},
		{"redirection to nowhere", false, "03 03 81 06", "010c000000000000", "error: decode flow specification: redirect: packets cannot be sent to 0.0.0.0; expected the address of a host"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			route := Route{IPv6: tt.ipv6, NLRI: unhex(t, tt.nlri)}
			plain, ipv6, _ := strings.Cut(tt.communities, "|")
			for c := range strings.FieldsSeq(plain) {
				route.Communities = append(route.Communities, [8]byte(unhex(t, c)))
			}
			for c := range strings.FieldsSeq(ipv6) {
				route.IPv6Communities = append(route.IPv6Communities, [20]byte(unhex(t, c)))
			}
			r, err := Unmarshal(route)
			got := r.String()
			if err != nil {
				got = "error: " + err.Error()
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

func TestMarshalErrors(t *testing.T) {
	for _, tt := range []struct {
		rule, want string
		marshal    func(traffic.Rule) (Route, error)
	}{
		{"protocol udp then discard", "nothing says for which IP version it is; add a prefix, or family ipv4 or family ipv6", Marshal},
		{"destination 192.0.2.7/32 payload 0:ff then discard", "BGP cannot carry payload bytes; leave payload out, or use the rule in XDP only", Marshal},
		{"destination 192.0.2.7/32 then redirect 192.0.2.1 redirect 192.0.2.2", "the next hop is one address; write one redirect", MarshalNextHop},
		{"family ipv4 port 256" + strings.Repeat(",256", 1364) + " then discard", "it takes 4096 bytes, and FlowSpec has room for 4095; split its longest list into two rules", Marshal},
	} {
		route, err := tt.marshal(parse(t, tt.rule))
		if err == nil || !strings.HasSuffix(err.Error(), ": "+tt.want) || route.NLRI != nil {
			t.Errorf("got %v, %v, want %q", route, err, tt.want)
		}
	}
	if _, err := Marshal(traffic.Rule{}); err == nil {
		t.Error("the zero rule was encoded")
	}
	if route, err := Marshal(parse(t, "family ipv4 port 1,256"+strings.Repeat(",256", 1363)+" then discard")); err != nil || len(route.NLRI) != 2+4095 {
		t.Errorf("got %d bytes, %v, want the longest NLRI there is", len(route.NLRI), err)
	}
}

// TestCompare lists rules in the order that routers apply them.
func TestCompare(t *testing.T) {
	ordered := []string{
		"destination 192.0.2.0/25", // the longer prefix of those with common bits
		"destination 192.0.2.0/24 source 10.0.0.0/8 protocol udp",
		"destination 192.0.2.0/24 source 10.0.0.0/8",
		"destination 192.0.2.0/24 protocol udp,1", // the operator that does not end the list is the lesser byte
		"destination 192.0.2.0/24 protocol tcp",   // 6 is less than 17
		"destination 192.0.2.0/24 protocol udp port 1",
		"destination 192.0.2.0/24 protocol udp",
		"destination 192.0.2.0/24",
		"destination 192.0.0.0/16",
		"destination 198.51.100.0/24", // the lower address of the common length first
		"source 10.0.0.0/8",
		"family ipv4 protocol udp",
		"destination 2001:db8::/48",
		"destination 2001:db8:8000::/33",
		"destination 2001:db8::/32",
		"destination ::1/64-128", // the lower offset first
		"family ipv6 protocol udp",
	}
	for i, a := range ordered {
		for j, b := range ordered {
			if got, want := Compare(parse(t, a+" then discard"), parse(t, b+" then accept")), order(i, j); got != want {
				t.Errorf("%s against %s: got %d, want %d", a, b, got, want)
			}
		}
	}
}

func order(i, j int) int { return min(1, max(-1, i-j)) }
