package hosts

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// spreading is a writer whose time passes in steps of 100 ms, and what its cell of ours4 has had in each of them.
type spreading struct {
	*Writer
	now  time.Time
	last traffic.Cell
}

func newSpreading() *spreading {
	s := &spreading{Writer: NewWriter(ours, slots), now: noon}
	s.Spread(noon)
	return s
}

func (s *spreading) step() traffic.Counts {
	s.now = s.now.Add(spreadTick)
	s.Spread(s.now)
	clear(s.hot[traffic.Incoming]) // it was read
	cell := s.cells[traffic.Incoming][1]
	c := cell.Since(&s.last)
	s.last = cell
	return c
}

// run lets time pass and returns the most packets that came within one step, the fewest, and the sum.
func (s *spreading) run(d time.Duration) (most, fewest uint64, sum traffic.Counts) {
	fewest = 1 << 63
	for range d / spreadTick {
		c := s.step()
		most, fewest = max(most, c.Total.Packets), min(fewest, c.Total.Packets)
		sum.Add(&c)
	}
	return most, fewest, sum
}

// checked reports what is wrong with an account, if anything is.
func (s *spreader) checked(t *testing.T) {
	t.Helper()
	used := 0
	for i := range s.accounts {
		a, e := &s.accounts[i], &s.ends[i]
		if a.slot == never {
			continue
		}
		used++
		var sum amount
		for k := range int(a.count) {
			sum.add(e[k].rate)
			if e[k].at <= s.tick || k > 0 && e[k].at <= e[k-1].at {
				t.Fatalf("ends %v at tick %d", e[:a.count], s.tick)
			}
		}
		if sum != a.rate || a.count > 0 && a.until != e[0].at || a.count > endsMost {
			t.Fatalf("account %+v with ends %v", a, e[:a.count])
		}
	}
	if used != s.used || used+len(s.free) != len(s.accounts) {
		t.Fatalf("%d accounts are used and %d free of %d, want %d used", used, len(s.free), len(s.accounts), s.used)
	}
}

func TestSpreadIsEven(t *testing.T) {
	for _, tt := range []struct {
		name   string
		f      *traffic.Flow
		over   time.Duration
		most   uint64 // packets in 100 ms
		fewest uint64
	}{
		{"a minute", record(600_000, lasting(time.Minute)), time.Minute, 1001, 999},
		{"uneven", record(1_000_003, lasting(7300*time.Millisecond)), 7300 * time.Millisecond, 13_700, 13_698},
		{"sampled", record(600, sampled(1000), lasting(time.Minute)), time.Minute, 1001, 999},
		{"an hour at most", record(3_600_000, lasting(24*time.Hour)), time.Hour, 137, 99},
		{"fewer packets than ticks", record(300, lasting(time.Minute)), time.Minute, 6, 0},
		{"a packet in ten seconds at least", record(66, lasting(24*time.Hour)), time.Hour, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSpreading()
			s.CountFlow(tt.f)
			most, fewest, sum := s.run(tt.over)
			if n := tt.f.Packets * uint64(tt.f.Rate); sum.Total.Packets != n || sum.UDP.Bytes != n*100 || s.spread.used != 0 {
				t.Errorf("after %s: got %+v of %d packets; pending: %d", tt.over, sum, n, s.spread.used)
			}
			if most > tt.most || fewest < tt.fewest {
				t.Errorf("in 100 ms: got %d to %d packets, want %d to %d", fewest, most, tt.fewest, tt.most)
			}
		})
	}
}

// TestSpreadSteady: exporters that tell of steady flows now and then make a steady rate, also when they are not on time.
func TestSpreadSteady(t *testing.T) {
	const perSecond = 10_000
	for _, tt := range []struct {
		name   string
		flows  int
		active time.Duration
		jitter time.Duration
		within float64 // of the rate, over any second
	}{
		{"one flow, on time", 1, time.Minute, 0, 0.01},
		{"one flow, early and late", 1, time.Minute, 800 * time.Millisecond, 0.13},
		{"ten flows", 10, time.Minute, 3 * time.Second, 0.20},
		{"a thousand flows", 1000, time.Minute, 5 * time.Second, 0.20},
		{"half an hour", 30, 30 * time.Minute, time.Minute, 0.20},
		{"ten seconds", 20, 10 * time.Second, time.Second, 0.25},
	} {
		t.Run(tt.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 7))
			s := newSpreading()
			begun, due := make([]time.Time, tt.flows), make([]time.Time, tt.flows)
			late := func() time.Duration { return time.Duration((random.Float64()*2 - 1) * float64(tt.jitter)) }
			for i := range begun {
				begun[i] = noon
				due[i] = noon.Add(tt.active * time.Duration(i+1) / time.Duration(tt.flows)).Add(late())
			}
			var counted, second, most uint64
			fewest := uint64(1 << 63)
			settled := noon.Add(2*tt.active + 2*tt.jitter)
			for s.now.Before(noon.Add(5 * tt.active)) {
				for i := range due {
					if s.now.Before(due[i]) {
						continue
					}
					n := uint64(s.now.Sub(begun[i]).Seconds() * perSecond / float64(tt.flows))
					counted += n
					s.CountFlow(record(n, func(f *traffic.Flow) { f.Start, f.End = begun[i].UnixNano(), s.now.UnixNano() }))
					begun[i], due[i] = s.now, s.now.Add(tt.active).Add(late())
				}
				c := s.step()
				s.spread.checked(t)
				second += c.Total.Packets
				if s.now.Sub(noon)%time.Second == 0 {
					if s.now.After(settled) {
						most, fewest = max(most, second), min(fewest, second)
					}
					second = 0
				}
			}
			if float64(most) > perSecond*(1+tt.within) {
				t.Errorf("at most %d packets in a second, want %d within %g", most, perSecond, tt.within)
			}
			if tt.jitter == 0 && float64(fewest) < perSecond*(1-tt.within) {
				t.Errorf("at least %d packets in a second, want %d within %g", fewest, perSecond, tt.within)
			}
			for s.Flush() {
				clear(s.hot[traffic.Incoming])
			}
			if got := uint64(s.cells[traffic.Incoming][1].Packets); got != counted {
				t.Errorf("counted %d packets of %d", got, counted)
			}
		})
	}
}

