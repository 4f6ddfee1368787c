package hosts

import (
	"math"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// record is a flow record of UDP packets of 100 bytes to ours4, all at one moment.
func record(packets uint64, changes ...func(*traffic.Flow)) *traffic.Flow {
	f := &traffic.Flow{Packet: *udp(theirs4, ours4), Packets: packets, Bytes: packets * 100, Rate: 1, Start: noon.UnixNano(), End: noon.UnixNano()}
	f.Length = 0
	for _, change := range changes {
		change(f)
	}
	return f
}

func sampled(rate uint32) func(*traffic.Flow) { return func(f *traffic.Flow) { f.Rate = rate } }
func lasting(d time.Duration) func(*traffic.Flow) {
	return func(f *traffic.Flow) { f.Start = f.End - int64(d) }
}
func carrying(n uint64) func(*traffic.Flow) { return func(f *traffic.Flow) { f.Bytes = n } }
func transport(number, flags uint8) func(*traffic.Flow) {
	return func(f *traffic.Flow) { f.Protocol, f.TCPFlags = number, flags }
}
func between(src, dst netip.Addr) func(*traffic.Flow) {
	return func(f *traffic.Flow) { f.Src, f.Dst = src, dst }
}

func TestCountFlow(t *testing.T) {
	in := func(c traffic.Cell) cells { return cells{traffic.Incoming: {1: c}} }
	for _, tt := range []struct {
		name   string
		f      *traffic.Flow
		want   traffic.Direction
		cells  cells
		unseen uint32 // of slot 1, incoming
	}{
		{"incoming", record(7), traffic.Incoming, in(traffic.Cell{Packets: 7, Bytes: 700, Flows: 1, UDPPackets: 7, UDPBytes: 700}), 0},
		{"outgoing", record(7, between(ours6, theirs6)), traffic.Outgoing,
			cells{traffic.Outgoing: {70: {Packets: 7, Bytes: 700, Flows: 1, UDPPackets: 7, UDPBytes: 700}}}, 0},
		{"internal", record(7, between(second4, ours4)), traffic.Internal, cells{
			traffic.Incoming: {1: {Packets: 7, Bytes: 700, Flows: 1, UDPPackets: 7, UDPBytes: 700}},
			traffic.Outgoing: {2: {Packets: 7, Bytes: 700, Flows: 1, UDPPackets: 7, UDPBytes: 700}},
		}, 0},
		{"neither is ours", record(7, between(theirs4, netip.MustParseAddr("203.0.113.1"))), traffic.Other, cells{}, 0},
		{"one in 1000", record(7, sampled(1000)), traffic.Incoming,
			in(traffic.Cell{Packets: 7000, Bytes: 700_000, Flows: 1, UDPPackets: 7000, UDPBytes: 700_000}), 6993},
		{"rate 0 is 1", record(7, sampled(0)), traffic.Incoming, in(traffic.Cell{Packets: 7, Bytes: 700, Flows: 1, UDPPackets: 7, UDPBytes: 700}), 0},
		{"SYN of all of a flow", record(3, transport(traffic.ProtoTCP, traffic.FlagSYN|traffic.FlagRST)), traffic.Incoming,
			in(traffic.Cell{Packets: 3, Bytes: 300, Flows: 1, TCPPackets: 3, TCPBytes: 300, TCPSYNPackets: 3, TCPSYNBytes: 300}), 0},
		{"a flow that was answered", record(3, transport(traffic.ProtoTCP, traffic.FlagSYN|traffic.FlagACK|traffic.FlagFIN)), traffic.Incoming,
			in(traffic.Cell{Packets: 3, Bytes: 300, Flows: 1, TCPPackets: 3, TCPBytes: 300}), 0},
		{"icmp", record(3, transport(traffic.ProtoICMP, 0)), traffic.Incoming,
			in(traffic.Cell{Packets: 3, Bytes: 300, Flows: 1, ICMPPackets: 3, ICMPBytes: 300}), 0},
		{"icmpv6 number over ipv4", record(3, transport(traffic.ProtoICMPv6, 0)), traffic.Incoming, in(traffic.Cell{Packets: 3, Bytes: 300, Flows: 1}), 0},
		{"fragments", record(3, func(f *traffic.Flow) { f.Fragment = traffic.LaterFragment }), traffic.Incoming,
			in(traffic.Cell{Packets: 3, Bytes: 300, Flows: 1, UDPPackets: 3, UDPBytes: 300, FragmentPackets: 3, FragmentBytes: 300}), 0},
		{"dropped by the exporter", record(3, func(f *traffic.Flow) { f.Dropped = true }), traffic.Incoming,
			in(traffic.Cell{Packets: 3, Bytes: 300, Flows: 1, UDPPackets: 3, UDPBytes: 300, DroppedPackets: 3, DroppedBytes: 300}), 0},
		{"bytes without packets", record(0, carrying(500), sampled(10)), traffic.Incoming,
			in(traffic.Cell{Packets: 10, Bytes: 5000, Flows: 1, UDPPackets: 10, UDPBytes: 5000}), 9},
		{"nothing", record(0), traffic.Incoming, cells{}, 0},
		{"a second long", record(7, lasting(time.Second)), traffic.Incoming,
			in(traffic.Cell{Packets: 7, Bytes: 700, Flows: 1, UDPPackets: 7, UDPBytes: 700}), 0},
		{"its beginning is unknown", record(7, func(f *traffic.Flow) { f.Start = 0 }), traffic.Incoming,
			in(traffic.Cell{Packets: 7, Bytes: 700, Flows: 1, UDPPackets: 7, UDPBytes: 700}), 0},
		{"longer, and one packet", record(1, lasting(time.Minute)), traffic.Incoming,
			in(traffic.Cell{Packets: 1, Bytes: 100, Flows: 1, UDPPackets: 1, UDPBytes: 100}), 0},
		{"longer: the first packet at once", record(7, lasting(time.Minute), sampled(10)), traffic.Incoming,
			in(traffic.Cell{Packets: 1, Bytes: 100, Flows: 1, UDPPackets: 1, UDPBytes: 100}), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := NewWriter(ours, slots)
			if got := w.CountFlow(tt.f); got != tt.want {
				t.Errorf("CountFlow: got %s, want %s", got, tt.want)
			}
			if diff := cmp.Diff(tt.cells, touched(w)); diff != "" {
				t.Errorf("cells (-want +got)\n%s", diff)
			}
			if got := w.unseen[traffic.Incoming][1]; got != tt.unseen {
				t.Errorf("unseen: got %d, want %d", got, tt.unseen)
			}
		})
	}
}

