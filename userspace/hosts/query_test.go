package hosts

import (
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

func TestMeterRate(t *testing.T) {
	s := shard(slots)
	m := NewMeter(numbered, slots, []Shard{s})
	m.Baseline(noon)
	now := noon
	run := func(d time.Duration, packets uint32) {
		for range d / tick {
			now = now.Add(tick)
			count(&s.Cells[0][1], packets)
			s.Hot[0][0] |= 1 << 1 // what is hot and swept in the same reading must not fade twice
			read(m, now)
		}
	}
	near := func(what string, want, tolerance uint64) {
		t.Helper()
		if got := m.Rate(1, 0).Total.Packets; got < want-min(want, tolerance) || got > want+tolerance {
			t.Errorf("rate %s: got %d packets/s, want %d within %d", what, got, want, tolerance)
		}
	}
	run(time.Second, 100)
	near("after a second at 10000", 8650, 100)
	run(2*time.Second, 100)
	near("after three seconds at 10000", 10000, 50)
	if got := m.Rate(1, 0); got.Total.Bytes != got.UDP.Bytes || got.Total.Bytes < 990_000 || got.Flows < 9900 {
		t.Errorf("the other columns: got %+v, want 1000000 bytes and 10000 flows a second", got)
	}
	run(time.Second, 0)
	near("after a second of silence", 1350, 100)
	now = now.Add(time.Second)
	read(m, now)
	near("after a reading over a whole silent second", 0, 0)
	if m.busy[0][0] != 0 {
		t.Error("the slot is still looked at as busy")
	}
	run(10*time.Second, 1)
	run(20*time.Second, 0)
	if m.busy[0][0] != 0 {
		t.Error("the slot does not become idle by fading")
	}
}

func TestMeterTop(t *testing.T) {
	s := shard(slots)
	m := NewMeter(numbered, slots, []Shard{s})
	m.Baseline(noon)
	for slot := range uint32(slots) {
		cell := &s.Cells[1][slot]
		count(cell, slot*37%101) // each number from 0 to 100 but one
		cell.ICMPPackets = 1
		cell.ICMPBytes = cell.Packets % 7
	}
	s.Cells[1][0].Packets = 0
	read(m, noon.Add(time.Second))
	slotsOf := func(hosts []Host) (all []uint32) {
		for _, h := range hosts {
			all = append(all, h.Slot)
		}
		return all
	}
	for _, tt := range []struct {
		name   string
		dir    traffic.Direction
		metric traffic.Metric
		n      int
		want   []uint32
	}{
		{"packets", traffic.Outgoing, traffic.PPS, 3, []uint32{30, 60, 90}},
		{"bits", traffic.Outgoing, traffic.BPS, 1, []uint32{30}},
		{"flows", traffic.Outgoing, traffic.FPS, 2, []uint32{30, 60}},
		{"nobody has any", traffic.Outgoing, traffic.TCPPPS, 3, nil},
		{"the other direction", traffic.Incoming, traffic.PPS, 3, nil},
		{"no such direction", traffic.Other, traffic.PPS, 3, nil},
		{"no such metric", traffic.Outgoing, traffic.MetricCount, 3, nil},
		{"none wanted", traffic.Outgoing, traffic.PPS, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := m.Top(tt.dir, tt.metric, tt.n)
			if diff := cmp.Diff(tt.want, slotsOf(got)); diff != "" {
				t.Errorf("slots (-want +got)\n%s", diff)
			}
			for _, h := range got {
				owner, _ := numbered(h.Slot)
				if h.Owner != owner || h.Direction != tt.dir || h.Rate != m.Rate(h.Slot, tt.dir) || h.Total != m.Total(h.Slot, tt.dir) {
					t.Errorf("host: got %+v", h)
				}
			}
		})
	}
	all := m.Top(traffic.Outgoing, traffic.ICMPBPS, 1000)
	for i := 1; i < len(all); i++ {
		if a, b := all[i-1], all[i]; a.Rate.ICMP.Bytes < b.Rate.ICMP.Bytes || a.Rate.ICMP.Bytes == b.Rate.ICMP.Bytes && a.Slot > b.Slot {
			t.Errorf("order: %+v before %+v", a, b)
		}
	}
	if few := m.Top(traffic.Outgoing, traffic.ICMPBPS, 10); len(all) < 50 || !cmp.Equal(slotsOf(few), slotsOf(all[:10])) {
		t.Errorf("the first 10 of %d: got %v, want %v", len(all), slotsOf(few), slotsOf(all[:10]))
	}
}

func TestMeterMemory(t *testing.T) {
	perSlot := unsafe.Sizeof(seen{}) + unsafe.Sizeof(state{}) + unsafe.Sizeof([columns]uint64{})
	if perSlot != SlotBytes || unsafe.Sizeof(Meter{}.flows[0][0]) != ShardSlotBytes {
		t.Errorf("bytes per slot and direction: got %d and %d per shard, want %d and %d", perSlot, unsafe.Sizeof(Meter{}.flows[0][0]), SlotBytes, ShardSlotBytes)
	}
	if 2*ShardSlotBytes+SlotBytes > 250 {
		t.Errorf("with two shards: %d bytes, want 250 at most", 2*ShardSlotBytes+SlotBytes)
	}
}

// TestMeterCarry moves hosts to the slots of another layout.
func TestMeterCarry(t *testing.T) {
	s := shard(slots)
	old := NewMeter(numbered, slots, []Shard{s})
	old.Baseline(noon)
	count(&s.Cells[0][1], 10)
	count(&s.Cells[0][2], 20)
	count(&s.Cells[1][3], 30)
	read(old, noon.Add(time.Second))
	moved := map[uint32]uint32{1: 7, 3: slots}
	m := NewMeter(numbered, slots, []Shard{shard(slots)})
	m.Baseline(noon.Add(time.Second))
	m.Carry(old, func(p netip.Prefix) (uint32, bool) {
		slot, ok := moved[uint32(p.Addr().As4()[3])]
		return slot, ok
	})
	if total, rate := m.Total(7, 0), m.Rate(7, 0); total != counted(10) || rate != counted(10) {
		t.Errorf("moved: got total %+v, rate %+v, want %+v for both", total, rate, counted(10))
	}
	if top := m.Top(0, traffic.PPS, 5); len(top) != 1 || top[0].Slot != 7 {
		t.Errorf("Top after it: got %+v, want slot 7 alone", top)
	}
	if top := m.Top(1, traffic.PPS, 5); len(top) != 0 {
		t.Errorf("Top of a slot that is not there: got %+v, want none", top)
	}
}
