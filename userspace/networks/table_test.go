package networks

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var compareNet = cmpopts.EquateComparable(netip.Prefix{})

func network(text string, group int) Network { return Network{netip.MustParsePrefix(text), group} }

func example() *Table {
	return NewTable([]Network{
		network("10.0.0.0/8", 0), network("10.1.0.0/16", 1), network("10.1.2.0/24", 2), network("10.1.2.3/32", 0),
		network("192.0.2.0/25", 3), network("192.0.2.128/25", 4),
		network("2001:db8::/32", 0), network("2001:db8:0:1::/64", 5),
	}, []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("2001:db8::1/128"), netip.MustParsePrefix("203.0.113.0/24")})
}

func TestTableOfAddresses(t *testing.T) {
	table := example()
	tests := map[string]struct {
		group int
		net   string // empty: not ours
	}{
		"10.200.0.1":           {0, "10.0.0.0/8"},
		"10.1.0.1":             {1, "10.1.0.0/16"},
		"10.1.2.4":             {2, "10.1.2.0/24"},
		"10.1.2.3":             {0, "10.1.2.3/32"},
		"192.0.2.127":          {3, "192.0.2.0/25"},
		"192.0.2.128":          {4, "192.0.2.128/25"},
		"::ffff:10.1.2.4":      {2, "10.1.2.0/24"},
		"2001:db8:ffff::1":     {0, "2001:db8::/32"},
		"2001:db8:0:1::1":      {5, "2001:db8:0:1::/64"},
		"2001:db8:0:1::1%eth0": {5, "2001:db8:0:1::/64"},
		"11.0.0.0":             {},
		"9.255.255.255":        {},
		"2001:db9::1":          {},
		"::a00:1":              {}, // the bytes of 10.0.0.1 in an IPv6 address
	}
	for text, want := range tests {
		addr := netip.MustParseAddr(text)
		group, ours := table.Group(addr)
		net, covered := table.Covering(addr)
		if ours != (want.net != "") || covered != ours || group != want.group || (ours && net.String() != want.net) {
			t.Errorf("%s: got group %d, %v, network %v, %v, want %+v", text, group, ours, net, covered, want)
		}
	}
	if _, ours := table.Group(netip.Addr{}); ours {
		t.Error("the invalid address is ours")
	}
	if net, ok := table.Covering(netip.Addr{}); ok {
		t.Errorf("%v covers the invalid address", net)
	}
}

