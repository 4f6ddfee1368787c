package netflow

import (
	"encoding/binary"
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// The versions without templates, as Cisco published them ("NetFlow Export Datagram Format").
const (
	oldHeaderV1 = 16
	oldHeader   = 24
	oldRecord   = 48 // also version 1's, as Debian's softflowd and fprobe write it
	oldRecordV1 = 52 // version 1's as Cisco has it, and version 7's: the last word is the router that was bypassed
)

// decodeOld reads versions 1, 5 and 7.
func (s *Session) decodeOld(version int, b []byte, now time.Time, emit func(*traffic.Flow)) error {
	header, size, key := oldHeader, oldRecord, domainKey{source: traffic.NetFlow5}
	switch version {
	case 1:
		header, size, key.source = oldHeaderV1, oldRecordV1, traffic.NetFlow1
	case 7:
		size, key.source = oldRecordV1, traffic.NetFlow7
	}
	count := int(binary.BigEndian.Uint16(b[2:]))
	if version == 1 && len(b) == header+count*oldRecord {
		size = oldRecord
	}
	if len(b) < header+count*size {
		return broken(len(b), "%d records of version %d take %d bytes; the datagram has %d", count, version, header+count*size, len(b))
	}
	rate, origin := uint32(1), traffic.RateAssumed
	if version == 5 {
		key.id = uint32(binary.BigEndian.Uint16(b[20:]))
		rate, origin = headerRate(binary.BigEndian.Uint16(b[22:]))
	}
	d, err := s.room(key, oldHeader-4, now)
	if err != nil {
		return err
	}
	d = s.enter(d, key, now)
	c := clock{
		now: now.UnixNano(), up: binary.BigEndian.Uint32(b[4:]), hasUp: true,
		exported: int64(binary.BigEndian.Uint32(b[8:]))*1e9 + int64(binary.BigEndian.Uint32(b[12:])),
	}
	d.heard(&c, now)
	if version == 1 {
		d.datagrams++
	} else {
		d.follow(binary.BigEndian.Uint32(b[16:]), count, 1)
	}
	f := &s.flow
	for b = b[header:]; count > 0; count, b = count-1, b[size:] {
		*f = traffic.Flow{Source: key.source, Exporter: s.exporter, Domain: key.id, Rate: rate, RateOrigin: origin}
		if s.oldRecord(f, b[:size], version, d, &c); f.Packets == 0 {
			s.counts.Skipped++
			continue
		}
		s.emit(d, f, emit)
	}
	return nil
}

// headerRate is version 5's sampling: a mode of 2 bits and an interval of 14. A mode without interval says that packets are sampled, and
// not how.
func headerRate(word uint16) (uint32, traffic.RateOrigin) {
	switch mode, interval := word>>14, word&0x3fff; {
	case interval > 0:
		return uint32(interval), traffic.RateHeader
	case mode != 0:
		return 1, traffic.RateUnknown
	}
	return 1, traffic.RateAssumed
}

func (s *Session) oldRecord(f *traffic.Flow, b []byte, version int, d *domain, c *clock) {
	_ = b[oldRecord-1]
	f.Src = netip.AddrFrom4([4]byte(b[0:4]))
	f.Dst = netip.AddrFrom4([4]byte(b[4:8]))
	if binary.BigEndian.Uint32(b[8:]) != 0 {
		f.NextHop = netip.AddrFrom4([4]byte(b[8:12]))
	}
	f.Input, f.Output = uint32(binary.BigEndian.Uint16(b[12:])), uint32(binary.BigEndian.Uint16(b[14:]))
	f.Packets, f.Bytes = uint64(binary.BigEndian.Uint32(b[16:])), uint64(binary.BigEndian.Uint32(b[20:]))
	if version == 1 {
		f.Protocol, f.TOS, f.TCPFlags = b[38], b[39], b[40]
	} else {
		f.TCPFlags, f.Protocol, f.TOS = b[37], b[38], b[39]
		f.SrcAS, f.DstAS = uint32(binary.BigEndian.Uint16(b[40:])), uint32(binary.BigEndian.Uint16(b[42:]))
		f.SrcMask, f.DstMask = b[44], b[45]
	}
	if f.Protocol != traffic.ProtoICMP { // whose ports are type and code
		f.SrcPort, f.DstPort = binary.BigEndian.Uint16(b[32:]), binary.BigEndian.Uint16(b[34:])
	}
	x := extra{start: moment{opFirst, uint64(binary.BigEndian.Uint32(b[24:]))}, end: moment{opLast, uint64(binary.BigEndian.Uint32(b[28:]))}}
	s.times(f, &x, d, c)
}