// TestSpreadDoesNotDilute: a flood is not put off because something small and long comes after it.
func TestSpreadDoesNotDilute(t *testing.T) {
	s := newSpreading()
	s.CountFlow(record(6_000_000, lasting(time.Minute)))
	for i := range 600 {
		s.CountFlow(record(50, lasting(time.Hour)))
		if got := s.step().Total.Packets; got < 9000 {
			t.Fatalf("after %d small records: %d packets in 100 ms, want 10000", i, got)
		}
	}
}

// TestSpreadConserves throws records of all kinds at a writer: to the packet, nothing is lost and nothing is made.
func TestSpreadConserves(t *testing.T) {
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 1))
		w := NewWriter(ours, slots)
		w.SetSpreading([]int{0, 1, 4, 1000}[seed%4])
		r := newReader(w)
		var want [2]traffic.Counts
		for range 1500 {
			f := record(random.Uint64N(1<<random.IntN(20)), sampled(1+random.Uint32N(1<<random.IntN(10))), lasting(time.Duration(random.Int64N(1<<(20+random.IntN(20))))))
			f.Bytes = f.Packets * random.Uint64N(1500)
			f.Protocol = []uint8{traffic.ProtoUDP, traffic.ProtoTCP, traffic.ProtoICMP, 47}[random.IntN(4)]
			f.Dropped = random.IntN(2) == 0
			dir, n := traffic.Incoming, traffic.Count{Packets: f.Packets * uint64(f.Rate), Bytes: f.Bytes * uint64(f.Rate)}
			if random.IntN(2) == 0 {
				dir, f.Src, f.Dst = traffic.Outgoing, ours4, theirs4
			}
			c := traffic.Counts{Total: n, Unseen: n.Packets - f.Packets}
			switch f.Protocol {
			case traffic.ProtoUDP:
				c.UDP = n
			case traffic.ProtoTCP:
				c.TCP = n
			case traffic.ProtoICMP:
				c.ICMP = n
			}
			if f.Dropped {
				c.Dropped = n
			}
			want[dir].Add(&c)
			w.CountFlow(f)
			for range random.IntN(20) {
				r.tick(t)
				w.Spread(r.now)
			}
			w.spread.checked(t)
		}
		for w.Flush() {
			r.tick(t)
		}
		r.tick(t)
		r.tick(t)
		for dir := range want {
			r.sum[dir].Flows = 0
			// Unseen packets are told along with packets: the very last may wait for more.
			if r.sum[dir].Unseen > want[dir].Unseen || r.sum[dir].Unseen+100 < want[dir].Unseen {
				t.Errorf("seed %d: unseen %d of %d", seed, r.sum[dir].Unseen, want[dir].Unseen)
			}
			want[dir].Unseen = r.sum[dir].Unseen
		}
		if diff := cmp.Diff(want, r.sum); diff != "" {
			t.Errorf("seed %d: sums (-want +got)\n%s", seed, diff)
		}
	}
}

// TestPendingIsNotSilent: as long as a host has something pending it has a packet now and then, so nobody takes its slot from it.
func TestPendingIsNotSilent(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 3))
		s := newSpreading()
		silent := 0
		for n := 0; n < 40 || s.spread.used > 0; n++ {
			if n < 40 {
				s.CountFlow(record(2+random.Uint64N(20), lasting(time.Duration(1+random.IntN(3600))*time.Second)))
			}
			for range random.IntN(300) {
				had := s.spread.used > 0
				if silent++; s.step().Total.Packets > 0 || !had {
					silent = 0
				}
				if silent > 120 {
					t.Fatalf("seed %d: no packet in %d steps of 100 ms, while %+v is pending", seed, silent, s.spread.accounts[0])
				}
			}
		}
	}
}

