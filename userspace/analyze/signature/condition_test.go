package signature

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"weir/userspace/analyze"
	"weir/userspace/traffic"
)

// TestConditionsAreRules holds what conditions are found to meet, by column, against what the rule they become matches.
func TestConditionsAreRules(t *testing.T) {
	m := newMaker(30)
	samples := append(m.mix(300), hostile(rand.New(rand.NewPCG(1, 1)), 300)...)
	for _, attack := range []string{"dns", "icmp", "syn", "ack"} {
		samples = append(samples, times(100, m.attacks()[attack])...)
	}
	samples = ofTarget(samples, target().Prefix, false)
	p := pool{attack: newTable(samples, false), normal: newTable(m.mix(100), false), prior: newTable(ordinary(target().Prefix, false), false),
		known: map[string]*condition{}, thought: map[uint64]bool{}}
	p.think(p.attack.all, p.normal.all)
	for i := 0; i < len(p.list) && i < 40; i++ {
		p.think(p.list[i].attack, p.list[i].normal)
	}
	kinds := map[string]bool{}
	w := work{target: target().Prefix, options: Options{}.withDefaults(), pool: p}
	for _, c := range p.list {
		r := w.rule([]*condition{c})
		if err := r.Validate(); err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		kinds[fmt.Sprint(c.kind, c.field)] = true
		for i := range p.attack.facts {
			if p.attack.rates[i] == 0 {
				continue
			}
			if f := &p.attack.facts[i]; r.Match(f) != c.attack.has(i) {
				t.Fatalf("%s: the rule says %v, the column %v of %+v", r, r.Match(f), c.attack.has(i), f)
			}
		}
	}
	if len(p.list) < 100 || len(kinds) < 10 {
		t.Errorf("only %d conditions of %d kinds: the test has lost its object", len(p.list), len(kinds))
	}
}

func TestConditionText(t *testing.T) {
	for _, tt := range []struct {
		c    condition
		want string
	}{
		{condition{kind: numbers, field: length, spans: []span{{40, 40}}}, "length 40"},
		{condition{kind: numbers, field: length, spans: []span{{40, 60}}}, "length >=40&<=60"},
		{condition{kind: numbers, field: length, spans: []span{{400, 65535}}}, "length >=400"},
		{condition{kind: numbers, field: length, spans: []span{{0, 60}}}, "length <=60"},
		{condition{kind: numbers, field: sourcePort, spans: []span{{53, 53}, {123, 123}}}, "source-port 53,123"},
		{condition{kind: numbers, field: sourcePort, spans: []span{{0, 52}, {54, 65535}}}, "source-port !=53"},
		{condition{kind: numbers, field: protocol, spans: gaps([]span{{6, 6}, {17, 17}}, 255)}, "protocol !=tcp&!=udp"},
		{condition{kind: numbers, field: destinationPort, spans: []span{{0, 9}, {80, 90}}}, "destination-port <=9,>=80&<=90"},
		{condition{kind: flags, field: tcpFlags, must: traffic.FlagSYN, not: traffic.FlagACK}, "tcp-flags syn&!ack"},
		{condition{kind: flags, field: tcpFlags, not: traffic.FlagACK | traffic.FlagRST}, "tcp-flags !any:rst+ack"},
		{condition{kind: flags, field: fragments, any: traffic.FragmentIs | traffic.FragmentFirst}, "fragment any:is-fragment+first-fragment"},
		{condition{kind: prefix, prefix: netip.MustParsePrefix("198.51.100.0/24")}, "source 198.51.100.0/24"},
		{condition{kind: payload, payload: traffic.Payload{Offset: 2, Value: "\x80", Mask: "\x80"}}, "payload 2:80/80"},
	} {
		if got := tt.c.words(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// TestWeights: samples of many rates count by powers of two, of few by what they are.
func TestWeights(t *testing.T) {
	m := newMaker(31)
	few, many := m.mix(200), m.mix(200)
	for i := range few {
		few[i].Rate, many[i].Rate = uint32(i%3+5), uint32(i*1000)
	}
	exact, rounded := newTable(few, false), newTable(many, false)
	if got := exact.weight.of(exact.all, exact.all); got != exact.exact(exact.all) || got != exact.weight.total {
		t.Errorf("few rates: %v, exactly %v", got, exact.exact(exact.all))
	}
	if got, want := rounded.weight.of(rounded.all, rounded.all), rounded.exact(rounded.all); got == want || got < want/2 || got > want {
		t.Errorf("many rates: %v, exactly %v", got, want)
	}
	if n := rounded.all.count(); n != 200 {
		t.Errorf("%d samples", n)
	}
	if newTable([]analyze.Seen{}, false).weight.total != 0 {
		t.Error("nothing weighs something")
	}
}

func TestText(t *testing.T) {
	for share, want := range map[float64]string{0: "0 %", 1: "100 %", 0.991: "99.1 %", 0.0004: "0.04 %", 0.00001: "under 0.01 %", 0.99999: "over 99.9 %", 0.05: "5.0 %"} {
		if got := percent(share); got != want {
			t.Errorf("%v: %q", share, got)
		}
	}
	f := Found{Rule: traffic.Rule{Actions: []traffic.RuleAction{{Kind: traffic.RuleDiscard}}}, Coverage: 0.991, Collateral: 0.0004, CollateralAtMost: 0.006}
	if got := describe(&f); got != "drops 99.1 % of the attack, 0.04 % of normal" {
		t.Error(got)
	}
	f.Rule.Actions[0].Kind, f.CollateralAtMost = traffic.RuleRatePackets, 0.2
	if got := describe(&f); got != "limits 99.1 % of the attack, 0.04 % of normal (at most 20.0 %, with 95 % confidence)" {
		t.Error(got)
	}
}

// The bounds are those of published tables: 0 of 10 is at most 21.3 %, one-sided at 95 %; 5 of 10 is 26.9 to 73.1 %.
func TestWilson(t *testing.T) {
	for _, tt := range []struct{ share, n, low, high float64 }{{0, 10, 0, 0.213}, {0.5, 10, 0.269, 0.731}, {1, 10, 0.787, 1}, {0, 0, 0, 1}} {
		low, high := wilson(tt.share, tt.n)
		if d := max(low-tt.low, tt.low-low, high-tt.high, tt.high-high); d > 0.001 {
			t.Errorf("%v of %v: %.4f to %.4f", tt.share, tt.n, low, high)
		}
	}
}
