// Package eventjson is the one JSON form of attacks, traffic and flow records that sinks write: snake_case names, rates per second, times as RFC 3339 in UTC.
package eventjson

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// change is traffic.Change as it is written.
type change struct {
	Event     string            `json:"event"` // always "attack"
	ID        string            `json:"id"`
	Kind      string            `json:"kind"`
	Time      time.Time         `json:"time"`
	Target    string            `json:"target"`
	Scope     string            `json:"scope"`
	Direction string            `json:"direction"`
	Hostgroup string            `json:"hostgroup,omitempty"`
	Phase     string            `json:"phase"`
	Manual    bool              `json:"manual"`
	Metric    string            `json:"metric,omitempty"`
	Value     float64           `json:"value,omitempty"` // in the metric's unit per second
	Threshold float64           `json:"threshold,omitempty"`
	Trip      string            `json:"trip"` // the arithmetic, in words
	Started   time.Time         `json:"started"`
	Detected  time.Time         `json:"detected"`
	Ended     *time.Time        `json:"ended,omitempty"`
	Duration  float64           `json:"duration_seconds"`
	Hosts     int               `json:"hosts"`
	Rate      traffic.TwoWay    `json:"rate"`
	Peak      traffic.Counts    `json:"peak"`
	Volume    traffic.Counts    `json:"volume"`
	Held      string            `json:"held,omitempty"`
	Ban       *ban              `json:"ban,omitempty"`
	Analysis  *traffic.Analysis `json:"analysis,omitempty"`
	Sources   []source          `json:"sources,omitempty"`
	Capture   string            `json:"capture,omitempty"`
}

type ban struct {
	Since    time.Time         `json:"since"`
	Until    *time.Time        `json:"until,omitempty"`
	Lifted   *time.Time        `json:"lifted,omitempty"`
	Drop     bool              `json:"drop"`
	DryRun   bool              `json:"dry_run"`
	Manual   bool              `json:"manual"`
	Reason   string            `json:"reason,omitempty"`
	Power    uint64            `json:"power"` // packets per second when it began
	Does     string            `json:"does"`
	Response *traffic.Response `json:"response,omitempty"`
}

type source struct {
	Source  netip.Addr `json:"source"`
	Share   float64    `json:"share"`
	AS      uint32     `json:"as,omitempty"`
	ASName  string     `json:"as_name,omitempty"`
	Country string     `json:"country,omitempty"`
	Name    string     `json:"name,omitempty"`
}

// Change writes a change of an attack as one JSON object without a line's end.
func Change(c *traffic.Change) ([]byte, error) {
	a, b := &c.Record.Attack, &c.Record.Ban
	out := change{
		Event: "attack", ID: a.ID, Kind: c.Kind.String(), Time: c.At.UTC(), Target: a.Target.String(), Scope: a.Target.Scope.String(),
		Direction: a.Target.Direction.String(), Hostgroup: c.Group, Phase: a.Phase.String(), Manual: a.Manual, Trip: a.Trip.String(),
		Started: a.Started.UTC(), Detected: a.Detected.UTC(), Ended: at(a.Ended), Duration: Duration(c).Seconds(), Hosts: a.Hosts,
		Rate: a.Rate, Peak: a.Peak, Volume: a.Volume, Held: c.Record.Held, Analysis: a.Analysis, Capture: c.Capture,
	}
	if out.Hostgroup == "" {
		out.Hostgroup = a.Target.Group
	}
	if a.Trip.Window > 0 {
		out.Metric, out.Value, out.Threshold = a.Trip.Metric.String(), a.Trip.Value/a.Trip.Metric.Scale(), a.Trip.Limit/a.Trip.Metric.Scale()
	}
	if !b.Since.IsZero() {
		out.Ban = &ban{
			Since: b.Since.UTC(), Until: at(b.Until), Lifted: at(b.Lifted), Drop: b.Drops(), DryRun: b.DryRun, Manual: b.Manual, Reason: b.Reason,
			Power: b.Power, Does: b.Does(), Response: b.Response,
		}
	}
	for _, s := range c.Sources {
		out.Sources = append(out.Sources, source(s))
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // whoever looks at it shall read "5200 > 5000"
	if err := encoder.Encode(&out); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}

// Duration is how long an attack had lasted when it changed.
func Duration(c *traffic.Change) time.Duration {
	end := c.Record.Attack.Ended
	if end.IsZero() {
		end = c.At
	}
	return max(0, end.Sub(c.Record.Attack.Started))
}

// at leaves out a time that is not known.
func at(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
