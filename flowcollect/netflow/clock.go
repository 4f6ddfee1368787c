package netflow

import (
	"time"

	"weir/userspace/traffic"
)

// clock turns an exporter's times into ours: what it exported at its time arrived at ours, so its own error falls out.
type clock struct {
	now      int64  // ns since 1970, ours
	exported int64  // ns since 1970, the exporter's
	up       uint32 // ms since the exporter's start, modulo 2^32, when it exported
	hasUp    bool
	wrapped  bool // up has passed 2^32 ms before
}

// moment is a time as a record says it: the element that it is in, and its number.
type moment struct {
	kind op // 0: it is not said
	at   uint64
}

// Bounds of what can be true.
const (
	slack      = int64(2 * time.Second) // exporters round their export time down to seconds
	oldestFlow = int64(31 * 24 * time.Hour)
)

// our is a moment by our clock; known is false when it is not said, and possible is false when it cannot be.
func (c *clock) our(m moment, booted uint64) (at int64, known, possible bool) {
	const second, millisecond, microsecond = 1e9, 1e6, 1e3
	switch m.kind {
	case 0:
		return 0, false, true
	case opFirst, opLast:
		if !c.hasUp {
			if booted == 0 {
				return 0, false, true
			}
			return c.absolute(c.since(booted, uint32(m.at)), millisecond)
		}
		ago := int64(int32(c.up - uint32(m.at)))
		return c.now - ago*millisecond, true, ago <= int64(c.up) || c.wrapped
	case opStartSeconds, opEndSeconds:
		return c.absolute(m.at, second)
	case opStartMilliseconds, opEndMilliseconds:
		return c.absolute(m.at, millisecond)
	case opStartMicroseconds, opEndMicroseconds:
		return c.ntp(m.at, microsecond)
	case opStartNanoseconds, opEndNanoseconds:
		return c.ntp(m.at, 1)
	}
	// Microseconds before the export (RFC 5102 section 5.9.9).
	return c.now - int64(m.at&0xffffffff)*microsecond, true, true
}

// since is when an uptime was, in ms since 1970 by the exporter's clock, of an exporter that was booted so long after 1970. Uptimes begin
// anew after 49 days: after that, the one is meant that is nearest to the export.
func (c *clock) since(booted uint64, up uint32) uint64 {
	exported := uint64(c.exported) / 1e6
	if exported < booted || exported-booted < 1<<32 {
		return booted + uint64(up)
	}
	return uint64(int64(exported) - int64(int32(uint32(exported-booted)-up)))
}

// absolute is our time of a moment in units of so many ns since 1970 by the exporter's clock.
func (c *clock) absolute(n uint64, unit int64) (at int64, known, possible bool) {
	if n == 0 {
		return 0, false, true
	}
	if n > uint64(1<<62/unit) {
		return 0, true, false
	}
	at = c.now - (c.exported - int64(n)*unit)
	if !c.plausible(at) && c.plausible(int64(n)*unit) { // the export time is wrong, and this is not
		at = int64(n) * unit
	}
	return at, true, true
}

func (c *clock) plausible(at int64) bool { return at <= c.now+slack && at >= c.now-oldestFlow }

// ntp is our time of an NTP time stamp: seconds since 1900 and their fraction in 32 bits (RFC 7011 section 6.1.9). Some exporters send
// plain microseconds or nanoseconds since 1970 instead, which as NTP would be long before that.
func (c *clock) ntp(n uint64, unit int64) (at int64, known, possible bool) {
	const since1900 = 2208988800
	if n>>32 < since1900 {
		return c.absolute(n, unit)
	}
	return c.absolute((n>>32-since1900)*1e9+(n&0xffffffff)*1e9>>32, 1)
}

// times says when a flow was. A flow of which nothing is said, was now; and so was one whose times cannot be, which are counted.
func (s *Session) times(f *traffic.Flow, x *extra, d *domain, c *clock) {
	booted := x.booted
	if booted == 0 {
		booted = d.booted
	}
	start, hasStart, startOK := c.our(x.start, booted)
	end, hasEnd, endOK := c.our(x.end, booted)
	switch {
	case !startOK || !endOK:
		s.counts.BadTimes++
		start, end = c.now, c.now
	case !hasStart && !hasEnd:
		start, end = c.now, c.now
		if x.start.kind == opFirst && x.end.kind == opLast { // nobody says since when they are counted, but how long it took is clear
			start -= int64(uint32(x.end.at)-uint32(x.start.at)) * int64(time.Millisecond)
		} else if x.took < uint64(oldestFlow) {
			start -= int64(x.took)
		}
	case !hasEnd && x.took > 0 && x.took < uint64(oldestFlow):
		end = start + int64(x.took)
	case !hasEnd:
		end = c.now // the record tells of what has happened so far
	case !hasStart:
		start = end - int64(min(x.took, uint64(oldestFlow)))
	}
	if end < start || !c.plausible(start) || !c.plausible(end) {
		s.counts.BadTimes++
		start, end = c.now, c.now
	}
	f.Start, f.End = min(start, c.now), min(end, c.now)
}
