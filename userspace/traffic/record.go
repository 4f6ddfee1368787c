package traffic

import "time"

// Ban is what is done about one attack: packets dropped in the kernel, a script told, or both.
type Ban struct {
	Since       time.Time // zero: there never was one
	Until       time.Time // the earliest end; zero: it ends by hand only
	Lifted      time.Time // zero while it is in force
	Drop        bool      // the target's packets are dropped in the kernel
	Notified    bool      // the script was told "ban", and is told "unban" when it is lifted
	DryRun      bool      // decided and recorded only: nothing is dropped
	Manual      bool      // by hand
	Reason      string    // by hand: why, in the operator's words
	Power       uint64    // packets per second in the attack's direction when the ban began
	Communities []uint32  // BGP communities that a hook has added to what is announced

	Response *Response // the rung of the hostgroup's ladder that is in force; nil: the hostgroup's actions
}

// Active reports whether the ban is in force, if only as a dry run.
func (b *Ban) Active() bool { return !b.Since.IsZero() && b.Lifted.IsZero() }

// Drops reports whether the kernel is to drop the target's packets now.
func (b *Ban) Drops() bool { return b.Active() && b.Drop && !b.DryRun }

// Mitigates reports whether something holds the attack back now, as far as Weir itself decides.
func (b *Ban) Mitigates() bool {
	return b.Drops() || b.Active() && !b.DryRun && b.Response != nil && b.Response.Acts()
}

// Does says in short what the ban does: "drop, rtbh", or "watch" when that is nothing. What a hostgroup's actions announce is not in it.
func (b *Ban) Does() string {
	text := "watch"
	if b.Response != nil {
		text = b.Response.String()
	}
	switch {
	case b.Drop && text == "watch":
		return "drop"
	case b.Drop:
		return "drop, " + text
	}
	return text
}

// Record is an attack and what was done about it. It is a value: whoever holds one holds a snapshot.
type Record struct {
	Attack    Attack
	Ban       Ban
	Held      string    // why nothing is done about the attack; empty when something is, or when it is over
	HeldUntil time.Time // the earliest time that Held can change by itself; zero: unknown
}
