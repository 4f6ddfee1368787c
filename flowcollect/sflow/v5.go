package sflow

import (
	"encoding/binary"

	"weir/userspace/traffic"
)

// read tells the samples of a version 5 datagram that was checked.
func (s *Session) read(b []byte, d *datagram, emit func(*traffic.Flow)) {
	b = b[d.at:]
	for range d.samples {
		format, length := binary.BigEndian.Uint32(b), int(binary.BigEndian.Uint32(b[4:]))
		b = b[tagBytes:]
		switch body := b[:length]; format {
		case sampleFlow, sampleFlowExpanded, sampleDiscarded:
			s.readFlow(body, format, d, emit)
		case sampleCounters, sampleCountersExpanded:
			s.readCounters(body[before(format)-4:], d)
		default:
			s.another(KindSample, format)
		}
		b = b[padded(length, len(b)):]
	}
}

// sample is what a flow sample or a notification of a discarded packet says, apart from what goes into a Flow as it is.
type sample struct {
	sequence, class, index, rate, pool, drops uint32
	input, output                             uint32
	dropped, notice                           bool

	raw, wide, narrow []byte // the content of sampled_header, sampled_ipv6 and sampled_ipv4; nil: it has none
}

// readFlow reads and tells one sample.
func (s *Session) readFlow(b []byte, format uint32, d *datagram, emit func(*traffic.Flow)) {
	word := func(i int) uint32 { return binary.BigEndian.Uint32(b[4*i:]) }
	x := sample{sequence: word(0)}
	switch format {
	case sampleFlow:
		x.class, x.index = word(1)>>24, word(1)&0xffffff
		x.rate, x.pool, x.drops = word(2), word(3), word(4)
		x.ports(word(5)>>30, word(5)&internal, word(6)>>30, word(6)&internal)
	case sampleFlowExpanded:
		x.class, x.index, x.rate, x.pool, x.drops = word(1), word(2), word(3), word(4), word(5)
		x.ports(word(6), word(7), word(8), word(9))
	default:
		x.class, x.index, x.drops = word(1), word(2), word(3)
		x.ports(0, word(4), 0, word(5))
		x.rate, x.dropped, x.notice = 1, true, true
	}
	f := &s.flow
	s.begin(f, &x, d)
	head := before(format)
	records := binary.BigEndian.Uint32(b[head-4:])
	for b = b[head:]; records > 0; records-- {
		format, length := binary.BigEndian.Uint32(b), int(binary.BigEndian.Uint32(b[4:]))
		b = b[tagBytes:]
		s.readRecord(f, &x, format, b[:length])
		b = b[padded(length, len(b)):]
	}
	s.finish(f, &x, emit)
}

// readRecord reads one record of a sample.
func (s *Session) readRecord(f *traffic.Flow, x *sample, format uint32, b []byte) {
	whole := true
	switch format {
	case recordHeader:
		if x.raw == nil {
			x.raw = b
		}
	case recordIPv4:
		x.narrow = b
	case recordIPv6:
		x.wide = b
	case recordSwitch:
		if whole = len(b) >= switchBytes; whole {
			f.VLAN = vlan(binary.BigEndian.Uint32(b))
		}
	case recordRouter:
		r := reader{b: b}
		whole = r.router(f)
	case recordGateway:
		r := reader{b: b}
		whole = r.gateway(f, traffic.SFlow5)
	default:
		if !registered(format) {
			s.another(KindFlow, format)
		}
	}
	if !whole {
		s.counts.Malformed++
	}
}

// registered reports whether sflow.org lists a format of records. Those that readRecord does not read say nothing that a Flow has.
func registered(format uint32) bool {
	return format <= 10 || format > 1000 && format < 4096 // enterprise 0 has 12 bits
}

// readCounters reads the records of a counter sample; b begins with their number.
func (s *Session) readCounters(b []byte, d *datagram) {
	s.counts.Counters++
	records := binary.BigEndian.Uint32(b)
	for b = b[4:]; records > 0; records-- {
		format, length := binary.BigEndian.Uint32(b), int(binary.BigEndian.Uint32(b[4:]))
		b = b[tagBytes:]
		switch {
		case format == counterInterface && length < interfaceBytes:
			s.counts.Malformed++
		case format == counterInterface:
			s.counters(b[:interfaceBytes], d)
		case !registered(format):
			s.another(KindCounter, format)
		}
		b = b[padded(length, len(b)):]
	}
}
