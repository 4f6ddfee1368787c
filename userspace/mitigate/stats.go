package mitigate

import (
	"fmt"

	"weir/userspace/traffic"
)

// Refusal says why nothing is done about an attack, or why a ban by hand was refused.
type Refusal uint8

const (
	RefusalNone         Refusal = iota
	RefusalNeverBan             // the target overlaps the never-ban list
	RefusalNotOurs              // the target is not wholly inside our own networks
	RefusalKillSwitch           // the kill switch is on
	RefusalHoldOff              // unbanned by hand a short while ago
	RefusalNoAction             // the hostgroup's policy has no action
	RefusalGroup                // a hostgroup as a whole is not dropped, and its policy has no script
	RefusalMaxActive            // too many bans in force
	RefusalMaxPerMinute         // too many new bans within a minute
	RefusalHook                 // the operator's own program is against it
	RefusalMaxTracked           // too many attacks at a time: this one is not followed at all
	RefusalCount
)

var refusalNames = [RefusalCount]string{
	"none", "never_ban", "not_ours", "kill_switch", "hold_off", "no_action", "hostgroup_scope", "max_active", "max_per_minute", "hook", "max_tracked",
}

var refusalTexts = [RefusalCount]string{
	RefusalNeverBan:     "on the never-ban list",
	RefusalNotOurs:      "not wholly inside our networks",
	RefusalKillSwitch:   "the kill switch is on",
	RefusalHoldOff:      "unbanned by hand a short while ago",
	RefusalNoAction:     "the hostgroup has no action",
	RefusalGroup:        "a hostgroup as a whole is not dropped",
	RefusalMaxActive:    "as many bans in force as allowed",
	RefusalMaxPerMinute: "as many new bans within a minute as allowed",
	RefusalHook:         "the hook is against it",
	RefusalMaxTracked:   "as many attacks followed as allowed",
}

// dryRunText is Record.Held of an attack that a dry run has decided about.
const dryRunText = "dry run: nothing is dropped"

// String returns the refusal's name as it stands in metrics and JSON.
func (r Refusal) String() string {
	if r < RefusalCount {
		return refusalNames[r]
	}
	return fmt.Sprintf("refusal(%d)", uint8(r))
}

// temporary reports whether the refusal can end without a new policy.
func (r Refusal) temporary() bool {
	return r == RefusalHoldOff || r == RefusalMaxActive || r == RefusalMaxPerMinute
}

// Stats is a snapshot of the Manager's counters. Those of type uint64 only grow.
type Stats struct {
	Phases   [traffic.PhaseCount]int // attacks being followed, by phase; PhaseSuspected counts the targets under suspicion
	Bans     int                     // in force, by hand, dry and script-only ones included
	Dropping int                     // of those, the ones that the kernel is to enforce

	Attacks    uint64 // begun
	AutoBans   uint64 // bans begun by detection
	ManualBans uint64 // bans begun by hand
	Lifted     uint64 // bans ended
	Restored   uint64 // bans taken over from before a restart
	Renewals   uint64 // kernel rules renewed

	Vetoed uint64 // thresholds crossed that a hook took for none

	Escalations   uint64               // steps up a ladder
	Deescalations uint64               // steps down
	Unconfirmed   uint64               // restored attacks that the detector did not see again
	Ignored       uint64               // events that made no sense: an unknown target's end, an impossible target, a second start
	Unreadable    uint64               // records that could not be restored
	Refused       [RefusalCount]uint64 // attacks (each counted once per reason) and bans by hand, by reason

	DryRun     bool
	KillSwitch bool
}

// Stats returns the counters as they are now.
func (m *Manager) Stats() Stats {
	s := m.stats
	s.DryRun, s.KillSwitch = m.policy.DryRun, m.policy.KillSwitch
	s.Bans = m.bans
	for _, a := range m.attacks {
		s.Phases[a.Attack.Phase]++
		if a.Ban.Drops() {
			s.Dropping++
		}
	}
	for k := range m.suspects {
		if m.attacks[k] == nil {
			s.Phases[traffic.PhaseSuspected]++
		}
	}
	return s
}
