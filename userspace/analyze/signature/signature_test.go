package signature

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"weir/userspace/analyze"
	"weir/userspace/rulelint"
	"weir/userspace/traffic"
)

// enough holds a set against what the project promises.
func enough(t *testing.T, what string, s Set) {
	t.Helper()
	if s.Coverage < 0.95 || s.Collateral > 0.01 || s.Indistinguishable || s.Why != "" {
		t.Errorf("%s: coverage %.4f, collateral %.4f: %s", what, s.Coverage, s.Collateral, s.Why)
	}
	for _, f := range s.Rules {
		if err := f.Rule.Validate(); err != nil {
			t.Errorf("%s: %s: %v", what, f.Rule, err)
		}
		name := "flowspec"
		if len(f.Rule.Payload) > 0 {
			name = "xdp"
		}
		profile, err := rulelint.ProfileByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if f.Rule.Destination.IsValid() {
			if findings := rulelint.Lint(f.Rule, profile, func(netip.Prefix) bool { return true }); len(findings) > 0 {
				t.Errorf("%s: %s: %v", what, f.Rule, findings)
			}
		}
	}
}

func show(t *testing.T, r Result) {
	t.Helper()
	for _, f := range r.Rules {
		t.Logf("%s: %s", f.Rule, f.Text)
	}
	for _, f := range r.RouterRules.Rules {
		t.Logf("router: %s: %s", f.Rule, f.Text)
	}
	t.Logf("%.4f %.4f (at most %.4f) left %d %s %q router %q", r.Coverage, r.Collateral, r.CollateralAtMost, len(r.Left), r.Why, r.Evidence, r.RouterRules.Why)
}

// TestAttacks throws each attack, alone and with others, at a host with mixed traffic, of which as much is known as a baseline keeps. The
// rules are then held against traffic that they were not made from.
func TestAttacks(t *testing.T) {
	for _, tt := range []struct {
		vectors string
		rules   []string // without destination and action; nil: whatever does it
		router  bool     // FlowSpec can do it, too
	}{
		{"dns", nil, true},
		{"ntp", []string{"protocol udp source-port 123 length 468"}, true},
		{"syn", []string{"tcp-flags syn length 40"}, true},
		{"udp", nil, true},
		{"fragments", []string{"protocol udp fragment is-fragment"}, true},
		{"icmp", []string{"protocol icmp length 1028"}, true},
		{"gre", []string{"protocol gre"}, true},
		{"ack", []string{"protocol tcp tcp-flags ack&!any:fin+syn+rst payload 0:584d4153"}, false},
		{"ntp syn", []string{"protocol udp source-port 123 length 468", "tcp-flags syn length 40"}, true},
		{"dns ntp icmp", nil, true},
		{"syn gre ack ntp", nil, false},
	} {
		t.Run(tt.vectors, func(t *testing.T) {
			m := newMaker(7)
			normal := m.mix(512)
			vectors := strings.Fields(tt.vectors)
			all := m.attacks()
			attack := func(n int) []analyze.Seen {
				return times(n, func() analyze.Seen { return all[vectors[m.random.IntN(len(vectors))]]() })
			}
			r := Infer(target(), attack(3000), normal, Options{})
			show(t, r)
			enough(t, "rules", r.Set)
			if tt.router {
				enough(t, "router's rules", r.RouterRules)
			}
			if usesPayload(r.RouterRules.Rules) {
				t.Error("a router's rules look at payload")
			}
			fresh, innocent := matching(r.Rules, attack(3000)), matching(r.Rules, m.mix(5000))
			if fresh < 0.94 || innocent > 0.02 {
				t.Errorf("of other samples: %.4f of the attack, %.4f of normal traffic", fresh, innocent)
			}
			if tt.rules != nil {
				var got []string
				for _, f := range r.Rules {
					got = append(got, strings.TrimSuffix(strings.TrimPrefix(f.Rule.String(), "destination 203.0.113.7/32 "), " then discard"))
				}
				if fmt.Sprint(got) != fmt.Sprint(tt.rules) {
					t.Errorf("got %q, want %q", got, tt.rules)
				}
			}
		})
	}
}

