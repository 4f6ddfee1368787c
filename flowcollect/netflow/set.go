package netflow

import (
	"encoding/binary"
	"math"
	"net/netip"

	"weir/userspace/traffic"
)

// extra is what a record says that a Flow has no place for, or that has to be put together first.
type extra struct {
	start, end moment
	counted    bool // there is a counter

	// What follows is touched by the ops that are seldom used alone.
	more             bool
	took             uint64        // ns
	src, dst         [2]netip.Addr // of IPv4 and IPv6, in templates that have both
	version          uint64
	booted           uint64 // ms since 1970 by the exporter's clock
	interval         uint64
	sampler          uint64
	named            bool // there is a sampler's number
	size             uint64
	space            uint64
	spaced           bool // there is a space, be it 0
	population       uint64
	probability      float64
	observed         uint64
	selected         uint64
	backOctets       uint64
	backPackets      uint64
	backFlags        uint8
	later, fragments bool
	frame            []byte
	link             traffic.Link
	frameSize        uint64
	sectionSize      uint64 // of the packet's bytes, so many are in the field; what is behind them fills it up
	noFrame          bool   // the section is not of an Ethernet frame
	noBeginning      bool   // the section does not begin where the packet does
	active, inactive uint64
}

// number reads an unsigned integer, of which an exporter may send fewer bytes than there could be (RFC 7011 section 6.2); of more than
// 8 bytes, the last ones.
func number(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	case 8:
		return binary.BigEndian.Uint64(b)
	}
	var n uint64
	for _, c := range b[max(0, len(b)-8):] {
		n = n<<8 | uint64(c)
	}
	return n
}

// set takes one field of a record, of at least one byte.
func set(f *traffic.Flow, x *extra, o op, b []byte) {
	switch o {
	case opSource4:
		if len(b) == 4 {
			f.Src = netip.AddrFrom4([4]byte(b))
		}
	case opDestination4:
		if len(b) == 4 {
			f.Dst = netip.AddrFrom4([4]byte(b))
		}
	case opSource6:
		if len(b) == 16 {
			f.Src = netip.AddrFrom16([16]byte(b)).Unmap()
		}
	case opDestination6:
		if len(b) == 16 {
			f.Dst = netip.AddrFrom16([16]byte(b)).Unmap()
		}
	case opNextHop4:
		if len(b) == 4 && binary.BigEndian.Uint32(b) != 0 {
			f.NextHop = netip.AddrFrom4([4]byte(b))
		}
	case opNextHop6:
		if len(b) == 16 && !zero(b) {
			f.NextHop = netip.AddrFrom16([16]byte(b)).Unmap()
		}
	default:
		setNumber(f, x, o, number(b), b)
	}
}

// setNumber is set for the fields that are numbers.
func setNumber(f *traffic.Flow, x *extra, o op, n uint64, b []byte) {
	switch o {
	case opSkip:
	case opOctets:
		f.Bytes, x.counted = n, true
	case opPackets:
		f.Packets, x.counted = n, true
	case opProtocol:
		f.Protocol = uint8(n)
	case opTOS:
		f.TOS = uint8(n)
	case opTCPFlags:
		f.TCPFlags = uint8(n)
	case opSourcePort:
		f.SrcPort = uint16(n)
	case opDestinationPort:
		f.DstPort = uint16(n)
	case opSourceMask:
		f.SrcMask = uint8(n)
	case opDestinationMask:
		f.DstMask = uint8(n)
	case opInput:
		f.Input = uint32(n)
	case opOutput:
		f.Output = uint32(n)
	case opSourceAS:
		f.SrcAS = uint32(n)
	case opDestinationAS:
		f.DstAS = uint32(n)
	case opVLAN:
		f.VLAN = uint16(n) & 0xfff
	case opTTL:
		f.TTL = uint8(n)
	case opDirection:
		f.Side = side(n)
	case opEndReason:
		if n <= uint64(traffic.EndResources) {
			f.EndReason = traffic.FlowEnd(n)
		}
	case opForwarding:
		f.Dropped = dropped(n, len(b))
	case opFirst, opStartSeconds, opStartMilliseconds, opStartMicroseconds, opStartNanoseconds, opStartDelta:
		x.start = moment{o, n}
	case opLast, opEndSeconds, opEndMilliseconds, opEndMicroseconds, opEndNanoseconds, opEndDelta:
		x.end = moment{o, n}
	default:
		x.more = true
		setMore(f, x, o, n, b)
	}
}

