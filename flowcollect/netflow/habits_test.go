package netflow

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// Of counters that are never reset, those count for what came since the flow was told last that stand alone, in both directions.
func TestTotalsBeside(t *testing.T) {
	ends, start := []uint16{ieSource4, 4, ieDestination4, 4, ieStartMilliseconds, 8}, uint64(exportedAt(-60))*1000
	values := join(ip("192.0.2.1"), ip("198.51.100.7"), u64(start))
	back := func(element uint16) []uint16 { return []uint16{0x8000 | element, 8, 0, reverse} }
	type counts struct{ Packets, Octets, BackPackets, BackOctets uint64 }
	for _, tt := range []struct {
		name   string
		fields [][]uint16
		said   [2][]uint64 // by the same flow, one after the other
		want   [2]counts
	}{
		{"totals", [][]uint16{{iePacketsTotal, 8, ieOctetsTotal, 8}}, [2][]uint64{{10, 1000}, {15, 1700}}, [2]counts{{Packets: 10, Octets: 1000}, {Packets: 5, Octets: 700}}},
		{"totals and deltas", [][]uint16{{iePacketsTotal, 8, ieOctetsTotal, 8, iePackets, 8, ieOctets, 8}}, [2][]uint64{{10, 1000, 3, 300}, {15, 1700, 4, 400}},
			[2]counts{{Packets: 3, Octets: 300}, {Packets: 4, Octets: 400}}},
		{"deltas of packets alone", [][]uint16{{iePackets, 8, ieOctetsTotal, 8}}, [2][]uint64{{10, 1000}, {5, 1700}}, [2]counts{{Packets: 10, Octets: 1000}, {Packets: 5, Octets: 700}}},
		{"deltas of bytes alone", [][]uint16{{iePacketsTotal, 8, ieOctets, 8}}, [2][]uint64{{10, 1000}, {15, 700}}, [2]counts{{Packets: 10, Octets: 1000}, {Packets: 5, Octets: 700}}},
		{"totals of both ways", [][]uint16{{iePacketsTotal, 8, ieOctetsTotal, 8}, back(iePacketsTotal), back(ieOctetsTotal)}, [2][]uint64{{10, 1000, 20, 9000}, {15, 1700, 28, 9900}},
			[2]counts{{10, 1000, 20, 9000}, {5, 700, 8, 900}}},
		{"totals and deltas of answers", [][]uint16{{iePackets, 8, ieOctets, 8}, back(iePackets), back(ieOctets), back(iePacketsTotal), back(ieOctetsTotal)},
			[2][]uint64{{10, 1000, 20, 9000, 20, 9000}, {5, 700, 8, 900, 28, 9900}}, [2]counts{{10, 1000, 20, 9000}, {5, 700, 8, 900}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fields := ends
			for _, f := range tt.fields {
				fields = append(fields[:len(fields):len(fields)], f...)
			}
			s := session()
			for i, said := range tt.said {
				var got counts
				for _, f := range take(t, s, 0, of(fields, values, u64(said...))) {
					if f.Src.String() == "192.0.2.1" {
						got.Packets, got.Octets = f.Packets, f.Bytes
					} else {
						got.BackPackets, got.BackOctets = f.Packets, f.Bytes
					}
				}
				if diff := cmp.Diff(tt.want[i], got); diff != "" {
					t.Errorf("record %d (-want +got)\n%s", i+1, diff)
				}
			}
		})
	}
}

// Where IPFIX counts uptimes since a start that it tells, in the records or by options, they may have begun anew since.
func TestUptimeSinceStart(t *testing.T) {
	fields := []uint16{ieSource4, 4, ieDestination4, 4, iePackets, 4, ieFirstSwitched, 4, ieLastSwitched, 4}
	values := join(ip("192.0.2.1"), ip("198.51.100.7"), u32(1))
	for _, days := range []int64{0, 1, 24, 26, 49, 50, 51, 99, 100, 1000} {
		exported := int64(exportedAt(0)) * 1000
		booted := exported - days*24*60*60*1000 - 40_000
		up := u32(uint32(exported-booted-25_000), uint32(exported-booted-5_000))
		byOptions := session()
		take(t, byOptions, 0, ipfix(0, 0, setOf(3, announceOptions10(300, 1, 144, 4, ieBooted, 8)), setOf(300, u32(1), u64(uint64(booted)))))
		for name, got := range map[string][]traffic.Flow{
			"record":  take(t, session(), 0, of(append(fields[:10:10], ieBooted, 8), values, up, u64(uint64(booted)))),
			"options": take(t, byOptions, 0, of(fields, values, up)),
		} {
			if len(got) != 1 || got[0].Start != at(-25).UnixNano() || got[0].End != at(-5).UnixNano() {
				t.Errorf("%s, up for %d days: told %+v", name, days, got)
			}
		}
	}
}

