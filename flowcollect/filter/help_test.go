package filter

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/userspace/traffic"
)

// flow is a NetFlow record with a value in each field.
func flow() *traffic.Flow {
	start := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC).UnixNano()
	return &traffic.Flow{
		Packet: traffic.Packet{
			Src: netip.MustParseAddr("198.51.100.7"), Dst: netip.MustParseAddr("203.0.113.8"),
			SrcPort: 40000, DstPort: 443, Protocol: traffic.ProtoTCP, TCPFlags: traffic.FlagSYN | traffic.FlagACK, TTL: 61,
		},
		Packets: 10, Bytes: 5000, Start: start, End: start + int64(2500*time.Millisecond),
		Rate: 1000, RateOrigin: traffic.RateOptions, Source: traffic.NetFlow9, Side: traffic.SideIngress, EndReason: traffic.EndActive,
		TOS: 0xb8, VLAN: 12, Exporter: netip.MustParseAddr("192.0.2.1"), Domain: 256, Input: 3, Output: 4, SrcAS: 64500, DstAS: 4200000001,
		SrcMask: 24, DstMask: 32,
	}
}

// flow6 is an sFlow sample of an IPv6 packet.
func flow6() *traffic.Flow {
	f := flow()
	f.Src, f.Dst = netip.MustParseAddr("2001:db8:1::7"), netip.MustParseAddr("2001:db8:2::8")
	f.NextHop = netip.MustParseAddr("2001:db8:3::1")
	f.Source, f.Packets, f.Bytes, f.End = traffic.SFlow5, 1, 1514, f.Start
	return f
}

// write makes a file of its own folder and returns its path.
func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// scriptOf compiles a script, which is the file "f.lua".
func scriptOf(t testing.TB, text string) *Script {
	t.Helper()
	s, err := Load(write(t, "f.lua", text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rulesOf compiles rules.
func rulesOf(t testing.TB, texts ...string) *Rules {
	t.Helper()
	var list []traffic.Rule
	for _, text := range texts {
		r, err := traffic.ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	c, err := Compile(list)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
