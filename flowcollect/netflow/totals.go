package netflow

import (
	"hash/maphash"
	"net/netip"

	"weir/userspace/traffic"
)

// totals remembers what flows had when they were told last, for exporters whose counters are never reset (elements 85 and 86): each
// record of a flow counts for what came since the one before. It holds the newest of a bounded number of flows; a flow that has lost its
// place counts anew.
type totals struct {
	seed  maphash.Seed
	flows [totalsFlows]total
}

const totalsFlows = 1 << 12

type total struct{ key, packets, octets, backPackets, backOctets uint64 }

// totalled says which counters of a template are never reset.
type totalled struct{ octets, packets, backOctets, backPackets bool }

// identity is what makes records be of one flow: its exporter's own time of the beginning is never the same twice.
type identity struct {
	src, dst        netip.Addr
	sport, dport    uint16
	protocol        uint8
	side            traffic.FlowSide
	domain, in, out uint32
	start           moment
}

// sinceLast takes away from a record's counters what was told of the flow before.
func (s *Session) sinceLast(t *totalled, f *traffic.Flow, x *extra) {
	if x.start.kind == 0 {
		return
	}
	if s.totals == nil {
		s.totals = &totals{seed: maphash.MakeSeed()}
	}
	key := maphash.Comparable(s.totals.seed, identity{
		src: f.Src, dst: f.Dst, sport: f.SrcPort, dport: f.DstPort, protocol: f.Protocol, side: f.Side, domain: f.Domain, in: f.Input, out: f.Output,
		start: x.start,
	})
	place := &s.totals.flows[key%totalsFlows]
	var now total
	if t.packets {
		now.packets = f.Packets
	}
	if t.octets {
		now.octets = f.Bytes
	}
	if t.backPackets {
		now.backPackets = x.backPackets
	}
	if t.backOctets {
		now.backOctets = x.backOctets
	}
	now.key = key
	if before := place; before.key == key && now.packets >= before.packets && now.octets >= before.octets &&
		now.backPackets >= before.backPackets && now.backOctets >= before.backOctets {
		f.Packets, f.Bytes = f.Packets-before.packets, f.Bytes-before.octets
		x.backPackets, x.backOctets = x.backPackets-before.backPackets, x.backOctets-before.backOctets
	}
	switch f.EndReason {
	case traffic.EndIdle, traffic.EndDetected, traffic.EndForced, traffic.EndResources:
		if place.key == key {
			*place = total{}
		}
	default:
		*place = now
	}
}
