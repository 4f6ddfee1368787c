package daemon

import (
	"weir/bgp"
	"weir/userspace/announce"
	"weir/userspace/config"
)

// bgpConfig is the speaker's part of the configuration.
func bgpConfig(cfg *config.Config) bgp.Config {
	b := &cfg.BGP
	out := bgp.Config{
		RouterID: b.RouterID,
		AS:       b.AS,
		Listen:   b.Listen,
		GracefulRestart: bgp.GracefulRestart{
			Disabled: !b.GracefulRestart.Enabled, Time: b.GracefulRestart.Time, LongLivedTime: b.GracefulRestart.LongLived,
		},
		KeepOnStop: b.OnStop == config.BGPKeep,
	}
	for _, p := range b.Peers {
		peer := bgp.Peer{
			Name: p.Name, Address: p.Address, Port: uint16(p.Port), LocalAddress: p.LocalAddress, AS: p.AS, Password: p.Password,
			Passive: p.Passive, Multihop: uint8(p.Multihop), TTLSecurity: uint8(p.TTLSecurity),
			HoldTime: p.HoldTime, KeepAlive: p.Keepalive, ConnectRetry: p.ConnectRetry, MaxRoutes: map[bgp.Family]int{},
		}
		for _, f := range bgp.Families() {
			if most, ok := p.Families[config.BGPFamily(f)]; ok {
				peer.Families = append(peer.Families, f)
				peer.MaxRoutes[f] = most
			}
		}
		out.Peers = append(out.Peers, peer)
	}
	return out
}

// announcePolicy is what the configuration says about who is told what.
func announcePolicy(cfg *config.Config) announce.Policy {
	b := &cfg.BGP
	kinds := map[config.BGPKind]announce.Kind{
		config.BGPBlackhole: announce.Blackhole, config.BGPDivert: announce.Divert, config.BGPFlowSpec: announce.FlowSpec,
	}
	p := announce.Policy{
		Groups:    map[string][]string{},
		Actions:   map[string]announce.Action{},
		Aggregate: announce.Aggregate{Over: b.Aggregate.Over, Length: [2]int{b.Aggregate.IPv4, b.Aggregate.IPv6}},
	}
	for _, g := range cfg.Hostgroups {
		p.Groups[g.Name] = g.Actions
	}
	for _, a := range b.Actions {
		action := announce.Action{
			Kind: kinds[a.Kind], Directions: a.Directions, Length: a.Length, Widest: a.Widest,
			GroupPrefixes: a.GroupPrefixes, OverNeverBan: a.OverNeverBan, Rules: a.Rules, Found: a.Found,
		}
		for _, n := range a.Announcements {
			action.Announcements = append(action.Announcements, announce.Attributes(n))
		}
		p.Actions[a.Name] = action
	}
	for _, peer := range b.Peers {
		p.Receivers = append(p.Receivers, receiver(peer.Name, peer.Families))
	}
	if b.ExaBGP.Pipe != "" {
		p.Receivers = append(p.Receivers, receiver(config.BGPNameExaBGP, b.ExaBGP.Families))
	}
	if b.GoBGP.Address != "" {
		p.Receivers = append(p.Receivers, receiver(config.BGPNameGoBGP, b.GoBGP.Families))
	}
	return p
}

func receiver(name string, families map[config.BGPFamily]int) announce.Receiver {
	r := announce.Receiver{Name: name, MaxRoutes: map[string]int{}}
	for f, most := range families {
		r.MaxRoutes[string(f)] = most
	}
	return r
}
