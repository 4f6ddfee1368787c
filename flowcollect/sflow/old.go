package sflow

import "weir/userspace/traffic"

// Versions 2 and 4 (RFC 3176, as sflow.org's sflowtool reads them). Nothing has a length of its own: what is not known ends the datagram.
const (
	oldFlow     = 1
	oldCounters = 2

	oldHeader = 1
	oldIPv4   = 2
	oldIPv6   = 3

	oldSwitch  = 1
	oldRouter  = 2
	oldGateway = 3
	oldUser    = 4
	oldURL     = 5
)

// readOld reads the samples of a datagram of version 2 or 4, and tells them unless emit is nil.
func (s *Session) readOld(b []byte, d *datagram, emit func(*traffic.Flow)) error {
	r := reader{b: b, at: d.at}
	if int64(d.samples) > int64((len(b)-d.at)/4) {
		return fail(d.at, "%d samples in %d bytes", d.samples, len(b)-d.at)
	}
	for range d.samples {
		begin := r.at
		var err error
		switch kind := r.u32(); {
		case r.short:
			return short(begin, "a sample")
		case kind == oldFlow:
			err = s.readOldFlow(&r, d, emit)
		case kind == oldCounters:
			err = s.readOldCounters(&r, d, emit != nil)
		default:
			return fail(begin, "a sample of type %d; expected 1 (flow) or 2 (counters)", kind)
		}
		if err == nil && r.short {
			err = short(begin, "a sample")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readOldFlow reads one flow sample.
func (s *Session) readOldFlow(r *reader, d *datagram, emit func(*traffic.Flow)) error {
	var x sample
	x.sequence = r.u32()
	id := r.u32()
	x.class, x.index = id>>24, id&0xffffff
	x.rate, x.pool, x.drops = r.u32(), r.u32(), r.u32()
	in, out := r.u32(), r.u32()
	x.ports(in>>30, in&internal, out>>30, out&internal)
	f := &s.flow
	if emit != nil {
		s.begin(f, &x, d)
	}
	var protocol, length uint32
	switch kind := r.u32(); kind {
	case oldHeader:
		protocol, length = r.u32(), r.u32()
		x.raw = r.bytes(r.u32())
	case oldIPv4:
		x.narrow = r.bytes(spelledIPv4Bytes)
	case oldIPv6:
		x.wide = r.bytes(spelledIPv6Bytes)
	default:
		return fail(r.at-4, "packet data of type %d; expected 1 (header), 2 (IPv4) or 3 (IPv6)", kind)
	}
	for more := r.u32(); more > 0 && !r.short; more-- {
		if err := r.extended(f, d.source); err != nil {
			return err
		}
	}
	if emit == nil || r.short {
		return nil
	}
	if x.raw != nil && !s.header(f, protocol, length, 0, x.raw) || x.raw == nil && !x.spelled(f) {
		s.counts.Unparsed++
		return nil
	}
	s.counts.Records++
	emit(f)
	return nil
}

// extended reads extended data.
func (r *reader) extended(f *traffic.Flow, version traffic.FlowSource) error {
	switch kind := r.u32(); kind {
	case oldSwitch:
		f.VLAN = vlan(r.u32())
		r.words(3) // priority, and both of where it goes
	case oldRouter:
		r.router(f)
	case oldGateway:
		r.gateway(f, version)
	case oldUser:
		r.bytes(r.u32())
		r.bytes(r.u32())
	case oldURL:
		r.u32() // direction
		r.bytes(r.u32())
	default:
		if !r.short {
			return fail(r.at-4, "extended data of type %d; expected 1 to 5", kind)
		}
	}
	return nil
}

// readOldCounters reads one counter sample.
func (s *Session) readOldCounters(r *reader, d *datagram, tell bool) error {
	r.words(3) // sequence, data source, interval
	var generic []byte
	kind := r.u32()
	if kind < 7 {
		generic = r.bytes(interfaceBytes)
	}
	switch kind { // and what the kind of interface has beyond that
	case 1, 4, 6: // generic, FDDI, WAN
	case 2: // Ethernet
		r.words(13)
	case 3: // token ring
		r.words(18)
	case 5: // 100BASE-VG
		r.words(20)
	case 7: // VLAN, which has nothing else
		r.words(7)
	default:
		if !r.short {
			return fail(r.at-4, "counters of type %d; expected 1 to 7", kind)
		}
	}
	if !tell || r.short {
		return nil
	}
	s.counts.Counters++
	if generic != nil {
		s.counters(generic, d)
	}
	return nil
}
