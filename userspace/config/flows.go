package config

import (
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// Flows is the flow telemetry that routers and switches send: sFlow, NetFlow and IPFIX.
type Flows struct {
	Listen          []netip.AddrPort // UDP; any protocol on any of them, in the file's order
	TCP             []netip.AddrPort // IPFIX over TCP
	Workers         int              // that decode; 0: one for each CPU
	ReceiveBuffer   int64            // bytes of each UDP socket
	Allow           []netip.Prefix   // who is listened to, sorted; empty: everybody
	MaxExporters    int              // at a time
	MaxTemplates    int              // of one exporter
	TemplateLife    time.Duration    // a template that is not repeated is forgotten after this
	Templates       string           // the file that templates outlive a restart in; empty: none
	Spread          bool             // a record counts over the time that it is of, not all at once
	UseAgentAddress bool             // an sFlow exporter is known by the agent address in the datagram, not by who sent it
	Exporters       []Exporter       // in the file's order, no two with the same Match
	Filters         FlowFilters
	Kafka           *FlowKafka // flow records from Kafka; nil: none
}

// Collects reports whether flow telemetry is received from exporters at all.
func (f *Flows) Collects() bool { return len(f.Listen)+len(f.TCP) > 0 }

// Measures reports whether there are any flow records, from exporters or from Kafka.
func (f *Flows) Measures() bool { return f.Collects() || f.Kafka != nil }

// Exporter is what the configuration knows of the exporters with an address in Match. The most specific Match wins.
type Exporter struct {
	Match            netip.Prefix // masked
	Name             string       // empty: they go by their addresses
	SamplingRate     uint32       // one in so many, whatever the exporter says; 0: what it says
	InterfaceRates   map[uint32]uint32
	DomainRates      map[uint32]uint32 // by observation domain, source id, or sub-agent
	Direction        ExporterDirection
	OnlyInterfaces   []uint32 // sorted; empty: all
	IgnoreInterfaces []uint32 // sorted
	Group            string   // exporters of one group see the same traffic, which counts once; empty: none
}

// ExporterDirection is which records of an exporter count.
type ExporterDirection string

const (
	ExporterIngress ExporterDirection = "ingress" // of packets that come in by an interface
	ExporterEgress  ExporterDirection = "egress"  // of packets that leave by one
	ExporterBoth    ExporterDirection = "both"    // whatever it exports
)

// FlowFilters decide about each flow record before it counts: the rules first, then the script.
type FlowFilters struct {
	Script  string         // Lua; empty: none
	Timeout time.Duration  // of one call of the script
	Rules   []traffic.Rule // the first that matches decides; each discards or accepts
}
