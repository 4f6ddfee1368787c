package notify

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

func golden(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func host(addr string) traffic.Target {
	a := netip.MustParseAddr(addr)
	return traffic.Target{Prefix: netip.PrefixFrom(a, a.BitLen()), Group: "web", Direction: traffic.Incoming}
}

// each number of a TwoWay is another one, so that no two lines can be exchanged unseen; bytes give whole mbps and a little.
func numbered() traffic.TwoWay {
	count := func(n uint64) traffic.Count { return traffic.Count{Packets: 1000 + n, Bytes: n*125_000 + 124_999} }
	return traffic.TwoWay{
		Incoming: traffic.Counts{Total: count(1), Flows: 31, Fragments: count(2), Dropped: count(3), TCP: count(4), TCPSYN: count(5), UDP: count(6), ICMP: count(7)},
		Outgoing: traffic.Counts{Total: count(11), Flows: 41, Fragments: count(12), Dropped: count(13), TCP: count(14), TCPSYN: count(15), UDP: count(16), ICMP: count(17)},
	}
}

func attacked(t traffic.Target) traffic.Record {
	return traffic.Record{
		Attack: traffic.Attack{ID: "20240102T030405.000-0000", Target: t, Rate: numbered(), Peak: traffic.Counts{Total: traffic.Count{Packets: 98765}}},
		Ban:    traffic.Ban{Power: 54321},
	}
}

func samplePackets() []Packet {
	at := time.Date(2024, 1, 2, 3, 4, 5, 123_000, time.Local)
	return []Packet{
		{at, traffic.Packet{Src: netip.MustParseAddr("1.2.3.4"), Dst: netip.MustParseAddr("10.0.0.1"), SrcPort: 53, DstPort: 1234, Protocol: traffic.ProtoUDP, Length: 74, TTL: 128}, 1},
		{at.Add(time.Second), traffic.Packet{Src: netip.MustParseAddr("1.2.3.5"), Dst: netip.MustParseAddr("10.0.0.1"), SrcPort: 443, DstPort: 80,
			Protocol: traffic.ProtoTCP, TCPFlags: traffic.FlagSYN | traffic.FlagACK, Length: 60, TTL: 64}, 100},
		{at, traffic.Packet{Src: netip.MustParseAddr("2001:db8::15"), Dst: netip.MustParseAddr("2001:db8::1"), Protocol: traffic.ProtoTCP, Length: 60, TTL: 1}, 1},
		{at, traffic.Packet{Src: netip.MustParseAddr("1.2.3.4"), Dst: netip.MustParseAddr("10.0.0.1"), Protocol: 200, Fragment: traffic.LaterFragment, Length: 1514, TTL: 255}, 1},
	}
}

func TestReport(t *testing.T) {
	r := attacked(host("10.0.0.1"))
	if diff := cmp.Diff(Report(&r, nil), golden(t, "ban.txt")); diff != "" {
		t.Errorf("without packets (-got +want):\n%s", diff)
	}
	r = attacked(host("2001:db8::15"))
	r.Attack.Target.Direction = traffic.Outgoing
	if diff := cmp.Diff(Report(&r, samplePackets()), golden(t, "attack_details.txt")); diff != "" {
		t.Errorf("with packets (-got +want):\n%s", diff)
	}
}

func TestAttackType(t *testing.T) {
	total := traffic.Count{Packets: 1000}
	most, half := traffic.Count{Packets: 901}, traffic.Count{Packets: 900}
	tests := []struct {
		name           string
		counts         traffic.Counts
		kind, protocol string
	}{
		{"nothing", traffic.Counts{}, "unknown", "unknown"},
		{"SYN, which is TCP too", traffic.Counts{Total: total, TCP: total, TCPSYN: most}, "syn_flood", "tcp"},
		{"TCP that is not SYN", traffic.Counts{Total: total, TCP: total}, "unknown", "tcp"},
		{"ICMP in fragments", traffic.Counts{Total: total, ICMP: most, Fragments: total}, "icmp_flood", "icmp"},
		{"UDP in fragments", traffic.Counts{Total: total, UDP: total, Fragments: most}, "ip_fragmentation", "udp"},
		{"UDP", traffic.Counts{Total: total, UDP: most, TCP: half}, "udp_flood", "udp"},
		{"exactly 90 % is not more than 90 %", traffic.Counts{Total: total, UDP: half}, "unknown", "udp"},
	}
	for _, tt := range tests {
		for _, direction := range []traffic.Direction{traffic.Incoming, traffic.Outgoing} {
			a := traffic.Attack{Target: traffic.Target{Direction: direction}}
			other := traffic.Counts{Total: total, ICMP: total}
			a.Rate = traffic.TwoWay{Incoming: tt.counts, Outgoing: other}
			if direction == traffic.Outgoing {
				a.Rate = traffic.TwoWay{Incoming: other, Outgoing: tt.counts}
			}
			if got := AttackType(&a); got != tt.kind {
				t.Errorf("%s, %s: type %s, want %s", tt.name, direction, got, tt.kind)
			}
			if got := AttackProtocol(&a); got != tt.protocol {
				t.Errorf("%s, %s: protocol %s, want %s", tt.name, direction, got, tt.protocol)
			}
		}
	}
}

func TestSubject(t *testing.T) {
	for want, target := range map[string]traffic.Target{
		"10.0.0.1":      host("10.0.0.1"),
		"2001:db8::15":  host("2001:db8:0:0:0:0:0:15"),
		"10.0.0.0/24":   {Scope: traffic.ScopePrefix, Prefix: netip.MustParsePrefix("10.0.0.0/24")},
		"2001:db8::/64": {Scope: traffic.ScopePrefix, Prefix: netip.MustParsePrefix("2001:db8::/64")},
		"web":           {Scope: traffic.ScopeGroup, Group: "web"},
	} {
		if got := Subject(target); got != want {
			t.Errorf("subject %q, want %q", got, want)
		}
	}
}

func TestMbpsDoesNotOverflow(t *testing.T) {
	for bytes, want := range map[uint64]uint64{124_999: 0, 125_000: 1, 1<<64 - 1: 147573952589676} {
		if got := mbps(bytes); got != want {
			t.Errorf("%d bytes/s are %d mbps, want %d", bytes, got, want)
		}
	}
}

func TestProtocolNamesAreOneWord(t *testing.T) {
	seen := map[string]bool{}
	for p := range 256 {
		name := protocolName(uint8(p))
		if seen[name] || name == "" || name != strings.ToLower(name) || strings.ContainsAny(name, " -:") {
			t.Errorf("protocol %d is called %q", p, name)
		}
		seen[name] = true
	}
}
