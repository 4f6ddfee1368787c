package demo

import (
	"fmt"
	"net/netip"
	"time"

	"weir/userspace/detect"
	"weir/userspace/hosts"
	"weir/userspace/mitigate"
	"weir/userspace/networks"
	"weir/userspace/traffic"
)

// plane is where packets are counted and dropped: the kernel, or a user-space twin of it.
type plane struct {
	shards  []hosts.Shard
	slots   int
	owner   func(slot uint32) (netip.Prefix, bool)
	locate  func(netip.Addr) (slot uint32, ours bool)
	flip    func() // begins a new flow interval
	block   func(slot uint32, dir traffic.Direction, duration time.Duration) error
	release func(slot uint32, dir traffic.Direction) error
}

// turn is a turning point of the story.
type turn uint8

const (
	turnDetected turn = iota
	turnDropped
	turnEnded
	turnReleased
)

// turning is a turning point with its time, taken when what it tells of was done.
type turning struct {
	turn turn
	at   time.Time
	trip traffic.Trip
}

// engine is the way from cells to a drop, wired as in the daemon: meter, detector, mitigation. One goroutine uses it.
type engine struct {
	plane    plane
	meter    *hosts.Meter
	detector *detect.Detector
	manager  *mitigate.Manager
	now      func() time.Time
	flipped  time.Time
}

func newEngine(s scene, p plane, now func() time.Time) *engine {
	table := networks.NewTable([]networks.Network{{Prefix: s.network}}, nil)
	group := detect.Group{Name: "default", Enabled: [2]bool{true, true}, Window: window, Quiet: quiet}
	group.Host[traffic.Incoming][traffic.PPS] = thresholdPPS
	e := &engine{
		plane: p,
		meter: hosts.NewMeter(p.owner, p.slots, p.shards),
		detector: detect.New(detect.Policy{
			Groups: []detect.Group{group}, WarmUp: window, Group: table.Group, Contains: table.Contains,
		}),
		manager: mitigate.New(mitigate.Policy{
			Groups:   map[string]mitigate.GroupPolicy{"default": {Drop: true, BanTime: banTime}},
			NeverBan: table.NeverBan, Contains: table.Contains,
		}),
		now: now, flipped: now(),
	}
	e.meter.Baseline(now())
	return e
}

// step reads the cells, decides, and does what was decided. It returns what has changed.
func (e *engine) step() ([]turning, error) {
	now := e.now()
	e.meter.Read(now, func(d hosts.Delta) {
		e.detector.Observe(&detect.Observation{Host: d.Owner, Direction: d.Direction, From: d.From, To: d.To, Counts: d.Counts})
	})
	if now.Sub(e.flipped) >= flowInterval {
		e.plane.flip()
		e.flipped = now
	}
	var turns []turning
	for _, event := range e.detector.Tick(now) {
		switch event.Kind {
		case traffic.EventStarted:
			turns = append(turns, turning{turnDetected, e.now(), event.Trip})
		case traffic.EventEnded:
			turns = append(turns, turning{turn: turnEnded, at: e.now()})
		}
		more, err := e.do(now, e.manager.Handle(now, event, e.rates(event.Target)))
		turns = append(turns, more...)
		if err != nil {
			return turns, err
		}
	}
	more, err := e.do(now, e.manager.Tick(now))
	return append(turns, more...), err
}

// rates is what the meter says about a target; only hosts have thresholds here.
func (e *engine) rates(t traffic.Target) traffic.TwoWay {
	slot, ours := e.plane.locate(t.Prefix.Addr())
	if !ours {
		return traffic.TwoWay{}
	}
	return traffic.TwoWay{Incoming: e.meter.Rate(slot, traffic.Incoming), Outgoing: e.meter.Rate(slot, traffic.Outgoing)}
}

func (e *engine) do(now time.Time, steps []mitigate.Step) ([]turning, error) {
	var turns []turning
	for _, step := range steps {
		if step.Kind != mitigate.StepBlock && step.Kind != mitigate.StepRelease {
			continue // there is no store, script or sampling in the demo
		}
		slot, ours := e.plane.locate(step.Target.Prefix.Addr())
		if !ours {
			return turns, fmt.Errorf("mitigate %s: it has no cell", step.Target)
		}
		if step.Kind == mitigate.StepBlock {
			if err := e.plane.block(slot, step.Target.Direction, step.Until.Sub(now)); err != nil {
				return turns, fmt.Errorf("block %s: %w", step.Target, err)
			}
			turns = append(turns, turning{turn: turnDropped, at: e.now()})
			continue
		}
		if err := e.plane.release(slot, step.Target.Direction); err != nil {
			return turns, fmt.Errorf("release %s: %w", step.Target, err)
		}
		turns = append(turns, turning{turn: turnReleased, at: e.now()})
	}
	return turns, nil
}

// story follows the turning points and tells them.
type story struct {
	teller *teller
	scene  scene
	first  time.Time // the first packet of the attack

	detected, dropped, ended, released time.Time
}

// take tells of turning points; only the first of each kind counts, renewals of the drop are not told.
func (s *story) take(turns []turning) {
	for _, t := range turns {
		switch {
		case t.turn == turnDetected && s.detected.IsZero():
			s.detected = t.at
			s.teller.say("detected", "attack on %s detected after %s: %s", s.scene.victim, milliseconds(s.since(t.at)), t.trip)
		case t.turn == turnDropped && s.dropped.IsZero():
			s.dropped = t.at
			s.teller.say("dropped", "the drop of all packets to %s is in force, %s after the attack's first packet", s.scene.victim, milliseconds(s.since(t.at)))
		case t.turn == turnEnded && s.ended.IsZero():
			s.ended = t.at
			s.teller.say("ended", "the attack is over: %s has been under the threshold for %s", s.scene.victim, quiet)
		case t.turn == turnReleased && s.released.IsZero():
			s.released = t.at
			s.teller.say("released", "%s is released and gets its packets again", s.scene.victim)
		}
	}
}

// since is the time from the attack's first packet in milliseconds, -1 for what has not happened.
func (s *story) since(t time.Time) float64 {
	if t.IsZero() || s.first.IsZero() {
		return -1
	}
	return float64(t.Sub(s.first).Microseconds()) / 1e3
}

// summary judges the story. Sent is the attack's packets, over its whole time.
func (s *story) summary(sent, leaked uint64, pps float64, victimOK bool) Summary {
	return Summary{
		DetectedMS: s.since(s.detected), DroppedMS: s.since(s.dropped), LeakedPackets: leaked, AttackPPS: pps, VictimOK: victimOK,
		Passed: victimOK && sent > 0 && !s.detected.IsZero() && !s.dropped.IsZero() && !s.released.IsZero() &&
			float64(leaked) <= leakShare*float64(sent),
	}
}
