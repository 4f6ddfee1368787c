package announce

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

func TestDiff(t *testing.T) {
	at := func(prefix, owner string, peers ...string) traffic.Announcement {
		return traffic.Announcement{Prefix: netip.MustParsePrefix(prefix), NextHop: discard4, Owner: owner, Peers: peers}
	}
	with := func(a traffic.Announcement, med uint32) traffic.Announcement {
		a.MED = number(med)
		return a
	}
	limit, drop := rule(t, "destination 192.0.2.7/32 then rate-bytes 1M"), rule(t, "destination 192.0.2.7/32 then discard")
	type set = []traffic.Announcement
	tests := map[string]struct{ before, after, added, changed, removed set }{
		"nothing":       {},
		"first":         {after: set{at("192.0.2.7/32", "x")}, added: set{at("192.0.2.7/32", "x")}},
		"last":          {before: set{at("192.0.2.7/32", "x")}, removed: set{at("192.0.2.7/32", "x")}},
		"the same":      {before: set{with(at("192.0.2.7/32", "x"), 1), at("192.0.2.8/32", "x")}, after: set{at("192.0.2.8/32", "x"), with(at("192.0.2.7/32", "x"), 1)}},
		"another owner": {before: set{at("192.0.2.7/32", "x")}, after: set{at("192.0.2.7/32", "y")}},
		"an attribute":  {before: set{at("192.0.2.7/32", "x")}, after: set{with(at("192.0.2.7/32", "x"), 1)}, changed: set{with(at("192.0.2.7/32", "x"), 1)}},
		"a rule's action": {
			before: set{{Rule: &limit}}, after: set{{Rule: &drop}}, changed: set{{Rule: &drop}},
		},
		"an aggregate": {
			before: set{at("192.0.2.1/32", "x"), at("192.0.2.2/32", "y")}, after: set{at("192.0.2.0/24", "x")},
			added: set{at("192.0.2.0/24", "x")}, removed: set{at("192.0.2.1/32", "x"), at("192.0.2.2/32", "y")},
		},
		"one peer less":     {before: set{at("192.0.2.7/32", "x")}, after: set{at("192.0.2.7/32", "x", "a")}, removed: set{at("192.0.2.7/32", "x", "b")}},
		"one peer more":     {before: set{at("192.0.2.7/32", "x", "a")}, after: set{at("192.0.2.7/32", "x")}, added: set{at("192.0.2.7/32", "x", "b")}},
		"all, one by one":   {before: set{at("192.0.2.7/32", "x", "a"), at("192.0.2.7/32", "x", "b")}, after: set{at("192.0.2.7/32", "x")}},
		"one in particular": {before: set{at("192.0.2.7/32", "x")}, after: set{with(at("192.0.2.7/32", "x", "b"), 1), at("192.0.2.7/32", "x")}, changed: set{with(at("192.0.2.7/32", "x", "b"), 1)}},
		"new here, else there": {
			before: set{at("192.0.2.7/32", "x", "a")}, after: set{with(at("192.0.2.7/32", "x"), 1)},
			added: set{with(at("192.0.2.7/32", "x", "b"), 1)}, changed: set{with(at("192.0.2.7/32", "x", "a"), 1)},
		},
		"the later one counts": {before: set{at("192.0.2.7/32", "x")}, after: set{at("192.0.2.7/32", "x"), with(at("192.0.2.7/32", "x"), 1)}, changed: set{with(at("192.0.2.7/32", "x"), 1)}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := Diff(test.before, test.after, []string{"a", "b"})
			want := Changes{Added: test.added, Changed: test.changed, Removed: test.removed}
			if diff := cmp.Diff(got, want, compare); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
			if got.Empty() != (len(test.added)+len(test.changed)+len(test.removed) == 0) {
				t.Errorf("got empty %t", got.Empty())
			}
		})
	}
}

