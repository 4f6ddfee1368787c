package flowcollect

import (
	"fmt"
	"time"

	"weir/userspace/traffic"
)

// Problem is something that makes an exporter's records less than they could be, in a sentence, and what can be done about it.
type Problem struct{ Sentence, Remedy string }

// What is worth a sentence.
const (
	lossWorth   = 0.1 // percent
	offsetWorth = 5 * time.Second
	activeWorth = 2 * time.Minute
	silentWorth = 5 * time.Minute
)

// problems says what is wrong with an exporter now.
func problems(s *ExporterState, now time.Time) []Problem {
	var out []Problem
	add := func(remedy, sentence string, args ...any) {
		out = append(out, Problem{fmt.Sprintf(sentence, args...), remedy})
	}
	r := &s.Recent
	if silent := now.Sub(s.LastSeen); silent > silentWorth {
		add("see that it still exports, and that nothing between drops its datagrams", "nothing has come for %s", silent.Round(time.Second))
		return out // all else is of the past
	}
	if r.Errors > 0 {
		add("see that it sends sFlow v2, v4 or v5, NetFlow v1, v5, v7 or v9, or IPFIX", "%d of its datagrams could not be read; the last: %s", r.Errors, s.LastError)
	}
	if r.Withheld > 0 {
		add("have it export its sampler's options, or set sampling_rate for it in flows.exporters",
			"its records are sampled and nobody says how: %d of them were not counted", r.Withheld)
	}
	if s.Misrated != nil {
		add("find out which is right, for instance by the interface's counters, and set sampling_rate of that interface in flows.exporters",
			"interface %d says that it samples 1 in %d; by its own count of packets it is 1 in %.0f", s.Misrated.Index, s.Misrated.Rate, s.Misrated.Measured)
	}
	if s.Twice != nil {
		add("set direction: ingress for it in flows.exporters, or have it export one side only",
			"what goes from interface %d to %d is told both as it comes in and as it goes out, and counts twice", s.Twice.Input, s.Twice.Output)
	}
	if s.LostPercent > lossWorth {
		add("see `weir status` for drops in the socket; else look for loss on the way, or for a second collector that shares the sequence",
			"%.2f %% of what it sent was lost (%d by the gaps in its sequence numbers)", s.LostPercent, r.Lost)
	}
	if r.Drops > 0 {
		add("raise N of its sampling of 1 in N, or its limit of samples", "it says itself that it has lost %d samples", r.Drops)
	}
	if r.GivenUp > 0 || s.WaitingSets > 0 && s.Templates == 0 {
		add("have it send its templates more often: once a minute, or every 20 packets", "templates come late: %d data sets wait for one, %d were given up",
			s.WaitingSets, r.GivenUp)
	}
	if r.Collisions > 0 {
		add("give each of the exporting processes behind that address a source id or an observation domain of its own",
			"templates changed to and fro %d times under the same numbers: records may be read wrongly", r.Collisions)
	}
	if s.ClockOffset.Abs() > offsetWorth {
		add("set its clock by NTP; until then times are taken relative to those of its datagrams", "its clock is off by %s", s.ClockOffset.Round(time.Millisecond))
	}
	if s.ActiveTimeout > activeWorth {
		add("set its active timeout to 60 s or less: what goes on for longer is seen only then", "it tells of long flows only every %s", s.ActiveTimeout.Round(time.Second))
	}
	if r.BadTimes*100 > r.Records {
		add("update its software; such records count as of their arrival", "%d records have impossible times", r.BadTimes)
	}
	return out
}

// unknownProtocol is the name of no known protocol in Stats.Undecodable.
const unknownProtocol = "unknown"

// nameOf is a protocol's name in Stats.Undecodable.
func nameOf(source traffic.FlowSource) string {
	if source < traffic.FlowSourceCount {
		return source.String()
	}
	return unknownProtocol
}
