package networks

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func prefixes(texts ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, t := range texts {
		ps = append(ps, netip.MustParsePrefix(t))
	}
	return ps
}

func TestUnionDropsCovered(t *testing.T) {
	got := union(prefixes("10.1.0.0/16", "10.1.2.0/24", "10.2.0.0/24", "10.1.0.0/16", "2001:db8::/32", "2001:db8:1::/48"))
	want := prefixes("2001:db8::/32", "10.2.0.0/24", "10.1.0.0/16")
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("union (-want +got):\n%s", diff)
	}
}

// Every address of a dense network has a slot of its own and is found again by it; addresses beside have none.
func TestDenseSlotsAreABijection(t *testing.T) {
	nets := prefixes("10.0.0.0/15", "192.0.2.0/24", "198.51.100.128/25", "203.0.113.7/32", "203.0.113.64/26", "100.64.0.0/18")
	l, err := NewLayout(nets, Budget{Dense: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	seen := make([]bool, l.Slots())
	for _, n := range nets {
		for a := n.Addr(); n.Contains(a); a = a.Next() {
			slot, ok := l.DenseSlot(a)
			if !ok || seen[slot] {
				t.Fatalf("DenseSlot(%s) = %d, %v; seen before: %v", a, slot, ok, ok && seen[slot])
			}
			seen[slot] = true
			if owner, ok := l.DenseOwner(slot); !ok || owner != a {
				t.Fatalf("DenseOwner(%d) = %s, %v; want %s", slot, owner, ok, a)
			}
		}
		for _, outside := range []netip.Addr{n.Addr().Prev(), last(n).Next()} {
			if slot, ok := l.DenseSlot(outside); ok {
				t.Errorf("DenseSlot(%s) = %d, but it is in no network", outside, slot)
			}
		}
	}
	for slot, ok := range seen {
		if !ok {
			t.Fatalf("slot %d belongs to no address", slot)
		}
	}
}

func last(p netip.Prefix) netip.Addr {
	a := p.Addr()
	for n := a; p.Contains(n); n = n.Next() {
		a = n
	}
	return a
}

func TestNetworksBeyondTheBudgetAreDynamic(t *testing.T) {
	l, err := NewLayout(prefixes("10.0.0.0/16", "192.0.2.0/24", "2001:db8::/32"), Budget{Dense: 1000, Dynamic: 100})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"2001:db8::/32", "10.0.0.0/16"}, texts(l.DynamicNetworks())); diff != "" {
		t.Errorf("dynamic networks (-want +got):\n%s", diff)
	}
	if l.DenseSlots() != 256 || l.Slots() != 256+2+100 {
		t.Errorf("slots = %d dense of %d, want 256 of 358", l.DenseSlots(), l.Slots())
	}
	if _, err := NewLayout(prefixes("2001:db8::/32"), Budget{}); err == nil {
		t.Error("a layout without slots for its network was accepted")
	}
}

func texts(ps []netip.Prefix) []string {
	var out []string
	for _, p := range ps {
		out = append(out, p.String())
	}
	return out
}

func TestFilter6PassesOurNetworks(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, text := range []string{"2001:db8::/32", "2a00::/29", "2a00:1:2:3::/64", "::/0", "2000::/3"} {
		p := netip.MustParsePrefix(text)
		l, err := NewLayout([]netip.Prefix{p}, Budget{Dynamic: 1})
		if err != nil {
			t.Fatal(err)
		}
		words := l.Filter6()
		set := 0
		for range 1000 {
			first := random.Uint32()
			a := [16]byte{byte(first >> 24), byte(first >> 16), byte(first >> 8), byte(first)}
			bit := (first * 0x9e3779b1) >> 16
			passes := words[bit>>6]&(1<<(bit&63)) != 0
			if p.Bits() <= 32 && p.Contains(netip.AddrFrom16(a)) && !passes {
				t.Fatalf("%s: the filter refuses %s", p, netip.AddrFrom16(a))
			}
			if passes {
				set++
			}
		}
		if p.Bits() >= 29 && set > 10 {
			t.Errorf("%s: the filter passes %d of 1000 random addresses", p, set)
		}
	}
}
