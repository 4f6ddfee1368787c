package signature

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/analyze"
	"weir/userspace/traffic"
)

var addresses = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

// TestDeterminism infers from the same samples again and again.
func TestDeterminism(t *testing.T) {
	m := newMaker(3)
	attacks := m.attacks()
	var attack []analyze.Seen
	for _, name := range []string{"dns", "syn", "gre", "ack", "udp"} {
		attack = append(attack, times(400, attacks[name])...)
	}
	for i := range attack {
		attack[i].Rate = uint32(i%3 + 1)
	}
	normal := m.mix(512)
	first := Infer(target(), attack, normal, Options{})
	for range 5 {
		if diff := cmp.Diff(Infer(target(), attack, normal, Options{}), first, addresses, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Fatalf("(-got +want)\n%s", diff)
		}
	}
}

// TestIndistinguishable floods a host with what it gets anyway.
func TestIndistinguishable(t *testing.T) {
	m := newMaker(4)
	r := Infer(target(), m.mix(3000), m.mix(1000), Options{})
	if !r.Indistinguishable || len(r.Rules) > 0 || !strings.Contains(r.Why, "looks like normal traffic") || !r.RouterRules.Indistinguishable {
		t.Errorf("%+v", r)
	}
}

// TestBudget gives fewer rules than vectors: the largest vectors go first, and the other rules are named.
func TestBudget(t *testing.T) {
	m := newMaker(5)
	attacks := m.attacks()
	var attack []analyze.Seen
	for i, name := range []string{"gre", "syn", "ntp", "fragments", "icmp"} {
		attack = append(attack, times(1000-150*i, attacks[name])...)
	}
	normal := m.mix(512)
	all := Infer(target(), attack, normal, Options{})
	enough(t, "without a limit", all.Set)
	some := Infer(target(), attack, normal, Options{MaxRules: len(all.Rules) - 1})
	if len(some.Rules) != len(all.Rules)-1 || len(some.Left) == 0 || some.Coverage >= 0.95 || some.Coverage < 0.5 || !strings.Contains(some.Why, "did not fit") {
		t.Errorf("of %d rules: %d, left %d, coverage %.3f: %s", len(all.Rules), len(some.Rules), len(some.Left), some.Coverage, some.Why)
	}
	for _, left := range some.Left {
		if left.Coverage > some.Rules[len(some.Rules)-1].Coverage {
			t.Errorf("%s was left out for %s", left.Rule, some.Rules[len(some.Rules)-1].Rule)
		}
	}
}

// TestRates weighs samples by how many packets each stands for.
func TestRates(t *testing.T) {
	m := newMaker(6)
	gre, syn := times(900, m.attacks()["gre"]), times(100, m.attacks()["syn"])
	for i := range gre {
		gre[i].Rate = 1
	}
	for i := range syn {
		syn[i].Rate = 1000
	}
	r := Infer(target(), append(gre, syn...), m.mix(512), Options{})
	if len(r.Rules) != 1 || len(r.Rules[0].Rule.TCPFlags) == 0 || r.Rules[0].Coverage < 0.99 {
		t.Errorf("%+v", r.Rules)
	}
}

// TestBackground has normal traffic among the attack's samples: it need not be covered.
func TestBackground(t *testing.T) {
	m := newMaker(8)
	attack := append(times(700, m.attacks()["ntp"]), m.mix(300)...)
	normal := m.mix(512)
	if r := Infer(target(), attack, normal, Options{}); r.Coverage > 0.8 {
		t.Errorf("unaware: %.3f", r.Coverage)
	}
	enough(t, "aware", Infer(target(), attack, normal, Options{Background: 0.3}).Set)
}

// TestFewNormal says how little is known.
func TestFewNormal(t *testing.T) {
	m := newMaker(9)
	r := Infer(target(), times(1000, m.attacks()["ntp"]), m.mix(10), Options{})
	if len(r.Rules) != 1 || r.Rules[0].CollateralAtMost < 0.15 || !strings.Contains(r.Rules[0].Text, "with 95 % confidence") {
		t.Fatalf("%+v", r.Rules)
	}
	b := NewBaseline(BaselineConfig{})
	normal := m.mix(20000)
	for i := range normal {
		b.Observe(&normal[i])
	}
	r = Infer(target(), times(1000, m.attacks()["gre"]), b.Samples()[:10], Options{Baseline: b})
	if len(r.Rules) != 1 || r.Rules[0].CollateralAtMost > 0.001 {
		t.Errorf("histograms of 20,000 packets without GRE: %+v", r.Rules)
	}
	if r = Infer(target(), times(1000, m.attacks()["ntp"]), nil, Options{}); len(r.Rules) != 1 || r.CollateralAtMost != 1 || len(r.Rules[0].Rule.SourcePorts) == 0 {
		t.Errorf("nothing known: %+v", r.Rules)
	}
}

