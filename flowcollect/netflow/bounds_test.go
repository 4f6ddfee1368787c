package netflow

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// Neither sets of nothing nor those of a template that never comes keep others from waiting.
func TestWaitingIsShared(t *testing.T) {
	s := session(func(o *Options) { o.MaxPendingBytes = 20_000 })
	for range 500 {
		take(t, s, 0, ipfix(0, 0, setOf(300), setOf(301, make([]byte, 700)), setOf(301)))
	}
	h := s.Health(noon())
	if h.PendingBytes > 10_000 || h.PendingBytes < 9_000 || h.UnknownTemplate != 500 {
		t.Errorf("%d bytes wait of %d sets, want about half of the room of 500", h.PendingBytes, h.UnknownTemplate)
	}
	take(t, s, 0, ipfix(0, 0, setOf(256, shortRecord(1))))
	if got := packets(take(t, s, 0, ipfix(0, 0, setOf(2, announce(256, short()...))))); !cmp.Equal(got, []uint64{1}) {
		t.Errorf("told %v, want what has waited", got)
	}
	if again := s.Health(noon()); again.PendingBytes != h.PendingBytes || again.Decoded != 1 {
		t.Errorf("%+v", again)
	}
}

// Sets are released and given up in any order, and the others stay.
func TestWaitingInAnyOrder(t *testing.T) {
	for _, order := range [][]uint16{{256, 257, 258, 259}, {259, 258, 257, 256}, {257, 258, 256, 259}, {258, 256, 257, 259}, {257, 259, 256, 258}} {
		s := session()
		for i := range uint16(8) {
			take(t, s, int(i), ipfix(0, int(i), setOf(256+i%4, shortRecord(uint32(i)+1))))
		}
		for i, id := range order {
			want := []uint64{uint64(id-256) + 1, uint64(id-256) + 5}
			if i == 3 { // the last one is too late for its first set
				want = want[1:]
			}
			seconds := 8
			if i == 3 {
				seconds = 31 + int(id-256)
			}
			if diff := cmp.Diff(want, packets(take(t, s, seconds, ipfix(0, seconds, setOf(2, announce(id, short()...)))))); diff != "" {
				t.Errorf("%v, %d (-want +got)\n%s", order, id, diff)
			}
			sane(t, s)
		}
	}
}

// A datagram that cannot be read makes no domain and takes no domain's place, be that one as idle as may be.
func TestBrokenMakesNoRoom(t *testing.T) {
	s := session(func(o *Options) { o.MaxDomains = 2 })
	take(t, s, 0, v9(0, 0, setOf(0, announce(256, short()...))))
	take(t, s, 0, ipfix(0, 0, setOf(2, announce(256, short()...)), setOf(300, u32(1))))
	later := noon().Add(2 * idleDomain)
	before := s.Health(noon())
	for name, b := range map[string][]byte{
		"v5":                     v5(0, 0, record5(1))[:71],
		"v9 set":                 v9Of(8, 0, 0, u16(256, 9), u32(0)),
		"v9 template":            v9Of(8, 0, 0, setOf(0, announce(255, short()...))),
		"template, then nothing": ipfixOf(8, 0, 0, setOf(2, announce(256, short()...)), u16(256, 3)),
		"record":                 ipfixOf(8, 0, 0, setOf(2, announce(256, 82, variable)), setOf(256, u8(9, 1))),
		"withdrawn too often":    ipfixOf(8, 0, 0, setOf(2, join(repeat(withdrawMost+1, u16(2, 0))...))),
	} {
		if flows, err := decode(s, later, b); err == nil || len(flows) > 0 {
			t.Errorf("%s: told %v, no error", name, flows)
		}
		before.Errors++
	}
	if diff := cmp.Diff(before, s.Health(noon())); diff != "" {
		t.Errorf("(-before +after)\n%s", diff)
	}
	if got := packets(take(t, s, 10, v9(1, 10, setOf(256, shortRecord(4))))); !cmp.Equal(got, []uint64{4}) {
		t.Errorf("told %v afterwards", got)
	}
}

// Templates of more fields than anybody needs, and of more than there is room for.
func TestManyFields(t *testing.T) {
	many := func(n int) (fields []uint16) {
		for range n {
			fields = append(fields, ieTOS, 1)
		}
		return fields
	}
	s := session(func(o *Options) { o.MaxTemplates = 512 })
	for _, n := range []int{fieldsMost + 1, 16_000} {
		before := s.Health(noon()).Refused
		take(t, s, 0, ipfix(0, 0, setOf(2, announce(256, many(n)...)), setOf(256, make([]byte, 100))))
		if h := s.Health(noon()); h.Refused != before+1 || h.Templates != 0 || s.fields != 0 {
			t.Errorf("%d fields: %d refused, %d fields in force", n, h.Refused, s.fields)
		}
	}
	for i := range uint16(20) {
		take(t, s, 0, ipfix(0, 0, setOf(2, announce(256+i, many(1000)...))))
	}
	if h := s.Health(noon()); h.Templates != 8 || h.Refused != 2+12 || s.fields != 8000 {
		t.Errorf("%d templates, %d refused, %d fields; want 8, 14 and 8000", h.Templates, h.Refused, s.fields)
	}
	// What is not let in leaves nothing in its place: its data is of another form.
	take(t, s, 0, ipfix(0, 0, setOf(2, announce(256, many(4000)...)), setOf(256, make([]byte, 2000))))
	if h := s.Health(noon()); h.Templates != 7 || h.Refused != 15 || h.Waiting != 1 {
		t.Errorf("%d templates, %d refused, %d waiting; want 7, 15 and 1", h.Templates, h.Refused, h.Waiting)
	}
	sane(t, s)
}

