package netflow

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// What records are worth, by all the ways in which exporters say it.
func TestRate(t *testing.T) {
	recordWith := func(fields []uint16, values ...[]byte) [][]byte { return [][]byte{with(fields, values...)} }
	// The datagrams of options come first; the record is in domain 7, names sampler 5 or none, and goes from interface 3 to 4.
	named := with([]uint16{ieSamplerID, 1, ieInput, 2, ieOutput, 2, ieDirection, 1}, u8(5), u16(3, 4), u8(1))
	unnamed := with([]uint16{ieInput, 2, ieOutput, 2}, u16(3, 4))
	named0 := with([]uint16{ieSamplerID, 2, ieInput, 2}, u16(0, 3))
	options := func(domain uint32, scopes int, fields []uint16, values ...[]byte) []byte {
		return ipfixOf(domain, 0, 0, setOf(3, announceOptions10(300, scopes, fields...)), setOf(300, join(values...)))
	}
	sampler := func(domain uint32, id, rate uint32) []byte {
		return options(domain, 1, []uint16{ieSelectorID, 8, ieSamplerInterval, 4}, u64(uint64(id)), u32(rate))
	}
	whole := func(domain, rate uint32) []byte {
		return options(domain, 1, []uint16{144, 4, ieSamplingInterval, 4}, u32(1), u32(rate))
	}
	about := func(index, rate uint32) []byte {
		return options(7, 1, []uint16{ieInput, 4, ieSamplingInterval, 4}, u32(index, rate))
	}
	selector := func(fields []uint16, values ...[]byte) [][]byte {
		return [][]byte{options(7, 1, append([]uint16{ieSelectorID, 8, 304, 2}, fields...), u64(5), u16(1), join(values...)), named}
	}
	float := func(p float64) []byte { return u64(math.Float64bits(p)) }
	for _, tt := range []struct {
		name      string
		datagrams [][]byte
		rate      uint32
		origin    traffic.RateOrigin
	}{
		{"nothing is said", [][]byte{unnamed}, 1, traffic.RateAssumed},
		{"34 in the record", recordWith([]uint16{ieSamplingInterval, 4}, u32(100)), 100, traffic.RateRecord},
		{"34 in the record says nothing", recordWith([]uint16{ieSamplingInterval, 4}, u32(0)), 1, traffic.RateAssumed},
		{"50 in the record", recordWith([]uint16{ieSamplerInterval, 2}, u16(100)), 100, traffic.RateRecord},
		{"305 and 306 in the record", recordWith([]uint16{ieSamplingPackets, 4, ieSamplingSpace, 4}, u32(2, 198)), 100, traffic.RateRecord},
		{"318 and 319 in the record", recordWith([]uint16{ieObserved, 8, ieSelected, 8}, u64(10_000, 101)), 99, traffic.RateRecord},
		{"the record is closer than options", append([][]byte{whole(7, 1000)}, recordWith([]uint16{ieSamplingInterval, 4}, u32(100))...), 100, traffic.RateRecord},
		{"sampler", [][]byte{sampler(7, 5, 100), named}, 100, traffic.RateOptions},
		{"sampler of which nobody has said anything", [][]byte{named}, 1, traffic.RateUnknown},
		{"another sampler", [][]byte{sampler(7, 6, 100), named}, 1, traffic.RateUnknown},
		{"sampler told by another domain", [][]byte{sampler(8, 5, 100), sampler(9, 5, 100), named}, 100, traffic.RateOptions},
		{"other domains do not agree", [][]byte{sampler(8, 5, 100), sampler(9, 5, 200), named}, 1, traffic.RateUnknown},
		{"305 and 306", selector([]uint16{ieSamplingPackets, 4, ieSamplingSpace, 4}, u32(1, 99)), 100, traffic.RateOptions},
		{"305 and no space", selector([]uint16{ieSamplingPackets, 4, ieSamplingSpace, 4}, u32(1, 0)), 1, traffic.RateOptions},
		{"305 alone", selector([]uint16{ieSamplingPackets, 4}, u32(100)), 100, traffic.RateOptions},
		{"309 and 310", selector([]uint16{ieSamplingSize, 4, ieSamplingPopulated, 4}, u32(2, 200)), 100, traffic.RateOptions},
		{"311", selector([]uint16{ieProbability, 8}, float(0.01)), 100, traffic.RateOptions},
		{"311 of four bytes", selector([]uint16{ieProbability, 4}, u32(math.Float32bits(0.01))), 100, traffic.RateOptions},
		{"311 says nothing", selector([]uint16{ieProbability, 8}, float(math.NaN())), 1, traffic.RateUnknown},
		{"311 is more than all", selector([]uint16{ieProbability, 8}, float(7)), 1, traffic.RateUnknown},
		{"a rate beyond all numbers", selector([]uint16{ieProbability, 8}, float(1e-30)), 1, traffic.RateUnknown},
		{"318 and 319", selector([]uint16{ieObserved, 8, ieSelected, 8}, u64(10_000, 101)), 99, traffic.RateOptions},
		{"changed", [][]byte{sampler(7, 5, 100), sampler(7, 5, 200), named}, 200, traffic.RateOptions},
		{"of the whole domain", [][]byte{whole(7, 100), unnamed}, 100, traffic.RateOptions},
		{"of another domain", [][]byte{whole(8, 100), unnamed}, 1, traffic.RateAssumed},
		{"of the exporter", [][]byte{whole(0, 100), unnamed}, 100, traffic.RateOptions},
		{"of the whole domain, for a sampler that nobody else explains", [][]byte{whole(7, 100), named}, 100, traffic.RateOptions},
		{"of the interface that it came in by", [][]byte{about(3, 100), about(4, 200), unnamed}, 100, traffic.RateOptions},
		{"of the interface that it left by", [][]byte{about(3, 100), about(4, 200), with([]uint16{ieInput, 2, ieOutput, 2, ieDirection, 1}, u16(3, 4), u8(1))}, 200, traffic.RateOptions},
		{"of another interface", [][]byte{about(9, 100), unnamed}, 1, traffic.RateAssumed},
		{"of the only sampler", [][]byte{sampler(7, 5, 100), unnamed}, 100, traffic.RateOptions},
		{"of samplers that are alike", [][]byte{sampler(7, 5, 100), sampler(7, 6, 200), sampler(7, 5, 200), unnamed}, 200, traffic.RateOptions},
		{"of samplers that are not", [][]byte{sampler(7, 5, 100), sampler(7, 6, 200), unnamed}, 1, traffic.RateAssumed},
		{"sampler 0 is none", [][]byte{sampler(7, 5, 100), named0}, 1, traffic.RateAssumed},
		{"sampler 0 is one", [][]byte{sampler(7, 0, 100), named0}, 100, traffic.RateOptions},
		{"sampler 0 where there are no samplers", [][]byte{whole(7, 100), named0}, 100, traffic.RateOptions},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := session()
			var got []traffic.Flow
			for _, b := range tt.datagrams {
				got = append(got, take(t, s, 0, b)...)
			}
			if len(got) != 1 || got[0].Rate != tt.rate || got[0].RateOrigin != tt.origin {
				t.Errorf("told %+v, want one in %d (%s)", got, tt.rate, tt.origin)
			}
		})
	}
}

