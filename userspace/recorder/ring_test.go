package recorder

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

var (
	at     = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	victim = netip.MustParseAddr("192.0.2.7")
	peer   = netip.MustParseAddr("198.51.100.9")
	six    = netip.MustParseAddr("2001:db8::7")
)

func host(a netip.Addr, d traffic.Direction) traffic.Target {
	return traffic.Target{Scope: traffic.ScopeHost, Prefix: netip.PrefixFrom(a, a.BitLen()), Group: "web", Direction: d}
}

// numbered is a sample that can be told from others.
func numbered(i int) *traffic.Sample {
	data := make([]byte, 20+i%200)
	binary.BigEndian.PutUint64(data, uint64(i))
	data[len(data)-1] = byte(i)
	return &traffic.Sample{Time: at.Add(time.Duration(i) * time.Millisecond), Interface: 3, Rate: 64, Length: 1500, Data: data}
}

func number(f *Frame) int { return int(binary.BigEndian.Uint64(f.Data)) }

func TestRingKeepsWhatWasAdded(t *testing.T) {
	r := NewRing(0)
	long := make([]byte, 2000)
	long[traffic.SampleBytes-1] = 9
	tests := []struct {
		name     string
		in       traffic.Sample
		link     traffic.Link
		to, from netip.Addr
		want     traffic.Sample
	}{
		{"ordinary", traffic.Sample{Time: at, Interface: 7, Rate: 10, Length: 60, Data: []byte{1, 2, 3}}, traffic.LinkEthernet, victim, peer,
			traffic.Sample{Time: at, Interface: 7, Rate: 10, Length: 60, Data: []byte{1, 2, 3}}},
		{"IPv6, raw", traffic.Sample{Time: at, Length: 60, Data: []byte{0x60}}, traffic.LinkIP, six, six.Next(), traffic.Sample{Time: at, Length: 60, Data: []byte{0x60}}},
		{"IPv4 within IPv6 stays that", traffic.Sample{Time: at, Length: 1, Data: []byte{1}}, traffic.LinkIP, netip.MustParseAddr("::ffff:192.0.2.7"), peer,
			traffic.Sample{Time: at, Length: 1, Data: []byte{1}}},
		{"no addresses", traffic.Sample{Time: at, Length: 1, Data: []byte{1}}, traffic.LinkUnknown, netip.Addr{}, netip.Addr{}, traffic.Sample{Time: at, Length: 1, Data: []byte{1}}},
		{"more captured than there was", traffic.Sample{Time: at, Length: 2, Data: []byte{1, 2, 3}}, traffic.LinkPPP, victim, peer, traffic.Sample{Time: at, Length: 3, Data: []byte{1, 2, 3}}},
		{"too long to keep", traffic.Sample{Time: at, Length: 0, Data: long}, traffic.LinkMPLS, victim, peer, traffic.Sample{Time: at, Length: 2000, Data: long[:traffic.SampleBytes]}},
		{"before 1970, no such interface", traffic.Sample{Interface: -4, Length: 1, Data: []byte{1}}, traffic.LinkSLL, victim, peer, traffic.Sample{Time: time.Unix(0, 0), Length: 1, Data: []byte{1}}},
		{"in the year 3000", traffic.Sample{Time: at.AddDate(974, 0, 0), Length: 1, Data: []byte{1}}, traffic.LinkSLL2, victim, peer, traffic.Sample{Time: time.Unix(0, 0), Length: 1, Data: []byte{1}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, c := r.bounds()
			r.Add(&tt.in, tt.link, tt.to, tt.from)
			var f Frame
			if missed, ok := r.next(&c, &f); !ok || missed != 0 {
				t.Fatalf("next: %d missed, %v", missed, ok)
			}
			if diff := cmp.Diff(tt.want, f.Sample); diff != "" {
				t.Errorf("sample (-want +got):\n%s", diff)
			}
			if f.Link != tt.link || f.To != tt.to || f.From != tt.from {
				t.Errorf("got %v %v %v, want %v %v %v", f.Link, f.To, f.From, tt.link, tt.to, tt.from)
			}
			if _, ok := r.next(&c, &f); ok {
				t.Error("there is one more")
			}
		})
	}
	r.Add(&traffic.Sample{Time: at, Length: 60}, traffic.LinkEthernet, victim, peer)
	if got, want := r.Stats(), (RingStats{Bytes: DefaultRingBytes, Added: 8, Kept: 8, Empty: 1}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

// The newest frames are there whole, in order and without a gap, wherever the ring's end falls.
func TestRingForgetsTheOldest(t *testing.T) {
	r := NewRing(1)
	for i := range 5000 {
		r.Add(numbered(i), traffic.LinkEthernet, victim, peer)
		if i%97 != 0 && i != 4999 {
			continue
		}
		kept := int(r.Stats().Kept)
		want := i + 1 - kept
		for f := range r.Of(host(victim, traffic.Incoming), time.Time{}) {
			if !bytes.Equal(f.Data, numbered(want).Data) {
				t.Fatalf("after %d: frame %d is %x", i, want, f.Data)
			}
			want++
		}
		if want != i+1 {
			t.Fatalf("after %d: ended before frame %d, %d kept", i, want, kept)
		}
		if i > 1000 && kept < 64<<10/(headBytes+220+align)-1 {
			t.Fatalf("after %d only %d kept", i, kept)
		}
	}
	if got := r.Stats().Bytes; got != minRingBytes {
		t.Errorf("%d bytes", got)
	}
}

func TestRingReaderIsOvertaken(t *testing.T) {
	r := NewRing(1)
	r.Add(numbered(0), traffic.LinkEthernet, victim, peer)
	c, _ := r.bounds()
	for i := 1; i < 3000; i++ {
		r.Add(numbered(i), traffic.LinkEthernet, victim, peer)
	}
	var f Frame
	missed, ok := r.next(&c, &f)
	if want := 3000 - r.Stats().Kept; !ok || missed != want || number(&f) != int(want) {
		t.Errorf("missed %d, %v, then frame %d; want %d missed", missed, ok, number(&f), want)
	}
}

func TestRingOf(t *testing.T) {
	var r *Ring
	add := func(i int, to, from netip.Addr) { r.Add(numbered(i), traffic.LinkEthernet, to, from) }
	fill := func() {
		r = NewRing(0)
		add(0, victim, peer)
		add(1, peer, victim)
		add(2, victim.Next(), peer)
		add(3, six, peer)
		add(4, victim, peer)
		add(5, netip.Addr{}, netip.Addr{})
	}
	prefix := traffic.Target{Scope: traffic.ScopePrefix, Prefix: netip.MustParsePrefix("192.0.2.0/24")}
	group := traffic.Target{Scope: traffic.ScopeGroup, Group: "web"}
	for _, tt := range []struct {
		name   string
		target traffic.Target
		since  time.Time
		want   []int
	}{
		{"host", host(victim, traffic.Incoming), time.Time{}, []int{0, 4}},
		{"host, later", host(victim, traffic.Incoming), at.Add(time.Millisecond), []int{4}},
		{"host, exactly then", host(victim, traffic.Incoming), at.Add(4 * time.Millisecond), []int{4}},
		{"host, outgoing", host(victim, traffic.Outgoing), time.Time{}, []int{1}},
		{"IPv6", host(six, traffic.Incoming), time.Time{}, []int{3}},
		{"prefix", prefix, time.Time{}, []int{0, 2, 4}},
		{"hostgroup", group, time.Time{}, nil},
		{"nothing", traffic.Target{}, time.Time{}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fill()
			var got []int
			for f := range r.Of(tt.target, tt.since) {
				got = append(got, number(f))
				add(100, victim, peer) // comes too late
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("frames (-want +got):\n%s", diff)
			}
			for range r.Of(tt.target, tt.since) {
				break
			}
		})
	}
	fill()
	inGroup := func(a netip.Addr) string { return map[netip.Addr]string{victim: "web"}[a] }
	var got []int
	for f := range r.Matching(func(f *Frame) bool { return matches(&group, f, inGroup) }, time.Time{}) {
		got = append(got, number(f))
	}
	if diff := cmp.Diff([]int{0, 4}, got); diff != "" {
		t.Errorf("of a hostgroup (-want +got):\n%s", diff)
	}
}

// Run with -race.
func TestRingConcurrently(t *testing.T) {
	r := NewRing(1)
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 3000 {
				r.Add(numbered(w*10000+i), traffic.LinkEthernet, victim, peer)
			}
		})
	}
	for range 2 {
		all.Go(func() {
			for range 20 {
				last := map[int]int{}
				for f := range r.Of(host(victim, traffic.Incoming), time.Time{}) {
					n := number(f)
					if w := n / 10000; last[w] > n {
						t.Errorf("frame %d after %d", n, last[w])
					} else {
						last[w] = n
					}
					if f.Data[len(f.Data)-1] != byte(n) {
						t.Errorf("frame %d is torn", n)
					}
				}
			}
		})
	}
	all.Wait()
	if got := r.Stats().Added; got != 12000 {
		t.Errorf("%d added", got)
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	r, s := NewRing(1), numbered(130)
	if n := testing.AllocsPerRun(2000, func() { r.Add(s, traffic.LinkEthernet, victim, peer) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRingAdd(b *testing.B) {
	r := NewRing(0)
	s := &traffic.Sample{Time: at, Interface: 3, Rate: 64, Length: 1500, Data: make([]byte, 128)}
	b.ReportAllocs()
	for b.Loop() {
		r.Add(s, traffic.LinkEthernet, victim, peer)
	}
}

func BenchmarkRingScan(b *testing.B) {
	r := NewRing(0)
	for i := range 50000 {
		r.Add(numbered(i), traffic.LinkEthernet, victim, peer)
	}
	for b.Loop() {
		for range r.Of(host(six, traffic.Incoming), time.Time{}) {
			b.Fatal("a frame of nobody")
		}
	}
}
