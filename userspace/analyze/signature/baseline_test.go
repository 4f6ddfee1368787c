package signature

import (
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/analyze"
	"weir/userspace/traffic"
)

func rule(t *testing.T, text string) traffic.Rule {
	t.Helper()
	r, err := traffic.ParseRule("destination 203.0.113.7/32 " + text + " then discard")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestBaselineMemory holds the documented bytes against the types.
func TestBaselineMemory(t *testing.T) {
	if size := unsafe.Sizeof(Baseline{}); size > BaselineBytes {
		t.Errorf("a baseline has %d bytes", size)
	}
	if size := unsafe.Sizeof(kept{}); size > KeptBytes {
		t.Errorf("a sample has %d bytes", size)
	}
	b, m := NewBaseline(BaselineConfig{Samples: 100}), newMaker(1)
	for range 5000 {
		s := m.mix(1)[0]
		b.Observe(&s)
	}
	if cap(b.kept) > 200 || len(b.Samples()) != 100 {
		t.Errorf("%d of %d samples", len(b.kept), cap(b.kept))
	}
}

// TestBaselineKeeps compares what comes back with what went in, where nothing has to go.
func TestBaselineKeeps(t *testing.T) {
	b, m := NewBaseline(BaselineConfig{}), newMaker(2)
	in := append(m.mix(100), times(20, m.attacks()["fragments"])...)
	in = append(in, times(20, m.attacks()["icmp"])...)
	for i := range in {
		b.Observe(&in[i])
	}
	out := b.Samples()
	for i := range in {
		in[i].Rate = 1
		in[i].Time = in[i].Time.UTC()
		in[i].Payload = in[i].Payload[:min(len(in[i].Payload), SampleBytesKept)]
		if len(in[i].Payload) == 0 {
			in[i].Payload = nil
		}
	}
	same := cmp.Comparer(func(a, b traffic.Packet) bool { return a == b })
	if diff := cmp.Diff(out, in, same); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

// TestBaselineForgets: after ten half-lives of web traffic the games of before are gone.
func TestBaselineForgets(t *testing.T) {
	b, m := NewBaseline(BaselineConfig{Samples: 200, HalfLife: time.Minute}), newMaker(3)
	start := time.Unix(1700000000, 0)
	feed := func(n int, from time.Time, kind func() analyze.Seen) {
		for i := range n {
			s := kind()
			s.Time = from.Add(time.Duration(i) * 100 * time.Millisecond)
			b.Observe(&s)
		}
	}
	feed(1000, start, m.game)
	games := []traffic.Rule{rule(t, "destination-port 27015")}
	if bound := b.Bound(games); bound < 0.99 {
		t.Errorf("all is the game, and at most %.3f of it", bound)
	}
	feed(1000, start.Add(10*time.Minute), m.web)
	if bound := b.Bound(games); bound > 0.02 || bound == 0 {
		t.Errorf("games are gone, and still %.3f", bound)
	}
	left := 0
	for _, s := range b.Samples() {
		if s.Packet.DstPort == 27015 {
			left++
		}
	}
	if left > 5 {
		t.Errorf("%d of 200 samples are games", left)
	}
}

// TestBaselineRates: a sample that stands for more packets is kept more likely.
func TestBaselineRates(t *testing.T) {
	b, m := NewBaseline(BaselineConfig{Samples: 500}), newMaker(4)
	for i := range 20000 {
		s := m.web()
		if s.Rate = 1; i%2 == 0 {
			s = m.game()
			s.Rate = 9
		}
		b.Observe(&s)
	}
	games := 0
	for _, s := range b.Samples() {
		if s.Packet.Protocol == traffic.ProtoUDP {
			games++
		}
	}
	if games < 425 || games > 475 {
		t.Errorf("%d of 500 samples are games, expected about 450", games)
	}
	if p := b.Packets(); p < 99000 || p > 101000 {
		t.Errorf("%.0f packets", p)
	}
}

// TestBaselineBound: bounds are never under the truth, and say something where a condition is rare.
func TestBaselineBound(t *testing.T) {
	b, m := NewBaseline(BaselineConfig{}), newMaker(5)
	normal := m.mix(30000)
	for i := range normal {
		b.Observe(&normal[i])
	}
	for _, tt := range []struct {
		rule string
		most float64
	}{
		{"protocol gre", 0.001}, {"source-port 53", 0.13}, {"destination-port 27015", 0.23}, {"icmp-type 8", 0.001}, {"tcp-flags syn&!ack", 0.03},
		{"length >=1400", 0.3}, {"length 1500", 0.3}, {"dscp 8", 0.001}, {"fragment is-fragment", 0.001}, {"protocol tcp", 1}, {"source-port 1-65535", 1}, {"payload 0:17", 1},
		{"destination-port !=443", 1}, {"tcp-flags 0x100", 1},
	} {
		r := rule(t, tt.rule)
		truth := matching([]Found{{Rule: r}}, normal)
		if bound := b.Bound([]traffic.Rule{r}); bound < truth || bound > tt.most {
			t.Errorf("%s: %.4f is bound by %.4f, expected at most %.4f", tt.rule, truth, bound, tt.most)
		}
	}
	if bound := NewBaseline(BaselineConfig{}).Bound([]traffic.Rule{rule(t, "protocol gre")}); bound != 1 {
		t.Errorf("nothing is known, and at most %v", bound)
	}
}

// TestBaselineMerge: two samplers see one half each.
func TestBaselineMerge(t *testing.T) {
	m := newMaker(6)
	one, other := NewBaseline(BaselineConfig{Samples: 300, Seed: 1}), NewBaseline(BaselineConfig{Samples: 300, Seed: 2})
	for range 3000 {
		web, game := m.web(), m.game()
		one.Observe(&web)
		other.Observe(&game)
	}
	one.Merge(other)
	one.Merge(NewBaseline(BaselineConfig{}))
	games := 0
	for _, s := range one.Samples() {
		if s.Packet.Protocol == traffic.ProtoUDP {
			games++
		}
	}
	if games < 110 || games > 190 || len(one.Samples()) != 300 {
		t.Errorf("%d of %d samples are games", games, len(one.Samples()))
	}
	if bound := one.Bound([]traffic.Rule{rule(t, "destination-port 27015")}); bound < 0.49 || bound > 0.53 {
		t.Errorf("half of it is the game, and at most %.3f", bound)
	}
}

// TestBaselineMergeTimes: the one that began ten half-lives later has the say, whichever is added to the other.
func TestBaselineMergeTimes(t *testing.T) {
	for _, turned := range []bool{false, true} {
		m := newMaker(7)
		old, young := NewBaseline(BaselineConfig{Samples: 100, HalfLife: time.Minute, Seed: 1}), NewBaseline(BaselineConfig{Samples: 100, HalfLife: time.Minute, Seed: 2})
		for range 500 {
			web, game := m.web(), m.game()
			game.Time = game.Time.Add(10 * time.Minute)
			old.Observe(&web)
			young.Observe(&game)
		}
		if turned {
			old, young = young, old
		}
		old.Merge(young)
		games := 0
		for _, s := range old.Samples() {
			if s.Packet.Protocol == traffic.ProtoUDP {
				games++
			}
		}
		if games < 95 {
			t.Errorf("turned %v: %d of 100 samples are games", turned, games)
		}
		if bound := old.Bound([]traffic.Rule{rule(t, "protocol tcp")}); bound > 0.02 {
			t.Errorf("turned %v: the web of before is still %.3f", turned, bound)
		}
	}
}
