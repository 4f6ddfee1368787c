package investigate

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/userspace/analyze"
	"weir/userspace/traffic"
)

var ours = netip.MustParsePrefix("192.0.2.0/24")

func noon() time.Time { return time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC) }

// victim is the target of all attacks here.
func victim() traffic.Target {
	return traffic.Target{Prefix: netip.MustParsePrefix("192.0.2.7/32"), Direction: traffic.Incoming}
}

// packet is a UDP datagram to the victim, so long after noon.
func packet(after time.Duration, source, from, to uint16, payload string) *analyze.Seen {
	p := traffic.Packet{
		Src: netip.AddrFrom4([4]byte{198, 51, byte(source >> 8), byte(source)}), Dst: netip.MustParseAddr("192.0.2.7"), Protocol: traffic.ProtoUDP,
		SrcPort: from, DstPort: to, Length: uint32(42 + len(payload)),
	}
	return &analyze.Seen{Time: noon().Add(after), Packet: p, TTL: 60, IPLength: uint16(28 + len(payload)), Payload: []byte(payload), PayloadLength: len(payload), Rate: 1}
}

func newBook() *Book { return New(ours.Contains) }

// TestAnalyze: what came before the attack is ordinary traffic, what came just before its detection is the attack's.
func TestAnalyze(t *testing.T) {
	b := newBook()
	for i := range 300 {
		b.Add(packet(time.Duration(i)*time.Millisecond, uint16(i%7), uint16(40000+i), 5060, "OPTIONS sip:weir SIP/2.0\r\n"))
	}
	flood := strings.Repeat("X", 120)
	for i := range 500 {
		b.Add(packet(10*time.Second+time.Duration(i)*time.Microsecond, uint16(i), uint16(1024+i), 80, flood))
	}
	b.Follow(victim(), noon().Add(10*time.Second))
	if got := b.Samples(victim()); got != 500 {
		t.Fatalf("%d samples of before the detection, want 500", got)
	}
	b.Add(packet(11*time.Second, 1, 1, 80, flood))
	c, ok := b.Open(victim())
	if !ok {
		t.Fatal("nothing is known of the attack")
	}
	is := c.Analyze(noon().Add(11 * time.Second))
	if is.Samples != 501 || is.Normal != 300 || is.Class != "udp_fixed_flood" {
		t.Errorf("got %d samples, %d normal, class %s; want 501, 300, udp_fixed_flood", is.Samples, is.Normal, is.Class)
	}
	if r := is.Rules; len(r.Rules) == 0 || r.Coverage < 0.95 || r.Collateral > 0.01 {
		t.Errorf("rules: %+v", r)
	}
	b.Forget(victim())
	if _, ok := b.Open(victim()); ok || b.Samples(victim()) != 0 {
		t.Error("what was forgotten is still there")
	}
}

// TestBounds: neither an attack nor a crowd of hosts takes more memory than there is room for.
func TestBounds(t *testing.T) {
	b := newBook()
	b.Follow(victim(), noon())
	for i := range attackMost + 100 {
		b.Add(packet(time.Duration(i)*time.Microsecond, uint16(i), 53, uint16(i), "late comers replace the first"))
	}
	c, _ := b.Open(victim())
	if len(c.samples) != attackMost || b.Samples(victim()) != attackMost+100 || len(b.recent) != recentMost {
		t.Errorf("%d samples kept of %d, %d recent; want %d of %d, %d", len(c.samples), b.Samples(victim()), len(b.recent), attackMost, attackMost+100, recentMost)
	}
	b = newBook()
	for i := range recentMost + 3*hostsMost {
		s := packet(time.Duration(i)*time.Microsecond, 1, 53, 53, "")
		s.Packet.Dst = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		s.Packet.Src = netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})
		b.Add(s)
	}
	if got := b.normal.order.Len(); got != hostsMost || len(b.normal.hosts) != hostsMost {
		t.Errorf("%d hosts are known, %d by address; want %d", got, len(b.normal.hosts), hostsMost)
	}
}

// TestPayloadIsCopied: the caller's buffer is his own.
func TestPayloadIsCopied(t *testing.T) {
	b, s := newBook(), packet(0, 1, 53, 53, strings.Repeat("a", 2*payloadBytes))
	b.Follow(victim(), noon())
	b.Add(s)
	copy(s.Payload, "changed")
	c, _ := b.Open(victim())
	for _, kept := range [][]byte{c.samples[0].Payload, b.recent[0].Payload} {
		if string(kept) != strings.Repeat("a", payloadBytes) {
			t.Errorf("kept %q", kept)
		}
	}
}

// TestPrefix: an attack on a prefix has the samples of all its hosts, and one on a hostgroup none.
func TestPrefix(t *testing.T) {
	b := newBook()
	whole := traffic.Target{Scope: traffic.ScopePrefix, Prefix: ours, Direction: traffic.Incoming}
	for i := range recentMost + 100 {
		s := packet(time.Duration(i)*time.Microsecond, 1, 53, 53, "ordinary")
		s.Packet.Dst = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		b.Add(s)
	}
	b.Follow(whole, noon().Add(time.Hour))
	b.Follow(traffic.Target{Scope: traffic.ScopeGroup, Group: "default"}, noon())
	b.Add(packet(time.Hour, 2, 53, 53, "attack"))
	if c, ok := b.Open(whole); !ok || len(c.samples) != 1 || len(c.normal) != recentMost-1+100+1 {
		t.Errorf("opened %t: %d samples, %d normal", ok, len(c.samples), len(c.normal))
	}
	if len(b.attacks) != 1 {
		t.Errorf("%d attacks are followed, want 1", len(b.attacks))
	}
}

func BenchmarkAdd(b *testing.B) {
	book, s := newBook(), packet(0, 1, 53, 53, strings.Repeat("a", 150))
	for b.Loop() {
		book.Add(s)
	}
}
