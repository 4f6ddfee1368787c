// Package hosts counts packets in host cells and reads cells, whoever wrote them, as what each host has had since the last reading.
package hosts

import (
	"net/netip"
	"sync/atomic"
	"time"

	"weir/userspace/traffic"
)

// Shard is what one writer has counted: a CPU in the kernel, whose memory is mapped here, or a Writer. It has one writer and one
// Meter, and both may work at the same time.
type Shard struct {
	Cells [2][]traffic.Cell // [Incoming, Outgoing][slot]
	Hot   [2][]uint64       // [Incoming, Outgoing][slot/64]: the slots that have had another HotPackets packets; the Meter clears
	// FlowFill says how full the bitmap is that new flows are found with, 0 to 1; nil means that flows are exact.
	FlowFill func() float64
	// Unseen counts beside each cell, modulo 2^32, how many of its packets were inferred from samples; nil for a writer that sees all.
	// Who writes one counts here first and the packets after it, so that no reading takes more for seen than was.
	Unseen [2][]uint32
}

// HotPackets is after how many packets of a cell its writer sets the cell's hot bit: HOT_PACKETS of bpf/abi.h.
const HotPackets = 64

// Delta is what one host, or one prefix that hosts share a slot of, has had in one direction between two readings.
type Delta struct {
	Slot      uint32
	Owner     netip.Prefix // /32 or /128, or the prefix
	Direction traffic.Direction
	From, To  time.Time // To is after From
	Counts    traffic.Counts
}

// Host is a slot with what is known of it in one direction.
type Host struct {
	Slot      uint32
	Owner     netip.Prefix
	Direction traffic.Direction
	Rate      traffic.Counts // per second, over about the last second
	Total     traffic.Counts // since start
}

// The counters of a cell as columns. The first summed of them are kept as sums over all shards; packets stand beside the time of
// the reading, and flows are kept per shard.
const (
	bytes = iota
	tcpPackets
	tcpBytes
	udpPackets
	udpBytes
	icmpPackets
	icmpBytes
	synPackets
	synBytes
	fragmentPackets
	fragmentBytes
	droppedPackets
	droppedBytes
	summed
	packets = iota - 1
	flows   = iota - 1
	columns = iota - 1
)

// add adds up a cell's summed columns and its packets. It reads them in the reverse of the order that they are written in: while a
// packet is being counted, a part may lag behind the whole for one reading, but is never more than it.
func (s *reading) add(c *traffic.Cell) {
	s.columns[droppedBytes] += atomic.LoadUint32(&c.DroppedBytes)
	s.columns[droppedPackets] += atomic.LoadUint32(&c.DroppedPackets)
	s.columns[fragmentBytes] += atomic.LoadUint32(&c.FragmentBytes)
	s.columns[fragmentPackets] += atomic.LoadUint32(&c.FragmentPackets)
	s.columns[icmpBytes] += atomic.LoadUint32(&c.ICMPBytes)
	s.columns[icmpPackets] += atomic.LoadUint32(&c.ICMPPackets)
	s.columns[synBytes] += atomic.LoadUint32(&c.TCPSYNBytes)
	s.columns[synPackets] += atomic.LoadUint32(&c.TCPSYNPackets)
	s.columns[tcpBytes] += atomic.LoadUint32(&c.TCPBytes)
	s.columns[tcpPackets] += atomic.LoadUint32(&c.TCPPackets)
	s.columns[udpBytes] += atomic.LoadUint32(&c.UDPBytes)
	s.columns[udpPackets] += atomic.LoadUint32(&c.UDPPackets)
	s.columns[bytes] += atomic.LoadUint32(&c.Bytes)
	s.packets += atomic.LoadUint32(&c.Packets)
}

// reading is the sum of a slot's cells, modulo 2^32.
type reading struct {
	columns [summed]uint32
	packets uint32
}

// counts gives columns their names.
func counts(c *[columns]uint64) traffic.Counts {
	return traffic.Counts{
		Total:     traffic.Count{Packets: c[packets], Bytes: c[bytes]},
		Flows:     c[flows],
		TCP:       traffic.Count{Packets: c[tcpPackets], Bytes: c[tcpBytes]},
		UDP:       traffic.Count{Packets: c[udpPackets], Bytes: c[udpBytes]},
		ICMP:      traffic.Count{Packets: c[icmpPackets], Bytes: c[icmpBytes]},
		TCPSYN:    traffic.Count{Packets: c[synPackets], Bytes: c[synBytes]},
		Fragments: traffic.Count{Packets: c[fragmentPackets], Bytes: c[fragmentBytes]},
		Dropped:   traffic.Count{Packets: c[droppedPackets], Bytes: c[droppedBytes]},
	}
}

// column is the one that a metric is measured in; false for what is no metric.
func column(m traffic.Metric) (int, bool) {
	of := [traffic.MetricCount]int{
		traffic.PPS: packets, traffic.BPS: bytes, traffic.FPS: flows,
		traffic.TCPPPS: tcpPackets, traffic.TCPBPS: tcpBytes,
		traffic.UDPPPS: udpPackets, traffic.UDPBPS: udpBytes,
		traffic.ICMPPPS: icmpPackets, traffic.ICMPBPS: icmpBytes,
		traffic.TCPSYNPPS: synPackets, traffic.TCPSYNBPS: synBytes,
		traffic.FragmentsPPS: fragmentPackets, traffic.FragmentsBPS: fragmentBytes,
	}
	if m >= traffic.MetricCount {
		return 0, false
	}
	return of[m], true
}