// TestOutgoing: the host is the source, and a router outside cannot help.
func TestOutgoing(t *testing.T) {
	m := newMaker(10)
	turn := func(list []analyze.Seen) []analyze.Seen {
		for i := range list {
			p := &list[i].Packet
			p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
		}
		return list
	}
	out := target()
	out.Direction = traffic.Outgoing
	r := Infer(out, turn(times(1000, m.attacks()["udp"])), turn(m.mix(512)), Options{})
	enough(t, "outgoing", r.Set)
	for _, f := range r.Rules {
		if f.Rule.Source != out.Prefix || f.Rule.Destination.IsValid() {
			t.Errorf("%s", f.Rule)
		}
	}
	if !r.RouterRules.Indistinguishable || !strings.Contains(r.RouterRules.Why, "outgoing") {
		t.Errorf("%+v", r.RouterRules)
	}
}

// TestEvidence: one TTL, as of one machine that invents sources. No rule can look at it.
func TestEvidence(t *testing.T) {
	m := newMaker(11)
	attack := times(1000, m.attacks()["syn"])
	for i := range attack {
		attack[i].TTL, attack[i].TCPWindow = 244, 512
	}
	r := Infer(target(), attack, m.mix(512), Options{})
	want := []string{
		"TTL 244 in 100 % of the attack's packets that have one, against 0 % of normal traffic that has one; no rule can look at it",
		"TCP window 512 in 100 % of the attack's packets that have one, against 0 % of normal traffic that has one; no rule can look at it",
	}
	if diff := cmp.Diff(r.Evidence, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

// TestIgnored: packets to others are no part of it.
func TestIgnored(t *testing.T) {
	m := newMaker(13)
	attack := times(200, m.attacks()["gre"])
	m.host = netip.MustParseAddr("203.0.113.8")
	attack = append(attack, times(800, m.attacks()["icmp"])...)
	r := Infer(target(), attack, m.mix(50), Options{})
	if r.Attack != 200 || r.Normal != 0 || r.Ignored != 850 || len(r.Rules) != 1 || r.Rules[0].Rule.Protocols[0].Value != 47 {
		t.Errorf("%d, %d, %d ignored: %+v", r.Attack, r.Normal, r.Ignored, r.Rules)
	}
}

func TestNothing(t *testing.T) {
	m := newMaker(12)
	elsewhere := target()
	elsewhere.Prefix = netip.MustParsePrefix("2001:db8::7/128")
	group := traffic.Target{Scope: traffic.ScopeGroup, Group: "web"}
	for name, r := range map[string]Result{
		"no samples":      Infer(target(), nil, m.mix(10), Options{}),
		"another target":  Infer(elsewhere, m.mix(10), nil, Options{}),
		"no prefix":       Infer(group, m.mix(10), nil, Options{}),
		"zero everything": Infer(traffic.Target{}, nil, nil, Options{}),
	} {
		if !r.Indistinguishable || r.Why == "" || len(r.Rules)+len(r.RouterRules.Rules) > 0 || r.RouterRules.Why == "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// hostile makes samples of any bytes: everything that Look could never produce, too.
func hostile(random *rand.Rand, n int) []analyze.Seen {
	list := make([]analyze.Seen, n)
	for i := range list {
		x := func(n int) int { return random.IntN(n) }
		s := &list[i]
		*s = analyze.Seen{Time: time.Unix(random.Int64(), 0), TTL: uint8(x(256)), DSCP: uint8(x(256)), IPLength: uint16(x(65536)), TCPWindow: uint16(x(65536)),
			FragmentOffset: uint16(x(65536)), DontFragment: x(2) == 0, MoreFragments: x(2) == 0, TCPAllFlags: uint16(x(65536)), ICMPType: uint8(x(256)),
			FlowLabel: random.Uint32(), Payload: make([]byte, x(300)), PayloadLength: x(10) - 5, Rate: random.Uint32() >> x(32)}
		s.Packet = traffic.Packet{Src: netip.AddrFrom4([4]byte{byte(x(256)), byte(x(256)), 1, 1}), Dst: netip.MustParseAddr("203.0.113.7"), SrcPort: uint16(x(65536)),
			DstPort: uint16(x(65536)), Protocol: []uint8{1, 6, 17, 58, 255, uint8(x(256))}[x(6)], Fragment: traffic.Fragment(x(5)), Anomaly: traffic.Anomaly(x(9))}
		switch x(10) {
		case 0:
			s.Packet.Src = netip.Addr{}
		case 1:
			s.Packet.Dst = netip.Addr{}
		case 2:
			s.Packet.Src = netip.MustParseAddr("fe80::1%x")
		}
	}
	return list
}

func TestHostile(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 2))
		normal := hostile(random, random.IntN(300))
		b := NewBaseline(BaselineConfig{Samples: 100, HalfLife: time.Duration(random.IntN(1e9))})
		for i := range normal {
			b.Observe(&normal[i])
		}
		r := Infer(target(), hostile(random, random.IntN(1000)), append(normal, b.Samples()...), Options{Baseline: b, Background: random.NormFloat64(), Coverage: random.NormFloat64(), Collateral: random.NormFloat64()})
		for _, f := range append(r.Rules, r.RouterRules.Rules...) {
			if err := f.Rule.Validate(); err != nil || f.Collateral > 1 || f.Coverage > 1 || f.CollateralAtMost > 1 {
				t.Errorf("seed %d: %s: %v, %+v", seed, f.Rule, err, f)
			}
		}
	}
}
