package flowcollect

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"weir/flowcollect/netflow"
	"weir/flowcollect/sflow"
	"weir/userspace/traffic"
)

// exporter is what one worker knows of one sender of datagrams.
type exporter struct {
	address     netip.Addr // the sender's, or the agent's
	sender      netip.Addr
	conf        *ExporterOptions
	group       *group           // of conf; nil: none
	member      uint16           // in it
	netflow     *netflow.Session // nil: none of its kind has come
	sflow       *sflow.Session
	streams     []*stream // connections
	past        tally     // of connections that have ended
	first, seen time.Time
	sources     uint16 // a bit per traffic.FlowSource

	datagrams, octets, records     uint64
	packets, bytes                 uint64 // of the records that counted, scaled
	withheld, duplicates, filtered uint64
	notices, errors                uint64
	lastError                      error
	rate                           uint32
	origin                         traffic.RateOrigin
	sides                          sides
	interfaces                     map[uint32]traffic.InterfaceCounters
	before                         [2]mark // what had been counted a while ago: the older one first
	kept                           kept    // what is to outlive a restart, as it was when there were keptOf changes
	keptOf                         uint64
}

// ExporterState is an exporter as operators see it. Counters run since it was first heard.
type ExporterState struct {
	Address         netip.Addr
	Name, Group     string
	Sources         []traffic.FlowSource
	Connections     int // over TCP, now
	Datagrams       uint64
	DatagramBytes   uint64
	Records         uint64
	Packets, Bytes  uint64  // of the records that counted, multiplied by their sampling rates
	Lost            uint64  // by gaps in sequence numbers, in the protocol's own unit
	LostPercent     float64 // of what should have come lately
	UnknownTemplate uint64  // data sets whose template was not known when they came
	GivenUp         uint64  // of those, how many were given up
	WaitingSets     int     // of those, how many still wait
	Templates       int
	TemplateChanges uint64 // templates that became others
	Collisions      uint64 // of those, that became again what they were
	Rate            uint32 // of the last record
	RateOrigin      traffic.RateOrigin
	Withheld        uint64 // records that were not counted because nobody knows their sampling rate
	Duplicates      uint64 // that were told already, or on the other side
	Filtered        uint64 // by interface, or by the filter
	Notices         uint64 // sFlow: notifications of discarded packets
	AgentDrops      uint64 // sFlow: samples that the agent says it has lost
	Unparsed        uint64 // sFlow: samples without readable addresses; NetFlow: records without traffic
	BadTimes        uint64 // records whose times were impossible
	Errors          uint64 // datagrams that could not be read
	LastError       string
	ClockOffset     time.Duration // the exporter's clock is ahead by so much
	ActiveTimeout   time.Duration // as it says, else estimated; 0: unknown
	InactiveTimeout time.Duration
	First, LastSeen time.Time
	Interfaces      []traffic.InterfaceCounters // by index
	Misrated        *Misrated                   // sFlow: a data source that does not sample as it says; nil: none
	Twice           *InterfacePair              // what it tells both of coming in and of going out; nil: nothing
	Recent          Recent
	Problems        []Problem
}

// Misrated is a data source of sFlow whose rate is not what its own count of packets says.
type Misrated struct {
	Index    uint32
	Rate     uint32  // as it says
	Measured float64 // by the packets that it says there were
}

// InterfacePair is the way of packets through an exporter, by the indexes of its interfaces.
type InterfacePair struct{ Input, Output uint32 }

// tally is what sessions know of an exporter, summed up.
type tally struct {
	lost, due                                    uint64 // due: what has come and what was lost
	unknown, givenUp, changes, unparsed, badTime uint64
	collisions, agentDrops                       uint64
	templates, waiting                           int
	offset, active, inactive                     time.Duration
	misrated                                     *Misrated
}

