package flowcollect

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"weir/userspace/traffic"
)

// members are the exporters of one group, with a worker's decoder each: only the claims are shared.
func members(t *testing.T, addresses ...string) map[string]*bed {
	t.Helper()
	o := Options{Exporters: []ExporterOptions{{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Group: "border"}}}
	shared := newClaims(0, nil)
	beds := map[string]*bed{}
	for _, a := range addresses {
		b := newBed(t, o)
		b.claims = shared
		beds[a] = b
	}
	return beds
}

const memberA, memberB, memberC, outsider = "203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.114.1"

// What is told by whom, and what counts of it.
type told struct {
	at   int // seconds
	by   string
	what one
	want uint64 // records that count
}

func TestFlowClaims(t *testing.T) {
	short, other := one{port: 1}, one{port: 2}
	long := one{port: 1, seconds: 60}
	for _, tt := range []struct {
		name  string
		story []told
	}{
		{"the second to tell does not count", []told{{0, memberA, short, 1}, {1, memberB, short, 0}, {2, memberA, short, 1}}},
		{"another flow does", []told{{0, memberA, short, 1}, {1, memberB, other, 1}, {2, memberA, other, 0}}},
		{"after silence it is free", []told{{0, memberA, short, 1}, {31, memberB, short, 1}, {32, memberA, short, 0}}},
		{"a long flow is told again late", []told{{0, memberA, long, 1}, {59, memberB, long, 0}, {60, memberA, long, 1}, {119, memberB, long, 0}, {120, memberA, long, 1}}},
		{"who is silent altogether has lost it", []told{{0, memberA, long, 1}, {59, memberB, long, 0}, {100, memberB, long, 1}, {101, memberA, long, 0}}},
		{"who is not silent keeps it", []told{{0, memberA, long, 1}, {50, memberA, other, 1}, {100, memberB, long, 0}}},
		{"outside of the group", []told{{0, memberA, short, 1}, {1, outsider, short, 1}, {2, memberB, short, 0}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			beds := members(t, memberA, memberB, outsider)
			for i, s := range tt.story {
				b := beds[s.by]
				before := len(b.flows)
				b.take(s.by, at(s.at), netflow5(uint32(i), 0, s.what))
				if got := uint64(len(b.flows) - before); got != s.want {
					t.Errorf("at %d s, %s: %d records count, want %d", s.at, s.by, got, s.want)
				}
			}
		})
	}
}

// sampledGroup has exporters sample the same packets, each by chance, and returns how much of them counts.
func sampledGroup(t *testing.T, seconds, perSecond int, sees map[string]func(one) bool, flow func(*rand.Rand) one) float64 {
	t.Helper()
	const rate = 100
	r := rand.New(rand.NewPCG(1, 2))
	var names []string
	for _, n := range []string{memberA, memberB, memberC} {
		if sees[n] != nil {
			names = append(names, n)
		}
	}
	beds := members(t, names...)
	sequence := map[string]uint32{}
	for n := range seconds * perSecond {
		now := at(0).Add(time.Duration(n) * time.Second / time.Duration(perSecond))
		o := flow(r)
		for _, name := range names {
			if sees[name](o) && r.IntN(rate) == 0 {
				sequence[name]++
				beds[name].take(name, now, sflow5(name, sequence[name], rate, o))
			}
		}
	}
	var counted uint64
	for _, b := range beds {
		counted += b.packets
	}
	return float64(counted) / float64(seconds*perSecond)
}

func TestHostClaims(t *testing.T) {
	all := func(one) bool { return true }
	even := func(o one) bool { return o.port%2 == 0 }
	odd := func(o one) bool { return o.port%2 == 1 }
	oneHost := func(r *rand.Rand) one {
		// A flood from everywhere: no two samples are of one flow.
		return one{src: fmt.Sprintf("198.51.%d.%d", r.IntN(256), r.IntN(256)), dst: "192.0.2.1", port: uint16(r.IntN(65536))}
	}
	for _, tt := range []struct {
		name string
		sees map[string]func(one) bool
		want float64
	}{
		{"one alone", map[string]func(one) bool{memberA: all}, 1},
		{"two see the same", map[string]func(one) bool{memberA: all, memberB: all}, 1},
		{"three see the same", map[string]func(one) bool{memberA: all, memberB: all, memberC: all}, 1},
		{"two see a half each, and the third one all", map[string]func(one) bool{memberA: even, memberB: odd, memberC: all}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := sampledGroup(t, 20, 20_000, tt.sees, oneHost)
			if got < tt.want*0.93 || got > tt.want*1.07 {
				t.Errorf("%.3f of the packets count, want %.2f", got, tt.want)
			}
		})
	}
}