// matching returns the share of samples that any of the rules matches.
func matching(rules []Found, samples []analyze.Seen) float64 {
	hit := 0
	for i := range samples {
		f := samples[i].Facts()
		for j := range rules {
			if rules[j].Rule.Match(&f) {
				hit++
				break
			}
		}
	}
	return float64(hit) / float64(len(samples))
}

// TestSources: machines of one network send what clients send.
func TestSources(t *testing.T) {
	m := newMaker(40)
	attack := times(2000, m.web)
	for i := range attack {
		attack[i].Packet.Src = netip.AddrFrom4([4]byte{198, 51, 100, byte(m.random.Uint32())})
	}
	r := Infer(target(), attack, m.mix(512), Options{})
	enough(t, "rules", r.Set)
	if len(r.Rules) != 1 || r.Rules[0].Rule.Source != netip.MustParsePrefix("198.51.100.0/24") {
		t.Errorf("%+v", r.Rules)
	}
}

// TestIPv6 has its own lengths of prefixes, its own ICMP, and no DF.
func TestIPv6(t *testing.T) {
	m := newMaker(41)
	m.host = netip.MustParseAddr("2001:db8::7")
	to := traffic.Target{Prefix: netip.MustParsePrefix("2001:db8::7/128")}
	turn := func(list []analyze.Seen, network byte) []analyze.Seen {
		for i := range list {
			s := &list[i]
			old := s.Packet.Src.As4()
			from := [16]byte{0x20, 0x01, 0x0d, 0xb8, 0xff, network, 0, old[0], old[1], 15: old[3]}
			s.Packet.Src, s.DontFragment, s.FlowLabel = netip.AddrFrom16(from), false, m.random.Uint32()&0xfffff
			if s.Packet.Protocol == traffic.ProtoICMP {
				s.Packet.Protocol, s.ICMPType = traffic.ProtoICMPv6, 128
			}
		}
		return list
	}
	normal := turn(m.mix(512), 1)
	for _, tt := range []struct{ attack, want string }{
		{"icmp", "destination 2001:db8::7/128 protocol icmpv6 length 1028 then discard"},
		{"ntp", "destination 2001:db8::7/128 protocol udp source-port 123 length 468 then discard"},
	} {
		r := Infer(to, turn(times(1000, m.attacks()[tt.attack]), 2), normal, Options{})
		enough(t, tt.attack, r.Set)
		if len(r.Rules) != 1 || r.Rules[0].Rule.String() != tt.want {
			t.Errorf("%s: %+v", tt.attack, r.Rules)
		}
	}
	r := Infer(to, turn(times(1000, m.web), 3), normal, Options{})
	enough(t, "network", r.Set)
	if len(r.Rules) != 1 || r.Rules[0].Rule.Source != netip.MustParsePrefix("2001:db8:ff03::/48") {
		t.Errorf("network: %+v", r.Rules)
	}
}

// TestCarpet spreads an attack over a network: the rules are for the network.
func TestCarpet(t *testing.T) {
	m := newMaker(42)
	to := traffic.Target{Scope: traffic.ScopePrefix, Prefix: netip.MustParsePrefix("203.0.113.0/24")}
	attack, normal := times(2000, m.attacks()["ntp"]), m.mix(512)
	for _, list := range [][]analyze.Seen{attack, normal} {
		for i := range list {
			list[i].Packet.Dst = netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
		}
	}
	r := Infer(to, attack, normal, Options{})
	enough(t, "rules", r.Set)
	if len(r.Rules) != 1 || r.Rules[0].Rule.Destination != to.Prefix {
		t.Errorf("%+v", r.Rules)
	}
}
