package traffic

import (
	"fmt"
	"time"
)

// EventKind says what the detector has seen.
type EventKind uint8

const (
	EventSuspected EventKind = iota // more than half of a threshold, or a trip is near: look closer
	EventCleared                    // a suspicion came to nothing
	EventStarted                    // a threshold was crossed
	EventEnded                      // all metrics have been under the thresholds' clearing level for long enough
	EventKindCount
)

var eventKindNames = [EventKindCount]string{"suspected", "cleared", "started", "ended"}

// String returns the kind's name as it stands in JSON.
func (k EventKind) String() string {
	if k < EventKindCount {
		return eventKindNames[k]
	}
	return fmt.Sprintf("event(%d)", uint8(k))
}

// Event is what the detector tells mitigation.
type Event struct {
	Kind    EventKind
	Target  Target
	Trip    Trip      // EventStarted: the arithmetic
	At      time.Time // when it was decided
	Started time.Time // EventStarted: the best estimate of the first packet over the threshold
	Hosts   int       // distinct hosts with traffic in the prefix or hostgroup; 1 for a host
}
