package replay

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"weir/userspace/traffic"
)

// printer writes what was found, for people or for programs.
type printer struct {
	out  io.Writer
	json bool
}

// attackLine is an attack for programs. Value and threshold are in the metric's written unit: packets, Mbit (10^6) or flows per second.
type attackLine struct {
	Event     string    `json:"event"`
	Host      string    `json:"host"` // the address, the prefix, or "hostgroup NAME"
	Direction string    `json:"direction"`
	Metric    string    `json:"metric"`
	Value     float64   `json:"value"`
	Threshold float64   `json:"threshold"`
	Started   time.Time `json:"started"`
	Detected  time.Time `json:"detected"`
}

// summaryLine is the last line for programs.
type summaryLine struct {
	Event string `json:"event"`
	Summary
}

func (p *printer) attack(e *traffic.Event) error {
	scale := e.Trip.Metric.Scale()
	line := attackLine{
		Event: "attack", Host: e.Target.String(), Direction: e.Target.Direction.String(), Metric: e.Trip.Metric.String(),
		Value: round(e.Trip.Value / scale), Threshold: round(e.Trip.Limit / scale), Started: e.Started.UTC(), Detected: e.At.UTC(),
	}
	if p.json {
		return p.object(line)
	}
	return p.text("%s  attack  %s %s  detected %s after its start\n    %s\n", e.At.UTC().Format("2006-01-02 15:04:05.000"), line.Host, line.Direction,
		e.At.Sub(e.Started).Round(time.Millisecond), e.Trip)
}

// analysisLine is what an attack is, for programs.
type analysisLine struct {
	Event     string `json:"event"`
	Host      string `json:"host"`
	Direction string `json:"direction"`
	*traffic.Analysis
}

func (p *printer) analysis(t traffic.Target, a *traffic.Analysis) error {
	if p.json {
		return p.object(analysisLine{"analysis", t.String(), t.Direction.String(), a})
	}
	if err := p.text("%s  what is on %s %s: %s, %.0f %% sure, from %d packets; sources: %s\n", a.At.UTC().Format("2006-01-02 15:04:05.000"), t, t.Direction,
		a.Class, 100*a.Confidence, a.Samples, a.Sources); err != nil {
		return err
	}
	for _, v := range a.Vectors {
		if err := p.text("    %s, %.1f %% of its packets: %s\n", v.Class, 100*v.Share, strings.Join(v.Evidence, "; ")); err != nil {
			return err
		}
	}
	for _, r := range a.Rules.Rules {
		if err := p.text("    %s\n      %s\n", r.Rule, r.Text); err != nil {
			return err
		}
	}
	if a.Rules.Why != "" {
		return p.text("    %s\n", a.Rules.Why)
	}
	return nil
}

// summary ends the output; folded is how many packets were counted with their prefix only.
func (p *printer) summary(s *Summary, folded uint64) error {
	if p.json {
		return p.object(summaryLine{"summary", *s})
	}
	if folded > 0 {
		if err := p.text("%d packets were counted for their prefix only: more hosts than counters\n", folded); err != nil {
			return err
		}
	}
	return p.text("%d packets, %d bytes: %d IPv4, %d IPv6, %d not parsed; attacks: %d\n", s.Packets, s.Bytes, s.IPv4, s.IPv6, s.Unparsed, s.Attacks)
}

func (p *printer) object(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return p.text("%s\n", line)
}

func (p *printer) text(format string, args ...any) error {
	if _, err := fmt.Fprintf(p.out, format, args...); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// round keeps three decimals: more would only be noise.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }
