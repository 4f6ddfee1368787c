package daemon

import (
	"net/netip"
	"os"
	"slices"

	"weir/loader"
	"weir/userspace/config"
	"weir/userspace/detect"
	"weir/userspace/hosts"
	"weir/userspace/mitigate"
	"weir/userspace/networks"
	"weir/userspace/traffic"
)

// tableOf makes the table of our networks from the configuration and the addresses found at run time.
func tableOf(cfg *config.Config, live []netip.Prefix) *networks.Table {
	var nets []networks.Network
	for _, m := range cfg.Members(live) {
		nets = append(nets, networks.Network{Prefix: m.Prefix, Group: m.Group})
	}
	return networks.NewTable(nets, cfg.NeverBan)
}

// budgetOf divides the memory for cells: at most a quarter is for hosts that get their cells on demand.
func budgetOf(cfg *config.Config, cpus int) networks.Budget {
	slots := int(cfg.Memory.Cells) / loader.MemoryPerSlot(cpus)
	dynamic := min(slots/4, mostDynamic)
	return networks.Budget{Dense: slots - dynamic, Dynamic: dynamic}
}

// mostDynamic bounds the slots on demand: each also costs an entry in a hash map, and a reading a second.
const mostDynamic = 1 << 16

func layoutOf(cfg *config.Config, table *networks.Table, cpus int) (*networks.Layout, error) {
	var prefixes []netip.Prefix
	for _, n := range table.Networks() {
		prefixes = append(prefixes, n.Prefix)
	}
	return networks.NewLayout(prefixes, budgetOf(cfg, cpus))
}

func planOf(cfg *config.Config, l *networks.Layout) loader.Plan {
	p := loader.Plan{
		Locate4:    l.Locate4(),
		Filter6:    l.Filter6(),
		DenseSlots: l.DenseSlots(),
		Slots:      l.Slots(),
		FoldHosts:  l.FoldHosts(),
		PinPath:    cfg.Pin.Path,
		Tunnels:    cfg.Tunnels,
		Rules:      roomForRules,
		Sources:    roomForSources(cfg),

		Authenticate: roomForProofs(cfg),
	}
	for _, n := range l.DynamicNetworks() {
		p.Dynamic = append(p.Dynamic, loader.Network{Prefix: n, Divided: networks.Divided(n)})
	}
	return p
}

func detectPolicy(cfg *config.Config, table *networks.Table) detect.Policy {
	p := detect.Policy{
		WarmUp:     cfg.Detection.WarmUp,
		MaxWatched: cfg.Detection.MaxWatched,
		Confidence: cfg.Detection.Confidence,
		Group:      table.Group,
		Contains:   table.Contains,
	}
	if len(cfg.Interfaces) == 0 {
		p.Gathered = hosts.CountedAtOnce
	}
	for _, g := range cfg.Hostgroups {
		p.Groups = append(p.Groups, detect.Group{
			Name:    g.Name,
			Enabled: g.Enabled,
			Host:    g.Host,
			Prefix:  g.Prefix,
			Total:   g.Total,
			Window:  g.Window,
			Average: g.Average,
			Clear:   g.Clear,
			Quiet:   g.Quiet,
		})
	}
	return p
}

func (e *engine) mitigatePolicy(cfg *config.Config, table *networks.Table) mitigate.Policy {
	m := cfg.Mitigation
	p := mitigate.Policy{
		Groups:       map[string]mitigate.GroupPolicy{},
		Manual:       mitigate.GroupPolicy{Drop: true, Notify: true},
		MaxActive:    m.MaxActive,
		MaxPerMinute: m.MaxPerMinute,
		DryRun:       m.DryRun,
		KillSwitch:   m.KillSwitch || exists(m.KillSwitchFile),
		RuleTime:     m.Expiry,
		NeverBan:     table.NeverBan,
		Contains:     table.Contains,
		Hooks:        hooksOf(e.hooks),
	}
	if !cfg.Notify.Script.Details {
		p.DetailsAfter = -1
	}
	p.Probe = mitigate.Probe(m.Probe)
	for i := range cfg.Hostgroups {
		p.Groups[cfg.Hostgroups[i].Name] = groupPolicy(cfg, &cfg.Hostgroups[i])
	}
	return p
}

// groupPolicy is what is done about the attacks of a hostgroup. Where mitigation is off, all that is left of it is to tell.
func groupPolicy(cfg *config.Config, g *config.Hostgroup) mitigate.GroupPolicy {
	on := cfg.Mitigation.Enabled
	p := mitigate.GroupPolicy{
		Drop:     g.Drop && on,
		Notify:   g.Notify,
		Announce: len(g.Actions) > 0 && on,
		BanTime:  g.BanTime,
		Limits:   [traffic.ScopeCount][2]traffic.Limits{traffic.ScopeHost: g.Host, traffic.ScopePrefix: g.Prefix, traffic.ScopeGroup: g.Total},
		Clear:    g.Clear,
		Hides:    hides(cfg, g.Actions),
	}
	for _, r := range g.Ladder {
		rung := mitigate.Rung{Notify: r.Notify, Over: r.Over, After: r.After, AtOnce: r.AtOnce, Classes: r.Classes, Hold: r.Hold}
		if on {
			rung.Drop, rung.Rules, rung.LimitPackets, rung.LimitBytes, rung.Challenge = r.Drop, r.Rules, r.LimitPackets, r.LimitBytes, r.Challenge
			rung.Announce, rung.Hides = r.Actions, hides(cfg, r.Actions)
		}
		p.Ladder = append(p.Ladder, rung)
	}
	return p
}

// hides reports whether one of these actions has routers keep the traffic from us.
func hides(cfg *config.Config, actions []string) bool {
	return slices.ContainsFunc(cfg.BGP.Actions, func(a config.BGPAction) bool {
		return a.Kind != config.BGPFlowSpec && slices.Contains(actions, a.Name)
	})
}

// exists reports whether the file of a kill switch is there. One that cannot be looked at counts: the switch is for emergencies.
func exists(path string) bool {
	if path == "" {
		return false
	}
	_, err := os.Stat(path)
	return !os.IsNotExist(err)
}

// usesKernel reports whether a configuration has packets counted in the kernel. One that measures nothing at all does, so that what
// is banned by hand is in force as soon as there is an interface.
func usesKernel(cfg *config.Config) bool {
	return len(interfacesOf(cfg)) > 0 || len(cfg.Interfaces) == 0 && !cfg.Flows.Measures()
}

// interfacesOf are the interfaces that have XDP.
func interfacesOf(cfg *config.Config) []loader.Interface {
	modes := map[config.Mode]loader.Mode{
		config.ModeAuto: loader.Auto, config.ModeNative: loader.Native, config.ModeGeneric: loader.Generic,
	}
	roles := map[config.Role]loader.Role{
		config.RoleHost: loader.Host, config.RoleWire: loader.Wire, config.RoleMirror: loader.Mirror,
	}
	var out []loader.Interface
	for _, i := range cfg.Interfaces {
		if i.Engine != config.EngineXDP {
			continue
		}
		out = append(out, loader.Interface{Name: i.Name, Mode: modes[i.Mode], Role: roles[i.Role], Pair: i.Pair, Egress: i.Egress})
	}
	return out
}
