package clickhouse

import (
	"encoding/binary"
	"fmt"
	"time"

	"weir/userspace/eventjson"
	"weir/userspace/traffic"
)

// appendChange appends a row of the table attacks.
func (s *Sink) appendChange(c *traffic.Change) error {
	a, ban := &c.Record.Attack, &c.Record.Ban
	text, err := eventjson.Change(c)
	if err != nil {
		return fmt.Errorf("write attack %s as JSON: %w: %w", a.ID, traffic.ErrPermanent, err)
	}
	target := a.Target.Group
	if a.Target.Scope != traffic.ScopeGroup {
		target = a.Target.String()
	}
	group := c.Group
	if group == "" {
		group = a.Target.Group
	}
	metric := a.Trip.Metric.String()
	if a.Manual {
		metric = ""
	}
	rate := &a.Rate.Incoming
	if a.Target.Direction == traffic.Outgoing {
		rate = &a.Rate.Outgoing
	}
	s.start(c.At)
	b := appendMilliseconds(s.buffer, c.At)
	for _, t := range []string{a.ID, c.Kind.String(), a.Target.Scope.String(), target, group, a.Target.Direction.String(), a.Phase.String(), metric} {
		b = appendText(b, t)
	}
	b = appendReal(appendReal(b, a.Trip.Value), a.Trip.Limit)
	for _, r := range []*traffic.Counts{rate, &a.Peak} {
		b = appendNumber(appendCount(b, r.Total), r.Flows)
	}
	b = appendNumber(appendNumber(b, a.Volume.Total.Packets), a.Volume.Total.Bytes)
	b = binary.LittleEndian.AppendUint32(b, uint32(max(a.Hosts, 0)))
	for _, t := range []time.Time{a.Started, a.Detected, a.Ended} {
		b = appendTime(b, t)
	}
	b = appendReal(b, eventjson.Duration(c).Seconds())
	b = appendBool(appendBool(appendBool(b, a.Manual), ban.DryRun), ban.Active())
	does := ""
	if ban.Active() {
		does = ban.Does()
	}
	for _, t := range []string{does, c.Record.Held, ban.Reason} {
		b = appendText(b, t)
	}
	b = appendAnalysis(b, a.Analysis)
	s.buffer = appendText(appendText(b, c.Capture), text)
	return nil
}

// appendAnalysis appends what an attack is made of, or as much nothing where that is not known.
func appendAnalysis(b []byte, a *traffic.Analysis) []byte {
	if a == nil {
		a = &traffic.Analysis{}
	}
	b = appendReal(appendText(appendText(b, a.Class), a.Sources), a.Confidence)
	b = binary.AppendUvarint(b, uint64(len(a.Vectors)))
	for i := range a.Vectors {
		b = appendText(b, a.Vectors[i].Class)
	}
	b = appendTexts(b, a.Patterns)
	for _, set := range []*traffic.RuleSet{&a.Rules, &a.Router} {
		b = binary.AppendUvarint(b, uint64(len(set.Rules)))
		for i := range set.Rules {
			b = appendText(b, set.Rules[i].Rule)
		}
	}
	return b
}

// A record's time is its end, unless that is this far from now. Records of many days at once would be as many partitions, which the server refuses.
const (
	mostBehind = 24 * time.Hour
	mostAhead  = time.Hour
)

// appendFlow appends a row of the table flows.
func (s *Sink) appendFlow(f *traffic.Flow, now time.Time) {
	at := time.Unix(0, f.End)
	if at.Before(now.Add(-mostBehind)) || at.After(now.Add(mostAhead)) {
		at = now
	}
	s.start(at)
	b := s.buffer
	b = appendNumber(appendNumber(b, uint64(f.Start/1e6)), uint64(f.End/1e6))
	b = appendText(appendAddr(b, f.Exporter), f.Source.String())
	b = binary.LittleEndian.AppendUint32(b, f.Domain)
	b = appendAddr(appendAddr(appendAddr(b, f.Src), f.Dst), f.NextHop)
	b = binary.LittleEndian.AppendUint16(b, f.SrcPort)
	b = binary.LittleEndian.AppendUint16(b, f.DstPort)
	b = append(b, f.Protocol, f.TCPFlags, f.TTL, f.TOS, byte(f.Fragment))
	packets, bytes := f.Scaled()
	b = appendNumber(appendNumber(b, packets), bytes)
	b = binary.LittleEndian.AppendUint32(b, max(f.Rate, 1))
	b = appendText(b, f.RateOrigin.String())
	for _, n := range [...]uint32{f.Length, f.Input, f.Output, f.SrcAS, f.DstAS} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	b = binary.LittleEndian.AppendUint16(append(b, f.SrcMask, f.DstMask), f.VLAN)
	b = appendText(b, side(f.Side))
	s.buffer = appendBool(appendBool(append(b, byte(f.EndReason)), f.Dropped), f.Notice)
}

func side(s traffic.FlowSide) string {
	switch s {
	case traffic.SideIngress:
		return "ingress"
	case traffic.SideEgress:
		return "egress"
	}
	return ""
}