// How much of a packet there is in a section, and how long it was, is said in more than one way.
func TestSectionSizes(t *testing.T) {
	frame := packettest.UDP4(packettest.Payload(500)).Bytes()
	whole := uint16(len(frame))
	padded := append(frame[:60:60], make([]byte, 68)...)
	for _, tt := range []struct {
		name   string
		data   []byte
		bytes  uint64 // 0: the record is skipped
		header int
	}{
		{"312 and 315", of([]uint16{ieFrameSize, 2, ieFrameSection, variable}, u16(whole), text(frame[:128])), uint64(whole), 128},
		{"410 and 315", of([]uint16{ieSectionOctets, 2, ieFrameSection, variable}, u16(whole), text(frame[:128])), uint64(whole), 128},
		{"312, 410 and 315 of fixed length", of([]uint16{ieFrameSize, 2, ieSectionOctets, 2, ieFrameSection, 128}, u16(whole, 60), padded), uint64(whole), 60},
		{"312, 103 and 104 of fixed length", of([]uint16{ieFrameSize, 2, ieLayer2Offset, 2, ieLayer2Size, 2, ieLayer2Section, 128}, u16(whole, 0, 60), padded), uint64(whole), 60},
		{"315 alone", of([]uint16{ieFrameSection, variable}, text(frame[:128])), 128, 128},
		{"a frame shorter than its section", of([]uint16{ieFrameSize, 2, ieFrameSection, 128}, u16(60), padded), 60, 60},
		{"sizes beyond all packets", of([]uint16{ieFrameSize, 8, ieSectionOctets, 8, ieFrameSection, variable}, u64(1<<63, 1<<63), text(frame[:128])), 1 << 16, 128},
		{"not from the beginning", of([]uint16{ieSectionOffset, 2, ieFrameSection, variable}, u16(14), text(frame[:128])), 0, 0},
		{"104 not from the beginning", of([]uint16{ieLayer2Offset, 2, ieLayer2Section, variable}, u16(14), text(frame[:128])), 0, 0},
		{"313 not from the beginning", of([]uint16{ieSectionOffset, 2, ieHeaderSection, variable}, u16(20), text(frame[14:128])), 0, 0},
		{"no Ethernet", of([]uint16{ieFrameType, 2, ieFrameSection, variable}, u16(2), text(frame[:128])), 0, 0},
		{"313 of a frame that is no Ethernet", of([]uint16{ieFrameType, 2, ieHeaderSection, variable}, u16(2), text(frame[14:128])), 114, 114},
		{"counters beside", of([]uint16{iePackets, 4, ieOctets, 4, ieFrameSection, variable}, u32(3, 1700), text(frame[:128])), 1700, 128},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := session()
			got := take(t, s, 0, tt.data)
			switch {
			case tt.bytes == 0:
				if len(got) != 0 || s.Health(noon()).Skipped != 1 {
					t.Errorf("told %+v", got)
				}
			case len(got) != 1 || got[0].Bytes != tt.bytes || len(got[0].Header) != tt.header || got[0].Protocol != traffic.ProtoUDP:
				t.Errorf("told %+v, want %d bytes and a header of %d", got, tt.bytes, tt.header)
			}
		})
	}
}

// NetFlow Lite tells in options how it samples, and in records what it has sampled; a connection's number beside ASA's counters is not read.
func TestVendors(t *testing.T) {
	frame := packettest.TCP4(packettest.Payload(500)).Bytes()
	s := session()
	take(t, s, 0, ipfix(0, 0, setOf(3, announceOptions10(300, 1, ieSelectorID, 4, 304, 2, ieSamplingSize, 4, ieSamplingPopulated, 4)), setOf(300, u32(9), u16(3), u32(1, 32))))
	lite := take(t, s, 0, of([]uint16{ieSelectorID, 4, ieFrameSize, 2, ieLayer2Offset, 2, ieLayer2Size, 2, ieLayer2Section, variable, ieObserved, 8, 323, 8},
		u32(9), u16(uint16(len(frame)), 0, 64), text(frame[:64]), u64(1000, uint64(exportedAt(-1))*1000)))
	if len(lite) != 1 || lite[0].Rate != 32 || lite[0].RateOrigin != traffic.RateOptions || lite[0].Packets != 1 || lite[0].Bytes != uint64(len(frame)) ||
		lite[0].End != at(-1).UnixNano() {
		t.Errorf("NetFlow Lite: told %+v", lite)
	}
	asa := []uint16{ieSource4, 4, ieDestination4, 4, ieInitiatorOctets, 4, ieResponderOctets, 4}
	values := join(ip("192.0.2.1"), ip("198.51.100.7"), u32(3000, 4501))
	want := take(t, session(), 0, of(asa, values))
	got := take(t, session(), 0, of(append(asa, 148, 4, 35, 1, 49, 1), values, u32(77), u8(2, 2)))
	if diff := cmp.Diff(want, got, same()); diff != "" || len(got) != 2 || got[0].Packets != 2 || got[1].Packets != 4 {
		t.Errorf("ASA (-want +got)\n%s", diff)
	}
}

// What waited when templates are restored is given up, and nothing of it is left.
func TestRestoreGivesUp(t *testing.T) {
	s := session()
	take(t, s, 0, v9(0, 0, setOf(256, record(1)), setOf(300, record(1)), setOf(256, record(2))))
	if err := s.Restore(keep(t, known(t)), at(1)); err != nil {
		t.Fatal(err)
	}
	if h := s.Health(at(1)); h.Waiting != 0 || h.PendingBytes != 0 || h.GivenUp != 3 {
		t.Errorf("%d wait (%d bytes), %d given up; want 0, 0 and 3", h.Waiting, h.PendingBytes, h.GivenUp)
	}
	if got := take(t, s, 2, v9(1, 2, setOf(256, record(3)))); len(got) != 1 {
		t.Errorf("told %d records by what was restored, want 1", len(got))
	}
	take(t, s, int(time.Hour/time.Second), v9(2, 3600, setOf(300, record(1))))
	sane(t, s)
}
