package flowcollect

import (
	"errors"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"weir/userspace/traffic"
)

// forged is the n-th of a million senders.
func forged(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, byte(n >> 16), byte(n >> 8), byte(n)}), 1)
}

// A million forged senders take no memory, and no place from who is really there.
func TestMillionExporters(t *testing.T) {
	const most, real = 64, "203.0.113.1"
	for _, tt := range []struct {
		name    string
		data    []byte
		senders int
	}{
		{"garbage", []byte("not of an exporter at all"), 100_000},
		{"good records", netflow5(0, 0, one{}), 100_000},
		{"templates", netflow9(1, 7, template9()), 1_000_000},
		{"data that waits for a template", netflow9(1, 7, set(256, make([]byte, 1000))), 100_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, Options{MaxExporters: most})
			b.sink = func(*traffic.Flow) {}
			now := at(0)
			b.take(real, now, netflow5(0, 0, one{}))
			before := heap()
			over := 0
			const told = 10 // datagrams of the real one meanwhile
			for n := range tt.senders {
				now = now.Add(20 * time.Second / time.Duration(tt.senders))
				if err := b.Datagram(forged(n), tt.data, now); errors.Is(err, ErrRefused) {
					over++
				}
				if each := tt.senders / told; n%each == 0 {
					b.take(real, now, netflow5(uint32(n/each+1), 0, one{}))
					b.tick(now)
				}
			}
			grown := int64(heap()) - int64(before)
			s := b.Stats()
			if s.Exporters > most || s.OverLimit != uint64(over) {
				t.Errorf("%d exporters of %d; over the limit %d, refused %d", s.Exporters, most, s.OverLimit, over)
			}
			if grown > 32<<20 {
				t.Errorf("%d bytes more memory", grown)
			}
			for _, x := range b.Exporters(now) {
				if x.Address == addr(real) && x.Datagrams == told+1 && x.Lost == 0 {
					return
				}
			}
			t.Error("the real exporter has lost its place")
		})
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestPlaces(t *testing.T) {
	const most = 4
	configured := ExporterOptions{Prefix: netip.MustParsePrefix("203.0.113.0/24")}
	full := func(t *testing.T) *bed {
		b := newBed(t, Options{MaxExporters: most, Exporters: []ExporterOptions{configured}})
		for n := range most {
			if err := b.Datagram(forged(n), netflow5(0, 0, one{}), at(0)); err != nil {
				t.Fatal(err)
			}
		}
		return b
	}
	// established has all be there for longer than a moment.
	established := func(b *bed) {
		for n := range most {
			if err := b.Datagram(forged(n), netflow5(1, 0, one{}), at(70)); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name  string
		ready func(*bed)
		from  netip.AddrPort
		at    time.Time
		want  error
	}{
		{"full", func(*bed) {}, forged(9), at(1), ErrRefused},
		{"who was heard but for a moment goes soon", func(*bed) {}, forged(9), at(11), nil},
		{"who was there for longer stays", established, forged(9), at(300), ErrRefused},
		{"but not for ever", established, forged(9), at(70 + 601), nil},
		{"who is in the configuration has precedence", established, from("203.0.113.1"), at(72), nil},
		{"one that is known", established, forged(2), at(71), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := full(t)
			tt.ready(b)
			if err := b.Datagram(tt.from, netflow5(2, 0, one{}), tt.at); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if got := b.Stats().Exporters; got != most {
				t.Errorf("%d exporters, want %d", got, most)
			}
		})
	}
}

// Workers share the places.
func TestPlacesOfAll(t *testing.T) {
	o := Options{MaxExporters: 3, Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, TCP: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Workers: 2}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for n := range 6 {
		if err := c.decoders[n%len(c.decoders)].Datagram(forged(n), netflow5(0, 0, one{}), at(0)); err != nil {
			refused++
		}
	}
	if s := c.Stats(); s.Exporters != 3 || refused != 3 || s.OverLimit != 3 {
		t.Errorf("%d exporters, %d refused, %d over the limit; want 3 each", s.Exporters, refused, s.OverLimit)
	}
}

// An exporter that is gone is forgotten after a day, unless it is in the configuration.
func TestForgotten(t *testing.T) {
	b := newBed(t, Options{Exporters: []ExporterOptions{{Prefix: netip.MustParsePrefix("203.0.113.1/32")}}})
	b.take("203.0.113.1", at(0), netflow5(0, 0, one{}))
	b.take("203.0.113.2", at(0), netflow5(0, 0, one{}))
	b.tick(at(3600))
	if got := len(b.Exporters(at(3600))); got != 2 {
		t.Fatalf("%d exporters after an hour", got)
	}
	later := at(25 * 3600)
	b.tick(later)
	s := b.only(later)
	if s.Address != addr("203.0.113.1") || b.places.used.Load() != 1 {
		t.Errorf("left is %s; places taken %d", s.Address, b.places.used.Load())
	}
}
