package networks

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// taken is how many slots on demand have an owner, those of whole networks included.
func taken(l *Layout, d *Directory) int {
	n := 0
	for slot := l.DenseSlots(); slot < l.Slots(); slot++ {
		if _, ok := d.Owner(uint32(slot)); ok {
			n++
		}
	}
	return n
}

func directory(t testing.TB, budget Budget, nets ...string) (*Layout, *Directory) {
	t.Helper()
	l, err := NewLayout(prefixes(nets...), budget)
	if err != nil {
		t.Fatal(err)
	}
	return l, NewDirectory(l)
}

// owner is who the slot of an address belongs to.
func owner(t testing.TB, d *Directory, address string) string {
	t.Helper()
	slot, ours := d.Locate(netip.MustParseAddr(address))
	if !ours {
		return "nobody"
	}
	p, ok := d.Owner(slot)
	if !ok {
		t.Errorf("Locate(%s) = %d, which is free", address, slot)
	}
	return p.String()
}

// A flood of random destinations takes its prefix' share of slots and no more; hosts of other prefixes still get theirs.
func TestDirectoryUnderRandomDestinations(t *testing.T) {
	l, err := NewLayout(prefixes("2001:db8::/32", "10.0.0.0/16"), Budget{Dynamic: 1000, FoldHosts: 100})
	if err != nil {
		t.Fatal(err)
	}
	d := NewDirectory(l)
	random := rand.New(rand.NewPCG(1, 2))
	flooded := netip.MustParsePrefix("2001:db8:0:1::/64")
	for range 50_000 {
		a := flooded.Addr().As16()
		for i := 8; i < 16; i++ {
			a[i] = byte(random.Uint32())
		}
		slot, ours := d.Locate(netip.AddrFrom16(a))
		if owner, ok := d.Owner(slot); !ours || !ok || !owner.Contains(netip.AddrFrom16(a)) {
			t.Fatalf("Locate(%s): ours %v, owner %s", netip.AddrFrom16(a), ours, owner)
		}
	}
	if got := taken(l, d); got != 2+1+100 {
		t.Errorf("%d slots are taken, want 2 networks, 1 fold and 100 hosts", got)
	}
	if d.Folded() != 50_000-100 {
		t.Errorf("folded %d packets, want %d", d.Folded(), 50_000-100)
	}
	for _, text := range []string{"2001:db8:0:2::1", "10.0.3.4"} {
		a := netip.MustParseAddr(text)
		slot, ours := d.Locate(a)
		if owner, _ := d.Owner(slot); !ours || owner != netip.PrefixFrom(a, a.BitLen()) {
			t.Errorf("Locate(%s): ours %v, counted in %s", a, ours, owner)
		}
	}
	if _, ours := d.Locate(netip.MustParseAddr("2001:db9::1")); ours {
		t.Error("a foreign address was taken for ours")
	}
}

func TestDirectoryOwnersOfEveryKind(t *testing.T) {
	_, d := directory(t, Budget{Dense: 1 << 8, Dynamic: 64, FoldHosts: 1}, "192.0.2.0/24", "10.0.0.0/16", "198.51.100.0/23", "2001:db8::/32", "2001:db9:0:1::/64")
	var got []string
	for _, a := range []string{
		"192.0.2.9", "10.0.1.1", "10.0.1.2", "10.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "2001:db9:0:1::1", "2001:db9:0:1::2", "203.0.113.1", "2001:dba::1",
	} {
		got = append(got, owner(t, d, a))
	}
	want := []string{
		"192.0.2.9/32", "10.0.1.1/32", "10.0.1.0/24", "10.0.2.2/32", "2001:db8::1/128", "2001:db8::/64", "2001:db8:0:1::1/128", "2001:db9:0:1::1/128",
		"2001:db9:0:1::/64", "nobody", "nobody",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("owners (-want +got)\n%s", diff)
	}
	if d.Folded() != 3 {
		t.Errorf("folded: got %d, want 3", d.Folded())
	}
	if _, ours := d.Locate(netip.Addr{}); ours {
		t.Error("no address was taken for ours")
	}
}

