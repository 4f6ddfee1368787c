package netflow

import (
	"encoding/binary"
	"net/netip"

	"weir/userspace/traffic"
)

// load is how a step gets at its field: those that busy exporters send, in the lengths that they have, are read on the spot; of all
// others, set takes care. Most of the time that a record takes goes by here.
type load uint8

const (
	loadAny load = iota
	loadVariable
	loadSource4
	loadDestination4
	loadSource6
	loadDestination6
	loadOctets4
	loadOctets8
	loadPackets4
	loadPackets8
	loadProtocol
	loadTOS
	loadTCPFlags
	loadTCPFlags2
	loadSourcePort
	loadDestinationPort
	loadSourceMask
	loadDestinationMask
	loadInput2
	loadInput4
	loadOutput2
	loadOutput4
	loadSourceAS
	loadDestinationAS
	loadStart4
	loadEnd4
	loadStart8
	loadEnd8
	loadDirection
	loadEndReason
)

// loads are the steps that are read on the spot, by what is done and how many bytes there are.
var loads = map[struct {
	op   op
	size uint16
}]load{
	{opSource4, 4}: loadSource4, {opDestination4, 4}: loadDestination4, {opSource6, 16}: loadSource6, {opDestination6, 16}: loadDestination6,
	{opOctets, 4}: loadOctets4, {opOctets, 8}: loadOctets8, {opPackets, 4}: loadPackets4, {opPackets, 8}: loadPackets8,
	{opProtocol, 1}: loadProtocol, {opTOS, 1}: loadTOS, {opTCPFlags, 1}: loadTCPFlags, {opTCPFlags, 2}: loadTCPFlags2,
	{opSourcePort, 2}: loadSourcePort, {opDestinationPort, 2}: loadDestinationPort, {opSourceMask, 1}: loadSourceMask,
	{opDestinationMask, 1}: loadDestinationMask, {opInput, 2}: loadInput2, {opInput, 4}: loadInput4, {opOutput, 2}: loadOutput2,
	{opOutput, 4}: loadOutput4, {opSourceAS, 4}: loadSourceAS, {opDestinationAS, 4}: loadDestinationAS, {opFirst, 4}: loadStart4,
	{opLast, 4}: loadEnd4, {opStartSeconds, 4}: loadStart4, {opEndSeconds, 4}: loadEnd4, {opStartMilliseconds, 8}: loadStart8,
	{opEndMilliseconds, 8}: loadEnd8, {opDirection, 1}: loadDirection, {opEndReason, 1}: loadEndReason,
}

func loadOf(o op, size uint16) load {
	return loads[struct {
		op   op
		size uint16
	}{o, size}]
}

// fill reads the fields of a record whose length was measured.
func (t *template) fill(f *traffic.Flow, x *extra, b []byte) {
	for i := range t.steps {
		step := &t.steps[i]
		at := int(step.at)
		switch step.load {
		case loadSource4:
			f.Src = netip.AddrFrom4([4]byte(b[at:]))
		case loadDestination4:
			f.Dst = netip.AddrFrom4([4]byte(b[at:]))
		case loadSource6:
			f.Src = netip.AddrFrom16([16]byte(b[at:])).Unmap()
		case loadDestination6:
			f.Dst = netip.AddrFrom16([16]byte(b[at:])).Unmap()
		case loadOctets4:
			f.Bytes, x.counted = uint64(binary.BigEndian.Uint32(b[at:])), true
		case loadOctets8:
			f.Bytes, x.counted = binary.BigEndian.Uint64(b[at:]), true
		case loadPackets4:
			f.Packets, x.counted = uint64(binary.BigEndian.Uint32(b[at:])), true
		case loadPackets8:
			f.Packets, x.counted = binary.BigEndian.Uint64(b[at:]), true
		case loadProtocol:
			f.Protocol = b[at]
		case loadTOS:
			f.TOS = b[at]
		case loadTCPFlags:
			f.TCPFlags = b[at]
		case loadTCPFlags2:
			f.TCPFlags = uint8(binary.BigEndian.Uint16(b[at:]))
		case loadSourcePort:
			f.SrcPort = binary.BigEndian.Uint16(b[at:])
		case loadDestinationPort:
			f.DstPort = binary.BigEndian.Uint16(b[at:])
		case loadSourceMask:
			f.SrcMask = b[at]
		case loadDestinationMask:
			f.DstMask = b[at]
		case loadInput2:
			f.Input = uint32(binary.BigEndian.Uint16(b[at:]))
		case loadInput4:
			f.Input = binary.BigEndian.Uint32(b[at:])
		case loadOutput2:
			f.Output = uint32(binary.BigEndian.Uint16(b[at:]))
		case loadOutput4:
			f.Output = binary.BigEndian.Uint32(b[at:])
		case loadSourceAS:
			f.SrcAS = binary.BigEndian.Uint32(b[at:])
		case loadDestinationAS:
			f.DstAS = binary.BigEndian.Uint32(b[at:])
		case loadStart4:
			x.start = moment{step.op, uint64(binary.BigEndian.Uint32(b[at:]))}
		case loadEnd4:
			x.end = moment{step.op, uint64(binary.BigEndian.Uint32(b[at:]))}
		case loadStart8:
			x.start = moment{step.op, binary.BigEndian.Uint64(b[at:])}
		case loadEnd8:
			x.end = moment{step.op, binary.BigEndian.Uint64(b[at:])}
		case loadDirection:
			f.Side = side(uint64(b[at]))
		case loadEndReason:
			if b[at] <= uint8(traffic.EndResources) {
				f.EndReason = traffic.FlowEnd(b[at])
			}
		case loadVariable:
			content, next := variableField(b, at)
			if next < 0 { // cannot be: the record was measured
				return
			}
			if len(content) > 0 {
				set(f, x, step.op, content)
			}
			b = b[next:]
		default:
			set(f, x, step.op, b[at:at+int(step.size)])
		}
	}
}
