package hosts

import (
	"math/bits"
	"net/netip"
	"sync/atomic"
	"time"

	"weir/userspace/traffic"
)

// share is what of a cell a record counts in, beside packets and bytes in all: its protocol, and whether it is fragments or was dropped.
type share uint8

const (
	shareOther share = iota
	shareUDP
	shareTCP
	shareSYN // and TCP
	shareICMP
	shareProtocol share = 7
	shareFragment share = 8
	shareDropped  share = 16
)

func shareOf(f *traffic.Flow) share {
	s := shareOther
	switch {
	case f.Protocol == traffic.ProtoUDP:
		s = shareUDP
	case f.SYN():
		s = shareSYN
	case f.Protocol == traffic.ProtoTCP:
		s = shareTCP
	case f.Protocol == traffic.ProtoICMP && f.Src.Is4(), f.Protocol == traffic.ProtoICMPv6 && !f.Src.Is4():
		s = shareICMP
	}
	if f.Fragment != traffic.Whole {
		s |= shareFragment
	}
	if f.Dropped {
		s |= shareDropped
	}
	return s
}

// amount is how many packets there are, their bytes, and how many of the packets nobody saw.
type amount struct{ packets, bytes, unseen uint64 }

const (
	// inFull is what a cell takes at once: so much of it that its counters cannot have wrapped before the Meter comes to it again.
	inFull = 1 << 29
	// What a single record may tell of at most, scaled. Beyond, it is wrong.
	recordMost = 1 << 45
)

// scaled is what a record stands for, and whether it was believed: what is beyond all measure is cut.
func scaled(f *traffic.Flow) (n amount, believed bool) {
	rate := uint64(max(f.Rate, 1))
	seen := f.Packets
	if seen == 0 && f.Bytes > 0 {
		seen = 1 // the exporter does not count packets
	}
	over, packets := bits.Mul64(seen, rate)
	beyond, bytes := bits.Mul64(f.Bytes, rate)
	if over|beyond != 0 || packets > recordMost || bytes > recordMost {
		if over != 0 {
			packets = recordMost
		}
		if beyond != 0 {
			bytes = recordMost
		}
		packets, bytes = min(packets, recordMost), min(bytes, recordMost)
		return amount{packets, bytes, packets - min(seen, packets)}, false
	}
	return amount{packets, bytes, packets - seen}, true
}

// CountFlow counts a flow record for its destination (incoming), its source (outgoing), or both, and returns its direction. Packets
// and bytes are scaled by the record's rate; it is one flow, however many packets it stands for. What it took longer than a
// second to gather is counted over as long a time from now on, by Spread; the first packet at once. Verdicts do not concern it.
func (w *Writer) CountFlow(f *traffic.Flow) traffic.Direction {
	to, incoming := w.locate(f.Dst, traffic.Incoming)
	from, outgoing := w.locate(f.Src, traffic.Outgoing)
	if !incoming && !outgoing {
		return traffic.Other
	}
	n, believed := scaled(f)
	if !believed {
		w.spread.clipped.Add(1)
	}
	if n.packets > 0 {
		kind, first, ticks := shareOf(f), w.flows.first(&f.Packet), w.spread.ticksOf(f, n.packets)
		if incoming {
			w.countRecord(traffic.Incoming, to, kind, n, first, ticks)
		}
		if outgoing {
			w.countRecord(traffic.Outgoing, from, kind, n, first, ticks)
		}
	}
	switch {
	case !outgoing:
		return traffic.Incoming
	case !incoming:
		return traffic.Outgoing
	}
	return traffic.Internal
}

func (w *Writer) locate(a netip.Addr, dir traffic.Direction) (uint32, bool) {
	slot, ours := w.dir.Locate(a)
	return slot, ours && int64(slot) < int64(len(w.cells[dir]))
}

func (w *Writer) countRecord(dir traffic.Direction, slot uint32, kind share, n amount, first, ticks uint32) {
	if first != 0 {
		add(&w.cells[dir][slot].Flows, first)
	}
	if ticks == 0 {
		if n.packets < inFull && n.bytes < inFull {
			w.book(dir, slot, kind, n)
			return
		}
		w.putOff(dir, slot, kind, n)
		return
	}
	if n.packets <= lumpPackets && n.bytes <= lumpBytes && w.spread.lump(dir, slot, n.packets) {
		w.book(dir, slot, kind, n)
		return
	}
	i, ok := w.spread.account(dir, slot, kind, n.packets >= uint64(ticks))
	if !ok {
		w.spread.atOnce.Add(1)
		w.countRecord(dir, slot, kind, n, 0, 0)
		return
	}
	one := amount{1, n.bytes / n.packets, min(n.unseen, 1)}
	if one.bytes < inFull {
		w.book(dir, slot, kind, one)
		n = amount{n.packets - 1, n.bytes - one.bytes, n.unseen - one.unseen}
	}
	w.spread.put(i, n.fixed(), ticks)
}

