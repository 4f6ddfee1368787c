package routers

// Flows are rules that use every kind of action that routers of the tests can carry, and what BIRD's flow4 and flow6 tables are to show
// of them when they come from AS 65001.
func Flows() (rules []string, flow4, flow6 map[string][]string) {
	attributes := func(more ...string) []string {
		return append(append([]string{"BGP.as_path: 65001"}, more...), "BGP.local_pref: 100", "BGP.origin: IGP")
	}
	rules = []string{
		"destination 203.0.113.7/32 protocol udp source-port 53,123 length >=400&<=1500 fragment is-fragment then discard",
		"destination 203.0.113.8/32 tcp-flags syn then mark 46 sample continue copy 192.0.2.9",
		"destination 203.0.113.9/32 icmp-type 8 dscp !=5 then redirect 192.0.2.9",
		"destination 203.0.113.10/32 then redirect-vrf 4200000000:100",
		"destination 203.0.113.11/32 then rate-packets 100",
		"destination 203.0.113.12/32 then rate-bytes 9600",
		"destination 203.0.113.13/32 then accept",
		"destination 203.0.113.14/32 source 198.51.100.0/24 port 80 destination-port 8000-8080 then redirect-vrf 65001:100",
		"destination 2001:db8::7/128 protocol tcp dscp 46 flow-label >=5 then rate-bytes 9600",
		"destination 2001:db8::8/128 then redirect 2001:db8::9",
	}
	flow4 = map[string][]string{
		"flow4 { dst 203.0.113.7/32; proto 17; sport 53,123; length 400..1500; fragment is_fragment; }": attributes(
			"BGP.ext_community: (generic, 0x80060000, 0x0)"),
		"flow4 { dst 203.0.113.8/32; tcp flags 0x2/0x2; }": attributes(
			"BGP.ext_community: (generic, 0x80090000, 0x2e) (unknown 0x10c, 192.0.2.9, 1) (generic, 0x80070000, 0x3)"),
		"flow4 { dst 203.0.113.9/32; icmp type 8; dscp != 5; }": attributes("BGP.ext_community: (unknown 0x10c, 192.0.2.9, 0)"),
		"flow4 { dst 203.0.113.10/32; }":                        attributes("BGP.ext_community: (generic, 0x8208fa56, 0xea000064)"),
		"flow4 { dst 203.0.113.11/32; }":                        attributes("BGP.ext_community: (generic, 0x800c0000, 0x42c80000)"), // 100.0
		"flow4 { dst 203.0.113.12/32; }":                        attributes("BGP.ext_community: (generic, 0x80060000, 0x46160000)"), // 9600.0
		"flow4 { dst 203.0.113.13/32; }":                        attributes(),
		"flow4 { dst 203.0.113.14/32; src 198.51.100.0/24; port 80; dport 8000..8080; }": attributes(
			"BGP.ext_community: (generic, 0x8008fde9, 0x64)"),
	}
	flow6 = map[string][]string{
		"flow6 { dst 2001:db8::7/128; next header 6; dscp 46; label >= 5; }": attributes("BGP.ext_community: (generic, 0x80060000, 0x46160000)"),
		"flow6 { dst 2001:db8::8/128; }": append([]string{ // a community of 20 bytes for an IPv6 address, which BIRD does not know
			"BGP.19 [t]: 00 0c 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 09 00 00",
		}, attributes()...),
	}
	return rules, flow4, flow6
}
