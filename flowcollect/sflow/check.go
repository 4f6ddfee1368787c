package sflow

import "encoding/binary"

// Formats of version 5 that Weir reads: enterprise 0 in the upper 20 bits (sFlow version 5 specification; sFlow Dropped Packet
// Notification Structures).
const (
	sampleFlow             = 1
	sampleCounters         = 2
	sampleFlowExpanded     = 3
	sampleCountersExpanded = 4
	sampleDiscarded        = 5

	recordHeader  = 1
	recordIPv4    = 3
	recordIPv6    = 4
	recordSwitch  = 1001
	recordRouter  = 1002
	recordGateway = 1003

	counterInterface = 1
)

// Lengths in bytes: of what stands before a sample's and a record's content, and of contents or of their fixed beginnings. Those of samples
// end with the number of records.
const (
	tagBytes = 8 // format and length

	flowBytes             = 32
	flowExpandedBytes     = 44
	discardedBytes        = 32
	countersBytes         = 12
	countersExpandedBytes = 16

	rawBytes         = 16 // protocol, frame length, stripped, header length
	spelledIPv4Bytes = 32
	spelledIPv6Bytes = 56
	switchBytes      = 16
	interfaceBytes   = 88
)

// padded is a length with the bytes that follow up to the next multiple of four, as XDR has it (RFC 4506 section 3). Some exporters
// leave them out at the end of what a length encloses: then there are fewer.
func padded(n, left int) int { return min((n+3)&^3, left) }

// before is how long a sample of a format is up to its records; 0: Weir does not know the format.
func before(format uint32) int {
	switch format {
	case sampleFlow:
		return flowBytes
	case sampleCounters:
		return countersBytes
	case sampleFlowExpanded:
		return flowExpandedBytes
	case sampleCountersExpanded:
		return countersExpandedBytes
	case sampleDiscarded:
		return discardedBytes
	}
	return 0
}

// check holds every length of a version 5 datagram against what there is, so that what reads it afterwards need not. Samples begin at
// at; there may be something behind the last.
func check(b []byte, at int, samples uint32) error {
	if int64(samples) > int64((len(b)-at)/tagBytes) {
		return fail(at, "%d samples in %d bytes", samples, len(b)-at)
	}
	for range samples {
		if len(b)-at < tagBytes {
			return short(at, "a sample's format and length")
		}
		format, length := binary.BigEndian.Uint32(b[at:]), binary.BigEndian.Uint32(b[at+4:])
		at += tagBytes
		if int64(length) > int64(len(b)-at) {
			return beyond(at-4, "a sample", length, len(b)-at)
		}
		if err := checkSample(b[:at+int(length)], at, format); err != nil {
			return err
		}
		at += padded(int(length), len(b)-at)
	}
	return nil
}

// checkSample checks the sample from at to the end of b.
func checkSample(b []byte, at int, format uint32) error {
	head := before(format)
	if head == 0 {
		return nil
	}
	if len(b)-at < head {
		return fail(at, "a sample of format %d in %d bytes; it has at least %d", format, len(b)-at, head)
	}
	at += head
	records := binary.BigEndian.Uint32(b[at-4:])
	if int64(records) > int64((len(b)-at)/tagBytes) {
		return fail(at-4, "%d records in %d bytes", records, len(b)-at)
	}
	counters := format == sampleCounters || format == sampleCountersExpanded
	for range records {
		if len(b)-at < tagBytes {
			return fail(at, "%d bytes where a record's format and length belong", len(b)-at)
		}
		format, length := binary.BigEndian.Uint32(b[at:]), binary.BigEndian.Uint32(b[at+4:])
		at += tagBytes
		if int64(length) > int64(len(b)-at) {
			return beyond(at-4, "a record", length, len(b)-at)
		}
		if !counters {
			if err := checkRecord(b[at:at+int(length)], at, format); err != nil {
				return err
			}
		}
		at += padded(int(length), len(b)-at)
	}
	return nil
}

// checkRecord checks a record that may have a packet's addresses, and begins at at. Others are checked where they are read: what is
// wrong in them costs nobody a packet.
func checkRecord(b []byte, at int, format uint32) error {
	need := 0
	switch format {
	case recordHeader:
		need = rawBytes
	case recordIPv4:
		need = spelledIPv4Bytes
	case recordIPv6:
		need = spelledIPv6Bytes
	}
	if len(b) < need {
		return fail(at, "a record of format %d in %d bytes; it has at least %d", format, len(b), need)
	}
	if format == recordHeader {
		if size := binary.BigEndian.Uint32(b[12:]); int64(size) > int64(len(b)-rawBytes) {
			return beyond(at+12, "a header", size, len(b)-rawBytes)
		}
	}
	return nil
}
