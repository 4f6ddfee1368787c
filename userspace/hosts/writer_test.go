package hosts

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// directory is a locator, and the owners that belong to it.
type directory map[netip.Addr]uint32

func (d directory) Locate(a netip.Addr) (uint32, bool) {
	slot, ok := d[a]
	return slot, ok
}

func (d directory) Owner(slot uint32) (netip.Prefix, bool) {
	for a, s := range d {
		if s == slot {
			return netip.PrefixFrom(a, a.BitLen()), true
		}
	}
	return netip.Prefix{}, false
}

var (
	ours4   = netip.MustParseAddr("198.51.100.7")
	second4 = netip.MustParseAddr("198.51.100.9")
	ours6   = netip.MustParseAddr("2001:db8:2::7")
	theirs4 = netip.MustParseAddr("192.0.2.1")
	theirs6 = netip.MustParseAddr("2001:db8:1::1")
	ours    = directory{ours4: 1, second4: 2, ours6: 70}

	noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
)

const slots = 100

func udp(src, dst netip.Addr, changes ...func(*traffic.Packet)) *traffic.Packet {
	p := &traffic.Packet{Src: src, Dst: dst, SrcPort: 40000, DstPort: 53, Protocol: traffic.ProtoUDP, Length: 100}
	for _, change := range changes {
		change(p)
	}
	return p
}

func protocol(number, flags uint8) func(*traffic.Packet) {
	return func(p *traffic.Packet) { p.Protocol, p.TCPFlags = number, flags }
}

func fragment(f traffic.Fragment) func(*traffic.Packet) {
	return func(p *traffic.Packet) { p.Fragment = f }
}

func from(port uint16) func(*traffic.Packet) {
	return func(p *traffic.Packet) { p.SrcPort = port }
}

// touched returns the cells that are not zero, by direction and slot.
func touched(w *Writer) map[traffic.Direction]map[uint32]traffic.Cell {
	all := map[traffic.Direction]map[uint32]traffic.Cell{}
	for dir, cells := range w.Shard().Cells {
		for slot, c := range cells {
			if c != (traffic.Cell{}) {
				if all[traffic.Direction(dir)] == nil {
					all[traffic.Direction(dir)] = map[uint32]traffic.Cell{}
				}
				all[traffic.Direction(dir)][uint32(slot)] = c
			}
		}
	}
	return all
}

type cells = map[traffic.Direction]map[uint32]traffic.Cell

func TestWriterCount(t *testing.T) {
	in := func(slot uint32, c traffic.Cell) cells { return cells{traffic.Incoming: {slot: c}} }
	for _, tt := range []struct {
		name   string
		p      *traffic.Packet
		weight uint32
		want   traffic.Direction
		cells  cells
	}{
		{"incoming udp", udp(theirs4, ours4), 1, traffic.Incoming, in(1, traffic.Cell{Packets: 1, Bytes: 100, Flows: 1, UDPPackets: 1, UDPBytes: 100})},
		{"outgoing udp", udp(ours6, theirs6), 1, traffic.Outgoing,
			cells{traffic.Outgoing: {70: {Packets: 1, Bytes: 100, Flows: 1, UDPPackets: 1, UDPBytes: 100}}}},
		{"internal", udp(ours4, second4), 1, traffic.Internal, cells{
			traffic.Incoming: {2: {Packets: 1, Bytes: 100, Flows: 1, UDPPackets: 1, UDPBytes: 100}},
			traffic.Outgoing: {1: {Packets: 1, Bytes: 100, Flows: 1, UDPPackets: 1, UDPBytes: 100}},
		}},
		{"neither is ours", udp(theirs4, netip.MustParseAddr("203.0.113.1")), 1, traffic.Other, cells{}},
		{"SYN", udp(theirs4, ours4, protocol(traffic.ProtoTCP, traffic.FlagSYN|traffic.FlagECE)), 1, traffic.Incoming,
			in(1, traffic.Cell{Packets: 1, Bytes: 100, Flows: 1, TCPPackets: 1, TCPBytes: 100, TCPSYNPackets: 1, TCPSYNBytes: 100})},
		{"SYN and ACK", udp(theirs4, ours4, protocol(traffic.ProtoTCP, traffic.FlagSYN|traffic.FlagACK)), 1, traffic.Incoming,
			in(1, traffic.Cell{Packets: 1, Bytes: 100, Flows: 1, TCPPackets: 1, TCPBytes: 100})},
		{"icmp", udp(theirs4, ours4, protocol(traffic.ProtoICMP, 0)), 1, traffic.Incoming,
			in(1, traffic.Cell{Packets: 1, Bytes: 100, Flows: 1, ICMPPackets: 1, ICMPBytes: 100})},
		{"icmpv6", udp(theirs6, ours6, protocol(traffic.ProtoICMPv6, 0)), 1, traffic.Incoming,
			in(70, traffic.Cell{Packets: 1, Bytes: 100, Flows: 1, ICMPPackets: 1, ICMPBytes: 100})},
		{"icmpv6 number over ipv4", udp(theirs4, ours4, protocol(traffic.ProtoICMPv6, 0)), 1, traffic.Incoming,
			in(1, traffic.Cell{Packets: 1, Bytes: 100, Flows: 1})},
		{"icmp number over ipv6", udp(theirs6, ours6, protocol(traffic.ProtoICMP, 0)), 1, traffic.Incoming,
			in(70, traffic.Cell{Packets: 1, Bytes: 100, Flows: 1})},
		{"first fragment", udp(theirs4, ours4, fragment(traffic.FirstFragment)), 1, traffic.Incoming,
			in(1, traffic.Cell{Packets: 1, Bytes: 100, Flows: 1, UDPPackets: 1, UDPBytes: 100, FragmentPackets: 1, FragmentBytes: 100})},
		{"later fragment", udp(theirs4, ours4, fragment(traffic.LaterFragment)), 1, traffic.Incoming,
			in(1, traffic.Cell{Packets: 1, Bytes: 100, Flows: 1, UDPPackets: 1, UDPBytes: 100, FragmentPackets: 1, FragmentBytes: 100})},
		{"sampled 1 in 1000", udp(theirs4, ours4), 1000, traffic.Incoming,
			in(1, traffic.Cell{Packets: 1000, Bytes: 100000, Flows: 1, UDPPackets: 1000, UDPBytes: 100000})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := NewWriter(ours, slots)
			if dir, drop := w.Count(tt.p, tt.weight); dir != tt.want || drop {
				t.Errorf("Count: got %s, dropped %t, want %s, false", dir, drop, tt.want)
			}
			if diff := cmp.Diff(tt.cells, touched(w)); diff != "" {
				t.Errorf("cells (-want +got)\n%s", diff)
			}
		})
	}
}

