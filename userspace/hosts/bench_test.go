package hosts

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"weir/userspace/traffic"
)

// dense is a /12 of IPv4, its slots in order.
type dense struct{}

func (dense) Locate(a netip.Addr) (uint32, bool) {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:]) & (1<<20 - 1), b[0] == 10
}

func (dense) Owner(slot uint32) (netip.Prefix, bool) { return numbered(slot) }

func BenchmarkWriterCount(b *testing.B) {
	one := udp(theirs4, netip.AddrFrom4([4]byte{10, 0, 0, 1}))
	for _, bb := range []struct {
		name   string
		slots  int
		change func(p *traffic.Packet, i uint32)
	}{
		{"one_host", 1 << 16, func(*traffic.Packet, uint32) {}},
		{"new_flows", 1 << 16, func(p *traffic.Packet, i uint32) { p.SrcPort, p.DstPort = uint16(i), uint16(i>>16) }},
		{"random_65536_hosts", 1 << 16, func(p *traffic.Packet, i uint32) {
			i = i * 0x9e3779b1 >> 16
			p.Dst = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		}},
		{"random_1048576_hosts", 1 << 20, func(p *traffic.Packet, i uint32) {
			i = i * 0x9e3779b1 >> 12
			p.Dst = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			w := NewWriter(dense{}, bb.slots)
			p := *one
			b.ReportAllocs()
			for i := uint32(0); b.Loop(); i++ {
				bb.change(&p, i)
				w.Count(&p, 1)
			}
		})
	}
}

func BenchmarkWriterCountFlow(b *testing.B) {
	for _, bb := range []struct {
		name   string
		hosts  uint32
		change func(f *traffic.Flow, i uint32)
	}{
		{"at_once_one_host", 1, func(*traffic.Flow, uint32) {}},
		{"at_once_1000_hosts", 1000, func(*traffic.Flow, uint32) {}},
		{"at_once_65536_hosts", 1 << 16, func(*traffic.Flow, uint32) {}},
		{"spread_one_host", 1, func(f *traffic.Flow, i uint32) { f.Start = f.End - int64(time.Minute) - int64(i%32)*int64(time.Second) }},
		{"spread_1000_hosts", 1000, func(f *traffic.Flow, _ uint32) { f.Start = f.End - int64(time.Minute) }},
		{"spread_65536_hosts", 1 << 16, func(f *traffic.Flow, _ uint32) { f.Start = f.End - int64(time.Minute) }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			w := NewWriter(dense{}, 1<<16)
			w.SetSpreading(1 << 17)
			f := record(10_000)
			now := noon
			count := func(i uint32) {
				host := i * 0x9e3779b1 >> 16 % bb.hosts
				f.Dst, f.SrcPort = netip.AddrFrom4([4]byte{10, 0, byte(host >> 8), byte(host)}), uint16(i)
				bb.change(f, i)
				w.CountFlow(f)
				if i%20_000 == 0 { // 200,000 records a second
					now = now.Add(spreadTick)
					w.Spread(now)
				}
			}
			for i := range uint32(1 << 18) {
				count(i)
			}
			b.ReportAllocs()
			for i := uint32(0); b.Loop(); i++ {
				count(i)
			}
		})
	}
}

// BenchmarkSpread is what a tick costs with many hosts that have records pending.
func BenchmarkSpread(b *testing.B) {
	w := NewWriter(dense{}, 1<<16)
	now := noon
	w.Spread(now)
	for i := range 1 << 16 {
		w.CountFlow(record(1<<24, lasting(time.Hour), between(theirs4, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))))
	}
	for b.Loop() {
		now = now.Add(spreadTick)
		w.Spread(now)
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(1<<16), "ns/account")
}

const benchSlots = 1 << 20

func benchMeter() (*Meter, []Shard) {
	shards := []Shard{shard(benchSlots), shard(benchSlots)}
	m := NewMeter(numbered, benchSlots, shards)
	m.Baseline(noon)
	return m, shards
}

// BenchmarkMeterHot is a tick over a million idle slots but for the sweep: the looking for hot bits.
func BenchmarkMeterHot(b *testing.B) {
	for _, busy := range []int{0, 100} {
		b.Run(map[int]string{0: "idle", 100: "100_busy_hosts"}[busy], func(b *testing.B) {
			m, shards := benchMeter()
			deltas := 0
			for b.Loop() {
				for i := range busy {
					slot := i * 9973
					count(&shards[i%2].Cells[0][slot], 64)
					shards[i%2].Hot[0][slot/64] |= 1 << (slot % 64)
				}
				m.clock += 10_000
				m.gap = 10_000
				m.readHot(func(Delta) { deltas++ })
			}
			if busy > 0 && deltas != busy*b.N {
				b.Errorf("deltas: got %d, want %d", deltas, busy*b.N)
			}
		})
	}
}

// BenchmarkMeterTick is a whole tick over a million slots, with the part of the sweep that falls to it.
func BenchmarkMeterTick(b *testing.B) {
	m, _ := benchMeter()
	now := noon
	for b.Loop() {
		now = now.Add(10 * time.Millisecond)
		m.Read(now, func(Delta) {})
	}
}

func BenchmarkMeterTop(b *testing.B) {
	m, shards := benchMeter()
	for slot := range shards[0].Cells[0] {
		count(&shards[0].Cells[0][slot], uint32(slot)*2654435761>>20)
	}
	m.Read(noon.Add(time.Second), func(Delta) {})
	for b.Loop() {
		m.Top(traffic.Incoming, traffic.PPS, 100)
	}
}