// Templates that were neither repeated nor used make room as soon as they are too old, and not before.
func TestExpiry(t *testing.T) {
	s := session(func(o *Options) { o.MaxTemplates, o.TemplateLife = 3, time.Hour })
	announced := func(seconds int, id uint16) {
		take(t, s, seconds, ipfix(0, seconds, setOf(2, announce(id, short()...))))
	}
	for i, tt := range []struct {
		seconds          int
		id               uint16
		expired, refused uint64
	}{
		{0, 256, 0, 0}, {600, 257, 0, 0}, {1200, 258, 0, 0},
		{1800, 300, 0, 1}, {3600, 300, 0, 2}, // not yet
		{3601, 300, 1, 2}, {3602, 301, 1, 3}, {4201, 301, 2, 3}, {4202, 302, 2, 4}, {4801, 302, 3, 4},
		{20_000, 303, 6, 4},
	} {
		announced(tt.seconds, tt.id)
		if h := s.Health(noon()); h.Expired != tt.expired || h.Refused != tt.refused {
			t.Errorf("%d. %d expired, %d refused; want %d and %d", i+1, h.Expired, h.Refused, tt.expired, tt.refused)
		}
	}
}

// What is restored is as old as it was when it was kept.
func TestExpiryOfRestored(t *testing.T) {
	limits := func(o *Options) { o.MaxTemplates, o.TemplateLife = 1, time.Hour }
	old := session(limits)
	take(t, old, 0, ipfix(0, 0, setOf(2, announce(256, short()...))))
	s := session(limits)
	take(t, s, 1800, ipfix(0, 1800, setOf(2, announce(256, short()...))))
	take(t, s, 1800, ipfix(0, 1800, setOf(2, announce(257, short()...))))
	if err := s.Restore(keep(t, old), at(1801)); err != nil {
		t.Fatal(err)
	}
	take(t, s, 3601, ipfix(0, 3601, setOf(2, announce(300, short()...))))
	if h := s.Health(at(3601)); h.Expired != 1 || h.Refused != 1 || h.Domains[0].TemplateList[0].ID != 300 {
		t.Errorf("%+v", h)
	}
}

// Whatever options and records say of sampling, a rate is at least 1, and one that is beyond all numbers says nothing.
func TestRateNeverWraps(t *testing.T) {
	elements := []uint16{ieSamplingInterval, ieSamplerInterval, ieSamplingPackets, ieSamplingSpace, ieSamplingSize, ieSamplingPopulated, ieProbability, ieObserved, ieSelected}
	values := []uint64{0, 1, 2, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 1, 1 << 63, math.MaxUint64, math.Float64bits(0.5), math.Float64bits(math.Inf(1))}
	told := map[traffic.RateOrigin]int{}
	for _, a := range elements {
		for _, b := range elements {
			for _, n := range values {
				for _, m := range values {
					s := session()
					take(t, s, 0, ipfix(0, 0, setOf(3, announceOptions10(300, 1, ieSelectorID, 2, a, 8, b, 8)), setOf(300, u16(5), u64(n, m))))
					flows := append(take(t, s, 0, with([]uint16{ieSelectorID, 2}, u16(5))), take(t, s, 0, with([]uint16{a, 8, b, 8}, u64(n, m)))...)
					for _, f := range flows {
						if told[f.RateOrigin]++; f.Rate == 0 {
							t.Fatalf("elements %d of %#x and %d of %#x: told %+v", a, n, b, m, f)
						}
					}
				}
			}
		}
	}
	if told[traffic.RateOptions] == 0 || told[traffic.RateRecord] == 0 || told[traffic.RateUnknown] == 0 {
		t.Errorf("rates are told of %v", told)
	}
	interval := take(t, session(), 0, with([]uint16{ieSamplingInterval, 8}, u64(1<<32)))
	if interval[0].Rate != 1 || interval[0].RateOrigin == traffic.RateRecord {
		t.Errorf("one in 2^32: told %+v", interval)
	}
	if most := take(t, session(), 0, with([]uint16{ieSamplingInterval, 8}, u64(1<<32-1))); most[0].Rate != 1<<32-1 {
		t.Errorf("one in 2^32-1: told %+v", most)
	}
}
