package announce

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// TestNeverEverything: no way leads to a default route, not even when all addresses are said to be ours.
func TestNeverEverything(t *testing.T) {
	everything := prefixes("0.0.0.0/0", "::/0")
	guards := guardsOf(everything, nil)
	for _, prefix := range everything {
		for _, length := range []int{0, LengthNetwork, 1, -7} {
			for _, widest := range []int{0, -1, -8} {
				for kind := range KindCount {
					p := basic(t, func(p *Policy) {
						p.Actions["any"] = Action{
							Kind: kind, Directions: both, Length: [2]int{length, length}, Widest: [2]int{widest, widest}, OverNeverBan: true,
							GroupPrefixes: everything, Rules: []traffic.Rule{template(t, "protocol udp then discard")},
							Announcements: []Attributes{{NextHop: [2]netip.Addr{discard4, discard6}}},
						}
						p.Groups["any"] = []string{"any"}
						p.Aggregate = Aggregate{Over: 1, Length: [2]int{0, 0}}
					})
					records := []traffic.Record{ban(prefix.String(), group("any")), ban("192.0.2.1/32", group("any")), ban("192.0.2.2/32", group("any")), wholeGroup("any")}
					flood := rule(t, "destination "+prefix.String()+" then discard")
					byHand := []traffic.Announcement{{Prefix: prefix, NextHop: discard4}, {Prefix: prefix, NextHop: discard6}, {Rule: &flood}}
					spelled, err := Spell("any", prefix, p, guards)
					if err == nil || len(spelled) > 0 {
						t.Errorf("%s of %s by hand: got %v, %v", kind, prefix, brief(spelled), err)
					}
					for _, a := range byHand {
						if err := Check(a, nil, nil, p, guards); err == nil {
							t.Errorf("%s by hand is allowed", a.Route())
						}
					}
					set, _ := Desired(records, byHand, p, guards)
					for _, a := range set {
						if strings.Contains(a.Route(), "/0") || a.Rule == nil && a.Prefix.Bits() < WidestIPv4 {
							t.Errorf("announced: %s", a.Route())
						}
					}
				}
			}
		}
	}
}

// TestAggregateExactly: over random hosts, an aggregate is there exactly where more than so many hosts of it are blackholed and the guards let it,
// and every host that may be announced is covered exactly once.
func TestAggregateExactly(t *testing.T) {
	aggregates := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 4))
		over := 1 + r.IntN(5)
		p := basic(t, func(p *Policy) {
			p.Aggregate.Over = over
			p.Receivers = []Receiver{receiver("a", 1000, unicast4)}
		})
		guards := guardsOf(prefixes("10.0.0.0/22", "10.0.4.0/25"), prefixes("10.0.1.200/32"))
		hosts := map[netip.Prefix]bool{}
		var records []traffic.Record
		for range r.IntN(40) {
			host := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(6)), byte(r.IntN(256))}), 32)
			records = append(records, ban(host.String(), since(time.Duration(r.IntN(100))*time.Second)))
			if guards.Contains(host) && !guards.NeverBan(host) {
				hosts[host] = true
			}
		}
		want := map[netip.Prefix]bool{}
		for host := range hosts {
			area, count := netip.PrefixFrom(host.Addr(), 24).Masked(), 0
			for other := range hosts {
				if area.Contains(other.Addr()) {
					count++
				}
			}
			third := area.Addr().As4()[2]
			if count > over && third != 1 && third != 4 { // of which one holds a never-ban host, and one is not all ours
				want[area] = true
				aggregates++
			} else {
				want[host] = true
			}
		}
		set, _ := Desired(records, nil, p, guards)
		got := map[netip.Prefix]bool{}
		for _, a := range set {
			got[a.Prefix] = true
		}
		if diff := cmp.Diff(got, want, compare); diff != "" || len(got) != len(set) {
			t.Fatalf("seed %d: %d announcements (-got +want)\n%s", seed, len(set), diff)
		}
		for host := range hosts {
			covers := 0
			for prefix := range got {
				if prefix.Contains(host.Addr()) {
					covers++
				}
			}
			if covers != 1 {
				t.Errorf("seed %d: %s is covered %d times", seed, host, covers)
			}
		}
	}
	if aggregates < 100 {
		t.Errorf("got %d aggregates only", aggregates)
	}
}
