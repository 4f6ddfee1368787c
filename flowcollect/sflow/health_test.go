package sflow

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

func at(sequence, uptime uint32, samples ...[]byte) []byte {
	h := base()
	h.sequence, h.uptime = sequence, uptime
	return h.with(samples...)
}

// take is a sample by its number, with a pool that fits a rate of one in 100.
func take(sequence, rate, drops uint32) []byte {
	x := plain()
	x.sequence, x.rate, x.drops, x.pool = sequence, rate, drops, sequence*100
	return x.with(ethernet(packettest.TCP4()))
}

func TestHealthOfAgents(t *testing.T) {
	for _, tt := range []struct {
		name      string
		datagrams [][]byte
		want      Agent
	}{
		{"in order", [][]byte{at(1, 1000), at(2, 2000)}, Agent{Datagrams: 2, Uptime: 2 * time.Second}},
		{"lost", [][]byte{at(1, 1000), at(5, 2000)}, Agent{Datagrams: 2, Lost: 3, Uptime: 2 * time.Second}},
		{"overtaken", [][]byte{at(1, 1000), at(3, 3000), at(2, 2000)}, Agent{Datagrams: 3, Late: 1, Uptime: 3 * time.Second}},
		{"twice", [][]byte{at(1, 1000), at(1, 1000)}, Agent{Datagrams: 2, Duplicates: 1, Uptime: time.Second}},
		{"anew soon after the start", [][]byte{at(20, 60_000), at(1, 100), at(2, 200)}, Agent{Datagrams: 3, Restarts: 1, Uptime: 200 * time.Millisecond}},
		{"anew with a number that is higher", [][]byte{at(20, 60_000), at(30, 100), at(31, 200)}, Agent{Datagrams: 3, Restarts: 1, Uptime: 200 * time.Millisecond}},
		{"uptime wraps", [][]byte{at(1, 0xffffff00), at(2, 100)}, Agent{Datagrams: 2, Uptime: 100 * time.Millisecond}},
		{"no uptime", [][]byte{at(1, 0), at(2, 0)}, Agent{Datagrams: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := session()
			if _, err := decode(s, tt.datagrams...); err != nil {
				t.Fatal(err)
			}
			want := tt.want
			want.ID, want.Source, want.Address = 7, traffic.SFlow5, agentAddress()
			want.Seen = noon().Add(time.Duration(len(tt.datagrams)-1) * time.Second)
			if diff := cmp.Diff([]Agent{want}, s.Health(noon()).Agents, addresses()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestHealthOfSources(t *testing.T) {
	many := func(from, to uint32) (samples [][]byte) {
		for n := from; n <= to; n++ {
			samples = append(samples, take(n, 100, 0))
		}
		return samples
	}
	notice := tagged(sampleDiscarded, words(1, 0, 3, 5, 3, 0, 258, 1), ethernet(packettest.TCP4()))
	later := tagged(sampleDiscarded, words(2, 0, 3, 9, 3, 0, 258, 1), ethernet(packettest.TCP4()))
	for _, tt := range []struct {
		name      string
		datagrams [][]byte
		want      []Source
		changes   uint64
		drops     uint64
	}{
		{"in order", [][]byte{at(1, 0, take(1, 100, 0), take(2, 100, 0))}, []Source{{Rate: 100, Samples: 2}}, 0, 0},
		{"lost", [][]byte{at(1, 0, take(1, 100, 0)), at(3, 0, take(9, 100, 0))}, []Source{{Rate: 100, Samples: 2, Lost: 7}}, 0, 0},
		{"another rate", [][]byte{at(1, 0, take(1, 100, 0), take(2, 400, 0), take(3, 400, 0))}, []Source{{Rate: 400, Samples: 3}}, 1, 0},
		{"drops count from the first sample on", [][]byte{at(1, 0, take(1, 100, 50), take(2, 100, 53))}, []Source{{Rate: 100, Samples: 2, Drops: 3}}, 0, 3},
		{"drops that are fewer", [][]byte{at(1, 0, take(1, 100, 50), take(2, 100, 0), take(3, 100, 1))}, []Source{{Rate: 100, Samples: 3, Drops: 1}}, 0, 1},
		{"the agent begins anew", [][]byte{at(50, 60_000, take(500, 100, 9)), at(1, 10, take(1, 100, 0), take(2, 100, 0))}, []Source{{Rate: 100, Samples: 3}}, 0, 0},
		{"an older sample moves nothing", [][]byte{at(1, 0, take(1, 100, 0), take(3, 100, 7), take(2, 100, 2))}, []Source{{Rate: 100, Samples: 3, Drops: 7}}, 0, 7},
		{"measured", [][]byte{at(1, 0, many(1, 150)...)}, []Source{{Rate: 100, Samples: 150, Measured: 100}}, 0, 0},
		{"measured with losses", [][]byte{at(1, 0, many(1, 50)...), at(2, 0, many(100, 150)...)}, []Source{{Rate: 100, Samples: 101, Lost: 49, Measured: 100}}, 0, 0},
		{"notifications are numbered apart", [][]byte{at(1, 0, take(7, 100, 0), notice, take(8, 100, 0), later)},
			[]Source{{Rate: 100, Samples: 2}, {Rate: 1, Samples: 2, Discards: true, Drops: 4}}, 0, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := session()
			if _, err := decode(s, tt.datagrams...); err != nil {
				t.Fatal(err)
			}
			h := s.Health(noon())
			for i := range tt.want {
				tt.want[i].Agent, tt.want[i].Address, tt.want[i].Index = 7, agentAddress(), 3
			}
			if diff := cmp.Diff(tt.want, h.Sources, addresses()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if h.RateChange != tt.changes || h.AgentDrops != tt.drops {
				t.Errorf("%d changes of rates, %d drops; want %d, %d", h.RateChange, h.AgentDrops, tt.changes, tt.drops)
			}
		})
	}
}

// Several agents may send from one address, and each numbers for itself.
func TestHealthOfSeveral(t *testing.T) {
	s := session()
	for n := range uint32(3) {
		for _, agent := range []string{"192.0.2.1", "2001:db8::1"} {
			for sub := range uint32(2) {
				h := head{version: 5, agent: agent, sub: sub, sequence: n*10 + sub*100, uptime: n}
				if _, err := decode(s, h.with(take(n+1, 100, 0))); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	h := s.Health(noon())
	if len(h.Agents) != 4 || len(h.Sources) != 4 {
		t.Fatalf("%d agents, %d sources; want 4 of each", len(h.Agents), len(h.Sources))
	}
	for i, a := range h.Agents {
		if a.ID != uint32(i%2) || a.Datagrams != 3 || a.Lost != 18 || h.Sources[i].Lost != 0 {
			t.Errorf("agent %d: %+v, source %+v", i, a, h.Sources[i])
		}
	}
}

// A million agents and sources cost what MaxSources allows; their samples are told all the same.
func TestBounded(t *testing.T) {
	const most = 64
	s := session(func(o *Options) { o.MaxSources = most })
	flows := 0
	for n := range uint32(2000) {
		x := plain()
		x.id, x.input = n, n
		h := base()
		h.sub = n / 8
		if err := s.Decode(h.with(x.with(ethernet(packettest.TCP4())), tagged((n%4000)<<12|7)), noon(), func(*traffic.Flow) { flows++ }); err != nil {
			t.Fatal(err)
		}
	}
	h := s.Health(noon())
	if got := len(h.Agents) + len(h.Sources); got != most || flows != 2000 || h.Unfollowed == 0 || len(h.Formats) != mostFormats || h.Unknown != 2000 {
		t.Errorf("%d agents and sources (most %d), %d flows, %d not followed, %d formats, %d of them", got, most, flows, h.Unfollowed, len(h.Formats), h.Unknown)
	}
}

func TestFormats(t *testing.T) {
	s := session()
	unknown := func(enterprise, number uint32) []byte { return tagged(enterprise<<12|number, words(1, 2, 3)) }
	_, err := decode(s, base().with(
		unknown(4413, 1), unknown(0, 77),
		plain().with(unknown(9, 2), unknown(9, 2), unknown(0, 1038), unknown(0, 900), ethernet(packettest.TCP4())),
		tagged(sampleCounters, words(1, 3, 3), unknown(0, 2), unknown(4413, 3), unknown(0, 2001)),
	))
	if err != nil {
		t.Fatal(err)
	}
	want := []Format{{KindSample, 0, 77, 1}, {KindSample, 4413, 1, 1}, {KindFlow, 0, 900, 1}, {KindFlow, 9, 2, 2}, {KindCounter, 4413, 3, 1}}
	if diff := cmp.Diff(want, s.Health(noon()).Formats); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := s.Health(noon()).Unknown; got != 6 {
		t.Errorf("%d unknown, want 6", got)
	}
}

func TestCounters(t *testing.T) {
	record := tagged(counterInterface, interfaceCounters())
	for _, tt := range []struct {
		name      string
		datagram  []byte
		told      int
		malformed uint64
	}{
		{"counter sample", base().with(tagged(sampleCounters, words(1, 3, 2), tagged(2, make([]byte, 52)), record)), 1, 0},
		{"expanded", base().with(tagged(sampleCountersExpanded, words(1, 0, 3, 1), record)), 1, 0},
		{"two", base().with(tagged(sampleCounters, words(1, 3, 2), record, record)), 2, 0},
		{"cut off", base().with(tagged(sampleCounters, words(1, 3, 1), tagged(counterInterface, interfaceCounters()[:84]))), 0, 1},
		{"none", base().with(tagged(sampleCounters, words(1, 3, 0))), 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var told []traffic.InterfaceCounters
			s := session(func(o *Options) { o.Counters = func(c *traffic.InterfaceCounters) { told = append(told, *c) } })
			if _, err := decode(s, tt.datagram); err != nil {
				t.Fatal(err)
			}
			var want []traffic.InterfaceCounters
			for range tt.told {
				want = append(want, traffic.InterfaceCounters{
					Exporter: exporter(), Index: 3, Speed: 10_000_000_000, Up: true, InBytes: 1 << 32, InPackets: 60, InDrops: 40, InErrors: 50,
					OutBytes: 2<<32 | 5, OutPackets: 32, OutDrops: 41, OutErrors: 51,
				})
			}
			if diff := cmp.Diff(want, told, addresses()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if got := s.Health(noon()).Counts; got.Counters != 1 || got.Malformed != tt.malformed {
				t.Errorf("%d counter samples, %d malformed; want 1, %d", got.Counters, got.Malformed, tt.malformed)
			}
		})
	}
	if _, err := decode(session(), base().with(tagged(sampleCounters, words(1, 3, 1), record))); err != nil {
		t.Errorf("with nobody to tell: %v", err)
	}
}