func TestTableOfPrefixes(t *testing.T) {
	table := example()
	tests := map[string]struct{ contains, never bool }{
		"10.1.2.3/32":         {true, false},
		"10.0.0.0/8":          {true, true}, // holds a never-ban network
		"10.1.0.7/32":         {true, true}, // lies in one
		"10.1.0.99/24":        {true, true}, // host bits do not matter
		"10.1.1.0/24":         {true, false},
		"192.0.2.0/24":        {true, false}, // ours by its halves
		"192.0.0.0/16":        {false, false},
		"0.0.0.0/0":           {false, true},
		"2001:db8::/64":       {true, true},
		"2001:db8::2/128":     {true, false},
		"2001:db0::/28":       {false, true},
		"::/0":                {false, true},
		"203.0.113.9/32":      {false, true},
		"::ffff:10.1.0.7/128": {false, false},
	}
	for text, want := range tests {
		prefix := netip.MustParsePrefix(text)
		if got := (struct{ contains, never bool }{table.Contains(prefix), table.NeverBan(prefix)}); got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
	if table.Contains(netip.Prefix{}) || table.NeverBan(netip.Prefix{}) {
		t.Error("the invalid prefix is ours or on the never-ban list")
	}
}

func TestNetworks(t *testing.T) {
	table := NewTable([]Network{
		network("2001:db8::/32", 1), network("192.0.2.77/24", 1), network("10.0.0.0/8", 2), network("192.0.2.0/24", 3), {}, network("::ffff:10.0.0.0/120", 4),
	}, []netip.Prefix{{}})
	want := []Network{network("10.0.0.0/8", 2), network("192.0.2.0/24", 3), network("2001:db8::/32", 1)}
	if diff := cmp.Diff(table.Networks(), want, compareNet); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	table.Networks()[0].Group = 9
	if group, _ := table.Group(netip.MustParseAddr("10.0.0.1")); group != 2 || table.Networks()[0].Group != 2 {
		t.Error("the table changed through the list it gave out")
	}
	empty := NewTable(nil, nil)
	if _, ours := empty.Group(netip.MustParseAddr("10.0.0.1")); ours || len(empty.Networks()) != 0 || empty.Contains(netip.MustParsePrefix("10.0.0.0/8")) {
		t.Error("an empty table has networks")
	}
}

// TestTableAgainstSearch holds tables of random networks in a small space against looking at every network in turn.
func TestTableAgainstSearch(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, base := range []netip.Addr{netip.MustParseAddr("192.0.2.0"), netip.MustParseAddr("2001:db8::")} {
		randomPrefix := func() netip.Prefix {
			bytes := base.AsSlice()
			bytes[len(bytes)-1] = byte(random.Uint32())
			addr, _ := netip.AddrFromSlice(bytes)
			return netip.PrefixFrom(addr, base.BitLen()-random.IntN(9)).Masked()
		}
		for round := range 300 {
			groups := map[netip.Prefix]int{}
			var nets []Network
			var never []netip.Prefix
			for i := range random.IntN(24) {
				p := randomPrefix()
				nets, groups[p], never = append(nets, Network{p, i}), i, append(never, randomPrefix())
			}
			table := NewTable(nets, never)
			ours := map[netip.Addr]bool{}
			for addr, n := base, 0; n < 256; addr, n = addr.Next(), n+1 {
				best, found := netip.Prefix{}, false
				for p := range groups {
					if p.Contains(addr) && (!found || p.Bits() > best.Bits()) {
						best, found = p, true
					}
				}
				ours[addr] = found
				group, ok := table.Group(addr)
				net, covered := table.Covering(addr)
				if ok != found || covered != found || net != best || (found && group != groups[best]) {
					t.Fatalf("round %d, %v: got %d, %v, %v, want %v, %v", round, addr, group, ok, net, best, found)
				}
			}
			for range 20 {
				p := randomPrefix()
				all, banned := true, false
				for addr := p.Addr(); p.Contains(addr); addr = addr.Next() {
					all = all && ours[addr]
				}
				for _, n := range never {
					banned = banned || n.Overlaps(p)
				}
				if table.Contains(p) != all || table.NeverBan(p) != banned {
					t.Fatalf("round %d, %v: got contains %v, never %v, want %v, %v", round, p, table.Contains(p), table.NeverBan(p), all, banned)
				}
			}
		}
	}
}

// BenchmarkGroup looks up random addresses in a table of 10,000 networks of both families.
func BenchmarkGroup(b *testing.B) {
	random := rand.New(rand.NewPCG(3, 4))
	var nets []Network
	var addrs [4096]netip.Addr
	for i := range 5000 {
		v4 := [4]byte{10, byte(random.Uint32()), byte(random.Uint32()), 0}
		v6 := [16]byte{0x20, 0x01, 0x0d, 0xb8, byte(random.Uint32()), byte(random.Uint32())}
		nets = append(nets, Network{netip.PrefixFrom(netip.AddrFrom4(v4), 24), i}, Network{netip.PrefixFrom(netip.AddrFrom16(v6), 48), i})
	}
	table := NewTable(nets, nil)
	for i := range addrs {
		addrs[i] = nets[random.IntN(len(nets))].Prefix.Addr().Next()
	}
	b.ReportAllocs()
	missed, i := 0, 0
	for b.Loop() {
		if _, ours := table.Group(addrs[i&4095]); !ours {
			missed++
		}
		i++
	}
	if missed > 0 {
		b.Fatalf("%d addresses of our networks were not found", missed)
	}
}
