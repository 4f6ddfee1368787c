package daemon

import (
	"weir/bgp"
	"weir/loader"
	"weir/userspace/api"
	"weir/userspace/metrics"
	"weir/userspace/mitigate"
	"weir/userspace/notify"
	"weir/userspace/traffic"
)

// snapshot is everything that Prometheus is told, as of now.
func (e *engine) snapshot() *metrics.Snapshot {
	w, counters, stats, detected := e.world, e.counters(), e.manager.Stats(), e.detector.Stats()
	slots, used := w.capacity()
	s := &metrics.Snapshot{
		CellCapacity:         slots,
		CellsUsed:            used,
		Attacks:              stats.Phases,
		AttacksStarted:       stats.Attacks,
		MitigationsActive:    stats.Bans,
		MitigationsDropping:  stats.Dropping,
		MitigationsAutomatic: stats.AutoBans,
		MitigationsManual:    stats.ManualBans,
		MitigationsLifted:    stats.Lifted,
		Escalations:          stats.Escalations,
		Deescalations:        stats.Deescalations,
		RulesLeftOut:         e.auto.left,
		MitigationsRefused:   map[string]uint64{},
		DryRun:               stats.DryRun,
		KillSwitch:           stats.KillSwitch,
		TicksSkipped:         e.skipped,
		WarmingUp:            e.second.Sub(e.started) < w.cfg.Detection.WarmUp,
		ConfigOK:             e.configError == "",
		ConfigLoaded:         e.loaded,
		Started:              e.started,
		Flows:                e.flowMetrics(e.second),
	}
	for r := mitigate.RefusalNone + 1; r < mitigate.RefusalCount; r++ {
		s.MitigationsRefused[r.String()] = stats.Refused[r]
	}
	if e.hooks != nil {
		h := e.hooks.Stats()
		s.Hooks = [3]uint64{h.Calls, h.Vetoes, h.Errors}
	}
	s.RulesInForce, s.RulesShadow = e.rulesCounted()
	e.addCounters(s, &counters)
	s.Losses[metrics.LossTracking] = detected.Unwatched + detected.AreasRefused + detected.AreasUnwatched
	s.Losses[metrics.LossWatchers] = e.server.Stats().Missed
	stored := e.store.Stats()
	s.Losses[metrics.LossStore] = stored.Overflowed + stored.Skipped
	if e.notifier != nil {
		s.Losses[metrics.LossNotify] = lostCalls(e.notifier.Stats())
	}
	for i, g := range w.cfg.Hostgroups {
		s.Hostgroups = append(s.Hostgroups, metrics.GroupRate{Name: g.Name, Rate: e.totals.groups.at(i)})
	}
	for i, n := range w.table.Networks() {
		s.Networks = append(s.Networks, metrics.NetworkRate{Prefix: n.Prefix, Rate: e.totals.networks.at(i)})
	}
	for _, dir := range []traffic.Direction{traffic.Incoming, traffic.Outgoing} {
		for _, h := range w.top(dir, traffic.PPS, w.cfg.Prometheus.TopHosts) {
			s.Hosts = append(s.Hosts, metrics.HostRate{Host: h.Owner, Group: w.cfg.Hostgroups[h.group].Name, Direction: dir, Rate: h.Rate})
		}
	}
	return s
}

// scrape is the last snapshot with the interfaces as they are now: their state may take a moment while one is being attached, which
// the main loop must not wait for.
func (e *engine) scrape() metrics.Snapshot {
	s := *e.publish.Load()
	for _, i := range e.interfaces() {
		s.Interfaces = append(s.Interfaces, metrics.Interface{Name: i.Name, Role: i.Role.String(), Mode: modeOf(i), Attached: i.Attached})
	}
	for _, c := range e.captures {
		s.Captures = append(s.Captures, c.engine.Stats())
	}
	for _, r := range e.exports.runners {
		t := r.Stats()
		s.Sinks = append(s.Sinks, metrics.Sink{
			Name: t.Name, Up: t.Up || t.Failures == 0, Failures: t.Failures,
			Sent: [metrics.SinkKindCount]uint64{t.Pushes, t.Changes, t.Flows}, Lost: [metrics.SinkKindCount]uint64{t.Lost.Snapshots, t.Lost.Changes, t.Lost.Flows},
		})
	}
	routers := e.routers.status()
	s.BGPSpeakerUp, s.BGPSpeakerRestarts = routers.Speaker.Up, uint64(routers.Speaker.Restarts)
	for _, p := range routers.Peers {
		s.BGP = append(s.BGP, metrics.BGPPeer{
			Name: p.Name, Kind: p.Kind, Established: p.Session == string(bgp.Established) || p.Session == "connected",
			Ups: p.Ups, Routes: p.Routes, Refused: p.RefusedRoutes, Sent: p.Sent, Received: p.Received,
		})
	}
	return s
}