func TestWriterSlotBeyondCells(t *testing.T) {
	w := NewWriter(ours, 70)
	if dir, _ := w.Count(udp(theirs6, ours6), 1); dir != traffic.Other {
		t.Errorf("a slot without a cell: got %s, want other", dir)
	}
}

func TestWriterFlows(t *testing.T) {
	w := NewWriter(ours, slots)
	count := func(p *traffic.Packet) { w.Count(p, 1) }
	for range 3 {
		count(udp(theirs4, ours4))
		count(udp(theirs4, ours4, from(1)))
		count(udp(theirs4, ours4, from(1), protocol(traffic.ProtoTCP, 0)))
		count(udp(theirs4, second4))
	}
	got := func() uint32 { return w.cells[traffic.Incoming][1].Flows }
	if got() != 3 {
		t.Errorf("flows of three: got %d, want 3", got())
	}
	if want := 4.0 / FlowBits; math.Abs(w.Shard().FlowFill()-want) > 1e-12 {
		t.Errorf("fill after 4 flows: got %g, want %g", w.Shard().FlowFill(), want)
	}
	w.Flip()
	if w.Shard().FlowFill() != 0 {
		t.Errorf("fill after Flip: got %g, want 0", w.Shard().FlowFill())
	}
	count(udp(theirs4, ours4))
	count(udp(theirs4, ours4))
	if got() != 4 {
		t.Errorf("flows after Flip: got %d, want 4", got())
	}
	w.Flip()
	count(udp(theirs4, ours4))
	if got() != 5 {
		t.Errorf("flows when a generation comes back: got %d, want 5", got())
	}
}

// TestFlowHash: flows that differ in one field only must not fall together more often than chance has it.
func TestFlowHash(t *testing.T) {
	f := newFlowBitmap()
	const flows = 1 << 16
	var found uint32
	for i := range uint32(flows) {
		a := [4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}
		found += f.first(udp(netip.AddrFrom4(a), ours4))
		found += f.first(udp(theirs6, ours6, from(uint16(i))))
	}
	// 131072 bits set at random among 2^22 leave some 2030 on a bit that is set already.
	if found < 2*flows-2600 || found > 2*flows-1500 {
		t.Errorf("distinct of %d flows: got %d, want about %d", 2*flows, found, 2*flows-2030)
	}
}

