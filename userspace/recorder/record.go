package recorder

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"weir/userspace/traffic"
)

// recordVersion changes when older readers would misunderstand a record.
const recordVersion = 1

// record is what stands in an attack's JSON file: names instead of numbers, times as RFC 3339 has them, rates per second.
type record struct {
	Version int       `json:"v"`
	Text    string    `json:"text"` // the same in words
	Attack  attack    `json:"attack"`
	Ban     *ban      `json:"ban,omitempty"`
	Held    string    `json:"held,omitempty"`
	Capture *captured `json:"capture"`
}

// captured is what became of an attack's frames.
type captured struct {
	Files   []string `json:"files"`
	Seen    uint64   `json:"frames_seen"`
	Written uint64   `json:"frames_written"`
	Why     string   `json:"why,omitempty"` // there is no file
}

type attack struct {
	ID        string            `json:"id"`
	Scope     string            `json:"scope"`
	Prefix    netip.Prefix      `json:"prefix"`
	Group     string            `json:"hostgroup"`
	Direction string            `json:"direction"`
	Phase     string            `json:"phase"`
	Manual    bool              `json:"manual,omitempty"`
	Started   time.Time         `json:"started,omitzero"`
	Detected  time.Time         `json:"detected,omitzero"`
	Ended     time.Time         `json:"ended,omitzero"`
	Trip      *trip             `json:"trip,omitempty"`
	Rate      traffic.TwoWay    `json:"rate"`
	Peak      traffic.Counts    `json:"peak"`
	Volume    traffic.Counts    `json:"volume"`
	Hosts     int               `json:"hosts"`
	Analysis  *traffic.Analysis `json:"analysis,omitempty"`
}

type trip struct {
	Metric     string  `json:"metric"`
	Count      uint64  `json:"count"`
	Window     float64 `json:"window_seconds"`
	Value      float64 `json:"value"`
	Limit      float64 `json:"limit"`
	Lower      float64 `json:"lower,omitempty"`
	Seen       uint64  `json:"seen,omitempty"`
	Confidence float64 `json:"confidence,omitempty"`
}

type ban struct {
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until,omitzero"`
	Lifted   time.Time `json:"lifted,omitzero"`
	Drop     bool      `json:"drop"`
	Notified bool      `json:"notified"`
	DryRun   bool      `json:"dry_run"`
	Manual   bool      `json:"manual"`
	Reason   string    `json:"reason,omitempty"`
	Power    uint64    `json:"power"` // packets per second when it began

	Communities []uint32 `json:"communities,omitempty"`

	Response *traffic.Response `json:"response,omitempty"`
}

// encode writes a record.
func encode(r *traffic.Record, is captured) ([]byte, error) {
	a := &r.Attack
	out := record{
		Version: recordVersion, Text: describe(r), Held: r.Held, Capture: &is,
		Attack: attack{
			ID: a.ID, Scope: a.Target.Scope.String(), Prefix: a.Target.Prefix, Group: a.Target.Group, Direction: a.Target.Direction.String(),
			Phase: a.Phase.String(), Manual: a.Manual, Started: a.Started, Detected: a.Detected, Ended: a.Ended,
			Rate: a.Rate, Peak: a.Peak, Volume: a.Volume, Hosts: a.Hosts, Analysis: a.Analysis,
		},
	}
	if t := a.Trip; t != (traffic.Trip{}) {
		out.Attack.Trip = &trip{t.Metric.String(), t.Count, t.Window.Seconds(), t.Value, t.Limit, t.Lower, t.Seen, t.Confidence}
	}
	if !r.Ban.Since.IsZero() {
		b := ban(r.Ban)
		out.Ban = &b
	}
	content, err := json.MarshalIndent(out, "", "  ")
	return append(content, '\n'), err
}

// capturedBefore is what an earlier record says of an attack's frames; nil if there is none, or none that can be read.
func capturedBefore(root *os.Root, name string) (*captured, error) {
	content, err := root.ReadFile(name)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	var r struct {
		Capture *captured `json:"capture"`
	}
	if json.Unmarshal(content, &r) != nil {
		return nil, nil // it is written anew
	}
	return r.Capture, nil
}

// writeRecord puts a record in the place of an older one at once: a reader finds the one or the other.
func writeRecord(root *os.Root, id string, t traffic.Target, content []byte) error {
	name := recordName(id, t)
	draft := name[:len(name)-len(recordEnding)] + draftEnding
	err := root.WriteFile(draft, content, fileMode)
	if err == nil {
		err = root.Rename(draft, name)
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(root.Remove(draft)))
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
