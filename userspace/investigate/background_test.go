package investigate

import (
	"math"
	"strings"
	"testing"
	"time"
)

// TestAgain: what was an attack is nobody's ordinary traffic when it is over, so that the same attack is stopped again, and again.
func TestAgain(t *testing.T) {
	b := newBook()
	flood := strings.Repeat("X", 120)
	from := 0 * time.Second
	for round := range 4 {
		for i := range 400 {
			b.Add(packet(from+time.Duration(i)*10*time.Millisecond, uint16(i%7), uint16(40000+i), 5060, "OPTIONS sip:weir SIP/2.0\r\n"))
		}
		from += 10 * time.Second
		b.Follow(victim(), noon().Add(from))
		for i := range 3000 {
			b.Add(packet(from+time.Duration(i)*time.Millisecond, uint16(i), uint16(1024+i), 80, flood))
		}
		c, ok := b.Open(victim())
		if !ok {
			t.Fatalf("round %d: nothing is known of the attack", round)
		}
		if is := c.Analyze(noon().Add(from)); is.Class != "udp_fixed_flood" || is.Rules.Coverage < 0.95 || is.Rules.Collateral > 0 || is.Normal > 400*(round+1) {
			t.Errorf("round %d: %s beside %d ordinary packets: %+v", round, is.Class, is.Normal, is.Rules)
		}
		b.Forget(victim())
		from += 10 * time.Second
	}
}

// TestBackground: how much of an attack's samples is ordinary traffic is known by what the target had before, whether that is still among the last packets
// of all, or long gone.
func TestBackground(t *testing.T) {
	for name, others := range map[string]int{"among the last packets": 0, "gone": recentMost} {
		b := newBook()
		for i := range 1000 { // 100 a second
			b.Add(packet(time.Duration(i)*10*time.Millisecond, uint16(i%7), 40000, 5060, "ordinary"))
		}
		for i := range others { // of hosts that are not ours
			s := packet(10*time.Second+time.Duration(i)*time.Microsecond, 1, 1, 1, "")
			s.Packet.Dst = s.Packet.Src
			b.Add(s)
		}
		b.Follow(victim(), noon().Add(11*time.Second))
		for i := range 2000 { // 1000 a second
			b.Add(packet(11*time.Second+time.Duration(i)*time.Millisecond, uint16(i), 1, 1, "attack"))
		}
		c, ok := b.Open(victim())
		if !ok {
			t.Fatalf("%s: nothing is known of the attack", name)
		}
		if math.Abs(c.background-0.1) > 0.02 {
			t.Errorf("%s: %.3f of the packets are said to be ordinary, want 0.1", name, c.background)
		}
	}
	b := newBook()
	b.Follow(victim(), noon())
	b.Add(packet(0, 1, 1, 1, "attack"))
	if c, _ := b.Open(victim()); c.background != 0 {
		t.Errorf("of a host that was not seen before, %.3f is said to be ordinary, want 0", c.background)
	}
}