// book adds to a cell; packets and bytes are below 2^32.
func (w *Writer) book(dir traffic.Direction, slot uint32, kind share, n amount) {
	packets, bytes := uint32(n.packets), uint32(n.bytes)
	c := &w.cells[dir][slot]
	unseen := &w.unseen[dir][slot]
	if n.unseen > 0 {
		add(unseen, uint32(n.unseen))
	}
	add(&c.Packets, packets)
	add(&c.Bytes, bytes)
	switch kind & shareProtocol {
	case shareUDP:
		add(&c.UDPPackets, packets)
		add(&c.UDPBytes, bytes)
	case shareSYN:
		add(&c.TCPPackets, packets)
		add(&c.TCPBytes, bytes)
		add(&c.TCPSYNPackets, packets)
		add(&c.TCPSYNBytes, bytes)
	case shareTCP:
		add(&c.TCPPackets, packets)
		add(&c.TCPBytes, bytes)
	case shareICMP:
		add(&c.ICMPPackets, packets)
		add(&c.ICMPBytes, bytes)
	}
	if kind&shareFragment != 0 {
		add(&c.FragmentPackets, packets)
		add(&c.FragmentBytes, bytes)
	}
	if kind&shareDropped != 0 {
		add(&c.DroppedPackets, packets)
		add(&c.DroppedBytes, bytes)
	}
	// Each 64th packet that was really seen: what sampling makes of it would have the Meter look at every host that was sampled once.
	if (c.Packets-*unseen)&(HotPackets-1) < packets-uint32(n.unseen) || bytes >= hotBytes {
		w.warm(dir, slot)
	}
}

// hotBytes at once have the Meter look: 64 bookings of less do not wrap a cell's counter.
const hotBytes = 1 << 24

// warm sets a cell's hot bit. The Meter clears whole words: an addition of its own would bring cleared bits back.
func (w *Writer) warm(dir traffic.Direction, slot uint32) {
	if !w.isHot(dir, slot) {
		atomic.OrUint64(&w.hot[dir][slot>>6], 1<<(slot&63))
	}
}

// isHot reports whether the Meter has not come to a cell since its hot bit was set.
func (w *Writer) isHot(dir traffic.Direction, slot uint32) bool {
	return atomic.LoadUint64(&w.hot[dir][slot>>6])&(1<<(slot&63)) != 0
}

// putOff counts what is too much for a cell at once: a part now, the rest when the Meter has read that.
func (w *Writer) putOff(dir traffic.Direction, slot uint32, kind share, n amount) {
	i, ok := w.spread.demand(dir, slot, kind)
	if !ok {
		w.spread.clipped.Add(1)
		w.book(dir, slot, kind, amount{min(n.packets, inFull), min(n.bytes, inFull), min(n.unseen, inFull)})
		w.warm(dir, slot)
		return
	}
	w.spread.owe(&w.spread.accounts[i], n.fixed())
	w.settle(i)
}

// Spread counts what has become due until now of records that are counted over a time. The goroutine that counts calls it, at least
// every 100 ms.
func (w *Writer) Spread(now time.Time) {
	s := &w.spread
	steps := s.clock(now)
	if steps == 0 {
		waiting := s.waiting
		s.waiting = s.waiting[:0]
		for _, i := range waiting {
			if a := &s.accounts[i]; a.waits {
				a.waits = false
				w.settle(i)
			}
		}
		return
	}
	s.waiting = s.waiting[:0]
	for i := range s.accounts {
		if a := &s.accounts[i]; a.slot != never {
			a.waits = false
			s.advance(a, &s.ends[i], steps)
			if a.count == 0 || a.due.packets >= lumpPackets<<fraction || a.due.bytes >= lumpBytes<<fraction || s.turn(uint32(i), steps) {
				w.settle(uint32(i))
			}
		}
	}
	s.tick += steps
}

// Flush counts everything that is pending, whenever it were due. It reports whether something is left, since a cell takes only so
// much before it is read: then it is to be called again after that.
func (w *Writer) Flush() bool {
	s := &w.spread
	s.waiting = s.waiting[:0]
	for i := range s.accounts {
		if a := &s.accounts[i]; a.slot != never {
			a.waits = false
			s.hasten(a, &s.ends[i])
			w.settle(uint32(i))
		}
	}
	return s.used > 0
}

// settle books what an account owes, as far as the cell takes it, and gives up an account that owes nothing any more.
func (w *Writer) settle(i uint32) {
	a := &w.spread.accounts[i]
	n := a.due.whole()
	if largest := max(n.packets, n.bytes, n.unseen); largest < inFull {
		if n != (amount{}) {
			w.book(a.dir, a.slot, a.kind, n)
		}
	} else {
		w.spread.wait(i)
		if w.isHot(a.dir, a.slot) {
			return
		}
		n = n.part(inFull, largest)
		w.book(a.dir, a.slot, a.kind, n)
		w.warm(a.dir, a.slot)
	}
	a.due.sub(n.fixed())
	if a.count == 0 && a.due.whole() == (amount{}) {
		w.spread.release(i)
	}
}

// TakePending takes over what another writer of the same goroutine has still to count, when hosts get other slots; find says which.
// What belongs to hosts that are not found is forgotten.
func (w *Writer) TakePending(old *Writer, find func(netip.Prefix) (uint32, bool)) {
	from, to := &old.spread, &w.spread
	for i := range from.accounts {
		a := &from.accounts[i]
		if a.slot == never {
			continue
		}
		if owner, ok := old.dir.Owner(a.slot); ok {
			if slot, ok := find(owner); ok && int64(slot) < int64(len(w.cells[a.dir])) {
				if j, ok := to.demand(a.dir, slot, a.kind); ok {
					to.adopt(j, a, &from.ends[i], from.tick)
				}
			}
		}
		from.release(uint32(i))
	}
	from.waiting = from.waiting[:0]
	if to.last.IsZero() {
		to.last = from.last
	}
}
