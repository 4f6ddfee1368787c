package sflow

import (
	"encoding/binary"
	"net/netip"

	"weir/userspace/traffic"
)

// An interface of a sample has a format beside its value.
const (
	portIndex     = 0 // the value is an ifIndex; 0: unknown
	portDiscarded = 1 // the value is why
	portSeveral   = 2 // the value is how many

	internal = 0x3fffffff // the index that means the exporter itself; also the bits of a value beside a format of two bits
)

// ports takes the interfaces of a sample.
func (x *sample) ports(inFormat, in, outFormat, out uint32) {
	if inFormat == portIndex && in != internal {
		x.input = in
	}
	if outFormat == portIndex && out != internal {
		x.output = out
	}
	x.dropped = outFormat == portDiscarded
}

// begin fills in what every record of a sample has in common.
func (s *Session) begin(f *traffic.Flow, x *sample, d *datagram) {
	*f = traffic.Flow{
		Packets: 1, Start: d.time, End: d.time, Rate: x.rate, RateOrigin: traffic.RateHeader, Source: d.source, Dropped: x.dropped, Notice: x.notice,
		Exporter: d.exporter, Domain: d.sub, Input: x.input, Output: x.output,
	}
	if x.rate == 0 {
		f.Rate, f.RateOrigin = 1, traffic.RateUnknown
	}
	// A data source of class 0 is an interface: its samples are of what comes in by it, or of what goes out.
	if x.class == 0 && x.index != 0 && x.input != x.output {
		switch x.index {
		case x.input:
			f.Side = traffic.SideIngress
		case x.output:
			f.Side = traffic.SideEgress
		}
	}
	if x.notice {
		s.counts.Discards++
	} else {
		s.counts.Samples++
	}
	s.sampled(d, x)
}

// finish tells a sample whose addresses can be read: in the packet's header, or as they are spelled out.
func (s *Session) finish(f *traffic.Flow, x *sample, emit func(*traffic.Flow)) {
	if (x.raw == nil || !s.rawHeader(f, x.raw)) && !x.spelled(f) {
		s.counts.Unparsed++
		return
	}
	s.counts.Records++
	emit(f)
}

// spelled reads sampled_ipv4 or sampled_ipv6.
func (x *sample) spelled(f *traffic.Flow) bool {
	var b []byte
	switch {
	case x.narrow != nil:
		b = x.narrow[8:]
		f.Src, f.Dst = netip.AddrFrom4([4]byte(b)), netip.AddrFrom4([4]byte(b[4:]))
		f.Length, f.Protocol = binary.BigEndian.Uint32(x.narrow), x.narrow[7]
		b = b[8:]
	case x.wide != nil:
		b = x.wide[8:]
		f.Src, f.Dst = netip.AddrFrom16([16]byte(b)), netip.AddrFrom16([16]byte(b[16:]))
		f.Length, f.Protocol = binary.BigEndian.Uint32(x.wide), x.wide[7]
		b = b[32:]
	default:
		return false
	}
	f.Bytes, f.TOS = uint64(f.Length), b[15]
	switch f.Protocol {
	case traffic.ProtoTCP:
		f.TCPFlags = b[11]
		fallthrough
	case traffic.ProtoUDP:
		f.SrcPort, f.DstPort = binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint16(b[6:])
	}
	return true
}

// vlan is a VLAN's number, 0 where it is none (agents say 0xffffffff or 4095 of an interface that has no VLAN).
func vlan(v uint32) uint16 {
	if v >= 4095 {
		return 0
	}
	return uint16(v)
}

// counters tells generic interface counters (if_counters, the order of which is that of RFC 2233's ifTable). All ones is a counter that
// the agent does not have.
func (s *Session) counters(b []byte, d *datagram) {
	if s.opts.Counters == nil {
		return
	}
	word := func(at int) uint64 {
		if v := binary.BigEndian.Uint32(b[at:]); v != 0xffffffff {
			return uint64(v)
		}
		return 0
	}
	long := func(at int) uint64 {
		if v := binary.BigEndian.Uint64(b[at:]); v != 0xffffffffffffffff {
			return v
		}
		return 0
	}
	s.opts.Counters(&traffic.InterfaceCounters{
		Exporter: d.exporter, Index: binary.BigEndian.Uint32(b), Speed: long(8), Up: b[23]&3 == 3, // administratively and in operation
		InBytes: long(24), InPackets: word(32) + word(36) + word(40), InDrops: word(44), InErrors: word(48),
		OutBytes: long(56), OutPackets: word(64) + word(68) + word(72), OutDrops: word(76), OutErrors: word(80),
	})
}
