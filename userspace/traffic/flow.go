package traffic

import (
	"fmt"
	"net/netip"
)

// FlowSource is the protocol that a flow record came by.
type FlowSource uint8

// The order is that of the columns in statistics; netflow before sflow.
const (
	NetFlow1 FlowSource = iota
	NetFlow5
	NetFlow7
	NetFlow9
	IPFIX
	SFlow2
	SFlow4
	SFlow5
	FlowSourceCount
)

var flowSourceNames = [FlowSourceCount]string{"netflow1", "netflow5", "netflow7", "netflow9", "ipfix", "sflow2", "sflow4", "sflow5"}

// String returns the source's name as it stands in JSON and metrics.
func (s FlowSource) String() string {
	if s < FlowSourceCount {
		return flowSourceNames[s]
	}
	return fmt.Sprintf("flow source(%d)", uint8(s))
}

// SFlow reports whether the source is a version of sFlow: single packets rather than flows.
func (s FlowSource) SFlow() bool { return s >= SFlow2 }

// RateOrigin says where the sampling rate of a flow record is from.
type RateOrigin uint8

const (
	RateAssumed    RateOrigin = iota // nothing speaks of sampling: one in one
	RateHeader                       // the datagram's header or the sample itself
	RateRecord                       // a field of the record
	RateOptions                      // options data, by the record's sampler, its interface or its observation domain
	RateConfigured                   // the configuration
	RateUnknown                      // the record was sampled, but nobody has said yet how
	RateOriginCount
)

var rateOriginNames = [RateOriginCount]string{"assumed", "header", "record", "options", "configured", "unknown"}

// String returns the origin's name as it stands in JSON.
func (o RateOrigin) String() string {
	if o < RateOriginCount {
		return rateOriginNames[o]
	}
	return fmt.Sprintf("rate origin(%d)", uint8(o))
}

// FlowSide is on which side of the exporter a record was metered.
type FlowSide uint8

const (
	SideUnknown FlowSide = iota
	SideIngress
	SideEgress
)

// FlowEnd is why a record was exported (IPFIX information element 136, flowEndReason).
type FlowEnd uint8

const (
	EndUnknown   FlowEnd = iota
	EndIdle              // no packet for the inactive timeout
	EndActive            // it goes on: the active timeout has passed
	EndDetected          // FIN or RST
	EndForced            // the exporter was told to
	EndResources         // the exporter's cache was full
)

// Flow is one flow record or one sFlow sample, as its exporter counted it: not scaled by the sampling rate.
//
// A decoder fills the same Flow again and again: nothing of it may be kept beyond the call that hands it over.
type Flow struct {
	Packet                  // addresses, ports, protocol, flags (all of the flow's, or'ed), fragment; Length is 0 but for samples
	Packets, Bytes   uint64 // seen by the exporter; bytes as the exporter counts them: of IP packets (NetFlow, IPFIX) or of frames without FCS (sFlow)
	Start, End       int64  // ns since 1970 by our clock: the exporter's error is taken out by the export time; equal for a sample; 0: unknown
	Rate             uint32 // each packet seen stands for so many; never 0
	RateOrigin       RateOrigin
	Source           FlowSource
	Side             FlowSide
	EndReason        FlowEnd
	Dropped          bool // the exporter did not forward it: forwarding status (89) 128 to 191, sFlow's discarded format
	Notice           bool // sFlow: a notification of a discarded packet, which is not part of the sampled traffic
	TOS              uint8
	VLAN             uint16     // 0: none or unknown
	Exporter         netip.Addr // who sent the datagram, or sFlow's agent address where the configuration says so
	Domain           uint32     // source id (v9), observation domain (IPFIX), engine type and id (v5), sub-agent (sFlow)
	Input, Output    uint32     // SNMP interface indexes; 0: unknown
	SrcAS, DstAS     uint32
	NextHop          netip.Addr // the zero Addr: unknown
	SrcMask, DstMask uint8
	Link             Link   // of Header
	Header           []byte // the sampled packet's first bytes (sFlow, datalink-frame sections); valid during the call
}

// InterfaceCounters is what an exporter says of one of its interfaces (sFlow counter samples, generic interface counters).
type InterfaceCounters struct {
	Exporter              netip.Addr
	Index                 uint32
	Speed                 uint64 // bit/s
	Up                    bool
	InBytes, OutBytes     uint64 // since the exporter's start
	InPackets, OutPackets uint64 // unicast, multicast and broadcast
	InDrops, OutDrops     uint64
	InErrors, OutErrors   uint64
}

// flowMost is what one record may stand for at most, in packets and in bytes. What says more is wrong.
const flowMost = 1 << 45

// Scaled is how many packets and bytes the record stands for by its rate, at most 2^45 of each.
func (f *Flow) Scaled() (packets, bytes uint64) {
	rate := max(uint64(f.Rate), 1)
	return min(f.Packets, flowMost/rate) * rate, min(f.Bytes, flowMost/rate) * rate
}
