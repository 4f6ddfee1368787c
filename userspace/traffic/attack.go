package traffic

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// Scope says how much of a network an attack is on.
type Scope uint8

const (
	ScopeHost   Scope = iota // one address
	ScopePrefix              // many hosts of one prefix: carpet bombing
	ScopeGroup               // a hostgroup as a whole
	ScopeCount
)

var scopeNames = [ScopeCount]string{"host", "prefix", "hostgroup"}

// String returns the scope's name as it stands in JSON.
func (s Scope) String() string {
	if s < ScopeCount {
		return scopeNames[s]
	}
	return fmt.Sprintf("scope(%d)", uint8(s))
}

// Target is what an attack goes to (Incoming) or comes from (Outgoing). It is comparable: two equal targets are the same attack.
type Target struct {
	Scope     Scope
	Prefix    netip.Prefix // the host as /32 or /128, or the prefix, masked; zero for ScopeGroup
	Group     string       // the hostgroup that the thresholds come from
	Direction Direction    // Incoming or Outgoing
}

// String names the target as an operator would: the address, the prefix, or the hostgroup.
func (t Target) String() string {
	switch {
	case t.Scope == ScopeGroup:
		return "hostgroup " + t.Group
	case t.Prefix.IsSingleIP():
		return t.Prefix.Addr().String()
	}
	return t.Prefix.String()
}

// Trip is the arithmetic of a decision: Count was seen within Window, which is Value per second, over Limit per second.
type Trip struct {
	Metric Metric
	Count  uint64        // packets, bits or flows within the window
	Window time.Duration // the window that the limit holds over
	Value  float64       // the measured rate per second: over the time since the window's traffic began, at most Window
	Limit  float64       // the threshold, per second

	// What was inferred from samples is as sure as they are many. Confidence is 0 where every packet was seen, or nobody asks.
	Lower      float64 // the rate is at least this, per second, ...
	Seen       uint64  // ... because so many packets of Count were really seen, ...
	Confidence float64 // ... with this probability
}

// String explains the trip: "pps: 5200 packets counted, 52000 packets/s > 20000 packets/s x 1s", and for samples how sure that is.
func (t Trip) String() string {
	if t.Window == 0 {
		return "by hand"
	}
	unit := "packets"
	switch {
	case t.Metric.Bits():
		unit = "bits"
	case t.Metric == FPS:
		unit = "flows"
	}
	sure := ""
	if t.Confidence > 0 {
		sure = fmt.Sprintf(" (at least %.0f at %s, from %d samples)", t.Lower, percent(t.Confidence), t.Seen)
	}
	return fmt.Sprintf("%s: %d %s counted, %.0f %s/s%s > %.0f %s/s x %s",
		t.Metric, t.Count, unit, t.Value, unit, sure, t.Limit, unit, t.Window)
}

// percent writes 0.95 as "95 %" and 0.999 as "99.9 %".
func percent(share float64) string {
	return strconv.FormatFloat(share*100, 'g', 6, 64) + " %"
}

// Phase is where an attack is in its life.
type Phase uint8

const (
	PhaseSuspected Phase = iota // more than half of a threshold
	PhaseActive                 // over a threshold, nothing done yet or nothing to be done
	PhaseMitigated              // over a threshold, the mitigation is in force
	PhaseCooling                // under the thresholds, the mitigation still in force
	PhaseOver
	PhaseCount
)

var phaseNames = [PhaseCount]string{"suspected", "active", "mitigated", "cooling", "over"}

// String returns the phase's name as it stands in JSON.
func (p Phase) String() string {
	if p < PhaseCount {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase(%d)", uint8(p))
}

// TwoWay is traffic in both directions, seen from the host: counts per second wherever it holds a rate.
type TwoWay struct {
	Incoming Counts `json:"incoming"`
	Outgoing Counts `json:"outgoing"`
}

// Attack is everything known of one attack. It is a value: whoever holds one holds a snapshot.
type Attack struct {
	ID       string // sortable by time, unique on this machine
	Target   Target
	Trip     Trip
	Phase    Phase
	Started  time.Time // the best estimate of the first packet over the threshold
	Detected time.Time
	Ended    time.Time // zero while it goes on
	Rate     TwoWay    // per second, as last measured
	Peak     Counts    // the highest rate of each counter in the attack's direction
	Volume   Counts    // everything counted in the attack's direction since Started
	Hosts    int       // distinct hosts seen under attack, 1 for ScopeHost
	Manual   bool      // banned by hand: no threshold was crossed
	Analysis *Analysis // what it is made of; nil: not known, or not yet
}
