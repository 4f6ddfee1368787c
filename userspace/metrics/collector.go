package metrics

import (
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/userspace/traffic"
)

// collector turns a snapshot into metrics, for one scrape at a time.
type collector struct {
	descs    [idCount]*prometheus.Desc
	kinds    [idCount]prometheus.ValueType
	build    Build
	snapshot func() Snapshot
}

func newCollector(build Build, snapshot func() Snapshot) *collector {
	c := &collector{build: build, snapshot: snapshot}
	for i, m := range catalog() {
		c.descs[i] = prometheus.NewDesc(m.name, m.help, m.labels, nil)
		c.kinds[i] = m.kind
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// scrape is one answer under way.
type scrape struct {
	*collector
	ch chan<- prometheus.Metric
}

// put sends one value. A label that is not UTF-8 (an interface's name may be any bytes) is made so: one odd name must not cost the rest.
func (s scrape) put(i id, value float64, labels ...string) {
	for n := range labels {
		labels[n] = strings.ToValidUTF8(labels[n], "\uFFFD")
	}
	m, err := prometheus.NewConstMetric(s.descs[i], s.kinds[i], value, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(s.descs[i], err)
	}
	s.ch <- m
}

func (s scrape) flag(i id, on bool, labels ...string) {
	value := 0.0
	if on {
		value = 1
	}
	s.put(i, value, labels...)
}

func (s scrape) moment(i id, t time.Time) {
	if !t.IsZero() {
		s.put(i, float64(t.UnixMilli())/1e3)
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s, now := scrape{c, ch}, c.snapshot()
	s.totals("ipv4", &now.IPv4)
	s.totals("ipv6", &now.IPv6)
	s.rates(&now)
	s.attacks(&now)
	s.dataplane(&now)
	s.bgp(&now)
	s.captures(&now)
	s.flows(now.Flows)
	for place, n := range now.Losses {
		s.put(losses, float64(n), Loss(place).String())
	}
	s.put(ticksSkipped, float64(now.TicksSkipped))
	s.flag(warmingUp, now.WarmingUp)
	s.flag(configSuccess, now.ConfigOK)
	s.moment(configTimestamp, now.ConfigLoaded)
	s.moment(startTime, now.Started)
	s.put(buildInfo, 1, c.build.Version, c.build.Revision, c.build.Go)
}

func (s scrape) totals(family string, totals *[traffic.DirectionCount]traffic.Counts) {
	for d := range totals {
		direction, t := traffic.Direction(d).String(), &totals[d]
		s.put(trafficPackets, float64(t.Total.Packets), direction, family)
		s.put(trafficBytes, float64(t.Total.Bytes), direction, family)
		s.put(trafficFlows, float64(t.Flows), direction, family)
		for _, kind := range []struct {
			name  string
			count traffic.Count
		}{{"tcp", t.TCP}, {"udp", t.UDP}, {"icmp", t.ICMP}, {"tcp_syn", t.TCPSYN}, {"fragments", t.Fragments}, {"dropped", t.Dropped}} {
			s.put(trafficKindPackets, float64(kind.count.Packets), direction, family, kind.name)
			s.put(trafficKindBytes, float64(kind.count.Bytes), direction, family, kind.name)
		}
	}
}

// rates serves hostgroups, networks and hosts, each bounded.
func (s scrape) rates(now *Snapshot) {
	for _, g := range now.Hostgroups[:min(len(now.Hostgroups), MaxHostgroups)] {
		s.twoWay(hostgroupPackets, hostgroupBytes, hostgroupFlows, g.Name, &g.Rate)
	}
	for _, n := range now.Networks[:min(len(now.Networks), MaxNetworks)] {
		s.twoWay(networkPackets, networkBytes, networkFlows, n.Prefix.String(), &n.Rate)
	}
	served := [traffic.DirectionCount]int{}
	omitted := 0
	for i := range now.Hosts {
		h := &now.Hosts[i]
		if h.Direction >= traffic.DirectionCount || served[h.Direction] >= MaxHosts {
			omitted++
			continue
		}
		served[h.Direction]++
		labels := []string{name(h.Host), h.Group, h.Direction.String()}
		s.put(hostPackets, float64(h.Rate.Total.Packets), labels...)
		s.put(hostBytes, float64(h.Rate.Total.Bytes), labels...)
		s.put(hostFlows, float64(h.Rate.Flows), labels...)
		s.put(hostDropped, float64(h.Rate.Dropped.Packets), labels...)
	}
	s.put(hostCellsUsed, float64(now.CellsUsed))
	s.put(hostCells, float64(now.CellCapacity))
	s.put(omittedSeries, float64(max(0, len(now.Hostgroups)-MaxHostgroups)), "hostgroup")
	s.put(omittedSeries, float64(max(0, len(now.Networks)-MaxNetworks)), "network")
	s.put(omittedSeries, float64(max(0, len(now.Interfaces)-MaxInterfaces)), "interface")
	s.put(omittedSeries, float64(max(0, len(now.BGP)-MaxBGPPeers)), "peer")
	s.put(omittedSeries, float64(max(0, len(now.Captures)-MaxInterfaces)), "capture")
	s.put(omittedSeries, float64(now.Flows.omitted()), "exporter")
	s.put(omittedSeries, float64(omitted), "host")
}

func (s scrape) twoWay(packets, bytes, flows id, label string, rate *traffic.TwoWay) {
	for direction, c := range map[traffic.Direction]*traffic.Counts{traffic.Incoming: &rate.Incoming, traffic.Outgoing: &rate.Outgoing} {
		s.put(packets, float64(c.Total.Packets), label, direction.String())
		s.put(bytes, float64(c.Total.Bytes), label, direction.String())
		s.put(flows, float64(c.Flows), label, direction.String())
	}
}

func (s scrape) attacks(now *Snapshot) {
	for phase, n := range now.Attacks {
		if traffic.Phase(phase) != traffic.PhaseOver {
			s.put(attacks, float64(n), traffic.Phase(phase).String())
		}
	}
	s.put(attacksStarted, float64(now.AttacksStarted))
	s.put(mitigationsActive, float64(now.MitigationsActive))
	s.put(mitigationsDropping, float64(now.MitigationsDropping))
	s.put(mitigationsStarted, float64(now.MitigationsAutomatic), "automatic")
	s.put(mitigationsStarted, float64(now.MitigationsManual), "manual")
	s.put(mitigationsLifted, float64(now.MitigationsLifted))
	s.put(ladderSteps, float64(now.Escalations), "up")
	s.put(ladderSteps, float64(now.Deescalations), "down")
	s.put(rulesInForce, float64(now.RulesInForce-now.RulesShadow), "enforced")
	s.put(rulesInForce, float64(now.RulesShadow), "shadow")
	s.put(rulesLeftOut, float64(now.RulesLeftOut))
	s.put(hookCalls, float64(now.Hooks[0]-now.Hooks[1]-now.Hooks[2]), "answered")
	s.put(hookCalls, float64(now.Hooks[1]), "veto")
	s.put(hookCalls, float64(now.Hooks[2]), "error")
	for _, one := range now.Sinks {
		s.flag(sinkUp, one.Up, one.Name)
		s.put(sinkFailures, float64(one.Failures), one.Name)
		for kind := range SinkKindCount {
			s.put(sinkSent, float64(one.Sent[kind]), one.Name, kind.String())
			s.put(sinkLost, float64(one.Lost[kind]), one.Name, kind.String())
		}
	}
	for reason, n := range now.MitigationsRefused {
		s.put(mitigationsRefused, float64(n), reason)
	}
	s.flag(mitigationDryRun, now.DryRun)
	s.flag(mitigationKillSwitch, now.KillSwitch)
}

func (s scrape) dataplane(now *Snapshot) {
	for r, n := range now.Reasons {
		s.put(dataplanePackets, float64(n.Packets), traffic.Reason(r).String())
		s.put(dataplaneBytes, float64(n.Bytes), traffic.Reason(r).String())
	}
	for a, n := range now.Anomalies {
		if traffic.Anomaly(a) != traffic.AnomalyNone {
			s.put(dataplaneAnomalous, float64(n), traffic.Anomaly(a).String())
		}
	}
	for _, i := range now.Interfaces[:min(len(now.Interfaces), MaxInterfaces)] {
		s.flag(interfaceAttached, i.Attached, i.Name, i.Role, i.Mode)
	}
}

// name writes a single address without its length.
func name(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
