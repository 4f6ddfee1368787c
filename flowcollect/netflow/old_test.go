package netflow

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// same compares what was told.
func same() cmp.Option {
	return cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
}

func TestOldVersions(t *testing.T) {
	version5 := recorded(traffic.NetFlow5, 10)
	version5.Side, version5.SrcAS, version5.DstAS, version5.SrcMask, version5.DstMask = 0, 64500, 64501, 24, 16
	version5.Rate, version5.RateOrigin = 100, traffic.RateHeader
	version7 := version5
	version7.Source, version7.Domain, version7.Rate, version7.RateOrigin = traffic.NetFlow7, 0, 1, traffic.RateAssumed
	version7.NextHop = netip.MustParseAddr("192.0.2.254")
	version1 := version7
	version1.Source, version1.SrcAS, version1.DstAS, version1.SrcMask, version1.DstMask = traffic.NetFlow1, 0, 0, 0, 0
	hop := join(record5(10)[:8], ip("192.0.2.254"), record5(10)[12:])
	for _, tt := range []struct {
		name string
		data []byte
		want traffic.Flow
	}{
		{"version 5", v5(0, 1<<14|100, record5(10)), version5},
		{"version 7", join(u16(7, 1), u32(upAtNoon, exportedAt(0), 0, 0, 0), hop, u32(0)), version7},
		{"version 1", join(u16(1, 1), u32(upAtNoon, exportedAt(0), 0), hop[:36], u8(0, 0, 6, 0xb8, 0x1b), make([]byte, 11)), version1},
		{"version 1, as Debian's exporters write it", join(u16(1, 1), u32(upAtNoon, exportedAt(0), 0), hop[:36], u8(0, 0, 6, 0xb8, 0x1b), make([]byte, 7)), version1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff([]traffic.Flow{tt.want}, take(t, session(), 0, tt.data), same()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestHeaderRate(t *testing.T) {
	for _, tt := range []struct {
		word   uint16
		rate   uint32
		origin traffic.RateOrigin
	}{
		{0, 1, traffic.RateAssumed},
		{100, 100, traffic.RateHeader}, // Juniper says no mode
		{1<<14 | 1, 1, traffic.RateHeader},
		{2<<14 | 0x3fff, 0x3fff, traffic.RateHeader},
		{1 << 14, 1, traffic.RateUnknown},
		{2 << 14, 1, traffic.RateUnknown},
	} {
		got := take(t, session(), 0, v5(0, tt.word, record5(1)))
		if len(got) != 1 || got[0].Rate != tt.rate || got[0].RateOrigin != tt.origin {
			t.Errorf("%#x: %+v, want one in %d (%s)", tt.word, got, tt.rate, tt.origin)
		}
	}
}

// What looks like ports of ICMP are its type and code, and records of nothing are not told.
func TestOldOddities(t *testing.T) {
	icmp := record5(3)
	icmp[38] = traffic.ProtoICMP
	s := session()
	got := take(t, s, 0, join(v5(0, 0, icmp, record5(0)), make([]byte, 7)))
	if len(got) != 1 || got[0].SrcPort != 0 || got[0].DstPort != 0 || got[0].Protocol != traffic.ProtoICMP {
		t.Errorf("told %+v", got)
	}
	if h := s.Health(noon()); h.Skipped != 1 || h.Records != 1 {
		t.Errorf("%d records and %d skipped, want 1 and 1", h.Records, h.Skipped)
	}
}

// Uptimes, and times since 1970, as records say them, on an exporter whose clock is wrong.
func TestTimes(t *testing.T) {
	ms := func(seconds int) uint64 { return uint64(exportedAt(seconds)) * 1000 }
	ntp := func(seconds int) uint64 { return (uint64(exportedAt(seconds))+2208988800)<<32 | 1<<31 }
	up := func(seconds int) uint64 { return uint64(upAtNoon) + uint64(seconds*1000) }
	type said struct {
		element uint16
		value   uint64
		size    uint16
	}
	none := time.Duration(1)
	for _, tt := range []struct {
		name       string
		ipfix      bool
		start, end time.Duration // from noon
		bad        uint64
		said       []said
	}{
		{"nothing", true, 0, 0, 0, nil},
		{"uptime", false, -25 * time.Second, -5 * time.Second, 0, []said{{22, up(-25), 4}, {21, up(-5), 4}}},
		{"uptime in the future by rounding", false, -25 * time.Second, 0, 0, []said{{22, up(-25), 4}, {21, up(1), 4}}},
		{"uptime in the future", false, 0, 0, 1, []said{{22, up(-25), 4}, {21, up(10), 4}}},
		{"uptime before the start of the exporter", false, 0, 0, 1, []said{{22, 1<<32 - 1000, 4}, {21, up(0), 4}}},
		{"end before start", false, 0, 0, 1, []said{{22, up(-5), 4}, {21, up(-25), 4}}},
		{"uptime without uptime", true, -20 * time.Second, 0, 0, []said{{22, up(-25), 4}, {21, up(-5), 4}}},
		{"uptime since a start that is told", true, -25 * time.Second, -5 * time.Second, 0, []said{{160, ms(0) - uint64(upAtNoon), 8}, {22, up(-25), 4}, {21, up(-5), 4}}},
		{"seconds", true, -25 * time.Second, -5 * time.Second, 0, []said{{150, uint64(exportedAt(-25)), 4}, {151, uint64(exportedAt(-5)), 4}}},
		{"milliseconds", true, -25 * time.Second, -5 * time.Second, 0, []said{{152, ms(-25), 8}, {153, ms(-5), 8}}},
		{"milliseconds of version 9", false, -25 * time.Second, -5 * time.Second, 0, []said{{152, ms(-25), 8}, {153, ms(-5), 8}}},
		{"milliseconds and seconds", true, -25500 * time.Millisecond, -5500 * time.Millisecond, 0,
			[]said{{152, ms(-25) - 500, 8}, {153, ms(-5) - 500, 8}, {150, uint64(exportedAt(-26)), 4}, {151, uint64(exportedAt(-6)), 4}}},
		{"microseconds", true, -25500 * time.Millisecond, -5500 * time.Millisecond, 0, []said{{154, ntp(-26), 8}, {155, ntp(-6), 8}}},
		{"nanoseconds", true, -25500 * time.Millisecond, -5500 * time.Millisecond, 0, []said{{156, ntp(-26), 8}, {157, ntp(-6), 8}}},
		{"microseconds since 1970", true, -25 * time.Second, -5 * time.Second, 0, []said{{154, ms(-25) * 1000, 8}, {155, ms(-5) * 1000, 8}}},
		{"nanoseconds since 1970", true, -25 * time.Second, -5 * time.Second, 0, []said{{156, ms(-25) * 1e6, 8}, {157, ms(-5) * 1e6, 8}}},
		{"before the export", true, -25 * time.Second, -5 * time.Second, 0, []said{{158, 25e6, 4}, {159, 5e6, 4}}},
		{"start and duration", true, -25 * time.Second, -5 * time.Second, 0, []said{{152, ms(-25), 8}, {161, 20_000, 4}}},
		{"end and duration", true, -25 * time.Second, -5 * time.Second, 0, []said{{153, ms(-5), 8}, {162, 20_000_000, 4}}},
		{"duration", true, -20 * time.Second, 0, 0, []said{{161, 20_000, 4}}},
		{"start", true, -25 * time.Second, 0, 0, []said{{152, ms(-25), 8}}},
		{"start and event", true, -25 * time.Second, -5 * time.Second, 0, []said{{152, ms(-25), 8}, {323, ms(-5), 8}}},
		{"end", true, -5 * time.Second, -5 * time.Second, 0, []said{{153, ms(-5), 8}}},
		{"by our clock, where the exporter's is only wrong in its headers", true, -25 * time.Second, -5 * time.Second, 0,
			[]said{{152, ms(-25 + behind), 8}, {153, ms(-5 + behind), 8}}},
		{"a year ago", true, 0, 0, 1, []said{{152, ms(-365 * 86400), 8}, {153, ms(-5), 8}}},
		{"beyond all numbers", true, 0, 0, 1, []said{{152, 1<<64 - 1, 8}, {153, 1<<64 - 1, 8}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fields, values := []uint16{ieSource4, 4, ieDestination4, 4, iePackets, 4}, join(ip("192.0.2.1"), ip("198.51.100.7"), u32(1))
			for _, s := range tt.said {
				fields, values = append(fields, s.element, s.size), join(values, sized(s.value, int(s.size)))
			}
			data := v9(0, 0, setOf(0, announce(256, fields...)), setOf(256, values))
			if tt.ipfix {
				data = ipfix(0, 0, setOf(2, announce(256, fields...)), setOf(256, values))
			}
			s := session()
			got := take(t, s, 0, data)
			if len(got) != 1 {
				t.Fatalf("told %d records", len(got))
			}
			start, end := time.Duration(got[0].Start-noon().UnixNano()), time.Duration(got[0].End-noon().UnixNano())
			if (start-tt.start).Abs() > none || (end-tt.end).Abs() > none {
				t.Errorf("from %s to %s, want %s to %s", start, end, tt.start, tt.end)
			}
			if bad := s.Health(noon()).BadTimes; bad != tt.bad {
				t.Errorf("%d bad times, want %d", bad, tt.bad)
			}
		})
	}
}

// An uptime that passes 2^32 ms while we listen makes times before that possible.
func TestUptimeWraps(t *testing.T) {
	datagram := func(up, first, last uint32, sequence uint32) []byte {
		r := record5(1)
		copy(r[24:], u32(first, last))
		b := v5(sequence, 0, r)
		copy(b[4:], u32(up))
		return b
	}
	s := session()
	take(t, s, -20, datagram(1<<32-15_000, 1<<32-16_000, 1<<32-15_000, 0))
	got := take(t, s, 0, datagram(5_000, 1<<32-5_000, 4_000, 1))
	if start, end := got[0].Start-noon().UnixNano(), got[0].End-noon().UnixNano(); start != -10e9 || end != -1e9 {
		t.Errorf("from %d to %d ns, want 10 s to 1 s ago", start, end)
	}
	if d := only(t, s); d.Restarts != 0 || d.Lost != 0 {
		t.Errorf("%+v", d)
	}
	// A smaller uptime without that is another start, whatever the sequence is.
	take(t, s, 60, datagram(1_000_000, 1_000_000, 1_000_000, 2))
	take(t, s, 120, datagram(30_000, 30_000, 30_000, 2_000))
	if d := only(t, s); d.Restarts != 1 || d.Lost != 0 {
		t.Errorf("%d restarts and %d lost, want 1 and 0", d.Restarts, d.Lost)
	}
}
