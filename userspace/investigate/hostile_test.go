package investigate_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/analyze"
	"weir/userspace/analyze/dissect/dissecttest"
	"weir/userspace/investigate"
	"weir/userspace/lab/ordinary"
	"weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

func ours(a netip.Addr) bool {
	return a == netip.MustParseAddr(victim4) || a == netip.MustParseAddr(victim6)
}

func targetOf(host string, d traffic.Direction) traffic.Target {
	a := netip.MustParseAddr(host)
	return traffic.Target{Prefix: netip.PrefixFrom(a, a.BitLen()), Direction: d}
}

// sound holds an analysis of anything at all against what always has to be true of one.
func sound(t *testing.T, is *traffic.Analysis) {
	t.Helper()
	in := func(x float64) bool { return x >= 0 && x <= 1 }
	if !in(is.Confidence) || is.Class == "" {
		t.Fatalf("%+v", is)
	}
	for _, v := range is.Vectors {
		if !in(v.Share) || !in(v.Confidence) || v.Class == "" {
			t.Fatalf("vector %+v", v)
		}
	}
	text := slices.Concat(is.Evidence, is.Patterns)
	for _, s := range []traffic.RuleSet{is.Rules, is.Router} {
		if !in(s.Coverage) || !in(s.Collateral) || len(s.Rules) > 8 || len(s.Left) > 16 || len(s.Rules) == 0 && s.Why == "" {
			t.Fatalf("rules %+v", s)
		}
		for _, r := range slices.Concat(s.Rules, s.Left) {
			parsed, err := traffic.ParseRule(r.Rule)
			if err != nil || parsed.String() != r.Rule || !in(r.Coverage) || !in(r.Collateral) {
				t.Fatalf("rule %+v: %v", r, err)
			}
			text = append(text, r.Text)
		}
		text = append(text, s.Why)
	}
	for _, s := range text {
		if strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Fatalf("not printable: %q", s)
		}
	}
}

// FuzzBook has a book see packets that are cut from hostile bytes, half of them before an attack, and analyzes the attack: whatever the packets are, what
// comes out is sound, and twice the same.
func FuzzBook(f *testing.F) {
	seed := func(frames ...[]byte) {
		var b []byte
		for _, frame := range frames {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(frame))), frame...)
		}
		f.Add(b)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for _, list := range [][]flood{direct(), direct6()} {
		for _, of := range list {
			seed(of.frame(0, random), of.frame(1, random), of.frame(2, random)[:30], of.frame(3, random))
		}
	}
	for _, p := range dissecttest.Payloads() {
		frame := packettest.UDP4(to, func(f *packettest.Frame) { f.SrcPort, f.DstPort, f.Payload = p.Source, p.Destination, p.Bytes }).Bytes()
		seed(frame, frame[:len(frame)/2], frame, frame[:len(frame)-1], frame)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := b
		tell := func() (all []*traffic.Analysis) {
			b := whole
			book := investigate.New(ours)
			for n := 0; len(b) > 2; n++ {
				length := int(binary.BigEndian.Uint16(b))
				b = b[2:]
				rate, size := uint32(length)<<17, min(length&0x1ff, len(b))
				if s, ok := analyze.Look(b[:size], traffic.LinkEthernet, uint32(length), begin().Add(time.Duration(n%7)*time.Second), rate); ok {
					book.Add(&s)
				}
				b = b[size:]
				if n == 3 {
					for _, host := range []string{victim4, victim6} {
						book.Follow(targetOf(host, traffic.Incoming), begin().Add(3*time.Second))
						book.Follow(targetOf(host, traffic.Outgoing), begin().Add(3*time.Second))
					}
				}
			}
			for _, host := range []string{victim4, victim6} {
				for _, d := range []traffic.Direction{traffic.Incoming, traffic.Outgoing} {
					if c, ok := book.Open(targetOf(host, d)); ok {
						all = append(all, c.Analyze(begin()))
					}
				}
			}
			return all
		}
		first := tell()
		for _, is := range first {
			sound(t, is)
		}
		if diff := cmp.Diff(first, tell()); diff != "" {
			t.Fatalf("the same packets tell something else (-first +again)\n%s", diff)
		}
	})
}

// TestRandomPackets: samples of thousands of random packets, cut anywhere, are analyzed soundly, too.
func TestRandomPackets(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	bases := slices.Concat(direct(), direct6(), protocols())
	for range 6 {
		book := investigate.New(ours)
		for i := range 4000 {
			frame := bases[random.IntN(len(bases))].frame(i, random)
			for range random.IntN(4) {
				frame[14+random.IntN(len(frame)-14)] = byte(random.Uint32())
			}
			frame = frame[:random.IntN(len(frame)+1)]
			if s, ok := look(frame, time.Duration(i)*time.Millisecond, random.Uint32()); ok {
				book.Add(&s)
			}
			if i == 2000 {
				book.Follow(targetOf(victim4, traffic.Incoming), begin().Add(2*time.Second))
				book.Follow(targetOf(victim6, traffic.Incoming), begin().Add(2*time.Second))
			}
		}
		for _, host := range []string{victim4, victim6} {
			c, ok := book.Open(targetOf(host, traffic.Incoming))
			if !ok {
				t.Fatalf("nothing of all that is to %s", host)
			}
			sound(t, c.Analyze(begin()))
		}
	}
}

