package plugin

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"weir/userspace/plugin/pluginpb"
	"weir/userspace/traffic"
)

// The protobuf enums of kinds and directions are ours plus one, because their zero means unspecified; a test holds the names against each other.

func directionOut(d traffic.Direction) pluginpb.Direction { return pluginpb.Direction(d) + 1 }

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

// text makes a string fit for protobuf, which refuses whole messages for one that is not UTF-8.
func text(s string) string { return strings.ToValidUTF8(s, "?") }

// countOut leaves out what was not seen: a message of its own for each of eight zeros is most of a snapshot.
func countOut(c traffic.Count) *pluginpb.Count {
	if c == (traffic.Count{}) {
		return nil
	}
	return &pluginpb.Count{Packets: c.Packets, Bytes: c.Bytes}
}

func countsOut(c *traffic.Counts) *pluginpb.Counts {
	return &pluginpb.Counts{
		Total: countOut(c.Total), Flows: c.Flows, Tcp: countOut(c.TCP), Udp: countOut(c.UDP), Icmp: countOut(c.ICMP),
		TcpSyn: countOut(c.TCPSYN), Fragments: countOut(c.Fragments), Dropped: countOut(c.Dropped),
	}
}

func changeOut(number uint64, c *traffic.Change) *pluginpb.Change {
	out := &pluginpb.Change{
		Number: number, Kind: c.Kind.String(), Time: timeOut(c.At), Attack: attackOut(c), Report: text(c.Report), Capture: text(c.Capture),
	}
	if !c.Record.Ban.Since.IsZero() {
		out.Ban = banOut(&c.Record)
	}
	for i := range c.Packets {
		p := &c.Packets[i]
		out.Packets = append(out.Packets, &pluginpb.SampledPacket{
			Time: timeOut(p.Time), Rate: p.Rate, Source: addrOut(p.Src), Destination: addrOut(p.Dst),
			SourcePort: uint32(p.SrcPort), DestinationPort: uint32(p.DstPort), Protocol: uint32(p.Protocol), TcpFlags: uint32(p.TCPFlags),
			Ttl: uint32(p.TTL), Length: p.Length, Fragment: pluginpb.Fragment(p.Fragment),
		})
	}
	for i := range c.Sources {
		s := &c.Sources[i]
		out.Sources = append(out.Sources, &pluginpb.SourceShare{
			Source: addrOut(s.Source), Share: s.Share, As: s.AS, AsName: text(s.ASName), Country: text(s.Country), Name: text(s.Name),
		})
	}
	return out
}