// The leader's place is taken over when it falls silent.
func TestLeaderSilent(t *testing.T) {
	beds := members(t, memberA, memberB)
	for n := range 100 {
		beds[memberA].take(memberA, at(n), sflow5(memberA, uint32(n), 100, one{}))
	}
	a, b := beds[memberA].packets, beds[memberB]
	b.take(memberB, at(100), sflow5(memberB, 1, 100, one{}))
	if a != 10_000 || b.packets != 0 {
		t.Fatalf("while the leader tells: %d and %d packets", a, b.packets)
	}
	b.take(memberB, at(99+91), sflow5(memberB, 2, 100, one{}))
	if b.packets != 100 {
		t.Errorf("after the leader's silence %d packets count, want 100", b.packets)
	}
}

// Records of flows that are told once a minute do not take each other's place, whoever comes later in the minute.
func TestSampledRecords(t *testing.T) {
	beds := members(t, memberA, memberB)
	const rate = 1<<14 | 100 // mode 1
	for n := range 30 {
		beds[memberA].take(memberA, at(60*n), netflow5(uint32(n), rate, one{seconds: 60, packets: 1000}))
		beds[memberB].take(memberB, at(60*n+55), netflow5(uint32(n), rate, one{seconds: 60, packets: 1000}))
	}
	if a, b := beds[memberA].packets, beds[memberB].packets; a+b != 30*1000*100 {
		t.Errorf("%d and %d packets count, want %d together", a, b, 30*1000*100)
	}
}

// A heavy host keeps its claim, however many others fall on its place; and what has no place counts.
func TestHostPlaces(t *testing.T) {
	c := newClaims(0, nil)
	g, a := c.join("border", addr(memberA))
	_, b := c.join("border", addr(memberB))
	c.hear(a, at(0))
	c.hear(b, at(0))
	heavy := traffic.Flow{Packet: traffic.Packet{Src: addr("198.51.100.1"), Dst: addr("192.0.2.1")}, Packets: 1000, Rate: 100}
	if c.taken(g, a, &heavy, at(0)) {
		t.Fatal("the first to tell must count")
	}
	light, n := heavy, 0
	for light.Packets = 1; c.hostOf(g, &light)%hostClaims != c.hostOf(g, &heavy)%hostClaims || n == 0; n++ {
		light.Dst = netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	}
	for range 400 {
		if c.taken(g, a, &light, at(0)) || c.taken(g, b, &light, at(0)) {
			t.Fatal("a host without a place must count from all")
		}
	}
	heavy.Packets = 1
	if !c.taken(g, b, &heavy, at(0)) {
		t.Error("the heavy host has lost its claim to light ones")
	}
	for range 2000 {
		c.taken(g, a, &light, at(0))
	}
	if !c.taken(g, b, &light, at(0)) {
		t.Error("what outweighs the host of a place must get it")
	}
}

// Our host is what traffic is shared out by: in a scan by one of ours, each destination has but one sample.
func TestOurHost(t *testing.T) {
	ours := netip.MustParsePrefix("192.0.2.0/24")
	for _, tt := range []struct {
		name     string
		src, dst string
		same     string // another record's destination, with the same source
		want     bool   // it belongs to the same claim
	}{
		{"outgoing: by the source", "192.0.2.1", "198.51.100.1", "198.51.100.2", true},
		{"incoming: by the destination", "198.51.100.1", "192.0.2.1", "192.0.2.2", false},
		{"internal: by the destination", "192.0.2.9", "192.0.2.1", "192.0.2.2", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClaims(0, ours.Contains)
			g, _ := c.join("border", addr(memberA))
			f := traffic.Flow{Packet: traffic.Packet{Src: addr(tt.src), Dst: addr(tt.dst)}}
			o := f
			o.Dst = addr(tt.same)
			if got := c.hostOf(g, &f) == c.hostOf(g, &o); got != tt.want {
				t.Errorf("same claim: %t, want %t", got, tt.want)
			}
		})
	}
	c := newClaims(0, ours.Contains)
	g, _ := c.join("border", addr(memberA))
	in := traffic.Flow{Packet: traffic.Packet{Src: addr("198.51.100.1"), Dst: addr("192.0.2.1")}}
	out := traffic.Flow{Packet: traffic.Packet{Src: addr("192.0.2.1"), Dst: addr("198.51.100.1")}}
	if c.hostOf(g, &in) == c.hostOf(g, &out) {
		t.Error("a host's two directions must be claimed apart")
	}
}

// There is a number for each member until there are too many, and each keeps its own.
func TestMembers(t *testing.T) {
	c := newClaims(0, nil)
	seen := map[uint16]bool{}
	for n := range membersMost {
		_, m := c.join("border", forged(n).Addr())
		if m == unknownMember && n < membersMost-firstMember || m != unknownMember && seen[m] {
			t.Fatalf("exporter %d has number %d", n, m)
		}
		seen[m] = true
	}
	_, again := c.join("other", forged(7).Addr())
	if again != 7+firstMember {
		t.Errorf("exporter 7 has number %d after a while", again)
	}
	if g, _ := c.join("border", forged(1).Addr()); g != c.groups["border"] || len(c.groups) != 2 {
		t.Error("a group must stay the same one")
	}
}