func TestDirectoryFull(t *testing.T) {
	l, d := directory(t, Budget{Dynamic: 16, FoldHosts: 100}, "10.0.0.0/16")
	for i := range 30 {
		owner(t, d, fmt.Sprintf("10.0.%d.1", i))
	}
	if got := taken(l, d); got != 1+14 {
		t.Errorf("taken: got %d, want the network and 14 of 16, the rest being kept back", got)
	}
	// A host and its fold take two; what comes then is counted in the network.
	if got := owner(t, d, "10.0.29.1"); got != "10.0.0.0/16" {
		t.Errorf("the 30th host is counted in %s, want 10.0.0.0/16", got)
	}
	if got := owner(t, d, "10.0.0.2"); got != "10.0.0.0/24" {
		t.Errorf("a second host of the first fold is counted in %s, want 10.0.0.0/24", got)
	}
	var banned []uint32
	for i := range 2 {
		a := netip.MustParseAddr(fmt.Sprintf("10.0.200.%d", i))
		if _, ok := d.Find(a); ok {
			t.Errorf("%s is found before it was admitted", a)
		}
		slot, err := d.Admit(a)
		again, found := d.Find(a)
		if at, ours := d.Locate(a); err != nil || !ours || at != slot || again != slot || !found {
			t.Errorf("Admit(%s) = %d, %v; then Find %d, %t, Locate %d, %t", a, slot, err, again, found, at, ours)
		}
		if same, err := d.Admit(a); err != nil || same != slot {
			t.Errorf("Admit(%s) again = %d, %v; want %d", a, same, err, slot)
		}
		banned = append(banned, slot)
	}
	if banned[0] == banned[1] {
		t.Error("two hosts have one slot")
	}
	for address, want := range map[string]string{"10.0.201.1": "all 16 slots are taken", "10.1.0.1": "not in one of our networks"} {
		if _, err := d.Admit(netip.MustParseAddr(address)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Admit(%s): got error %v, want %q", address, err, want)
		}
	}
}

func TestDirectoryReclaim(t *testing.T) {
	l, d := directory(t, Budget{Dense: 256, Dynamic: 64, FoldHosts: 2}, "192.0.2.0/24", "10.0.0.0/16", "2001:db8:0:1::/64")
	for _, a := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.1", "2001:db8:0:1::1"} {
		owner(t, d, a)
	}
	busy := map[string]bool{"10.0.0.1/32": true}
	idle := func(slot uint32) bool {
		p, ok := d.Owner(slot)
		return ok && !busy[p.String()]
	}
	reclaim := func(what string, want ...string) {
		t.Helper()
		owners := map[uint32]string{}
		for slot := range uint32(l.Slots()) {
			if p, ok := d.Owner(slot); ok {
				owners[slot] = p.String()
			}
		}
		freed, err := d.Reclaim(idle)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, slot := range freed {
			got = append(got, owners[slot])
			if p, ok := d.Owner(slot); ok {
				t.Errorf("%s: slot %d was freed, but belongs to %s", what, slot, p)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: freed (-want +got)\n%s", what, diff)
		}
	}
	reclaim("all are new")
	old, _ := d.Find(netip.MustParseAddr("10.0.1.1"))
	reclaim("the idle are forgotten")
	if _, ok := d.Find(netip.MustParseAddr("10.0.1.1")); ok {
		t.Error("10.0.1.1 is found though it was forgotten")
	}
	if p, _ := d.Owner(old); p.String() != "10.0.1.1/32" {
		t.Errorf("what was 10.0.1.1's belongs to %s, want 10.0.1.1 still", p)
	}
	// It comes back in between, and its old slot has had something more.
	owner(t, d, "10.0.1.1")
	if again, ok := d.Find(netip.MustParseAddr("10.0.1.1")); !ok || again == old {
		t.Errorf("10.0.1.1 is back in slot %d, %t; want another than %d", again, ok, old)
	}
	busy["10.0.1.1/32"] = true
	reclaim("what is idle no more waits", "10.0.0.2/32", "2001:db8:0:1::1/128")
	busy["10.0.1.1/32"] = false
	reclaim("it goes when it is idle again; the new one is forgotten, its fold was first", "10.0.1.1/32")
	reclaim("the rest", "10.0.1.1/32")
	reclaim("the fold without hosts is forgotten after them", "10.0.1.0/24")
	// The /24 has a host left, so it stays; a slot of its share is free again.
	if got := []string{owner(t, d, "10.0.0.1"), owner(t, d, "10.0.0.9"), owner(t, d, "10.0.0.3")}; !slices.Equal(got, []string{"10.0.0.1/32", "10.0.0.9/32", "10.0.0.0/24"}) {
		t.Errorf("after it: got %v", got)
	}
	busy["10.0.0.1/32"] = false
	for range 6 {
		if _, err := d.Reclaim(idle); err != nil {
			t.Fatal(err)
		}
	}
	if got := taken(l, d); got != 2 {
		t.Errorf("taken: got %d, want the two networks as a whole", got)
	}
}

