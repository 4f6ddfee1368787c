package kafka

import (
	"net/netip"
	"strconv"
	"time"

	"weir/userspace/traffic"
)

// Flow records as FastNetMon exports them. Its time is that of arrival in whole seconds; ours is the flow's end where that is known.

func seconds(f *traffic.Flow, now time.Time) int64 {
	if f.End > 0 {
		return f.End / int64(time.Second)
	}
	return now.Unix()
}

func version(a netip.Addr) uint64 {
	if a.Is4() {
		return 4
	}
	return 6
}

// appendTrafficData writes a TrafficData of weirkafka/fastnetmon.proto.
func appendTrafficData(b []byte, f *traffic.Flow, now time.Time) []byte {
	const sflow, netflow = 2, 3
	telemetry := uint64(netflow)
	if f.Source.SFlow() {
		telemetry = sflow
	}
	b = appendUint(b, 1, uint64(max(seconds(f, now), 0)))
	b = appendUint(b, 3, telemetry)
	b = appendUint(b, 4, version(f.Src))
	b = appendUint(b, 6, uint64(f.Rate))
	b = appendUint(b, 7, uint64(f.Protocol))
	b = appendAddress(b, 8, f.Src)
	b = appendAddress(b, 9, f.Dst)
	b = appendUint(b, 10, uint64(f.SrcPort))
	b = appendUint(b, 11, uint64(f.DstPort))
	b = appendUint(b, 12, f.Packets)
	b = appendUint(b, 13, f.Bytes)
	b = appendUint(b, 14, uint64(f.TTL))
	b = appendUint(b, 15, uint64(f.TCPFlags))
	b = appendBool(b, 16, f.Fragment != traffic.Whole)
	b = appendUint(b, 18, uint64(f.Input))
	b = appendUint(b, 19, uint64(f.Output))
	b = appendUint(b, 20, uint64(f.SrcAS))
	b = appendUint(b, 21, uint64(f.DstAS))
	return appendAddress(b, 22, f.Exporter)
}

// appendFastNetMonJSON writes FastNetMon's keys; how it writes some of the values (IP version, forwarding status) was not seen. Countries and more of the forwarding status than "dropped" are not known.
func appendFastNetMonJSON(b []byte, f *traffic.Flow, now time.Time) []byte {
	number := func(key string, v uint64) {
		b = append(b, `,"`...)
		b = append(b, key...)
		b = append(b, `":`...)
		b = strconv.AppendUint(b, v, 10)
	}
	text := func(key, v string) {
		b = append(b, `,"`...)
		b = append(b, key...)
		b = append(b, `":"`...)
		b = append(b, v...)
		b = append(b, '"')
	}
	address := func(key string, a netip.Addr) {
		text(key, "")
		if a.IsValid() {
			b = a.AppendTo(b[:len(b)-1])
			b = append(b, '"')
		}
	}
	b = append(b, `{"timestamp":`...)
	b = strconv.AppendInt(b, seconds(f, now), 10)
	text("ip_version", [2]string{"ipv4", "ipv6"}[version(f.Src)/6])
	address("source_ip", f.Src)
	address("destination_ip", f.Dst)
	number("source_asn", uint64(f.SrcAS))
	number("destination_asn", uint64(f.DstAS))
	text("source_country", "")
	text("destination_country", "")
	number("input_interface", uint64(f.Input))
	number("output_interface", uint64(f.Output))
	if f.Protocol == traffic.ProtoTCP || f.Protocol == traffic.ProtoUDP {
		number("source_port", uint64(f.SrcPort))
		number("destination_port", uint64(f.DstPort))
	}
	address("agent_address", f.Exporter)
	if f.Protocol == traffic.ProtoTCP {
		text("tcp_flags", "")
		b = append(appendFlags(b[:len(b)-1], f.TCPFlags), '"')
	}
	status := "unknown"
	if f.Dropped {
		status = "dropped"
	}
	text("forwarding_status", status)
	b = append(b, `,"fragmentation":`...)
	b = strconv.AppendBool(b, f.Fragment != traffic.Whole)
	number("packets", f.Packets)
	number("length", f.Bytes)
	number("ip_length", f.Bytes)
	number("ttl", uint64(f.TTL))
	number("sample_ratio", uint64(f.Rate))
	text("protocol", protocolName(f.Protocol))
	return append(b, '}')
}

// appendFlags writes TCP flags as FastNetMon does: "syn,ack", and "-" for none.
func appendFlags(b []byte, flags uint8) []byte {
	const names = "finsynrstpshackurg"
	begin := len(b)
	for i := 0; i < len(names)/3; i++ {
		if flags&(1<<i) == 0 {
			continue
		}
		if len(b) > begin {
			b = append(b, ',')
		}
		b = append(b, names[3*i:3*i+3]...)
	}
	if len(b) == begin {
		b = append(b, '-')
	}
	return b
}

// protocolName is one of the few that FastNetMon names.
func protocolName(p uint8) string {
	switch p {
	case traffic.ProtoTCP:
		return "tcp"
	case traffic.ProtoUDP:
		return "udp"
	case traffic.ProtoICMP:
		return "icmp"
	}
	return "unknown"
}