// setMore is set for the fields that few records have.
func setMore(f *traffic.Flow, x *extra, o op, n uint64, b []byte) {
	switch o {
	case opSourcePortOf:
		if n != 0 {
			f.SrcPort = uint16(n)
		}
	case opDestinationPortOf:
		if n != 0 {
			f.DstPort = uint16(n)
		}
	case opMaskIfZero:
		f.SrcMask = max(f.SrcMask, uint8(n))
	case opDestinationMaskIfZero:
		f.DstMask = max(f.DstMask, uint8(n))
	case opIPVersion:
		x.version = n
	case opBothSource4:
		address(&x.src[0], b, 4)
	case opBothDestination4:
		address(&x.dst[0], b, 4)
	case opBothSource6:
		address(&x.src[1], b, 16)
	case opBothDestination6:
		address(&x.dst[1], b, 16)
	case opFragmentOffset:
		x.later = n&0x1fff != 0
	case opFragmentFlags: // reserved, don't fragment, more fragments
		x.fragments = n&0x20 != 0
	case opDuration:
		x.took = min(n, 1<<40) * 1e6
	case opDurationMicro:
		x.took = min(n, 1<<50) * 1e3
	case opBooted:
		x.booted = n
	case opBackOctets:
		x.backOctets = n
	case opBackPackets:
		x.backPackets = n
	case opBackFlags:
		x.backFlags = uint8(n)
	case opFrame:
		x.frame, x.link = b, traffic.LinkEthernet
	case opHeader:
		x.frame, x.link = b, traffic.LinkIP
	case opFrameSize:
		x.frameSize = n
	case opFrameType:
		x.noFrame = x.noFrame || n != 1
	case opSectionOffset:
		x.noBeginning = x.noBeginning || n != 0
	case opSectionSize:
		x.sectionSize = n
	default:
		setSampling(x, o, n, len(b))
	}
}

// setSampling is set for what records and options data say of sampling, and options of timeouts.
func setSampling(x *extra, o op, n uint64, size int) {
	switch o {
	case opInterval:
		x.interval = max(x.interval, n)
	case opSampler:
		x.sampler, x.named = n, true
	case opSize:
		x.size = n
	case opSpace:
		x.space, x.spaced = n, true
	case opPopulation:
		x.population = n
	case opProbability:
		switch size {
		case 4:
			x.probability = float64(math.Float32frombits(uint32(n)))
		case 8:
			x.probability = math.Float64frombits(n)
		}
	case opObserved:
		x.observed = n
	case opSelected:
		x.selected = n
	case opActive:
		x.active = n
	case opInactive:
		x.inactive = n
	}
}

// address reads an address of 4 or 16 bytes.
func address(a *netip.Addr, b []byte, size int) {
	if len(b) == size {
		*a, _ = netip.AddrFromSlice(b)
	}
}

// side reads element 61.
func side(n uint64) traffic.FlowSide {
	switch n {
	case 0:
		return traffic.SideIngress
	case 1:
		return traffic.SideEgress
	}
	return traffic.SideUnknown
}

// dropped reads forwardingStatus (RFC 7270 section 4.12): the upper two bits of a byte. Where it has four, some exporters put it into the
// first of them rather than the last.
func dropped(n uint64, size int) bool {
	if size == 4 && n>>24 != 0 {
		n >>= 24
	}
	return n&0xff>>6 == 2
}
