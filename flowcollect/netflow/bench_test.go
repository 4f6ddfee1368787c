package netflow

import (
	"testing"

	"weir/userspace/traffic"
)

// v5 is a datagram of version 5 with so many records.
func v5(sequence uint32, sampling uint16, records ...[]byte) []byte {
	return join(u16(5, uint16(len(records))), u32(upAtNoon, exportedAt(0), 0, sequence), u8(0, 7), u16(sampling), join(records...))
}

// record5 is record in version 5.
func record5(packets uint32) []byte {
	return join(ip("192.0.2.1"), ip("198.51.100.7"), u32(0), u16(3, 4), u32(packets, packets*100, upAtNoon-25_000, upAtNoon-5_000), u16(40000, 443),
		u8(0, 0x1b, 6, 0xb8), u16(64500, 64501), u8(24, 16), u16(0))
}

func repeat(n int, record []byte) (all [][]byte) {
	for range n {
		all = append(all, record)
	}
	return all
}

// wide is a template as routers have it: IPv6, times in milliseconds, AS numbers, next hop, masks.
func wide() (fields []uint16, data []byte) {
	fields = []uint16{
		ieSource6, 16, ieDestination6, 16, ieSourcePort, 2, ieDestinationPort, 2, ieProtocol, 1, ieTCPFlags, 2, ieTOS, 1, ieSourceMask6, 1,
		ieDestinationMask6, 1, ieInput, 4, ieOutput, 4, ieNextHop6, 16, ieSourceAS, 4, ieDestinationAS, 4, ieVLAN, 2, ieEndReason, 1,
		ieForwarding, 1, ieDirection, 1, ieOctets, 8, iePackets, 8, ieStartMilliseconds, 8, ieEndMilliseconds, 8,
	}
	exported := uint64(exportedAt(0)) * 1000
	data = join(ip("2001:db8:1::1"), ip("2001:db8:2::7"), u16(40000, 443), u8(6), u16(0x1b), u8(0xb8, 48, 56), u32(3, 4), ip("2001:db8::9"),
		u32(64500, 64501), u16(20), u8(3, 64, 0), u64(6000, 10, exported-25_000, exported-5_000))
	return fields, data
}

// BenchmarkDecode is the time per record, from the datagram to the Flow.
func BenchmarkDecode(b *testing.B) {
	wideFields, wideRecord := wide()
	named := append(plain(), ieSamplerID, 2)
	for _, bench := range []struct {
		name     string
		records  int
		template []byte
		data     []byte
	}{
		{"v5", 30, nil, v5(0, 1<<14|100, repeat(30, record5(10))...)},
		{"v9", 28, v9(0, 0, setOf(0, announce(256, plain()...))), v9(1, 0, setOf(256, repeat(28, record(10))...))},
		{"v9_sampler", 28, v9(0, 0, setOf(0, announce(256, named...)), setOf(1, announceOptions9(257, 1, 1, 4, ieSamplerID, 2, ieSamplerInterval, 4)),
			setOf(257, u32(0), u16(1), u32(100))), v9(1, 0, setOf(256, repeat(28, join(record(10), u16(1)))...))},
		{"ipfix", 28, ipfix(0, 0, setOf(2, announce(256, plain()...))), ipfix(0, 0, setOf(256, repeat(28, record(10))...))},
		{"ipfix_wide", 10, ipfix(0, 0, setOf(2, announce(256, wideFields...))), ipfix(0, 0, setOf(256, repeat(10, wideRecord)...))},
		{"ipfix_variable", 25, ipfix(0, 0, setOf(2, announce(256, append(plain(), 371, variable)...))),
			ipfix(0, 0, setOf(256, repeat(25, join(record(10), text([]byte("eth0"))))...))},
	} {
		b.Run(bench.name, func(b *testing.B) {
			s := session()
			told := 0
			emit := func(*traffic.Flow) { told++ }
			if bench.template != nil {
				if err := s.Decode(bench.template, noon(), emit); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for i := 0; i < b.N; i += bench.records {
				if err := s.Decode(bench.data, noon(), emit); err != nil {
					b.Fatal(err)
				}
			}
			if told < b.N {
				b.Fatalf("%d records told of %d", told, b.N)
			}
		})
	}
}
