package kafka

import (
	"google.golang.org/protobuf/encoding/protowire"

	"weir/userspace/traffic"
)

func appendAttack(b []byte, c *traffic.Change) []byte {
	a := &c.Record.Attack
	b = appendUint(b, 1, nanoseconds(c.At))
	b = appendUint(b, 2, uint64(c.Kind))
	b = appendString(b, 3, a.ID)
	b = appendTarget(b, 4, a.Target)
	b = appendTrip(b, 5, &a.Trip)
	b = appendUint(b, 6, uint64(a.Phase))
	b = appendUint(b, 7, nanoseconds(a.Started))
	b = appendUint(b, 8, nanoseconds(a.Detected))
	b = appendUint(b, 9, nanoseconds(a.Ended))
	b = appendTwoWay(b, 10, &a.Rate)
	b = appendCounts(b, 11, &a.Peak)
	b = appendCounts(b, 12, &a.Volume)
	b = appendUint(b, 13, uint64(max(a.Hosts, 0)))
	b = appendBool(b, 14, a.Manual)
	b = appendBan(b, 15, &c.Record.Ban)
	b = appendString(b, 16, c.Record.Held)
	if a.Analysis != nil {
		b = appendAnalysis(b, 17, a.Analysis)
	}
	for i := range c.Sources {
		b = appendSource(b, 18, &c.Sources[i])
	}
	for i := range c.Packets {
		b = appendPacket(b, 19, &c.Packets[i])
	}
	b = appendString(b, 20, c.Report)
	return appendString(b, 21, c.Capture)
}

func appendTarget(b []byte, field protowire.Number, t traffic.Target) []byte {
	b, at := open(b, field)
	b = appendUint(b, 1, uint64(t.Scope))
	b = appendPrefix(b, 2, t.Prefix)
	b = appendString(b, 3, t.Group)
	b = appendUint(b, 4, uint64(t.Direction))
	return shut(b, at)
}

func appendTrip(b []byte, field protowire.Number, t *traffic.Trip) []byte {
	if t.Window == 0 {
		return b
	}
	b, at := open(b, field)
	b = appendString(b, 1, t.Metric.String())
	b = appendUint(b, 2, t.Count)
	b = appendUint(b, 3, uint64(max(t.Window, 0)))
	b = appendDouble(b, 4, t.Value)
	b = appendDouble(b, 5, t.Limit)
	return shut(b, at)
}

func appendBan(b []byte, field protowire.Number, ban *traffic.Ban) []byte {
	if ban.Since.IsZero() {
		return b
	}
	b, at := open(b, field)
	b = appendUint(b, 1, nanoseconds(ban.Since))
	b = appendUint(b, 2, nanoseconds(ban.Until))
	b = appendUint(b, 3, nanoseconds(ban.Lifted))
	b = appendBool(b, 4, ban.Drop)
	b = appendBool(b, 5, ban.DryRun)
	b = appendBool(b, 6, ban.Manual)
	b = appendString(b, 7, ban.Reason)
	b = appendUint(b, 8, ban.Power)
	if r := ban.Response; r != nil {
		b = appendUint(b, 9, uint64(max(r.Rung, 0)))
		b = appendString(b, 10, r.String())
	}
	return shut(b, at)
}

func appendAnalysis(b []byte, field protowire.Number, a *traffic.Analysis) []byte {
	b, at := open(b, field)
	b = appendUint(b, 1, nanoseconds(a.At))
	b = appendString(b, 2, a.Class)
	b = appendDouble(b, 3, a.Confidence)
	b = appendString(b, 4, a.Sources)
	b = appendUint(b, 5, uint64(max(a.Samples, 0)))
	for i := range a.Vectors {
		b = appendShares(b, 6, a.Vectors[i].Class, a.Vectors[i].Share, a.Vectors[i].Confidence)
	}
	for _, p := range a.Patterns {
		b = appendString(b, 7, p)
	}
	for _, e := range a.Evidence {
		b = appendString(b, 8, e)
	}
	for i := range a.Rules.Rules {
		r := &a.Rules.Rules[i]
		b = appendShares(b, 9, r.Rule, r.Coverage, r.Collateral)
	}
	b = appendDouble(b, 10, a.Rules.Coverage)
	b = appendDouble(b, 11, a.Rules.Collateral)
	return shut(b, at)
}

// appendShares writes what Vector and Rule look like: a name and two shares.
func appendShares(b []byte, field protowire.Number, name string, first, second float64) []byte {
	b, at := open(b, field)
	b = appendString(b, 1, name)
	b = appendDouble(b, 2, first)
	b = appendDouble(b, 3, second)
	return shut(b, at)
}

func appendSource(b []byte, field protowire.Number, s *traffic.SourceShare) []byte {
	b, at := open(b, field)
	b = appendAddress(b, 1, s.Source)
	b = appendDouble(b, 2, s.Share)
	b = appendUint(b, 3, uint64(s.AS))
	b = appendString(b, 4, s.ASName)
	b = appendString(b, 5, s.Country)
	b = appendString(b, 6, s.Name)
	return shut(b, at)
}

func appendPacket(b []byte, field protowire.Number, p *traffic.SampledPacket) []byte {
	b, at := open(b, field)
	b = appendUint(b, 1, nanoseconds(p.Time))
	b = appendUint(b, 2, uint64(p.Rate))
	b = appendAddress(b, 3, p.Src)
	b = appendAddress(b, 4, p.Dst)
	b = appendUint(b, 5, uint64(p.Protocol))
	b = appendUint(b, 6, uint64(p.SrcPort))
	b = appendUint(b, 7, uint64(p.DstPort))
	b = appendUint(b, 8, uint64(p.TCPFlags))
	b = appendUint(b, 9, uint64(p.TTL))
	b = appendBool(b, 10, p.Fragment != traffic.Whole)
	b = appendUint(b, 11, uint64(p.Length))
	return shut(b, at)
}
