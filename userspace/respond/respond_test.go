package respond

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

var (
	start  = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	victim = traffic.Target{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Group: "default"}
)

const (
	dns  = "destination 192.0.2.1/32 protocol udp source-port 53 then discard"
	syn  = "destination 192.0.2.1/32 protocol tcp tcp-flags syn&!ack then discard"
	game = "destination 192.0.2.1/32 protocol udp destination-port 27015 then discard"
)

// banned is an attack whose response uses rules that were found, of a falling coverage.
func banned(id string, r traffic.Response, rules ...string) traffic.Record {
	out := traffic.Record{Attack: traffic.Attack{ID: id, Target: victim}, Ban: traffic.Ban{Since: start, Response: &r}}
	if len(rules) > 0 {
		is := &traffic.Analysis{Normal: 100}
		for i, text := range rules {
			is.Rules.Rules = append(is.Rules.Rules, traffic.MeasuredRule{Rule: text, Coverage: 0.9 - float64(i)/10, Collateral: float64(i) / 20})
		}
		out.Attack.Analysis = is
	}
	return out
}

// keeper is a book that numbers its rules from 1.
type keeper struct {
	*Book
	last uint64
}

func (k *keeper) want(now time.Time, bans ...traffic.Record) bool {
	return k.Want(now, bans, 0, func() uint64 {
		k.last++
		return k.last
	})
}

func (k *keeper) texts() (list []string) {
	for _, r := range k.Rules() {
		list = append(list, fmt.Sprintf("%d %s %t", r.ID, r.Text, r.Shadow))
	}
	return list
}

func (k *keeper) check(t *testing.T, what string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, k.texts()); diff != "" {
		t.Errorf("%s (-want +got)\n%s", what, diff)
	}
}

// TestWant: rules come with a response, keep their numbers while they are wanted, and go with it.
func TestWant(t *testing.T) {
	k := &keeper{Book: New(100)}
	limit := traffic.Response{Rules: traffic.RulesEnforce, LimitPackets: 5000, LimitBytes: 1000}
	if !k.want(start, banned("a", limit)) {
		t.Error("nothing has changed, with a new ban")
	}
	const limited = "destination 192.0.2.1/32 then rate-bytes 1000 rate-packets 5000"
	k.check(t, "before the analysis", "1 "+limited+" false")
	k.want(start, banned("a", limit, dns, syn))
	k.check(t, "filters before the limit", "2 "+dns+" false", "3 "+syn+" false", "1 "+limited+" false")
	if k.want(start, banned("a", limit, dns, syn)) {
		t.Error("the same is a change")
	}
	k.want(start, banned("a", limit, syn, game))
	k.check(t, "another analysis", "3 "+syn+" false", "4 "+game+" false", "1 "+limited+" false")

	k.Remove([]uint64{3}, false)
	k.want(start, banned("a", limit, syn, game))
	k.check(t, "one was taken out by hand", "4 "+game+" false", "1 "+limited+" false")
	k.Forget("a")
	k.want(start, banned("a", limit, syn))
	k.check(t, "of the next attack it is there again", "5 "+syn+" false", "1 "+limited+" false")

	shadow := traffic.Response{Rules: traffic.RulesShadow}
	k.want(start, banned("a", shadow, syn))
	k.check(t, "in shadow", "5 "+syn+" true", "6 destination 192.0.2.1/32 then discard true")
	outgoing := banned("b", traffic.Response{LimitPackets: 7}, dns)
	outgoing.Attack.Target.Direction = traffic.Outgoing
	whole := banned("c", limit, dns)
	whole.Attack.Target = traffic.Target{Scope: traffic.ScopeGroup, Group: "default"}
	k.want(start, outgoing, whole, traffic.Record{Ban: traffic.Ban{Since: start, Drop: true}})
	k.check(t, "of an outgoing attack; a hostgroup as a whole has none", "7 source 192.0.2.1/32 then rate-packets 7 false")
	k.want(start)
	k.check(t, "all is over")
}

// TestRoom: where there is no room for all rules, those that stop least are left out.
func TestRoom(t *testing.T) {
	k := &keeper{Book: New(4)}
	next := func() uint64 { k.last++; return k.last }
	k.Want(start, []traffic.Record{banned("a", traffic.Response{Rules: traffic.RulesEnforce, LimitPackets: 9}, dns, syn, game)}, 2, next)
	k.check(t, "beside two by hand", "1 "+dns+" false", "2 destination 192.0.2.1/32 then rate-packets 9 false")
	var left []string
	for _, r := range k.Left() {
		left = append(left, r.Text)
	}
	if diff := cmp.Diff([]string{game, syn}, left); diff != "" {
		t.Errorf("left out (-want +got)\n%s", diff)
	}
}

