package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// version is what encode writes. A change that older readers would misunderstand makes it a new one.
const version = 1

// errVersion is what a record of an unknown version is refused with.
var errVersion = errors.New("unknown version")

// record is traffic.Record as it stands in the file: names instead of numbers, so that neither side depends on the order of constants.
type record struct {
	Version   int       `json:"v"`
	Attack    attack    `json:"attack"`
	Ban       *ban      `json:"ban,omitempty"`
	Held      string    `json:"held,omitempty"`
	HeldUntil time.Time `json:"held_until,omitzero"`
}

type attack struct {
	ID        string         `json:"id"`
	Scope     string         `json:"scope"`
	Prefix    netip.Prefix   `json:"prefix"`
	Group     string         `json:"group"`
	Direction string         `json:"direction"`
	Phase     string         `json:"phase"`
	Trip      *trip          `json:"trip,omitempty"`
	Started   time.Time      `json:"started,omitzero"`
	Detected  time.Time      `json:"detected,omitzero"`
	Ended     time.Time      `json:"ended,omitzero"`
	Rate      traffic.TwoWay `json:"rate"`
	Peak      traffic.Counts `json:"peak"`
	Volume    traffic.Counts `json:"volume"`
	Hosts     int            `json:"hosts"`
	Manual    bool           `json:"manual,omitempty"`

	Analysis *traffic.Analysis `json:"analysis,omitempty"`
}

type trip struct {
	Metric string        `json:"metric"`
	Count  uint64        `json:"count"`
	Window time.Duration `json:"window_ns"`
	Value  float64       `json:"value"`
	Limit  float64       `json:"limit"`

	Lower      float64 `json:"lower,omitempty"`
	Seen       uint64  `json:"seen,omitempty"`
	Confidence float64 `json:"confidence,omitempty"`
}

type ban struct {
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until,omitzero"`
	Lifted   time.Time `json:"lifted,omitzero"`
	Drop     bool      `json:"drop,omitempty"`
	Notified bool      `json:"notified,omitempty"`
	DryRun   bool      `json:"dry_run,omitempty"`
	Manual   bool      `json:"manual,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Power    uint64    `json:"power"`

	Communities []uint32 `json:"communities,omitempty"`

	Response *traffic.Response `json:"response,omitempty"`
}

// encode writes a record as JSON of the current version.
func encode(r *traffic.Record) ([]byte, error) {
	a := &r.Attack
	out := record{
		Version: version, Held: r.Held, HeldUntil: r.HeldUntil,
		Attack: attack{
			ID: a.ID, Scope: a.Target.Scope.String(), Prefix: a.Target.Prefix, Group: a.Target.Group, Direction: a.Target.Direction.String(),
			Phase: a.Phase.String(), Started: a.Started, Detected: a.Detected, Ended: a.Ended,
			Rate: a.Rate, Peak: a.Peak, Volume: a.Volume, Hosts: a.Hosts, Manual: a.Manual, Analysis: a.Analysis,
		},
	}
	if t := a.Trip; t != (traffic.Trip{}) {
		out.Attack.Trip = &trip{t.Metric.String(), t.Count, t.Window, t.Value, t.Limit, t.Lower, t.Seen, t.Confidence}
	}
	if !r.Ban.Since.IsZero() {
		b := ban(r.Ban)
		out.Ban = &b
	}
	return json.Marshal(out)
}

// decode is the inverse of encode. Whatever the bytes are, the result can be used or there is an error.
func decode(value []byte) (traffic.Record, error) {
	var v struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return traffic.Record{}, err
	}
	if v.Version != version {
		return traffic.Record{}, fmt.Errorf("%w %d; this program knows %d", errVersion, v.Version, version)
	}
	var in record
	if err := json.Unmarshal(value, &in); err != nil {
		return traffic.Record{}, err
	}
	a := &in.Attack
	scope, err1 := parse("scope", a.Scope, traffic.ScopeCount)
	phase, err2 := parse("phase", a.Phase, traffic.PhaseCount)
	direction, err3 := traffic.ParseDirection(a.Direction)
	out := traffic.Record{
		Held: in.Held, HeldUntil: in.HeldUntil,
		Attack: traffic.Attack{
			ID: a.ID, Target: traffic.Target{Scope: scope, Prefix: a.Prefix, Group: a.Group, Direction: direction},
			Phase: phase, Started: a.Started, Detected: a.Detected, Ended: a.Ended,
			Rate: a.Rate, Peak: a.Peak, Volume: a.Volume, Hosts: a.Hosts, Manual: a.Manual, Analysis: a.Analysis,
		},
	}
	var err4 error
	if t := a.Trip; t != nil {
		var metric traffic.Metric
		metric, err4 = traffic.ParseMetric(t.Metric)
		out.Attack.Trip = traffic.Trip{
			Metric: metric, Count: t.Count, Window: t.Window, Value: t.Value, Limit: t.Limit,
			Lower: t.Lower, Seen: t.Seen, Confidence: t.Confidence,
		}
	}
	if in.Ban != nil {
		out.Ban = traffic.Ban(*in.Ban)
	}
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return traffic.Record{}, err
	}
	return out, nil
}

// parse finds the constant below count that is called name.
func parse[E interface {
	~uint8
	String() string
}](what, name string, count E) (E, error) {
	for e := E(0); e < count; e++ {
		if e.String() == name {
			return e, nil
		}
	}
	return 0, fmt.Errorf("unknown %s %q", what, name)
}
