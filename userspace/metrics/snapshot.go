// Package metrics names every metric in one place and serves them to Prometheus.
package metrics

import (
	"fmt"
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// How many series one answer holds at most, per direction; what is beyond is left out and counted in weir_metrics_omitted_series.
const (
	MaxHostgroups = 500
	MaxNetworks   = 1000
	MaxHosts      = 500
	MaxInterfaces = 256
	MaxBGPPeers   = 256
	MaxExporters  = 500
)

// Loss names a place where something can be lost or given up.
type Loss uint8

const (
	LossSamples  Loss = iota // samples that found the ring buffer full
	LossFolded               // hosts beyond the memory budget, counted with their /24 or /64
	LossNotify               // runs of the notify script given up: queue full, timeout, failure
	LossStore                // records that were not written to the store
	LossWatchers             // changes of attacks that a slow API client did not get
	LossTracking             // hosts that no detection window was left for
	LossRedirect             // packets of a wire whose other side was away
	LossCount
)

var lossNames = [LossCount]string{"samples", "folded_hosts", "notify", "store", "api_watchers", "detection_windows", "redirect"}

var lossTexts = [LossCount]string{
	"samples that found the ring buffer full", "hosts beyond the memory budget, counted with their /24 or /64",
	"runs of the notify script given up: queue full, timeout, failure", "records not written to the store",
	"changes of attacks that a slow API client did not get", "hosts that no detection window was left for",
	"packets of a wire whose other side was away",
}

// String returns the place's name as it stands in metrics and in the API's status.
func (l Loss) String() string {
	if l < LossCount {
		return lossNames[l]
	}
	return fmt.Sprintf("loss(%d)", uint8(l))
}

// Snapshot is everything that is served, at one moment. Numbers that Prometheus calls counters count since the daemon's start.
type Snapshot struct {
	IPv4, IPv6 [traffic.DirectionCount]traffic.Counts // counted since the start

	Hostgroups   []GroupRate
	Networks     []NetworkRate
	Hosts        []HostRate // the busiest, highest first
	CellsUsed    int        // per direction
	CellCapacity int        // per direction

	Attacks        [traffic.PhaseCount]int // now, by phase
	AttacksStarted uint64

	MitigationsActive    int
	MitigationsDropping  int
	MitigationsAutomatic uint64            // begun by detection
	MitigationsManual    uint64            // begun by hand
	MitigationsLifted    uint64            // ended
	Escalations          uint64            // steps up a ladder
	Deescalations        uint64            // steps down
	RulesInForce         int               // in XDP, by hand and by ladders
	RulesShadow          int               // of those, the ones that only count
	RulesLeftOut         int               // for which there was no room
	Hooks                [3]uint64         // calls of the operator's program: all, vetoes, errors
	Sinks                []Sink            // stores, streams and people who are told
	MitigationsRefused   map[string]uint64 // by the guard's name; those that never refused may be in it with 0
	DryRun, KillSwitch   bool

	Reasons    [traffic.ReasonCount]traffic.Count
	Anomalies  [traffic.AnomalyCount]uint64 // the one for AnomalyNone is not served
	Interfaces []Interface

	BGP                []BGPPeer
	BGPSpeakerUp       bool   // not served, as the restarts, unless one of BGP is of kind peer
	BGPSpeakerRestarts uint64 // how often the speaker was started again

	Captures []traffic.CaptureStats // of engines other than XDP
	Flows    *Flows                 // nil: no flow records are collected

	Losses       [LossCount]uint64
	TicksSkipped uint64
	WarmingUp    bool
	ConfigOK     bool      // the file as last read is in force
	ConfigLoaded time.Time // when the configuration in force was read
	Started      time.Time
}

// GroupRate is what a hostgroup's hosts do together, per second.
type GroupRate struct {
	Name string
	Rate traffic.TwoWay
}

// NetworkRate is what the hosts of one of our networks do together, per second.
type NetworkRate struct {
	Prefix netip.Prefix
	Rate   traffic.TwoWay
}

// HostRate is one busy host in one direction, per second.
type HostRate struct {
	Host      netip.Prefix // /32 or /128, or the prefix that hosts are folded into
	Group     string
	Direction traffic.Direction
	Rate      traffic.Counts
}

// Interface is one attached (or wanted) network interface.
type Interface struct {
	Name, Role, Mode string
	Attached         bool
}

// BGPPeer is one receiver of routes. Its counters begin anew when the speaker is restarted.
type BGPPeer struct {
	Name, Kind      string         // kind: peer, exabgp or gobgp
	Established     bool           // the session is up; of other kinds than peer: it is connected
	Ups             uint64         // how often the session came up
	Routes, Refused map[string]int // by family: announced now, and kept back now because there is no room
	Sent, Received  uint64         // messages
}

// Build says what the daemon was built from.
type Build struct{ Version, Revision, Go string }

// Sink is what somebody was told, and what he was not.
type Sink struct {
	Name     string
	Up       bool // the last call went well, or there was none yet
	Failures uint64
	Sent     [SinkKindCount]uint64
	Lost     [SinkKindCount]uint64
}

// SinkKind is what a sink is told of.
type SinkKind uint8

const (
	SinkSnapshots SinkKind = iota // traffic
	SinkChanges                   // attacks
	SinkFlows                     // flow records
	SinkKindCount
)

var sinkKindNames = [SinkKindCount]string{"traffic", "attacks", "flows"}

// String returns the kind's name as it stands in metrics.
func (k SinkKind) String() string { return sinkKindNames[k] }