// TestProve: a rule in shadow is put in force when what would pass without its packets is what the target has otherwise.
func TestProve(t *testing.T) {
	for _, tt := range []struct {
		name     string
		ordinary float64
		known    bool
		rates    []uint64 // per second, of each rule and of all that arrives
		want     []string
	}{
		{"it stops the attack alone", 500, true, []uint64{10_000, 0, 10_500}, []string{dns}},
		{"it stops ordinary traffic too", 500, true, []uint64{10_300, 0, 10_500}, nil},
		{"most of it would still pass", 500, true, []uint64{10_050, 0, 10_500}, []string{dns}},
		{"two stop the attack together", 500, true, []uint64{5000, 5000, 10_500}, []string{dns, syn}},
		{"the second would stop too much", 500, true, []uint64{5000, 5300, 10_500}, []string{dns}},
		{"a host that has nothing otherwise", 0, true, []uint64{10_000, 0, 10_000}, []string{dns}},
		{"nobody knows what it has: the samples decide", 0, false, []uint64{10_000, 10, 10_500}, []string{dns}}, // the second met 5 % of them
		{"nothing arrives any more", 500, true, []uint64{0, 0, 0}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := &keeper{Book: New(100)}
			ban := banned("a", traffic.Response{Rules: traffic.RulesShadow}, dns, syn)
			k.want(start, ban)
			ordinary := func(traffic.Target) (float64, bool) { return tt.ordinary, tt.known }
			hits := map[uint64]traffic.Count{}
			var got []string
			for second := range 4 {
				now := start.Add(time.Duration(second) * time.Second)
				k.Met(now, hits)
				for _, p := range k.Prove(now, 0.2, ordinary) {
					if second < 2 {
						t.Errorf("proven after %d s", second)
					}
					got = append(got, p.Text)
				}
				for i, rate := range tt.rates {
					n := hits[uint64(i+1)].Packets + rate
					hits[uint64(i+1)] = traffic.Count{Packets: n, Bytes: 100 * n}
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("proven (-want +got)\n%s", diff)
			}
			changed := k.want(start, ban)
			for _, r := range k.Rules() {
				if r.Purpose == Filter && r.Shadow == r.Proven {
					t.Errorf("%s: in shadow %t, proven %t", r.Text, r.Shadow, r.Proven)
				}
			}
			if changed != (len(tt.want) > 0) {
				t.Errorf("changed: %t", changed)
			}
		})
	}
}

// TestPassing: what rules have met is taken off the protocols that they are for, the rest of what is dropped evenly.
func TestPassing(t *testing.T) {
	count := func(packets uint64) traffic.Count { return traffic.Count{Packets: packets, Bytes: 100 * packets} }
	arrives := traffic.Counts{Total: count(10_000), TCP: count(6000), TCPSYN: count(5000), UDP: count(4000), Flows: 1000, Dropped: count(5000)}
	for _, tt := range []struct {
		name string
		rule string
		met  uint64
		want traffic.Counts
	}{
		{"nobody knows which", "", 0, traffic.Counts{Total: count(5000), TCP: count(3000), TCPSYN: count(2500), UDP: count(2000), Flows: 500}},
		{"SYN", syn, 5000, traffic.Counts{Total: count(5000), TCP: count(1000), UDP: count(4000), Flows: 1000}},
		{"UDP, and a limit", dns, 3000, traffic.Counts{Total: count(5000), TCP: count(4285), TCPSYN: count(3571), UDP: count(714), Flows: 714}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := &keeper{Book: New(100)}
			r := traffic.Response{Rules: traffic.RulesEnforce}
			if tt.rule != "" {
				k.want(start, banned("a", r, tt.rule))
			}
			k.Met(start, nil)
			k.Met(start.Add(time.Second), map[uint64]traffic.Count{1: count(tt.met)})
			got := k.Passing(victim, arrives)
			for _, c := range []*traffic.Count{&got.Total, &got.TCP, &got.TCPSYN, &got.UDP} {
				c.Bytes = 100 * c.Packets // a byte more or less
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	if got := New(1).Passing(victim, traffic.Counts{Total: count(7)}); got.Total != count(7) {
		t.Errorf("where nothing is dropped: %+v", got)
	}
}