// lostCalls is how many calls of the script came to nothing.
func lostCalls(s notify.Stats) uint64 {
	lost := s.Rejected
	for outcome, n := range s.Ended {
		if notify.Outcome(outcome) != notify.Succeeded {
			lost += n
		}
	}
	return lost
}

// addCounters puts the data plane's counts into a snapshot. Internal and other traffic is counted there alone.
func (e *engine) addCounters(s *metrics.Snapshot, c *loader.Counters) {
	for family, exits := range c.Exits {
		for reason, n := range exits {
			s.Reasons[reason].Packets += n.Packets
			s.Reasons[reason].Bytes += n.Bytes
		}
		if family == 0 {
			continue
		}
		totals := &s.IPv4
		if family == 2 {
			totals = &s.IPv6
		}
		copy(totals[:], e.totals.sum[family-1][:])
		totals[traffic.Internal].Total = exits[traffic.ReasonInternal]
		totals[traffic.Other].Total = exits[traffic.ReasonOther]
	}
	s.Anomalies = c.Anomalies
	s.Losses[metrics.LossSamples] = c.SamplesLost
	s.Losses[metrics.LossFolded] = c.FoldedPackets
	s.Losses[metrics.LossRedirect] = c.RedirectFailed
}

// counters are those of the data plane in force, of the ones before it, and of the workers.
func (e *engine) counters() loader.Counters {
	var c loader.Counters
	if e.world.plane != nil {
		c = e.world.plane.Counters()
	}
	e.base.addTo(&c)
	for _, w := range e.workers {
		told := w.told.Load()
		for family := range told.exits {
			for reason, n := range told.exits[family] {
				c.Exits[family][reason].Packets += n.Packets
				c.Exits[family][reason].Bytes += n.Bytes
			}
		}
		for a, n := range told.anomalies {
			c.Anomalies[a] += n
		}
	}
	return c
}

// interfaces are those that have XDP, as they are now.
func (e *engine) interfaces() []loader.InterfaceStatus {
	if e.attacher == nil {
		return nil
	}
	return e.attacher.Status()
}

// carried is what data planes had counted that a reload has replaced.
type carried struct{ loader.Counters }

// addTo adds what was carried over to the counts of the data plane in force.
func (b *carried) addTo(c *loader.Counters) {
	for family := range c.Exits {
		for reason := range c.Exits[family] {
			c.Exits[family][reason].Packets += b.Exits[family][reason].Packets
			c.Exits[family][reason].Bytes += b.Exits[family][reason].Bytes
		}
	}
	for a := range c.Anomalies {
		c.Anomalies[a] += b.Anomalies[a]
	}
	c.SamplesLost += b.SamplesLost
	c.FoldedPackets += b.FoldedPackets
	c.RedirectFailed += b.RedirectFailed
}

// takeOff has counts from before the start left out: modulo 2^64, as all are added up.
func (b *carried) takeOff(c loader.Counters) {
	for family := range c.Exits {
		for reason := range c.Exits[family] {
			b.Exits[family][reason].Packets -= c.Exits[family][reason].Packets
			b.Exits[family][reason].Bytes -= c.Exits[family][reason].Bytes
		}
	}
	for a := range c.Anomalies {
		b.Anomalies[a] -= c.Anomalies[a]
	}
	b.SamplesLost -= c.SamplesLost
	b.FoldedPackets -= c.FoldedPackets
	b.RedirectFailed -= c.RedirectFailed
}

// modeOf is how an interface's program is attached.
func modeOf(i loader.InterfaceStatus) string {
	if !i.Attached {
		return "none"
	}
	return i.Mode.String()
}

func interfacesFor(status []loader.InterfaceStatus) []api.Interface {
	var out []api.Interface
	for _, i := range status {
		why := i.Why
		if i.Error != "" {
			why = i.Error
		}
		out = append(out, api.Interface{
			Name: i.Name, Index: i.Index, Role: i.Role.String(), Mode: modeOf(i), Why: why, Attached: i.Attached,
			Egress: i.Egress != loader.EgressNone, Pair: i.Pair, Since: i.Since,
		})
	}
	return out
}
