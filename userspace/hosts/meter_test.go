package hosts

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir/userspace/traffic"
)

const tick = 10 * time.Millisecond

// shard returns an empty one with exact flows.
func shard(slots int) Shard {
	var s Shard
	for dir := range s.Cells {
		s.Cells[dir] = make([]traffic.Cell, slots)
		s.Hot[dir] = make([]uint64, (slots+63)/64)
	}
	return s
}

func numbered(slot uint32) (netip.Prefix, bool) {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(slot >> 16), byte(slot >> 8), byte(slot)}), 32), true
}

// read returns what one reading emits.
func read(m *Meter, now time.Time) []Delta {
	var all []Delta
	m.Read(now, func(d Delta) { all = append(all, d) })
	return all
}

func expect(t *testing.T, what string, got []Delta, want ...Delta) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s: deltas (-want +got)\n%s", what, diff)
	}
}

// count puts n UDP packets of 100 bytes, each a flow, into a cell.
func count(c *traffic.Cell, n uint32) {
	c.Packets += n
	c.Bytes += n * 100
	c.Flows += n
	c.UDPPackets += n
	c.UDPBytes += n * 100
}

func counted(n uint64) traffic.Counts {
	of := traffic.Count{Packets: n, Bytes: n * 100}
	return traffic.Counts{Total: of, Flows: n, UDP: of}
}

func delta(slot uint32, dir traffic.Direction, from, to time.Time, c traffic.Counts) Delta {
	owner, _ := numbered(slot)
	return Delta{Slot: slot, Owner: owner, Direction: dir, From: from, To: to, Counts: c}
}