func TestWriterHot(t *testing.T) {
	w := NewWriter(ours, slots)
	hot := func(slot uint32) bool { return w.hot[traffic.Incoming][slot/64]&(1<<(slot%64)) != 0 }
	for i := range HotPackets - 1 {
		w.Count(udp(theirs6, ours6), 1)
		if hot(70) {
			t.Fatalf("hot after %d packets, want %d", i+1, HotPackets)
		}
	}
	w.Count(udp(theirs6, ours6), 1)
	if !hot(70) || hot(71) || hot(6) {
		t.Errorf("after %d packets: hot bits %x, want that of slot 70", HotPackets, w.hot[traffic.Incoming])
	}
	w.Count(udp(theirs4, ours4), 60)
	if hot(1) {
		t.Error("hot after a sample that stands for 60 packets, want 64")
	}
	w.Count(udp(theirs4, ours4), 10)
	if !hot(1) {
		t.Error("not hot after 70 packets in two samples")
	}
	if got := w.hot[traffic.Outgoing]; got[0]|got[1] != 0 {
		t.Errorf("hot bits of the other direction: got %x, want none", got)
	}
}

func TestWriterVerdict(t *testing.T) {
	drop := func(w *Writer, slot uint32, dir traffic.Direction, until time.Time) {
		if !w.SetVerdict(slot, dir, traffic.ActionDrop, noon, until) {
			t.Errorf("SetVerdict: no cell for slot %d %s", slot, dir)
		}
	}
	minute := noon.Add(time.Minute)
	for _, tt := range []struct {
		name string
		set  func(*Writer)
		at   time.Time
		p    *traffic.Packet
		want traffic.Direction
		drop bool
		in   uint32 // dropped packets of slot 2, incoming
		out  uint32 // and of slot 1, outgoing
	}{
		{"none", func(*Writer) {}, noon, udp(ours4, second4), traffic.Internal, false, 0, 0},
		{"destination", func(w *Writer) { drop(w, 2, traffic.Incoming, minute) }, noon, udp(ours4, second4), traffic.Incoming, true, 1, 0},
		{"source", func(w *Writer) { drop(w, 1, traffic.Outgoing, minute) }, noon, udp(ours4, second4), traffic.Outgoing, true, 0, 1},
		{"both", func(w *Writer) { drop(w, 2, traffic.Incoming, minute); drop(w, 1, traffic.Outgoing, minute) }, noon,
			udp(ours4, second4), traffic.Incoming, true, 1, 1},
		{"the other direction", func(w *Writer) { drop(w, 2, traffic.Outgoing, minute) }, noon, udp(ours4, second4), traffic.Internal, false, 0, 0},
		{"just before its end", func(w *Writer) { drop(w, 2, traffic.Incoming, minute) }, minute.Add(-time.Millisecond),
			udp(ours4, second4), traffic.Incoming, true, 1, 0},
		{"after its end", func(w *Writer) { drop(w, 2, traffic.Incoming, minute) }, minute.Add(verdictUnit),
			udp(ours4, second4), traffic.Internal, false, 0, 0},
		{"taken off", func(w *Writer) {
			drop(w, 2, traffic.Incoming, minute)
			w.SetVerdict(2, traffic.Incoming, traffic.ActionNone, noon, time.Time{})
		}, noon, udp(ours4, second4), traffic.Internal, false, 0, 0},
		{"for a year: 49 days at least", func(w *Writer) { drop(w, 2, traffic.Incoming, noon.AddDate(1, 0, 0)) }, noon.AddDate(0, 0, 49),
			udp(ours4, second4), traffic.Incoming, true, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := NewWriter(ours, slots)
			tt.set(w)
			w.SetClock(tt.at)
			if dir, dropped := w.Count(tt.p, 1); dir != tt.want || dropped != tt.drop {
				t.Errorf("Count: got %s, dropped %t, want %s, %t", dir, dropped, tt.want, tt.drop)
			}
			in, out := &w.cells[traffic.Incoming][2], &w.cells[traffic.Outgoing][1]
			if in.Packets != 1 || out.Packets != 1 {
				t.Errorf("counted packets: got %d in, %d out, want 1 and 1", in.Packets, out.Packets)
			}
			if in.DroppedPackets != tt.in || in.DroppedBytes != tt.in*100 || out.DroppedPackets != tt.out || out.DroppedBytes != tt.out*100 {
				t.Errorf("dropped: got %+v and %+v, want %d and %d packets of 100 bytes", in, out, tt.in, tt.out)
			}
		})
	}
	if NewWriter(ours, slots).SetVerdict(slots, traffic.Incoming, traffic.ActionDrop, noon, minute) {
		t.Error("SetVerdict beyond the slots: got true, want false")
	}
}