func TestCountFlowFlows(t *testing.T) {
	w := NewWriter(ours, slots)
	for range 3 {
		w.CountFlow(record(5, sampled(100)))
		w.CountFlow(record(5, func(f *traffic.Flow) { f.SrcPort = 9 }))
	}
	w.Flip()
	w.CountFlow(record(5))
	if got := w.cells[traffic.Incoming][1].Flows; got != 3 {
		t.Errorf("flows: got %d, want 2 and, in the next interval, 1", got)
	}
}

func TestSampledPacketsAreUnseen(t *testing.T) {
	w := NewWriter(ours, slots)
	w.Count(udp(theirs4, ours4), 1)
	w.Count(udp(theirs4, ours4), 100)
	if got := w.unseen[traffic.Incoming][1]; got != 99 {
		t.Errorf("unseen of 101 packets of which 2 were seen: got %d, want 99", got)
	}
}

// reader is a meter over writers, with the sum of what it emits.
type reader struct {
	*Meter
	now time.Time
	sum [2]traffic.Counts
}

func newReader(writers ...*Writer) *reader {
	var shards []Shard
	for _, w := range writers {
		shards = append(shards, w.Shard())
	}
	r := &reader{Meter: NewMeter(ours.Owner, slots, shards), now: noon}
	r.Baseline(noon)
	return r
}

func (r *reader) tick(t *testing.T) {
	r.now = r.now.Add(tick)
	r.Read(r.now, func(d Delta) {
		if d.Counts.Unseen > d.Counts.Total.Packets || d.Counts.Total.Packets > 1<<31 {
			t.Errorf("impossible delta: %+v", d)
		}
		r.sum[d.Direction].Add(&d.Counts)
	})
}