func TestMeterDeltas(t *testing.T) {
	a, b := shard(slots), shard(slots)
	count(&a.Cells[traffic.Incoming][3], 1000)
	m := NewMeter(numbered, slots, []Shard{a, b})
	m.Baseline(noon)
	at := func(n int) time.Time { return noon.Add(time.Duration(n) * tick) }
	expect(t, "nothing new", read(m, at(1)))

	count(&a.Cells[traffic.Incoming][3], 2)
	count(&b.Cells[traffic.Incoming][3], 5)
	count(&b.Cells[traffic.Outgoing][9], 1)
	expect(t, "two hosts", read(m, at(2)),
		delta(3, traffic.Incoming, at(1), at(2), counted(7)), delta(9, traffic.Outgoing, at(1), at(2), counted(1)))
	expect(t, "nothing new again", read(m, at(3)))

	count(&a.Cells[traffic.Incoming][3], 1)
	expect(t, "one host", read(m, at(4)), delta(3, traffic.Incoming, at(3), at(4), counted(1)))
	if diff := cmp.Diff(counted(8), m.Total(3, traffic.Incoming)); diff != "" {
		t.Errorf("Total (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(counted(1), m.Total(9, traffic.Outgoing)); diff != "" {
		t.Errorf("Total (-want +got)\n%s", diff)
	}
	if got, want := m.Stats(), (Stats{Readings: 4, Deltas: 3}); got != want {
		t.Errorf("Stats: got %+v, want %+v", got, want)
	}
}

func TestMeterEveryColumn(t *testing.T) {
	s := shard(slots)
	m := NewMeter(numbered, slots, []Shard{s})
	m.Baseline(noon)
	cell := &s.Cells[traffic.Outgoing][99]
	*cell = traffic.Cell{
		Verdict: 99, Packets: 1, Bytes: 2, Flows: 3, TCPPackets: 4, TCPBytes: 5, UDPPackets: 6, UDPBytes: 7, ICMPPackets: 8, ICMPBytes: 9,
		TCPSYNPackets: 10, TCPSYNBytes: 11, FragmentPackets: 12, FragmentBytes: 13, DroppedPackets: 14, DroppedBytes: 15,
	}
	want := cell.Since(&traffic.Cell{})
	expect(t, "one of each", read(m, noon.Add(time.Second)), delta(99, traffic.Outgoing, noon, noon.Add(time.Second), want))
	if diff := cmp.Diff(want, m.Rate(99, traffic.Outgoing)); diff != "" {
		t.Errorf("Rate over one second (-want +got)\n%s", diff)
	}
	for metric := range traffic.MetricCount {
		index, ok := column(metric)
		value := uint64(m.state[traffic.Outgoing][99].rate[index])
		if metric.Bits() {
			value *= 8
		}
		if !ok || value != metric.Of(&want) {
			t.Errorf("column of %s: got %d, want %d", metric, value, metric.Of(&want))
		}
	}
}

func TestMeterWrap(t *testing.T) {
	a, b := shard(slots), shard(slots)
	a.Cells[0][5] = traffic.Cell{Packets: 1<<32 - 10, Bytes: 1<<32 - 1, Flows: 1<<32 - 2, UDPBytes: 1<<32 - 50}
	b.Cells[0][5] = traffic.Cell{Packets: 1<<32 - 1, Bytes: 77, Flows: 1<<32 - 1}
	m := NewMeter(numbered, slots, []Shard{a, b})
	m.Baseline(noon)
	count(&a.Cells[0][5], 20)
	count(&b.Cells[0][5], 3)
	expect(t, "over the end of 32 bits", read(m, noon.Add(tick)), delta(5, traffic.Incoming, noon, noon.Add(tick), counted(23)))
}

// TestMeterTorn reads in the middle of a packet: what was not written yet comes with the next reading, and nothing else does.
func TestMeterTorn(t *testing.T) {
	s := shard(slots)
	m := NewMeter(numbered, slots, []Shard{s})
	m.Baseline(noon)
	cell := &s.Cells[0][8]
	cell.Packets = 1
	at := func(n int) time.Time { return noon.Add(time.Duration(n) * tick) }
	expect(t, "half", read(m, at(1)), delta(8, traffic.Incoming, noon, at(1), traffic.Counts{Total: traffic.Count{Packets: 1}}))
	cell.Bytes, cell.Flows, cell.UDPPackets, cell.UDPBytes = 100, 1, 1, 100
	rest := counted(1)
	rest.Total.Packets = 0
	expect(t, "the other half", read(m, at(2)), delta(8, traffic.Incoming, at(1), at(2), rest))
	expect(t, "nothing more", read(m, at(3)))
}

func TestMeterClock(t *testing.T) {
	s := shard(slots)
	m := NewMeter(numbered, slots, []Shard{s})
	cell := &s.Cells[0][8]
	count(cell, 1)
	expect(t, "the first reading", read(m, noon))
	expect(t, "the second", read(m, noon.Add(tick)), delta(8, 0, noon, noon.Add(tick), counted(1)))

	count(cell, 2)
	expect(t, "no time between", read(m, noon.Add(tick)))
	later := noon.Add(5 * time.Hour)
	expect(t, "a long pause", read(m, later), delta(8, 0, noon.Add(tick), later, counted(2)))

	count(cell, 4)
	expect(t, "set back", read(m, noon))
	expect(t, "after that", read(m, noon.Add(tick)))
	if diff := cmp.Diff(counted(7), m.Total(8, 0)); diff != "" {
		t.Errorf("Total, all of it counted (-want +got)\n%s", diff)
	}
	count(cell, 8)
	expect(t, "the new clock", read(m, noon.Add(2*tick)), delta(8, 0, noon.Add(tick), noon.Add(2*tick), counted(8)))
	if got := m.Stats().Resyncs; got != 1 {
		t.Errorf("Resyncs: got %d, want 1", got)
	}
}

func TestMeterFlows(t *testing.T) {
	fill := []float64{0.5, 0, 1}
	var shards []Shard
	for i := range fill {
		s := shard(slots)
		s.FlowFill = func() float64 { return fill[i] }
		shards = append(shards, s)
	}
	m := NewMeter(numbered, slots, shards)
	m.Baseline(noon)
	for i := range shards {
		count(&shards[i].Cells[0][1], 10)
	}
	want := counted(30)
	want.Flows = 20 + 10 + 500 // 10/(1-0.5), 10/(1-0), 10/(1-0.98)
	expect(t, "by the fill of each shard", read(m, noon.Add(tick)), delta(1, 0, noon, noon.Add(tick), want))
	if got := m.Total(1, 0).Flows; got != want.Flows {
		t.Errorf("flows of Total: got %d, want %d", got, want.Flows)
	}
}

func TestMeterCellsCleared(t *testing.T) {
	s := shard(slots)
	m := NewMeter(numbered, slots, []Shard{s})
	m.Baseline(noon)
	count(&s.Cells[0][1], 10)
	expect(t, "before", read(m, noon.Add(tick)), delta(1, 0, noon, noon.Add(tick), counted(10)))
	s.Cells[0][1] = traffic.Cell{}
	expect(t, "cleared", read(m, noon.Add(2*tick)))
	count(&s.Cells[0][1], 3)
	expect(t, "after", read(m, noon.Add(3*tick)), delta(1, 0, noon.Add(2*tick), noon.Add(3*tick), counted(3)))
	if got := m.Stats().Resets; got != 1 {
		t.Errorf("Resets: got %d, want 1", got)
	}
}

func TestMeterRelease(t *testing.T) {
	s := shard(slots)
	m := NewMeter(numbered, slots, []Shard{s})
	m.Baseline(noon)
	for dir := range s.Cells {
		count(&s.Cells[dir][1], 10)
	}
	read(m, noon.Add(tick))
	for dir := range s.Cells {
		s.Cells[dir][1] = traffic.Cell{}
	}
	m.Release(1)
	m.Release(slots) // no such slot: nothing to forget
	for dir := range traffic.Internal {
		if total, rate := m.Total(1, dir), m.Rate(1, dir); !total.Zero() || !rate.Zero() {
			t.Errorf("%s after Release: total %+v, rate %+v, want none", dir, total, rate)
		}
	}
	expect(t, "released", read(m, noon.Add(2*tick)))
	count(&s.Cells[1][1], 3)
	expect(t, "the next host", read(m, noon.Add(3*tick)), delta(1, 1, noon.Add(2*tick), noon.Add(3*tick), counted(3)))
}

func TestMeterFreeSlot(t *testing.T) {
	s := shard(slots)
	free := true
	m := NewMeter(func(slot uint32) (netip.Prefix, bool) {
		if free {
			return netip.Prefix{}, false
		}
		return numbered(slot)
	}, slots, []Shard{s})
	m.Baseline(noon)
	count(&s.Cells[0][1], 10)
	expect(t, "free", read(m, noon.Add(tick)))
	if top := m.Top(0, traffic.PPS, 5); len(top) != 0 {
		t.Errorf("Top of free slots: got %+v, want none", top)
	}
	free = false
	count(&s.Cells[0][1], 1)
	expect(t, "taken", read(m, noon.Add(2*tick)), delta(1, 0, noon.Add(tick), noon.Add(2*tick), counted(1)))
}

// TestMeterSweep: every slot is read within a second whatever the ticks are, a hot one at once.
func TestMeterSweep(t *testing.T) {
	const many = 1 << 19
	s := shard(many)
	for _, every := range []time.Duration{time.Millisecond, tick, 70 * time.Millisecond, 2 * time.Second} {
		m := NewMeter(numbered, many, []Shard{s})
		m.Baseline(noon)
		for slot := 0; slot < many; slot += 64 {
			count(&s.Cells[slot/64%2][slot+slot/64%64], 1)
		}
		now, got := noon, 0
		for got < many/64 && now.Sub(noon) < time.Second {
			now = now.Add(every)
			for _, d := range read(m, now) {
				if !d.From.Equal(noon) || !d.To.Equal(now) || d.Counts.Total.Packets != 1 {
					t.Fatalf("every %s: got %+v, want one packet since %s", every, d, noon)
				}
				got++
			}
		}
		if got != many/64 {
			t.Errorf("every %s: %d slots were read within %s, want %d", every, got, now.Sub(noon), many/64)
		}
	}

	m := NewMeter(numbered, many, []Shard{s})
	m.Baseline(noon)
	for _, slot := range []uint32{many - 1, many / 2} {
		count(&s.Cells[1][slot], 64)
		s.Hot[1][slot/64] |= 1 << (slot % 64)
	}
	now := noon.Add(tick)
	expect(t, "hot", read(m, now), delta(many/2, 1, noon, now, counted(64)), delta(many-1, 1, noon, now, counted(64)))
	if s.Hot[1][many/128]|s.Hot[1][many/64-1] != 0 {
		t.Error("hot bits were not cleared")
	}
}

// TestMeterShortShard: slots that not all shards have are not read.
func TestMeterShortShard(t *testing.T) {
	long, short := shard(slots), shard(slots/2)
	m := NewMeter(numbered, slots, []Shard{long, short})
	m.Baseline(noon)
	count(&long.Cells[0][slots-1], 1)
	count(&long.Cells[0][0], 1)
	long.Hot[0][(slots-1)/64] = 1 << ((slots - 1) % 64)
	expect(t, "the slots of both", read(m, noon.Add(tick)), delta(0, 0, noon, noon.Add(tick), counted(1)))
	if got := m.Total(slots-1, 0); !got.Zero() {
		t.Errorf("Total of a slot that is not read: got %+v, want none", got)
	}
}

// TestWriterAndMeter lets both work at once: the deltas add up to what was counted, to the packet.
func TestWriterAndMeter(t *testing.T) {
	const perWriter = 200_000
	writers := []*Writer{NewWriter(ours, slots), NewWriter(ours, slots)}
	var shards []Shard
	for _, w := range writers {
		shards = append(shards, w.Shard())
	}
	m := NewMeter(ours.Owner, slots, shards)
	m.Baseline(noon)
	var wg sync.WaitGroup
	done := make(chan struct{})
	for _, w := range writers {
		wg.Go(func() {
			for i := range perWriter {
				if i%50_000 == 0 {
					w.Flip()
				}
				w.Count(udp(theirs4, ours4, from(uint16(i%3))), 1)
				w.Count(udp(ours6, theirs6, protocol(traffic.ProtoTCP, traffic.FlagSYN)), 1)
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	var sum [2]traffic.Counts
	now := noon
	readOnce := func() {
		now = now.Add(tick)
		m.Read(now, func(d Delta) {
			if !d.To.After(d.From) || d.Counts.Total.Packets > 2*perWriter {
				t.Errorf("impossible delta: %+v", d)
			}
			sum[d.Direction].Add(&d.Counts)
		})
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		readOnce()
	}
	readOnce()
	all := traffic.Count{Packets: 2 * perWriter, Bytes: 2 * perWriter * 100}
	want := [2]traffic.Counts{
		{Total: all, UDP: all, Flows: 2 * 4 * 3},
		{Total: all, TCP: all, TCPSYN: all, Flows: 2 * 4},
	}
	if diff := cmp.Diff(want, sum); diff != "" {
		t.Errorf("sum of all deltas (-want +got)\n%s", diff)
	}
	if got := [2]traffic.Counts{m.Total(1, traffic.Incoming), m.Total(70, traffic.Outgoing)}; got != want {
		t.Errorf("totals: got %+v, want %+v", got, want)
	}
}
