package filter

import (
	"net/netip"
	"testing"

	"weir/userspace/traffic"
)

// BenchmarkScript measures what one record costs. Every record differs from the one before in addresses, ports and bytes, as on a router.
func BenchmarkScript(b *testing.B) {
	for _, bm := range []struct{ name, script string }{
		{"nothing", `function netflow(flow) end`},
		{"one field", `function netflow(flow) if flow.input == 7 then return false end end`},
		{"FastNetMon's", `function process_netflow(agent, flow) if agent == "192.0.2.9" and flow.if_index_in == 7 then return false end return true end`},
		{"five fields", `function netflow(flow)
			if flow.protocol == 17 and flow.src_port == 53 and flow.bytes > 400 and flow.dst_port > 1023 and flow.tcp_flags == 0 then return false end
		end`},
		{"address as text", `function netflow(flow) if flow.src == "198.51.100.1" then return false end end`},
		{"networks", `local n = networks{"10.0.0.0/8", "198.51.100.0/24"}
			function netflow(flow) if n:has_src(flow) then return false end end`},
		{"address in networks", `local n = networks{"10.0.0.0/8", "198.51.100.0/24"}
			function netflow(flow) if n:has(flow.src) then return false end end`},
		{"rescaled", `function netflow(flow) return 2 end`},
		{"pattern", `function netflow(flow) if flow.src:match("^10%.") then return false end end`},
		{"an error each", `function netflow(flow) return flow.nonsense end`},
	} {
		b.Run(bm.name, func(b *testing.B) {
			i := scriptOf(b, bm.script).New()
			f := flow()
			b.ReportAllocs()
			for n := range b.N {
				f.Src = netip.AddrFrom4([4]byte{203, byte(n >> 16), byte(n >> 8), byte(n)})
				f.SrcPort, f.DstPort = uint16(n), uint16(n>>3)
				f.Bytes, f.Rate, f.Packets = uint64(n), 1000, 10
				i.Keep(f)
			}
		})
	}
}

// BenchmarkRules measures records that no rule matches, so that all are looked at.
func BenchmarkRules(b *testing.B) {
	list := []string{
		"source 10.0.0.0/8 then discard",
		"destination 203.0.113.7/32 protocol udp source-port 53,123 then discard",
		"source 192.168.0.0/16 protocol tcp then accept",
		"destination 2001:db8::/32 then discard",
		"protocol udp destination-port 1900 length >400 then discard",
		"source 172.16.0.0/12 then discard",
		"protocol gre then accept",
		"destination 198.51.100.0/24 protocol tcp tcp-flags syn&!ack then discard",
		"source 2001:db8:1::/48 port 22 then accept",
		"protocol udp source-port 11211 then discard",
	}
	for _, size := range []int{1, 10, 100} {
		var texts []string
		for n := range size {
			texts = append(texts, list[n%len(list)])
		}
		r := rulesOf(b, texts...).New()
		b.Run(map[int]string{1: "1", 10: "10", 100: "100"}[size], func(b *testing.B) {
			f := flow()
			f.Protocol, f.SrcPort, f.DstPort = traffic.ProtoUDP, 40000, 40001
			b.ReportAllocs()
			for range b.N {
				r.Keep(f)
			}
		})
	}
}
