package netflow

import (
	"net/netip"

	"weir/userspace/traffic"
)

// record tells one record of a data set.
func (s *Session) record(d *domain, t *template, b []byte, c *clock, emit func(*traffic.Flow)) {
	f, x := &s.flow, &s.extra
	s.begin(d)
	t.fill(f, x, b)
	if x.more && !s.more(t, f, x) || !x.counted || !f.Src.IsValid() || f.Src.BitLen() != f.Dst.BitLen() {
		s.counts.Skipped++
		return
	}
	if t.totals != (totalled{}) {
		s.sinceLast(&t.totals, f, x)
	}
	if f.Packets == 0 {
		f.Packets = packetsOf(f.Bytes)
	}
	if x.backPackets == 0 {
		x.backPackets = packetsOf(x.backOctets)
	}
	if f.Packets == 0 && x.backPackets == 0 {
		s.counts.Skipped++
		return
	}
	if f.Protocol == traffic.ProtoICMP || f.Protocol == traffic.ProtoICMPv6 || f.Fragment == traffic.LaterFragment {
		f.SrcPort, f.DstPort = 0, 0 // some put ICMP's type and code there
	}
	s.times(f, x, d, c)
	f.Rate, f.RateOrigin = s.rateOf(d, f, x)
	if x.backPackets > 0 {
		s.bothWays(d, f, x, emit)
		return
	}
	s.emit(d, f, emit)
}

func (s *Session) emit(d *domain, f *traffic.Flow, emit func(*traffic.Flow)) {
	d.told(f)
	s.counts.Records++
	emit(f)
}

// begin clears what the record before has left.
func (s *Session) begin(d *domain) {
	f, x := &s.flow, &s.extra
	*f = traffic.Flow{}
	f.Source, f.Exporter, f.Domain = d.source, s.exporter, d.id
	if x.more {
		*x = extra{}
	} else { // the rest was not touched
		x.start, x.end, x.counted = moment{}, moment{}, false
	}
}

// some reports whether an address is there: in templates that have both kinds, that of the other kind is zero.
func some(a netip.Addr) bool { return a.IsValid() && !a.IsUnspecified() }

// packetsOf is the fewest packets that so many bytes can have come in, for exporters that count bytes alone.
func packetsOf(octets uint64) uint64 {
	const most = 1500
	return octets/most + min(octets%most, 1)
}

// more puts together what few records have, and reports whether the record tells of traffic.
func (s *Session) more(t *template, f *traffic.Flow, x *extra) bool {
	if t.mixed {
		f.Src, f.Dst = x.src[0], x.dst[0]
		if x.version == 6 || x.version != 4 && (some(x.src[1]) || some(x.dst[1])) {
			f.Src, f.Dst = x.src[1].Unmap(), x.dst[1].Unmap()
		}
	}
	switch {
	case x.later:
		f.Fragment = traffic.LaterFragment
	case x.fragments:
		f.Fragment = traffic.FirstFragment
	}
	if x.backPackets > 0 || x.backOctets > 0 {
		x.counted = true
	}
	if x.frame != nil && !s.readFrame(f, x) && !f.Src.IsValid() {
		return false
	}
	return true
}

// readFrame fills a record in from the sampled packet whose beginning it holds.
func (s *Session) readFrame(f *traffic.Flow, x *extra) bool {
	if s.opts.Frame == nil || x.noBeginning || x.noFrame && x.link == traffic.LinkEthernet {
		return false
	}
	header := x.frame
	if x.sectionSize > 0 && uint64(len(header)) > x.sectionSize {
		header = header[:x.sectionSize]
	}
	if x.frameSize > 0 && uint64(len(header)) > x.frameSize {
		header = header[:x.frameSize] // fields of fixed length are filled up
	}
	length := max(uint32(min(max(x.frameSize, x.sectionSize), 1<<16)), uint32(len(header)))
	s.packet = traffic.Packet{}
	if s.opts.Frame(x.link, header, length, &s.packet) != traffic.ReasonOK {
		return false
	}
	f.Packet, f.Header, f.Link = s.packet, header, x.link
	f.Packets = max(f.Packets, 1)
	if f.Bytes == 0 {
		f.Bytes = uint64(length)
	}
	x.counted = true
	return true
}

// bothWays tells a record of a connection's both directions as two: what was sent, and what was answered.
func (s *Session) bothWays(d *domain, f *traffic.Flow, x *extra, emit func(*traffic.Flow)) {
	back := *f // before anybody changes it
	if f.Packets > 0 {
		s.emit(d, f, emit)
	}
	*f = back
	f.Src, f.Dst, f.SrcPort, f.DstPort = back.Dst, back.Src, back.DstPort, back.SrcPort
	f.Input, f.Output, f.SrcAS, f.DstAS, f.SrcMask, f.DstMask = back.Output, back.Input, back.DstAS, back.SrcAS, back.DstMask, back.SrcMask
	f.Packets, f.Bytes, f.TCPFlags = x.backPackets, x.backOctets, x.backFlags
	f.Side, f.NextHop, f.Header = traffic.SideUnknown, netip.Addr{}, nil
	s.emit(d, f, emit)
}
