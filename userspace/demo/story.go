package demo

import (
	"time"

	"weir/userspace/traffic"
)

// turn is a turning point of the story.
type turn uint8

const (
	turnDetected turn = iota
	turnDropped
	turnAnnounced // the blackhole is in the router's table
	turnEnded
	turnReleased
	turnWithdrawn // and is not any more
	turnCount
)

// turning is a turning point with the time when what it tells of was done.
type turning struct {
	turn turn
	at   time.Time
	trip traffic.Trip // of turnDetected
}

// story follows the turning points and tells them.
type story struct {
	teller *teller
	scene  scene
	router bool      // there is one, which must be told
	first  time.Time // the first packet of the attack

	at   [turnCount]time.Time // zero: it has not come
	told [turnCount]bool
	trip traffic.Trip
}

// take notes turning points and tells those whose turn it is; only the first of each kind counts. What is seen of an attack and what
// is done about it may come by different ways: the deed is told after what it follows from, even if it is known before.
func (s *story) take(turns ...turning) {
	for _, t := range turns {
		if !s.at[t.turn].IsZero() {
			continue
		}
		s.at[t.turn] = t.at
		if t.turn == turnDetected {
			s.trip = t.trip
		}
	}
	s.tell(turnDetected, false)
	s.tell(turnDropped, !s.told[turnDetected])
	s.tell(turnAnnounced, !s.told[turnDropped])
	s.tell(turnEnded, false)
	s.tell(turnReleased, !s.told[turnEnded])
	s.tell(turnWithdrawn, !s.told[turnReleased])
}

// over reports whether all has been told that follows the attack's end.
func (s *story) over() bool { return s.told[turnReleased] && (s.told[turnWithdrawn] || !s.router) }

// tell tells a turning point that has come, unless it was told or must wait.
func (s *story) tell(t turn, wait bool) {
	if s.at[t].IsZero() || s.told[t] || wait {
		return
	}
	s.told[t] = true
	victim := s.scene.victim
	switch t {
	case turnDetected:
		s.teller.say("detected", "attack on %s detected after %s: %s", victim, milliseconds(s.since(t)), s.trip)
	case turnDropped:
		s.teller.say("dropped", "the drop of all packets to %s is in force, %s after the attack's first packet", victim, milliseconds(s.since(t)))
	case turnAnnounced:
		s.teller.say("announced", "the blackhole %s/32 with community 65535:666 is in the router's table, %s after detection", victim, milliseconds(s.announced()))
	case turnEnded:
		s.teller.say("ended", "the attack is over: %s has been under the threshold for %s", victim, quiet)
	case turnReleased:
		s.teller.say("released", "%s is released and gets its packets again", victim)
	case turnWithdrawn:
		s.teller.say("withdrawn", "the blackhole %s/32 is withdrawn and gone from the router's table", victim)
	}
}

// since is the time from the attack's first packet to a turning point in milliseconds, -1 for what has not come.
func (s *story) since(t turn) float64 {
	if s.at[t].IsZero() || s.first.IsZero() {
		return -1
	}
	return float64(s.at[t].Sub(s.first).Microseconds()) / 1e3
}

// announced is the time from the detection until the blackhole was in the router's table in milliseconds, -1 if it never was.
func (s *story) announced() float64 {
	detected, announced := s.at[turnDetected], s.at[turnAnnounced]
	if detected.IsZero() || announced.IsZero() {
		return -1
	}
	return float64(announced.Sub(detected).Microseconds()) / 1e3
}

// summary judges the story. Sent is the attack's packets, over its whole time.
func (s *story) summary(sent, leaked uint64, pps float64, victimOK bool) Summary {
	complete := true
	for t, at := range s.at {
		told := turn(t) != turnAnnounced && turn(t) != turnWithdrawn || s.router
		complete = complete && (!at.IsZero() || !told)
	}
	var bgp *float64
	if s.router {
		ms := s.announced()
		bgp = &ms
	}
	return Summary{
		DetectedMS: s.since(turnDetected), DroppedMS: s.since(turnDropped), LeakedPackets: leaked, AttackPPS: pps, VictimOK: victimOK, BGPMS: bgp,
		Passed: complete && victimOK && sent > 0 && float64(leaked) <= leakShare*float64(sent),
	}
}
