package traffic

// CellBytes is the size of a Cell: one cache line.
const CellBytes = 64

// Cell is what one writer (a CPU in the kernel, a worker in user space) has counted for one host in one direction.
//
// It is struct cell of bpf/abi.h, field for field, in host byte order. Every counter is modulo 2^32: a reader adds up the cells
// of all writers modulo 2^32 and takes differences modulo 2^32, which is exact while less than 4 GiB pass between two readings.
// Bytes are frame bytes on the wire without the frame check sequence.
type Cell struct {
	Verdict         uint32 // what to do with the host's packets and until when; see Verdict
	Packets         uint32
	Bytes           uint32
	Flows           uint32 // first packets of a (src, dst, sport, dport, protocol) within the flow interval
	TCPPackets      uint32
	TCPBytes        uint32
	UDPPackets      uint32
	UDPBytes        uint32
	ICMPPackets     uint32
	ICMPBytes       uint32
	TCPSYNPackets   uint32 // SYN without ACK; also counted as TCP
	TCPSYNBytes     uint32
	FragmentPackets uint32 // first and later fragments; also counted by protocol
	FragmentBytes   uint32
	DroppedPackets  uint32 // dropped by the host's verdict; also counted in all of the above
	DroppedBytes    uint32
}

// Add adds the counters of o to c, modulo 2^32. The verdict stays as it is.
func (c *Cell) Add(o *Cell) {
	c.Packets += o.Packets
	c.Bytes += o.Bytes
	c.Flows += o.Flows
	c.TCPPackets += o.TCPPackets
	c.TCPBytes += o.TCPBytes
	c.UDPPackets += o.UDPPackets
	c.UDPBytes += o.UDPBytes
	c.ICMPPackets += o.ICMPPackets
	c.ICMPBytes += o.ICMPBytes
	c.TCPSYNPackets += o.TCPSYNPackets
	c.TCPSYNBytes += o.TCPSYNBytes
	c.FragmentPackets += o.FragmentPackets
	c.FragmentBytes += o.FragmentBytes
	c.DroppedPackets += o.DroppedPackets
	c.DroppedBytes += o.DroppedBytes
}

// Since returns what was counted between the reading before and c, modulo 2^32.
func (c *Cell) Since(before *Cell) Counts {
	return Counts{
		Total:     Count{uint64(c.Packets - before.Packets), uint64(c.Bytes - before.Bytes)},
		Flows:     uint64(c.Flows - before.Flows),
		TCP:       Count{uint64(c.TCPPackets - before.TCPPackets), uint64(c.TCPBytes - before.TCPBytes)},
		UDP:       Count{uint64(c.UDPPackets - before.UDPPackets), uint64(c.UDPBytes - before.UDPBytes)},
		ICMP:      Count{uint64(c.ICMPPackets - before.ICMPPackets), uint64(c.ICMPBytes - before.ICMPBytes)},
		TCPSYN:    Count{uint64(c.TCPSYNPackets - before.TCPSYNPackets), uint64(c.TCPSYNBytes - before.TCPSYNBytes)},
		Fragments: Count{uint64(c.FragmentPackets - before.FragmentPackets), uint64(c.FragmentBytes - before.FragmentBytes)},
		Dropped:   Count{uint64(c.DroppedPackets - before.DroppedPackets), uint64(c.DroppedBytes - before.DroppedBytes)},
	}
}
