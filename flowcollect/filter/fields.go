package filter

import (
	"net/netip"

	"weir/userspace/traffic"
)

// field is what a script can read of a record.
type field uint8

// The fields. Those up to fieldNumbers are numbers.
const (
	fieldSrcPort field = iota
	fieldDstPort
	fieldProtocol
	fieldTCPFlags
	fieldTTL
	fieldPackets
	fieldBytes
	fieldRate
	fieldInput
	fieldOutput
	fieldSrcAS
	fieldDstAS
	fieldSrcMask
	fieldDstMask
	fieldVLAN
	fieldTOS
	fieldDomain
	fieldStart // the times count in ns inside, and in seconds for the script
	fieldEnd
	fieldDuration
	fieldNumbers

	fieldSrc
	fieldDst
	fieldNextHop
	fieldExporter
	fieldAddresses

	fieldSide
	fieldSource
	fieldEndReason
	fieldFragment
	fieldRateOrigin
	fieldWords

	fieldDropped
	fieldNotice
)

// named is a field under one of its names.
type named struct {
	name string
	field
	alias bool // a name that FastNetMon's structures have for it
}

// fields lists all names, in the order of the documentation.
func fields() []named {
	return []named{
		{"src", fieldSrc, false}, {"dst", fieldDst, false}, {"src_port", fieldSrcPort, false}, {"dst_port", fieldDstPort, false},
		{"protocol", fieldProtocol, false}, {"tcp_flags", fieldTCPFlags, false}, {"fragment", fieldFragment, false}, {"tos", fieldTOS, false},
		{"ttl", fieldTTL, false}, {"packets", fieldPackets, false}, {"bytes", fieldBytes, false}, {"rate", fieldRate, false},
		{"rate_origin", fieldRateOrigin, false}, {"start", fieldStart, false}, {"finish", fieldEnd, false}, {"duration", fieldDuration, false},
		{"end_reason", fieldEndReason, false}, {"exporter", fieldExporter, false}, {"domain", fieldDomain, false}, {"source", fieldSource, false},
		{"side", fieldSide, false}, {"input", fieldInput, false}, {"output", fieldOutput, false}, {"vlan", fieldVLAN, false},
		{"src_as", fieldSrcAS, false}, {"dst_as", fieldDstAS, false}, {"src_mask", fieldSrcMask, false}, {"dst_mask", fieldDstMask, false},
		{"next_hop", fieldNextHop, false}, {"dropped", fieldDropped, false}, {"notice", fieldNotice, false},

		// NF5_FLOW.
		{"src_ip", fieldSrc, true}, {"dest_ip", fieldDst, true}, {"nexthop_ip", fieldNextHop, true},
		{"if_index_in", fieldInput, true}, {"if_index_out", fieldOutput, true}, {"flow_packets", fieldPackets, true}, {"flow_octets", fieldBytes, true},
		{"flow_start", fieldStart, true}, {"flow_finish", fieldEnd, true}, {"dest_port", fieldDstPort, true}, {"dest_as", fieldDstAS, true},
		// SFSample.
		{"sourceIP", fieldExporter, true}, {"agentSubId", fieldDomain, true}, {"meanSkipCount", fieldRate, true}, {"sampledPacketSize", fieldBytes, true},
		{"inputPort", fieldInput, true}, {"outputPort", fieldOutput, true}, {"ipsrc", fieldSrc, true}, {"ipdst", fieldDst, true},
		{"dcd_ipProtocol", fieldProtocol, true}, {"dcd_ipTos", fieldTOS, true}, {"dcd_ipTTL", fieldTTL, true}, {"dcd_sport", fieldSrcPort, true},
		{"dcd_dport", fieldDstPort, true}, {"dcd_tcpFlags", fieldTCPFlags, true}, {"in_vlan", fieldVLAN, true}, {"nextHop", fieldNextHop, true},
		{"srcMask", fieldSrcMask, true}, {"dstMask", fieldDstMask, true},
		// simple_packet_t.
		{"src_addr", fieldSrc, true}, {"dst_addr", fieldDst, true}, {"source_port", fieldSrcPort, true}, {"destination_port", fieldDstPort, true},
		{"flags", fieldTCPFlags, true}, {"length", fieldBytes, true}, {"number_of_packets", fieldPackets, true}, {"sample_ratio", fieldRate, true},
		{"src_asn", fieldSrcAS, true}, {"dst_asn", fieldDstAS, true}, {"input_interface", fieldInput, true}, {"output_interface", fieldOutput, true},
		{"agent_ip_address", fieldExporter, true}, {"ttl_value", fieldTTL, true},
	}
}

// number is the value of a field of numbers, or the index of a field of words; times in ns.
func number(f *traffic.Flow, id field) uint64 {
	switch id {
	case fieldSrcPort:
		return uint64(f.SrcPort)
	case fieldDstPort:
		return uint64(f.DstPort)
	case fieldProtocol:
		return uint64(f.Protocol)
	case fieldTCPFlags:
		return uint64(f.TCPFlags)
	case fieldTTL:
		return uint64(f.TTL)
	case fieldPackets:
		return f.Packets
	case fieldBytes:
		return f.Bytes
	case fieldRate:
		return uint64(f.Rate)
	case fieldInput:
		return uint64(f.Input)
	case fieldOutput:
		return uint64(f.Output)
	case fieldSrcAS:
		return uint64(f.SrcAS)
	case fieldDstAS:
		return uint64(f.DstAS)
	case fieldSrcMask:
		return uint64(f.SrcMask)
	case fieldDstMask:
		return uint64(f.DstMask)
	case fieldVLAN:
		return uint64(f.VLAN)
	case fieldTOS:
		return uint64(f.TOS)
	case fieldDomain:
		return uint64(f.Domain)
	}
	return number2(f, id)
}

// number2 has those that filters seldom ask for.
func number2(f *traffic.Flow, id field) uint64 {
	switch id {
	case fieldStart:
		return uint64(f.Start)
	case fieldEnd:
		return uint64(f.End)
	case fieldDuration:
		return uint64(max(0, f.End-f.Start))
	case fieldSide:
		return uint64(f.Side)
	case fieldSource:
		return uint64(f.Source)
	case fieldEndReason:
		return uint64(f.EndReason)
	case fieldFragment:
		return uint64(f.Fragment)
	case fieldRateOrigin:
		return uint64(f.RateOrigin)
	case fieldDropped:
		return flag(f.Dropped)
	case fieldNotice:
		return flag(f.Notice)
	}
	return 0
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// address is the value of a field of addresses; the zero Addr is unknown, nil to the script.
func address(f *traffic.Flow, id field) netip.Addr {
	switch id {
	case fieldSrc:
		return f.Src
	case fieldDst:
		return f.Dst
	case fieldNextHop:
		return f.NextHop
	}
	return f.Exporter
}

// word names a value of a field of words.
func word(id field, n uint64) string {
	var list []string
	switch id {
	case fieldSide:
		list = []string{"unknown", "ingress", "egress"}
	case fieldEndReason:
		list = []string{"unknown", "idle", "active", "detected", "forced", "resources"}
	case fieldFragment:
		list = []string{"whole", "first", "later"}
	case fieldSource:
		return traffic.FlowSource(n).String()
	case fieldRateOrigin:
		return traffic.RateOrigin(n).String()
	}
	if n < uint64(len(list)) {
		return list[n]
	}
	return "unknown"
}
