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

// engine is the user-space story's way from packets to a drop: the parts of the daemon without the kernel and without the edges.
// One goroutine uses it.
type engine struct {
	directory *networks.Directory
	writer    *hosts.Writer // counts packets, and drops those of who is blocked
	meter     *hosts.Meter
	detector  *detect.Detector
	manager   *mitigate.Manager
	flipped   time.Time // when the flow interval began
}

func newEngine(s scene, now time.Time) (*engine, error) {
	layout, err := networks.NewLayout([]netip.Prefix{s.network}, networks.Budget{Dense: s.size()})
	if err != nil {
		return nil, err
	}
	table := networks.NewTable([]networks.Network{{Prefix: s.network}}, nil)
	group := detect.Group{Name: "default", Enabled: [2]bool{true, true}, Window: window, Quiet: quiet}
	group.Host[traffic.Incoming][traffic.PPS] = thresholdPPS
	e := &engine{directory: networks.NewDirectory(layout), flipped: now}
	e.writer = hosts.NewWriter(e.directory, layout.Slots())
	e.meter = hosts.NewMeter(e.directory.Owner, layout.Slots(), []hosts.Shard{e.writer.Shard()})
	e.detector = detect.New(detect.Policy{
		Groups: []detect.Group{group}, WarmUp: window, Group: table.Group, Contains: table.Contains,
	})
	e.manager = mitigate.New(mitigate.Policy{
		Groups:   map[string]mitigate.GroupPolicy{"default": {Drop: true, BanTime: banTime}},
		NeverBan: table.NeverBan, Contains: table.Contains,
	})
	e.meter.Baseline(now)
	return e, nil
}

// size is the number of addresses of the protected network.
func (s *scene) size() int { return 1 << (s.network.Addr().BitLen() - s.network.Bits()) }

// step reads the cells, decides, and does what was decided. It returns what has changed.
func (e *engine) step(now time.Time) ([]turning, error) {
	e.meter.Read(now, func(d hosts.Delta) {
		e.detector.Observe(&detect.Observation{Host: d.Owner, Direction: d.Direction, From: d.From, To: d.To, Counts: d.Counts})
	})
	if now.Sub(e.flipped) >= flowInterval {
		e.writer.Flip()
		e.flipped = now
	}
	var turns []turning
	for _, event := range e.detector.Tick(now) {
		switch event.Kind {
		case traffic.EventStarted:
			turns = append(turns, turning{turnDetected, now, event.Trip})
		case traffic.EventEnded:
			turns = append(turns, turning{turn: turnEnded, at: now})
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
	slot, ours := e.directory.Locate(t.Prefix.Addr())
	if !ours {
		return traffic.TwoWay{}
	}
	return traffic.TwoWay{Incoming: e.meter.Rate(slot, traffic.Incoming), Outgoing: e.meter.Rate(slot, traffic.Outgoing)}
}

// received is what a host was sent since the beginning.
func (e *engine) received(host netip.Addr) traffic.Counts {
	slot, ours := e.directory.Locate(host)
	if !ours {
		return traffic.Counts{}
	}
	return e.meter.Total(slot, traffic.Incoming)
}

// do blocks and releases; there is no store, script or sampling in this story.
func (e *engine) do(now time.Time, steps []mitigate.Step) ([]turning, error) {
	var turns []turning
	for _, step := range steps {
		turn, action, until := turnDropped, traffic.ActionDrop, step.Until
		switch step.Kind {
		case mitigate.StepBlock:
		case mitigate.StepRelease:
			turn, action, until = turnReleased, traffic.ActionNone, now
		default:
			continue
		}
		slot, ours := e.directory.Locate(step.Target.Prefix.Addr())
		if !ours || !e.writer.SetVerdict(slot, step.Target.Direction, action, now, until) {
			return turns, fmt.Errorf("set verdict on %s: it has no cell", step.Target)
		}
		turns = append(turns, turning{turn: turn, at: now})
	}
	return turns, nil
}