// TestLargeRecords: what does not fit into a cell comes in parts, and all of it comes.
func TestLargeRecords(t *testing.T) {
	for _, tt := range []struct {
		name    string
		records []*traffic.Flow
	}{
		{"many bytes at once", []*traffic.Flow{record(50_000_000, carrying(75_000_000_000))}},
		{"many packets at once", []*traffic.Flow{record(1_000_000, sampled(50_000), carrying(64))}},
		{"over a time, a terabit a second", []*traffic.Flow{record(100_000_000, sampled(10), carrying(750_000_000_000), lasting(time.Minute))}},
		{"the largest", []*traffic.Flow{record(1<<33, carrying(1<<33), sampled(4096), lasting(time.Hour))}},
		{"several", []*traffic.Flow{
			record(50_000_000, carrying(75_000_000_000)), record(50_000_000, carrying(75_000_000_000), lasting(5*time.Second)), record(1000),
			record(50_000_000, carrying(75_000_000_000), transport(traffic.ProtoTCP, 0)),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := NewWriter(ours, slots)
			r := newReader(w)
			var want traffic.Counts
			for _, f := range tt.records {
				w.CountFlow(f)
				n := traffic.Count{Packets: f.Packets * uint64(f.Rate), Bytes: f.Bytes * uint64(f.Rate)}
				want.Add(&traffic.Counts{Total: n, Unseen: n.Packets - f.Packets})
			}
			for n := 0; w.spread.used > 0; n++ {
				r.tick(t)
				w.Spread(r.now)
				if n > 1000 {
					w.Flush()
				}
				if n > 1_000_000 {
					t.Fatalf("it does not end: %+v", w.spread.accounts[0])
				}
			}
			r.tick(t)
			r.tick(t)
			if got := r.sum[0]; got.Total != want.Total || got.Unseen != want.Unseen {
				t.Errorf("got %+v, unseen %d; want %+v, unseen %d", got.Total, got.Unseen, want.Total, want.Unseen)
			}
			if s := w.SpreadStats(); s != (SpreadStats{}) {
				t.Errorf("stats: got %+v, want none", s)
			}
		})
	}
}

func TestRecordsBeyondMeasure(t *testing.T) {
	for _, f := range []*traffic.Flow{
		record(math.MaxUint64, sampled(math.MaxUint32)), record(1, carrying(math.MaxUint64), sampled(2)), record(1<<45, sampled(2)),
		record(math.MaxUint64/2, sampled(3), lasting(2*time.Second)), record(0, carrying(math.MaxUint64), lasting(100*time.Hour)),
	} {
		w := NewWriter(ours, slots)
		for range 100_000 {
			w.CountFlow(f)
		}
		if s := w.SpreadStats(); s.Clipped < 100_000 || s.Accounts > 1 {
			t.Errorf("%d packets, %d bytes: stats are %+v, want all clipped", f.Packets, f.Bytes, s)
		}
		for i := range w.spread.accounts {
			if a := &w.spread.accounts[i]; a.due.packets > dueMost || a.due.bytes > dueMost || a.rate.packets > rateMost || a.rate.bytes > rateMost {
				t.Errorf("account %+v", a)
			}
		}
		w.Spread(noon)
		w.Spread(noon.Add(time.Second))
	}
}

// TestRecordsAndMeter lets all work at once: the deltas add up to what was counted.
func TestRecordsAndMeter(t *testing.T) {
	const perWriter = 20_000
	writers := []*Writer{NewWriter(ours, slots), NewWriter(ours, slots)}
	r := newReader(writers...)
	var wg sync.WaitGroup
	for _, w := range writers {
		wg.Go(func() {
			now := noon
			w.Spread(now)
			for i := range perWriter {
				w.CountFlow(record(10, sampled(100), lasting(time.Duration(i%7)*time.Second)))
				w.CountFlow(record(100, sampled(100), carrying(10), between(ours4, theirs4)))
				now = now.Add(time.Millisecond)
				w.Spread(now)
			}
			w.Flush()
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		r.tick(t)
	}
	for writers[0].Flush() || writers[1].Flush() {
		r.tick(t)
	}
	r.tick(t)
	r.tick(t)
	for dir, want := range [2]traffic.Counts{
		{Total: traffic.Count{Packets: 2 * perWriter * 1000, Bytes: 2 * perWriter * 100_000}, Unseen: 2 * perWriter * 990},
		{Total: traffic.Count{Packets: 2 * perWriter * 10_000, Bytes: 2 * perWriter * 1000}, Unseen: 2 * perWriter * 9900},
	} {
		got := r.sum[dir]
		if got.Total != want.Total || got.Unseen != want.Unseen || got.UDP != got.Total {
			t.Errorf("%s: got %+v, want %+v", traffic.Direction(dir), got, want)
		}
		if total := r.Total(1, traffic.Direction(dir)); total != got {
			t.Errorf("%s: Total: got %+v, want %+v", traffic.Direction(dir), total, got)
		}
	}
}