// TestDiffLeadsThere plays changes back step by step: in the end every receiver has what it is to have, and on the way no address that is
// announced before and after is without an announcement.
func TestDiffLeadsThere(t *testing.T) {
	type rib map[told]string
	receivers := []string{"a", "b", "c"}
	show := func(a *traffic.Announcement) string { return fmt.Sprint(a.NextHop, a.Communities, *a.MED) }
	ribOf := func(set []traffic.Announcement) rib {
		r := rib{}
		for key, a := range byReceiver(set, receivers) {
			r[key] = show(a)
		}
		return r
	}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		random := func() []traffic.Announcement {
			var set []traffic.Announcement
			for range r.IntN(12) {
				bits := 24 + r.IntN(3)*4
				prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(4) * 64)}), bits).Masked()
				a := traffic.Announcement{Prefix: prefix, NextHop: discard4, MED: number(uint32(r.IntN(2)))}
				for _, name := range receivers {
					if r.IntN(3) == 0 {
						a.Peers = append(a.Peers, name)
					}
				}
				set = append(set, a)
			}
			return set
		}
		before, after := random(), random()
		now, want := ribOf(before), ribOf(after)
		covered := func(table rib, receiver string, host netip.Addr) bool {
			for key := range table {
				prefix := netip.MustParsePrefix(key.route[len("ipv4-unicast "):])
				if key.receiver == receiver && prefix.Contains(host) {
					return true
				}
			}
			return false
		}
		first, last := ribOf(before), want
		step := func() {
			for _, name := range receivers {
				for i := range 4 {
					host := netip.AddrFrom4([4]byte{192, 0, 2, byte(i * 64)})
					if covered(first, name, host) && covered(last, name, host) && !covered(now, name, host) {
						t.Fatalf("seed %d: %s has no announcement of %s for a moment", seed, name, host)
					}
				}
			}
		}
		c := Diff(before, after, receivers)
		tell := func(list []traffic.Announcement, f func(told, *traffic.Announcement)) {
			for i := range list {
				for key, a := range byReceiver(list[i:i+1], receivers) {
					f(key, a)
				}
				step()
			}
		}
		tell(c.Added, func(k told, a *traffic.Announcement) {
			if now[k] != "" {
				t.Errorf("seed %d: %v is added twice", seed, k)
			}
			now[k] = show(a)
		})
		tell(c.Changed, func(k told, a *traffic.Announcement) {
			if now[k] == "" || now[k] == show(a) {
				t.Errorf("seed %d: %v does not change", seed, k)
			}
			now[k] = show(a)
		})
		tell(c.Removed, func(k told, _ *traffic.Announcement) { delete(now, k) })
		if diff := cmp.Diff(now, want); diff != "" {
			t.Fatalf("seed %d (-got +want)\n%s", seed, diff)
		}
	}
}

func TestFor(t *testing.T) {
	set := []traffic.Announcement{{Owner: "all"}, {Owner: "a", Peers: []string{"a"}}, {Owner: "ab", Peers: []string{"a", "b"}}}
	want := []traffic.Announcement{{Owner: "all"}, {Owner: "ab", Peers: []string{"b"}}}
	if diff := cmp.Diff(For(set, "b", "c"), want, compare); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	if len(set[2].Peers) != 2 {
		t.Error("the set has changed")
	}
}

func BenchmarkDesired(b *testing.B) {
	p := basic(b, func(p *Policy) {
		p.Receivers = []Receiver{receiver("a", 20000, unicast4), receiver("b", 20000, unicast4)}
	})
	g := guardsOf(own, never)
	var records []traffic.Record
	for i := range 10000 {
		host := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
		records = append(records, ban(host.String(), since(time.Duration(i)*time.Millisecond)))
	}
	for b.Loop() {
		if got, refused := Desired(records, nil, p, g); len(got) != len(records) || len(refused) > 0 {
			b.Fatalf("got %d, refused %v", len(got), refused)
		}
	}
}
