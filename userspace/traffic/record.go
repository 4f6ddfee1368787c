package traffic

import "time"

// Ban is what is done about one attack: packets dropped in the kernel, a script told, or both.
type Ban struct {
	Since    time.Time // zero: there never was one
	Until    time.Time // the earliest end; zero: it ends by hand only
	Lifted   time.Time // zero while it is in force
	Drop     bool      // the target's packets are dropped in the kernel
	Notified bool      // the script was told "ban", and is told "unban" when it is lifted
	DryRun   bool      // decided and recorded only: nothing is dropped
	Manual   bool      // by hand
	Reason   string    // by hand: why, in the operator's words
	Power    uint64    // packets per second in the attack's direction when the ban began
}

// Active reports whether the ban is in force, if only as a dry run.
func (b *Ban) Active() bool { return !b.Since.IsZero() && b.Lifted.IsZero() }

// Drops reports whether the kernel is to drop the target's packets now.
func (b *Ban) Drops() bool { return b.Active() && b.Drop && !b.DryRun }

// Record is an attack and what was done about it. It is a value: whoever holds one holds a snapshot.
type Record struct {
	Attack    Attack
	Ban       Ban
	Held      string    // why nothing is done about the attack; empty when something is, or when it is over
	HeldUntil time.Time // the earliest time that Held can change by itself; zero: unknown
}
