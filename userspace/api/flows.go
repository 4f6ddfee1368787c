package api

import (
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// FlowCollector is what receives flow records. Counters run since the daemon started.
type FlowCollector struct {
	Listen                            []string // "udp 0.0.0.0:2055", "tcp [::]:4739"
	Workers, Exporters                int
	ReceiveBuffer, ReceiveBufferAsked int64       // bytes of each UDP socket
	Datagrams, Bytes, Records         uint64      // taken in
	KernelDropped, Refused, OverLimit uint64      // datagrams: no room in a socket; sender not allowed; more exporters than there may be
	Undecodable                       []Tally     // by protocol
	Filter                            *FlowFilter // nil: there is none
}

// FlowFilter is what the script and the rules have done with flow records.
type FlowFilter struct {
	Calls, Dropped, Rescaled uint64
	Errors, Runaways         uint64 // calls that failed, and calls that took too long; their records are kept
	LastError                string
	SwitchedOff              bool
	Rules                    []Tally // records that each rule has decided about, by the rule's text
}

// ExporterStatus is who sends flow records.
type ExporterStatus struct {
	Configured bool // flow records are collected at all
	Exporters  []Exporter
}

// Exporter is a router or switch that sends flow records. Counters run since it was first heard.
type Exporter struct {
	Address          netip.Addr
	Name, Group      string // by the configuration
	Protocols        []traffic.FlowSource
	Datagrams        uint64
	Records          uint64 // flow records and samples
	Packets, Bytes   uint64 // of the records that were counted, multiplied by their sampling rates
	Lost             uint64 // by the gaps in sequence numbers, in the protocol's own unit
	LostPercent      float64
	UnknownTemplates uint64 // sets of records whose template was not known when they came
	Templates        int    // known now
	SamplingRate     uint32
	SamplingOrigin   traffic.RateOrigin

	Withheld, Duplicates, Filtered uint64 // records that were not counted: sampling rate unknown, counted already, by a filter
	Errors                         uint64 // datagrams that could not be read
	LastError                      string

	ClockOffset                    time.Duration // the exporter's clock is ahead by so much
	ActiveTimeout, InactiveTimeout time.Duration // 0: unknown
	LastSeen                       time.Time
	Interfaces                     []traffic.InterfaceCounters
	Problems                       []Problem
}

// Problem is something that makes an exporter's records less than they could be.
type Problem struct{ Sentence, Remedy string }