// Version 9 numbers scopes in a way of its own, and Cisco puts the sampler among the options.
func TestOptions9(t *testing.T) {
	s := session()
	take(t, s, 0, v9(0, 0,
		setOf(1, announceOptions9(300, 1, 1, 4, ieSamplerID, 1, 49, 1, ieSamplerInterval, 2, 84, 5), announceOptions9(301, 1, scopeInterface, 4, ieSamplingInterval, 4), u16(0)),
		setOf(300, u32(0), u8(5, 2), u16(100), []byte("five!"), u8(0, 0, 0)), setOf(301, u32(3, 200))))
	take(t, s, 0, v9(1, 0, setOf(1, announceOptions9(302, 1, 1, 4, ieActiveTimeout, 2, ieInactiveTimeout, 2, ieSamplingInterval, 4)), setOf(302, u32(0), u16(60, 15), u32(1000))))
	d := only(t, s)
	want := []Sampler{{Rate: 1000}, {ID: 5, Named: true, Rate: 100}, {Interface: 3, Rate: 200}}
	if diff := cmp.Diff(want, d.SamplerList, cmp.Transformer("", func(s Sampler) [3]uint64 {
		named := uint64(0)
		if s.Named {
			named = 1
		}
		return [3]uint64{s.ID<<1 | named, uint64(s.Interface), uint64(s.Rate)}
	})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if d.Active != time.Minute || d.Inactive != 15*time.Second {
		t.Errorf("timeouts of %s and %s, want 1 min and 15 s", d.Active, d.Inactive)
	}
	h := s.Health(noon())
	if h.Options != 3 || h.Rates != 3 || h.Records != 0 {
		t.Errorf("%d options, %d rates, %d records; want 3, 3 and 0", h.Options, h.Rates, h.Records)
	}
}

// Neither samplers nor what they cost grow without end.
func TestSamplersBounded(t *testing.T) {
	s := session()
	announcement := setOf(3, announceOptions10(300, 1, ieSelectorID, 8, ieSamplerInterval, 4))
	var all []byte
	for id := range uint64(samplersMost + 100) {
		all = join(all, u64(id), u32(100))
	}
	take(t, s, 0, ipfix(0, 0, announcement, setOf(300, all)))
	if h := s.Health(noon()); len(h.Domains[0].SamplerList) != samplersMost || h.Refused != 100 {
		t.Errorf("%d samplers and %d refused, want %d and 100", len(h.Domains[0].SamplerList), h.Refused, samplersMost)
	}
}