// addrOut leaves out the zero address.
func addrOut(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func attackOut(c *traffic.Change) *pluginpb.Attack {
	a := &c.Record.Attack
	out := &pluginpb.Attack{
		Id: a.ID, Scope: a.Target.Scope.String(), Target: prefixOut(a.Target.Prefix), Hostgroup: cmp.Or(c.Group, a.Target.Group),
		Direction: directionOut(a.Target.Direction), Phase: a.Phase.String(), Trip: a.Trip.String(),
		Started: timeOut(a.Started), Detected: timeOut(a.Detected), Ended: timeOut(a.Ended),
		IncomingRate: countsOut(&a.Rate.Incoming), OutgoingRate: countsOut(&a.Rate.Outgoing), Peak: countsOut(&a.Peak), Volume: countsOut(&a.Volume),
		Hosts: uint32(a.Hosts), Manual: a.Manual, Held: text(c.Record.Held),
	}
	if !a.Manual {
		scale := a.Trip.Metric.Scale()
		out.Metric, out.Value, out.Threshold = a.Trip.Metric.String(), a.Trip.Value/scale, a.Trip.Limit/scale
	}
	if a.Analysis != nil {
		out.Class, out.Confidence, out.Rules = a.Analysis.Class, a.Analysis.Confidence, rulesOut(a.Analysis)
	}
	return out
}

// rulesOut are the rules that an attack's analysis has found; none where nothing is known.
func rulesOut(a *traffic.Analysis) []string {
	if a == nil {
		return nil
	}
	rules := make([]string, 0, len(a.Rules.Rules))
	for _, r := range a.Rules.Rules {
		rules = append(rules, text(r.Rule))
	}
	return rules
}

func banOut(r *traffic.Record) *pluginpb.Ban {
	t, b := &r.Attack.Target, &r.Ban
	out := &pluginpb.Ban{
		AttackId: r.Attack.ID, Target: prefixOut(t.Prefix), Hostgroup: t.Group, Direction: directionOut(t.Direction),
		Since: timeOut(b.Since), Until: timeOut(b.Until), Lifted: timeOut(b.Lifted), Reason: text(b.Reason), Does: text(b.Does()),
		Manual: b.Manual, DryRun: b.DryRun, Power: b.Power, Rules: rulesOut(r.Attack.Analysis),
	}
	if out.Reason == "" && !r.Attack.Manual {
		out.Reason = r.Attack.Trip.String()
	}
	return out
}

// banSet is bans as mitigators see them, by attack. One that is a dry run is not among them: what nobody hears of, nobody puts in force by mistake.
type banSet []*pluginpb.Ban

func bansOut(records []traffic.Record) *banSet {
	set := make(banSet, 0, len(records))
	for i := range records {
		if b := &records[i].Ban; b.Active() && !b.DryRun {
			set = append(set, banOut(&records[i]))
		}
	}
	slices.SortFunc(set, func(a, b *pluginpb.Ban) int { return cmp.Compare(a.GetAttackId(), b.GetAttackId()) })
	return &set
}

// equal reports whether there is nothing new in o.
func (s *banSet) equal(o *banSet) bool {
	return slices.EqualFunc(*s, *o, func(a, b *pluginpb.Ban) bool { return proto.Equal(a, b) })
}

// Hosts in a snapshot that is sent.
const (
	usualHosts = 1000
	mostHosts  = 100000
)

func snapshotOut(number uint64, s *traffic.Snapshot, hosts uint32) *pluginpb.Snapshot {
	out := &pluginpb.Snapshot{Number: number, Time: timeOut(s.Time)}
	if s.Interval > 0 {
		out.Interval = durationpb.New(s.Interval)
	}
	for version := range s.Version {
		for d := range s.Version[version] {
			out.Totals = append(out.Totals, &pluginpb.Total{
				IpVersion: uint32(4 + 2*version), Direction: directionOut(traffic.Direction(d)), Rate: countsOut(&s.Version[version][d]),
			})
		}
	}
	for i := range s.Networks {
		n := &s.Networks[i]
		out.Networks = append(out.Networks, &pluginpb.NetworkRate{
			Prefix: n.Prefix.String(), Incoming: countsOut(&n.Incoming), Outgoing: countsOut(&n.Outgoing),
		})
	}
	for i := range s.Groups {
		g := &s.Groups[i]
		out.Hostgroups = append(out.Hostgroups, &pluginpb.GroupRate{Name: text(g.Name), Incoming: countsOut(&g.Incoming), Outgoing: countsOut(&g.Outgoing)})
	}
	busiest := busiest(s.Hosts, int(hosts))
	for _, i := range busiest {
		h := &s.Hosts[i]
		out.Hosts = append(out.Hosts, &pluginpb.HostRate{
			Host: prefixOut(h.Host), Hostgroup: text(h.Group), Incoming: countsOut(&h.Incoming), Outgoing: countsOut(&h.Outgoing),
		})
	}
	out.HostsLeft = uint32(len(s.Hosts) - len(busiest))
	return out
}

// busiest returns the indexes of the hosts with the most packets in both directions together, the busiest first.
func busiest(hosts []traffic.HostRate, most int) []int {
	order := make([]int, len(hosts))
	for i := range order {
		order[i] = i
	}
	packets := func(i int) uint64 { return hosts[i].Incoming.Total.Packets + hosts[i].Outgoing.Total.Packets }
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(packets(b), packets(a)), hosts[a].Host.Addr().Compare(hosts[b].Host.Addr()))
	})
	return order[:min(most, len(order))]
}