// TestLikeOrdinary: a flood of what the host has anyway gets no rules and a sentence instead, and one of which a part is different gets rules
// against that part alone. Here a crowd of new clients browses.
func TestLikeOrdinary(t *testing.T) {
	m := newMix(t, victim4, 1)
	frames, err := ordinary.Make(ordinary.Options{Host: m.host, Seed: 77, Duration: 6 * time.Second, Scale: 12})
	if err != nil {
		t.Fatal(err)
	}
	frames = slices.DeleteFunc(frames, func(f ordinary.Frame) bool { return !f.Incoming || f.Kind != ordinary.Web })
	crowd := flood{"crowd", "", func(i int, _ *rand.Rand) []byte { return frames[i].Data }}
	is, fresh := m.attacked(t, &crowd, 3000)
	if len(is.Rules.Rules)+len(is.Router.Rules) > 0 || !strings.Contains(is.Rules.Why, "looks like normal traffic") || !strings.Contains(is.Router.Why, "looks like normal traffic") {
		t.Errorf("rules %+v, they meet %.3f of the crowd and %.3f of the others", is.Rules, met(t, is.Rules.Rules, fresh), met(t, is.Rules.Rules, m.fresh))
	}

	empty := direct()[15]
	both := flood{"crowd and empty datagrams", "", func(i int, r *rand.Rand) []byte {
		if i%4 < 2 { // one of two is a sample
			return empty.frame(i, r)
		}
		return frames[i].Data
	}}
	is, fresh = m.attacked(t, &both, 3000)
	if got := met(t, is.Rules.Rules, fresh); got < 0.45 || got > 0.55 || met(t, is.Rules.Rules, m.fresh) > 0.01 || is.Rules.Coverage > 0.7 || !strings.Contains(is.Rules.Why, "the rest looks like normal traffic") {
		t.Errorf("rules meet %.3f of a flood of which one half is like ordinary traffic: %+v", got, is.Rules)
	}
}

// TestEverySecond: an attacker who changes what he sends every second meets other rules each time, which are never more than the budget, and the same for
// the same samples.
func TestEverySecond(t *testing.T) {
	m := newMix(t, victim4, 1)
	vectors := append(direct(), protocols()...)
	attack := func() (all []*traffic.Analysis, seconds [][]analyze.Seen) {
		random := rand.New(rand.NewPCG(3, 3))
		book, target := investigate.New(ours), targetOf(victim4, traffic.Incoming)
		for i := range m.samples {
			if s := &m.samples[i]; s.Time.Before(begin().Add(attackAfter)) {
				book.Add(s)
			}
		}
		book.Follow(target, begin().Add(attackAfter))
		for second := range 12 {
			v := vectors[second*7%len(vectors)]
			var now []analyze.Seen
			for i := range 2500 {
				s, ok := look(v.frame(2*i, random), attackAfter+time.Duration(second)*time.Second+time.Duration(i)*400*time.Microsecond, oneIn)
				if !ok {
					t.Fatalf("%s: no sample", v.name)
				}
				book.Add(&s)
				now = append(now, s)
			}
			c, ok := book.Open(target)
			if !ok {
				t.Fatal("nothing is known")
			}
			all, seconds = append(all, c.Analyze(begin().Add(attackAfter))), append(seconds, now)
		}
		return all, seconds
	}
	first, seconds := attack()
	changed := 0
	for i, is := range first {
		sound(t, is)
		if got, cost := met(t, is.Rules.Rules, seconds[i]), met(t, is.Rules.Rules, m.fresh); got < 0.95 || cost > 0.01 {
			t.Errorf("second %d, %s: rules meet %.3f of what he sends now, and %.3f of ordinary traffic: %+v", i, is.Class, got, cost, is.Rules)
		}
		if i > 0 && !cmp.Equal(is.Rules.Rules, first[i-1].Rules.Rules) {
			changed++
		}
	}
	if changed < 8 {
		t.Errorf("the rules have changed %d times", changed)
	}
	again, _ := attack()
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the same attack is told in another way (-first +again)\n%s", diff)
	}
}

// BenchmarkEverything analyzes 10,000 samples of every flood that the tests know, beside ordinary traffic: the most varied that an attack can be.
func BenchmarkEverything(b *testing.B) {
	m := newMix(b, victim4, 1)
	vectors := append(direct(), protocols()...)
	random := rand.New(rand.NewPCG(9, 9))
	book, target := investigate.New(ours), targetOf(victim4, traffic.Incoming)
	for i := range m.samples {
		if s := &m.samples[i]; s.Time.Before(begin().Add(attackAfter)) {
			book.Add(s)
		}
	}
	book.Follow(target, begin().Add(attackAfter))
	for i := range 10_000 {
		s, ok := look(vectors[i%len(vectors)].frame(i, random), attackAfter+time.Duration(i)*time.Millisecond, oneIn)
		if !ok {
			b.Fatalf("%s: no sample", vectors[i%len(vectors)].name)
		}
		book.Add(&s)
	}
	b.ReportAllocs()
	for b.Loop() {
		c, ok := book.Open(target)
		if !ok {
			b.Fatal("nothing is known of the attack")
		}
		c.Analyze(begin().Add(attackAfter))
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/analysis")
}
