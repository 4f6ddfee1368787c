package hosts

import (
	"net/netip"
	"sync/atomic"
	"time"

	"weir/userspace/traffic"
)

// locator finds the slot that an address is counted in, false: it is not ours; and whose a slot is, false: nobody's.
type locator interface {
	Locate(a netip.Addr) (slot uint32, ours bool)
	Owner(slot uint32) (netip.Prefix, bool)
}

// Writer counts packets and flow records in a shard of its own, by the rules of bpf/account.h. One goroutine counts; a Meter may read meanwhile, and
// any goroutine may set verdicts and the clock.
type Writer struct {
	dir    locator
	cells  [2][]traffic.Cell
	hot    [2][]uint64
	unseen [2][]uint32
	flows  *flowBitmap
	moment atomic.Uint32
	spread spreader
}

// NewWriter returns a writer for the slots 0 to slots-1, which dir finds. It takes 144 bytes per slot, of which those of hosts that
// have never been seen are not touched, and 1 MiB; and for flow records what SetSpreading says.
func NewWriter(dir locator, slots int) *Writer {
	w := &Writer{dir: dir, flows: newFlowBitmap()}
	w.spread.most = DefaultPending
	for d := range w.cells {
		w.cells[d] = make([]traffic.Cell, slots)
		w.unseen[d] = make([]uint32, slots)
		w.spread.first[d] = make([]uint32, slots)
		w.hot[d] = make([]uint64, (slots+63)/64)
	}
	return w
}

// Shard returns what a Meter reads.
func (w *Writer) Shard() Shard {
	return Shard{Cells: w.cells, Hot: w.hot, FlowFill: w.flows.fill, Unseen: w.unseen}
}

// Flip begins the next flow interval: every flow's next packet is its first again. The goroutine that counts calls it.
func (w *Writer) Flip() { w.flows.flip() }

// target is the host on one end of a packet.
type target struct {
	cell *traffic.Cell // nil: not ours
	slot uint32
	drop bool
}

func (w *Writer) find(a netip.Addr, dir traffic.Direction) target {
	slot, ours := w.locate(a, dir)
	if !ours {
		return target{}
	}
	cell := &w.cells[dir][slot]
	return target{cell: cell, slot: slot, drop: w.drops(cell)}
}

// Count counts a packet for its destination (incoming), its source (outgoing), or both. weight is how many packets it stands for,
// 1 unless it was sampled; one packet is one flow at most, however many it stands for. It returns the packet's direction and
// false, or the direction of the verdict that drops it and true: the destination's goes first. A dropped packet is counted
// like any other, and in Dropped for the host whose verdict it was.
func (w *Writer) Count(p *traffic.Packet, weight uint32) (traffic.Direction, bool) {
	to, from := w.find(p.Dst, traffic.Incoming), w.find(p.Src, traffic.Outgoing)
	if to.cell == nil && from.cell == nil {
		return traffic.Other, false
	}
	flow := w.flows.first(p)
	if to.cell != nil {
		w.countEnd(&to, traffic.Incoming, p, weight, flow)
	}
	if from.cell != nil {
		w.countEnd(&from, traffic.Outgoing, p, weight, flow)
	}
	switch {
	case to.drop:
		return traffic.Incoming, true
	case from.drop:
		return traffic.Outgoing, true
	case from.cell == nil:
		return traffic.Incoming, false
	case to.cell == nil:
		return traffic.Outgoing, false
	}
	return traffic.Internal, false
}

func (w *Writer) countEnd(e *target, dir traffic.Direction, p *traffic.Packet, weight, flow uint32) {
	length := p.Length * weight
	if weight > 1 {
		add(&w.unseen[dir][e.slot], weight-1)
	}
	countPacket(e.cell, p, weight, length, flow)
	if e.drop {
		add(&e.cell.DroppedPackets, weight)
		add(&e.cell.DroppedBytes, length)
	}
	if e.cell.Packets&(HotPackets-1) < weight {
		w.warm(dir, e.slot)
	}
}

func countPacket(c *traffic.Cell, p *traffic.Packet, weight, length, flow uint32) {
	add(&c.Packets, weight)
	add(&c.Bytes, length)
	if flow != 0 {
		add(&c.Flows, flow)
	}
	switch {
	case p.Protocol == traffic.ProtoUDP:
		add(&c.UDPPackets, weight)
		add(&c.UDPBytes, length)
	case p.Protocol == traffic.ProtoTCP:
		add(&c.TCPPackets, weight)
		add(&c.TCPBytes, length)
		if p.SYN() {
			add(&c.TCPSYNPackets, weight)
			add(&c.TCPSYNBytes, length)
		}
	case p.Protocol == traffic.ProtoICMP && p.Src.Is4(), p.Protocol == traffic.ProtoICMPv6 && !p.Src.Is4():
		add(&c.ICMPPackets, weight)
		add(&c.ICMPBytes, length)
	}
	if p.Fragment != traffic.Whole {
		add(&c.FragmentPackets, weight)
		add(&c.FragmentBytes, length)
	}
}

// A verdict is what enum action and cell.verdict of bpf/abi.h say; only the unit of its moments is the writer's own, because user
// space has no jiffies.
const (
	verdictActionShift = 28
	verdictUntilBits   = 27
	verdictUnit        = 64 * time.Millisecond
	verdictLongest     = 1<<(verdictUntilBits-1) - 1 // units: longer would lie in the past
)

// moment is a time in units of verdicts, rounded down; whole, not modulo anything.
func moment(t time.Time) int64 { return t.UnixMilli() / verdictUnit.Milliseconds() }

// SetClock tells the writer the time that verdicts end by. Whoever sets verdicts calls it, before the first and then a few times a
// second.
func (w *Writer) SetClock(now time.Time) { w.moment.Store(uint32(moment(now))) }

// SetVerdict decides on the packets of a host in one direction until a time, which is rounded up to 64 ms and holds for 49 days at
// most; ActionNone ends what was decided. It reports false when there is no such cell.
func (w *Writer) SetVerdict(slot uint32, dir traffic.Direction, action traffic.Action, now, until time.Time) bool {
	if dir > traffic.Outgoing || int64(slot) >= int64(len(w.cells[dir])) {
		return false
	}
	var verdict uint32
	if action != traffic.ActionNone {
		end := min(moment(until.Add(verdictUnit-time.Nanosecond)), moment(now)+verdictLongest)
		verdict = uint32(action)<<verdictActionShift | uint32(end)&(1<<verdictUntilBits-1)
	}
	w.SetClock(now)
	atomic.StoreUint32(&w.cells[dir][slot].Verdict, verdict)
	return true
}

// drops reports whether a cell's verdict is to drop and still in force. The difference of moments is signed within their bits, hence
// right across their wrap.
func (w *Writer) drops(c *traffic.Cell) bool {
	verdict := atomic.LoadUint32(&c.Verdict)
	if traffic.Action(verdict>>verdictActionShift) != traffic.ActionDrop {
		return false
	}
	return int32((verdict-w.moment.Load())<<(32-verdictUntilBits)) > 0
}