func TestSpreadIsBounded(t *testing.T) {
	w := NewWriter(dense{}, 1<<10)
	w.SetSpreading(100)
	small := func(i int) *traffic.Flow {
		return record(80, lasting(time.Minute), between(theirs4, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})))
	}
	for i := range 200 {
		w.CountFlow(small(i))
	}
	if s := w.SpreadStats(); s.Accounts != 50 || s.AtOnce != 150 {
		t.Errorf("after 200 small records: %+v, want half of 100 accounts, 150 records at once", s)
	}
	for i := range 200 {
		f := small(500 + i)
		f.Packets, f.Bytes = 60_000, 6_000_000
		w.CountFlow(f)
	}
	if s := w.SpreadStats(); s.Accounts != 100 || s.AtOnce != 300 {
		t.Errorf("after 200 large ones: %+v, want 100 accounts, 300 records at once", s)
	}
	if got := w.cells[traffic.Incoming][60].Packets; got != 80 {
		t.Errorf("a small record without account: %d packets at once, want 80", got)
	}
	w.CountFlow(small(3))
	if s := w.SpreadStats(); s.AtOnce != 300 {
		t.Errorf("a record for an account that is there: %+v, want none at once", s)
	}
	w.SetSpreading(0)
	w.CountFlow(small(3))
	if got := w.cells[traffic.Incoming][3].Packets; got != 82 {
		t.Errorf("without spreading: %d packets, want 2 of before and 80", got)
	}
	if more := w.Flush(); more || w.SpreadStats().Accounts != 0 {
		t.Errorf("after Flush: %t, %+v", more, w.SpreadStats())
	}
}

func TestSpreadClock(t *testing.T) {
	for _, tt := range []struct {
		name string
		at   []time.Duration
		want uint32 // packets of 60000, over a minute
	}{
		{"the first call starts the clock", []time.Duration{time.Hour}, 1},
		{"a tick", []time.Duration{0, spreadTick}, 101},
		{"less than a tick", []time.Duration{0, spreadTick - 1}, 1},
		{"parts of ticks add up", []time.Duration{0, 150 * time.Millisecond, 200 * time.Millisecond}, 201},
		{"late", []time.Duration{0, 3 * time.Second}, 3001},
		{"set ahead: five seconds at most", []time.Duration{0, 3 * time.Hour, 3*time.Hour + time.Second}, 6001},
		{"set back", []time.Duration{time.Hour, 0, time.Second}, 1001},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := NewWriter(ours, slots)
			w.CountFlow(record(60_000, lasting(time.Minute)))
			for _, at := range tt.at {
				w.Spread(noon.Add(at))
			}
			// 59,999 packets in 600 ticks, after the first, rounded down.
			if got := w.cells[traffic.Incoming][1].Packets; got < tt.want-1 || got > tt.want+1 {
				t.Errorf("packets: got %d, want about %d", got, tt.want)
			}
		})
	}
}

func TestTakePending(t *testing.T) {
	old, w := newSpreading(), newSpreading()
	for range 777 {
		w.step() // the two have not begun at the same time
	}
	for i := range 30 {
		old.CountFlow(record(10_000, lasting(time.Duration(i)*time.Second)))
		old.CountFlow(record(10_000, lasting(time.Minute), between(theirs4, second4)))
		old.CountFlow(record(10_000, lasting(time.Minute), between(ours6, theirs6)))
		old.step()
	}
	had := old.cells[traffic.Incoming][1].Packets
	w.CountFlow(record(60_000, lasting(time.Minute)))
	w.TakePending(old.Writer, func(p netip.Prefix) (uint32, bool) {
		return 1, p.Addr() != ours6
	})
	w.spread.checked(t)
	if s := old.SpreadStats(); s.Accounts != 0 {
		t.Errorf("left with the old one: %+v", s)
	}
	_, _, sum := w.run(2 * time.Minute)
	second := old.cells[traffic.Incoming][2].Packets
	if want := uint64(60_000 + 30*10_000 - had + 30*10_000 - second); sum.Total.Packets != want || w.spread.used != 0 {
		t.Errorf("taken over: got %d packets, want %d; pending %d", sum.Total.Packets, want, w.spread.used)
	}
	if w.cells[traffic.Outgoing][70].Packets != 0 {
		t.Error("what belongs to a host that is not found was counted")
	}
}

func TestRecordsDoNotAllocate(t *testing.T) {
	s := newSpreading()
	for range 100 {
		s.CountFlow(record(10_000, lasting(time.Minute)))
		s.CountFlow(record(10_000, lasting(time.Minute), between(ours6, theirs6)))
		s.step()
	}
	f := record(10_000, lasting(time.Minute))
	n := 0
	if got := testing.AllocsPerRun(10_000, func() {
		n++
		f.SrcPort = uint16(n)
		f.Start = f.End - int64(n%90)*int64(time.Second)
		s.CountFlow(f)
		s.now = s.now.Add(spreadTick / 2)
		s.Spread(s.now)
	}); got != 0 {
		t.Errorf("allocations: got %g a record, want none", got)
	}
}