// TestDirectoryUnderChange has hosts come and go while others look for them: who is found is the right one, and nothing is lost for good.
func TestDirectoryUnderChange(t *testing.T) {
	l, d := directory(t, Budget{Dynamic: 600, FoldHosts: 300}, "10.0.0.0/16", "2001:db8::/48")
	address := func(n uint32) netip.Addr {
		if n%2 == 0 {
			return netip.AddrFrom4([4]byte{10, 0, byte(n >> 9 & 3), byte(n >> 1)})
		}
		b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		binary.BigEndian.PutUint32(b[12:], n>>1&0x3ff)
		b[7] = byte(n >> 11 & 1)
		return netip.AddrFrom16(b)
	}
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(g, 1))
			for range 20_000 {
				a := address(random.Uint32())
				slot, ours := d.Locate(a)
				if !ours || int(slot) >= l.Slots() {
					t.Errorf("Locate(%s) = %d, %t", a, slot, ours)
					return
				}
				if slot, err := d.Admit(a); err == nil && int(slot) >= l.Slots() {
					t.Errorf("Admit(%s) = %d", a, slot)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	random := rand.New(rand.NewPCG(9, 9))
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		freed, err := d.Reclaim(func(uint32) bool { return random.IntN(3) > 0 })
		if err != nil {
			t.Fatal(err)
		}
		for _, slot := range freed {
			if int(slot) < l.DenseSlots()+2 {
				t.Errorf("slot %d of a whole network was freed", slot)
			}
		}
	}
	hosts := map[netip.Prefix]uint32{}
	for slot := range uint32(l.Slots()) {
		if p, ok := d.Owner(slot); ok && p.IsSingleIP() {
			if at, found := d.Find(p.Addr()); found && at == slot {
				hosts[p] = slot
			}
		}
	}
	counted := uint32(0)
	for i := range d.slots {
		if k := d.slots[i].state.Load() & kindMask; k != 0 && k&kindGone == 0 {
			counted += d.slots[i].hosts.Load()
		}
	}
	if counted != uint32(len(hosts)) || counted == 0 {
		t.Errorf("prefixes count %d hosts, %d are found", counted, len(hosts))
	}
	for range 6 {
		if _, err := d.Reclaim(func(uint32) bool { return true }); err != nil {
			t.Fatal(err)
		}
	}
	if got := taken(l, d); got != 2 {
		t.Errorf("when all were idle: %d slots are taken, want the two networks", got)
	}
}

func TestDirectoryDoesNotAllocate(t *testing.T) {
	_, d := directory(t, Budget{Dynamic: 1 << 12}, "10.0.0.0/16", "2001:db8::/32")
	n := uint16(0)
	if got := testing.AllocsPerRun(5000, func() {
		n++
		d.Locate(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}))
		d.Locate(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 7: byte(n), 15: byte(n >> 8)}))
	}); got != 0 {
		t.Errorf("allocations: got %g, want none", got)
	}
}

func BenchmarkDirectory(b *testing.B) {
	_, d := directory(b, Budget{Dense: 1 << 16, Dynamic: 1 << 16}, "10.0.0.0/16", "10.4.0.0/14", "2001:db8::/32")
	for _, bb := range []struct {
		name    string
		address func(n uint32) netip.Addr
	}{
		{"dense", func(uint32) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 77, 8}) }},
		{"foreign IPv4", func(n uint32) netip.Addr { return netip.AddrFrom4([4]byte{byte(n >> 8), byte(n), 1, 1}) }},
		{"foreign IPv6", func(n uint32) netip.Addr {
			return netip.AddrFrom16([16]byte{0x2a, byte(n >> 16), byte(n >> 8), byte(n)})
		}},
		{"10000 IPv6 hosts", func(n uint32) netip.Addr {
			n %= 10_000
			return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 6: byte(n >> 8), 15: byte(n)})
		}},
		{"10000 IPv4 hosts on demand", func(n uint32) netip.Addr {
			n %= 10_000
			return netip.AddrFrom4([4]byte{10, 4, byte(n >> 8), byte(n)})
		}},
		{"random IPv6 destinations in one /64", func(n uint32) netip.Addr {
			n *= 0x9e3779b1
			return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 7: 9, 12: byte(n >> 24), 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)})
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for n := uint32(0); b.Loop(); n++ {
				d.Locate(bb.address(n))
			}
		})
	}
}
