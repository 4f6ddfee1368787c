package detect

import (
	"net/netip"
	"testing"
	"time"

	"weir/userspace/traffic"
)

func addressOf(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
}

// BenchmarkObserveQuiet is what each of the many hosts costs that are far below their limits.
func BenchmarkObserveQuiet(b *testing.B) {
	for _, bb := range []struct {
		name    string
		change  func(*Policy)
		watched bool
	}{
		{"hosts", func(*Policy) {}, false},
		{"hosts, some watched", func(*Policy) {}, true},
		{"hosts, prefixes, total", func(p *Policy) {
			p.Groups[0].Prefix[0] = limits(traffic.PPS, 10_000_000)
			p.Groups[0].Total[0] = limits(traffic.PPS, 10_000_000)
		}, true},
	} {
		b.Run(bb.name, func(b *testing.B) {
			p := onePolicy(20_000)
			bb.change(&p)
			d := New(p)
			o := Observation{From: epoch, To: epoch.Add(time.Second), Counts: traffic.Counts{Total: traffic.Count{Packets: 500, Bytes: 300_000}}}
			if bb.watched {
				for i := range 100 {
					loud := o
					loud.Host, loud.Counts.Total.Packets = addressOf(65_000+i), 15_000
					d.Observe(&loud)
				}
			}
			hosts := make([]netip.Prefix, 1<<15)
			for i := range hosts {
				hosts[i] = addressOf(i)
				o.Host = hosts[i]
				d.Observe(&o)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				o.Host = hosts[i&(1<<15-1)]
				d.Observe(&o)
				i++
			}
		})
	}
}

func BenchmarkObserveWatched(b *testing.B) {
	d := New(onePolicy(20_000))
	o := Observation{Host: addressOf(1), Counts: traffic.Counts{Total: traffic.Count{Packets: 150, Bytes: 15_000}}}
	now := epoch
	b.ReportAllocs()
	for b.Loop() {
		o.From, now = now, now.Add(10*time.Millisecond)
		o.To = now
		d.Observe(&o)
		d.last = now.UnixNano()
	}
}

// BenchmarkTick judges 10,000 watched hosts that all had traffic since the Tick before.
func BenchmarkTick(b *testing.B) {
	p := onePolicy(20_000)
	p.MaxWatched = 10_000
	d := New(p)
	now := epoch
	o := Observation{Counts: traffic.Counts{Total: traffic.Count{Packets: 130, Bytes: 13_000}}}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		o.From, now = now, now.Add(10*time.Millisecond)
		o.To = now
		for i := range 10_000 {
			o.Host = addressOf(i)
			d.Observe(&o)
		}
		b.StartTimer()
		d.Tick(now)
	}
	if s := d.Stats(); s.Watched != 10_000 {
		b.Fatalf("%+v", s)
	}
}

func TestObserveQuietDoesNotAllocate(t *testing.T) {
	p := carpetPolicy()
	p.Groups[0].Total[0] = limits(traffic.PPS, 10_000_000)
	d := New(p)
	o := Observation{From: epoch, To: epoch.Add(time.Second), Counts: traffic.Counts{Total: traffic.Count{Packets: 5, Bytes: 300}}}
	for i := range 512 {
		o.Host = addressOf(i)
		d.Observe(&o)
	}
	d.Tick(epoch.Add(time.Second))
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		o.Host = addressOf(i % 512)
		d.Observe(&o)
		i++
	}); n != 0 {
		t.Errorf("%g allocations for each observation", n)
	}
}
