package mitigate

import "weir/userspace/traffic"

// Told is what somebody has been told of an attack so far.
type Told struct {
	phase    traffic.Phase
	known    bool
	banned   bool
	rung     int
	analysis *traffic.Analysis
}

// Changes returns what is new in a record for somebody who was told so much, in the order in which it is told, and what they know then.
func (t Told) Changes(r *traffic.Record) ([]traffic.ChangeKind, Told) {
	next := Told{phase: r.Attack.Phase, known: true, banned: r.Ban.Active(), analysis: r.Attack.Analysis}
	if r.Ban.Response != nil {
		next.rung = r.Ban.Response.Rung
	}
	var kinds []traffic.ChangeKind
	over := next.phase == traffic.PhaseOver
	if !t.known && !over {
		kinds = append(kinds, traffic.ChangeStarted)
	}
	switch {
	case next.banned && !t.banned:
		kinds = append(kinds, traffic.ChangeBanned)
	case next.banned && next.rung != t.rung:
		kinds = append(kinds, traffic.ChangeEscalated)
	case t.banned && !next.banned:
		kinds = append(kinds, traffic.ChangeUnbanned)
	}
	if next.analysis != nil && next.analysis != t.analysis && !over {
		kinds = append(kinds, traffic.ChangeDescribed)
	}
	if over && t.known && t.phase != traffic.PhaseOver {
		kinds = append(kinds, traffic.ChangeEnded)
	}
	return kinds, next
}