func (t *tally) addNetFlow(h netflow.Health) {
	t.unknown += h.UnknownTemplate
	t.givenUp += h.GivenUp
	t.changes += h.Changed
	t.unparsed += h.Skipped
	t.badTime += h.BadTimes
	t.templates += h.Templates
	t.collisions += h.Collisions
	t.waiting += h.Waiting
	for i := range h.Domains {
		d := &h.Domains[i]
		t.lost += d.Lost
		t.due += d.Lost
		if (d.Source == traffic.NetFlow9) != d.Swapped { // the sequence counts datagrams
			t.due += d.Datagrams
		} else {
			t.due += d.Records
		}
		if d.ClockOffset.Abs() > t.offset.Abs() {
			t.offset = d.ClockOffset
		}
		t.active, t.inactive = max(t.active, cmp.Or(d.Active, d.Longest)), max(t.inactive, d.Inactive)
	}
}

// ended leaves out what a session had that is over.
func (t *tally) ended() { t.templates, t.waiting, t.offset, t.active, t.inactive = 0, 0, 0, 0, 0 }

// As far as this may a measured sampling rate be from what is said: what is measured varies, and some agents count a port's packets in
// both directions.
const misratedBy = 2.5

func (t *tally) addSFlow(h sflow.Health) {
	t.agentDrops += h.AgentDrops
	t.unparsed += h.Unparsed
	for i := range h.Agents {
		t.lost += h.Agents[i].Lost
		t.due += h.Agents[i].Lost + h.Agents[i].Datagrams
	}
	for i := range h.Sources {
		s := &h.Sources[i]
		if said := float64(s.Rate); s.Class == 0 && !s.Discards && s.Measured >= 1 && (s.Measured > misratedBy*said || said > misratedBy*s.Measured) && t.misrated == nil {
			t.misrated = &Misrated{s.Index, s.Rate, s.Measured}
		}
	}
}

// tally sums up the exporter's sessions.
func (x *exporter) tally(now time.Time) tally {
	t := x.past
	if x.netflow != nil {
		t.addNetFlow(x.netflow.Health(now))
	}
	for _, s := range x.streams {
		t.addNetFlow(s.session.Health(now))
	}
	if x.sflow != nil {
		t.addSFlow(x.sflow.Health(now))
	}
	return t
}

// state describes an exporter as of now.
func (x *exporter) state(now time.Time) ExporterState {
	t := x.tally(now)
	s := ExporterState{
		Address: x.address, Name: x.conf.Name, Group: x.conf.Group, Connections: len(x.streams),
		Datagrams: x.datagrams, DatagramBytes: x.octets, Records: x.records, Packets: x.packets, Bytes: x.bytes,
		Lost: t.lost, UnknownTemplate: t.unknown, GivenUp: t.givenUp, WaitingSets: t.waiting, Templates: t.templates, TemplateChanges: t.changes, Collisions: t.collisions,
		Rate: x.rate, RateOrigin: x.origin, Withheld: x.withheld, Duplicates: x.duplicates, Filtered: x.filtered, Notices: x.notices,
		AgentDrops: t.agentDrops, Unparsed: t.unparsed, BadTimes: t.badTime, Errors: x.errors,
		ClockOffset: t.offset, ActiveTimeout: t.active, InactiveTimeout: t.inactive, First: x.first, LastSeen: x.seen,
		Misrated: t.misrated, Twice: x.sides.twice(), Recent: x.recent(&t, now),
	}
	s.LostPercent = s.Recent.lostPercent()
	if x.lastError != nil {
		s.LastError = x.lastError.Error()
	}
	for source := range traffic.FlowSourceCount {
		if x.sources&(1<<source) != 0 {
			s.Sources = append(s.Sources, source)
		}
	}
	for _, c := range x.interfaces {
		s.Interfaces = append(s.Interfaces, c)
	}
	slices.SortFunc(s.Interfaces, func(a, b traffic.InterfaceCounters) int { return cmp.Compare(a.Index, b.Index) })
	s.Problems = problems(&s, now)
	return s
}
