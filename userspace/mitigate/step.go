package mitigate

import (
	"fmt"
	"time"

	"weir/userspace/traffic"
)

// StepKind says what is to be done.
type StepKind uint8

const (
	StepRecord  StepKind = iota // persist Record; comes before the steps that it explains
	StepBlock                   // drop the packets of Target until Until, which is also the renewal of a rule already there
	StepRelease                 // stop dropping the packets of Target
	StepNotify                  // call the script with Action about Record
	StepSuspect                 // sample the packets of Target at the raised rate (On), or at the ordinary one
	StepLog                     // say Message to the operator, with Record beside it
	StepKindCount
)

var stepKindNames = [StepKindCount]string{"record", "block", "release", "notify", "suspect", "log"}

// String returns the kind's name for logs.
func (k StepKind) String() string {
	if k < StepKindCount {
		return stepKindNames[k]
	}
	return fmt.Sprintf("step(%d)", uint8(k))
}

// What the script is told, by FastNetMon's words.
const (
	ActionBan     = "ban"
	ActionDetails = "attack_details"
	ActionUnban   = "unban"
)

// Step is one thing for the daemon to do. Steps are done in the order in which they are returned.
type Step struct {
	Kind   StepKind
	Target traffic.Target

	traffic.Record // the attack and its ban as they are after the step; zero for StepSuspect

	Until   time.Time // StepBlock: when the kernel forgets the rule by itself
	On      bool      // StepSuspect
	Action  string    // StepNotify: ActionBan, ActionDetails or ActionUnban
	Message string    // StepLog: a constant text
}
