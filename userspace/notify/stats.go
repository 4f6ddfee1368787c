package notify

import (
	"fmt"
	"sync/atomic"
)

// Outcome is how a call of the script ended.
type Outcome uint8

const (
	Succeeded     Outcome = iota // exit status 0
	Failed                       // another exit status, or a signal
	TimedOut                     // killed after the timeout
	Interrupted                  // killed because the daemon stopped
	Missing                      // no such file
	NotExecutable                // no permission to run it
	NotStarted                   // any other reason: out of processes or memory, ...
	OutcomeCount
)

var outcomeNames = [OutcomeCount]string{"succeeded", "failed", "timed_out", "interrupted", "missing", "not_executable", "not_started"}

// String returns the outcome's name as it stands in metrics and logs.
func (o Outcome) String() string {
	if o < OutcomeCount {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

type counters struct {
	ended    [OutcomeCount]atomic.Uint64
	rejected atomic.Uint64
	leftOpen atomic.Uint64
	running  atomic.Int64
}

// Stats is a snapshot of the Notifier's counters. Those of type uint64 only grow.
type Stats struct {
	Ended    [OutcomeCount]uint64 // calls made, by outcome
	Rejected uint64               // calls not made: the queue was full, or the daemon stopped
	LeftOpen uint64               // calls that succeeded and left something running that holds the script's output open
	Silenced uint64               // log lines not written because there were too many
	Queued   int                  // waiting now
	Running  int                  // being made now
}

// Stats returns the counters as they are now.
func (n *Notifier) Stats() Stats {
	s := Stats{
		Rejected: n.stats.rejected.Load(),
		LeftOpen: n.stats.leftOpen.Load(),
		Silenced: n.log.silenced.Load(),
		Running:  int(n.stats.running.Load()),
	}
	for i := range s.Ended {
		s.Ended[i] = n.stats.ended[i].Load()
	}
	n.mu.Lock()
	s.Queued = n.queued
	n.mu.Unlock()
	return s
}
