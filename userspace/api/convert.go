package api

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"weir/userspace/api/weirpb"
	"weir/userspace/traffic"
)

// The protobuf enums are the vocabulary's plus one, because their zero means unspecified; a test holds the names against each other.

func directionOut(d traffic.Direction) weirpb.Direction { return weirpb.Direction(d) + 1 }

// directionsIn turns a request's direction into those it stands for.
func directionsIn(d weirpb.Direction) ([]traffic.Direction, error) {
	switch d {
	case weirpb.Direction_DIRECTION_UNSPECIFIED:
		return []traffic.Direction{traffic.Incoming, traffic.Outgoing}, nil
	case weirpb.Direction_DIRECTION_INCOMING, weirpb.Direction_DIRECTION_OUTGOING:
		return []traffic.Direction{traffic.Direction(d - 1)}, nil
	}
	return nil, fmt.Errorf("direction %s: expected incoming, outgoing, or none for both", d)
}

func metricIn(m weirpb.Metric) (traffic.Metric, error) {
	if m == weirpb.Metric_METRIC_UNSPECIFIED {
		return traffic.PPS, nil
	}
	if m < 0 || m > weirpb.Metric(traffic.MetricCount) {
		return 0, fmt.Errorf("order_by %d: no such metric", m)
	}
	return traffic.Metric(m - 1), nil
}

func limitIn(limit uint32, fallback int) (int, error) {
	if limit == 0 {
		return fallback, nil
	}
	if limit > MaxRows {
		return 0, fmt.Errorf("limit %d: expected at most %d", limit, MaxRows)
	}
	return int(limit), nil
}

// prefixIn reads a prefix without host bits, or an address without zone as the prefix of just that address; field names it in errors.
// An IPv4-mapped address means the IPv4 address.
func prefixIn(field, text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%s %q: expected an address or a prefix such as 192.0.2.0/24", field, clip(text))
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s %q: host bits are set; expected %s", field, text, p.Masked())
	}
	return p, nil
}

// clip keeps a client's text short enough to be quoted in an error.
func clip(text string) string {
	const most = 80
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}

// engineXDP is what takes packets off an interface unless something else is said.
const engineXDP = "xdp"

// timeOut leaves out the zero time, which means "none".
func timeOut(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// prefixOut writes a single address without its length.
func prefixOut(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return ""
	case p.IsSingleIP():
		return p.Addr().String()
	}
	return p.String()
}

func countOut(c traffic.Count) *weirpb.Count {
	return &weirpb.Count{Packets: c.Packets, Bytes: c.Bytes}
}

func countsOut(c *traffic.Counts) *weirpb.Counts {
	return &weirpb.Counts{
		Total: countOut(c.Total), Flows: c.Flows, Tcp: countOut(c.TCP), Udp: countOut(c.UDP), Icmp: countOut(c.ICMP),
		TcpSyn: countOut(c.TCPSYN), Fragments: countOut(c.Fragments), Dropped: countOut(c.Dropped),
	}
}

func statusOut(s *Status) *weirpb.StatusResponse {
	out := &weirpb.StatusResponse{
		Version: s.Version, Started: timeOut(s.Started), Now: timeOut(s.Now),
		ConfigPath: s.ConfigPath, ConfigLoaded: timeOut(s.ConfigLoaded), ConfigError: s.ConfigError,
		WarmingUp: s.WarmingUp, DryRun: s.DryRun, KillSwitch: s.KillSwitch,
		Networks: uint64(s.Networks), Hosts: uint64(s.Hosts), HostCapacity: uint64(s.HostCapacity),
		Losses: talliesOut(s.Losses), Flows: flowsOut(s.Flows),
		AttacksActive: uint64(s.AttacksActive), AttacksTotal: s.AttacksTotal, BansActive: uint64(s.BansActive), BansTotal: s.BansTotal,
	}
	for i := range s.Interfaces {
		f := &s.Interfaces[i]
		out.Interfaces = append(out.Interfaces, &weirpb.Interface{
			Name: f.Name, Index: uint32(f.Index), Role: f.Role, Mode: f.Mode, Why: f.Why,
			Attached: f.Attached, Egress: f.Egress, Pair: f.Pair, Since: timeOut(f.Since),
			Engine: cmp.Or(f.Engine, engineXDP), Capture: captureOut(f.Capture),
		})
	}
	for d := range s.Directions {
		total := &s.Directions[d]
		out.Directions = append(out.Directions, &weirpb.DirectionTotal{
			Direction: directionOut(traffic.Direction(d)), Total: countsOut(&total.Total), Rate: countsOut(&total.Rate),
		})
	}
	for r, n := range s.Reasons {
		out.Reasons = append(out.Reasons, &weirpb.Tally{Name: traffic.Reason(r).String(), Count: n})
	}
	for a, n := range s.Anomalies {
		if traffic.Anomaly(a) != traffic.AnomalyNone {
			out.Anomalies = append(out.Anomalies, &weirpb.Tally{Name: traffic.Anomaly(a).String(), Count: n})
		}
	}
	return out
}

