package metrics

import (
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// Flows is the collection of flow records since the daemon's start.
type Flows struct {
	Workers                           int
	ReceiveBuffer                     int64             // bytes of each UDP socket
	Datagrams, Bytes, Records         uint64            // taken in
	KernelDropped, Refused, OverLimit uint64            // datagrams: no room in a socket; sender not allowed; more exporters than there may be
	Undecodable                       map[string]uint64 // datagrams, by protocol; those that never were may be in it with 0
	Filter                            *FlowFilter       // nil: there is none
	Exporters                         []Exporter        // in an order that stays: what is over MaxExporters is left out
}

// FlowFilter is what the script and the rules have done with flow records.
type FlowFilter struct {
	Calls, Dropped, Rescaled, Errors, Runaways uint64
	SwitchedOff                                bool
}

// Exporter is one that sends flow records. Its counters begin when it was first heard.
type Exporter struct {
	Address                        netip.Addr
	Name                           string // by the configuration
	Datagrams, Records             uint64
	Packets, Bytes                 uint64 // that the counted records stand for
	Withheld, Duplicates, Filtered uint64 // records that were not counted
	Lost, UnknownTemplates, Errors uint64
	Templates                      int
	SamplingRate                   uint32
	SamplingOrigin                 traffic.RateOrigin
	ClockOffset                    time.Duration
	ActiveTimeout, InactiveTimeout time.Duration // 0: unknown
	LastSeen                       time.Time
	Problems                       int
}

// omitted is how many exporters are left out.
func (f *Flows) omitted() int {
	if f == nil {
		return 0
	}
	return max(0, len(f.Exporters)-MaxExporters)
}