func hostOut(h *HostRate) *weirpb.Host {
	return &weirpb.Host{
		Host: prefixOut(h.Host), Hostgroup: h.Group, Direction: directionOut(h.Direction),
		Rate: countsOut(&h.Rate), Total: countsOut(&h.Total), Banned: h.Banned, AttackId: h.AttackID,
	}
}

func attackOut(r *traffic.Record) *weirpb.Attack {
	a := &r.Attack
	out := &weirpb.Attack{
		Id: a.ID, Scope: weirpb.Scope(a.Target.Scope) + 1, Target: prefixOut(a.Target.Prefix), Hostgroup: a.Target.Group,
		Direction: directionOut(a.Target.Direction), Phase: weirpb.Phase(a.Phase) + 1,
		Started: timeOut(a.Started), Detected: timeOut(a.Detected), Ended: timeOut(a.Ended),
		IncomingRate: countsOut(&a.Rate.Incoming), OutgoingRate: countsOut(&a.Rate.Outgoing),
		Peak: countsOut(&a.Peak), Volume: countsOut(&a.Volume), Hosts: uint64(a.Hosts), Manual: a.Manual, Held: r.Held, Analysis: analysisOut(a.Analysis),
	}
	if !r.Ban.Since.IsZero() {
		out.Ban = banOut(r)
	}
	if !a.Manual {
		scale := a.Trip.Metric.Scale()
		out.Metric = weirpb.Metric(a.Trip.Metric) + 1
		out.Value, out.Threshold = a.Trip.Value/scale, a.Trip.Limit/scale
		out.Lower, out.Samples, out.Confidence = a.Trip.Lower/scale, a.Trip.Seen, a.Trip.Confidence
		out.Counted, out.Window = a.Trip.Count, durationpb.New(a.Trip.Window)
	}
	return out
}

func banOut(r *traffic.Record) *weirpb.BanEntry {
	out := &weirpb.BanEntry{
		Target: prefixOut(r.Attack.Target.Prefix), Hostgroup: r.Attack.Target.Group, Direction: directionOut(r.Attack.Target.Direction),
		Since: timeOut(r.Ban.Since), Until: timeOut(r.Ban.Until), Lifted: timeOut(r.Ban.Lifted), Reason: r.Ban.Reason, AttackId: r.Attack.ID,
		Manual: r.Ban.Manual, Dropping: r.Ban.Drops(), Notified: r.Ban.Notified, DryRun: r.Ban.DryRun, Dropped: countOut(r.Attack.Volume.Dropped),
	}
	if out.Reason == "" && !r.Attack.Manual {
		out.Reason = r.Attack.Trip.String()
	}
	out.Response = responseOut(&r.Ban)
	return out
}

// responseOut is the rung of a ladder that a ban is on; nil: there is no ladder.
func responseOut(b *traffic.Ban) *weirpb.Response {
	r := b.Response
	if r == nil {
		return nil
	}
	out := &weirpb.Response{Rung: uint32(r.Rung), Rungs: uint32(r.Rungs), Since: timeOut(r.Since), Does: b.Does(), Probing: r.Probing}
	for _, c := range r.History {
		out.History = append(out.History, &weirpb.RungChange{At: timeOut(c.At), Rung: uint32(c.Rung), Why: c.Why})
		out.Why = c.Why
	}
	return out
}

func bansOut(rows []traffic.Record) []*weirpb.BanEntry {
	out := make([]*weirpb.BanEntry, 0, len(rows))
	for i := range rows {
		out = append(out, banOut(&rows[i]))
	}
	return out
}
