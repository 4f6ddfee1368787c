package daemon

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"

	"weir/bgp"
	"weir/bgp/exabgp"
	"weir/bgp/gobgpd"
	"weir/userspace/announce"
	"weir/userspace/api"
	"weir/userspace/config"
	"weir/userspace/traffic"
)

// bgpStatus is what `weir bgp` shows: sessions, routes, and what guards keep back.
func (e *engine) bgpStatus(context.Context) (api.BGPStatus, error) {
	return e.routers.status(), nil
}

func (a *announcer) status() api.BGPStatus {
	a.mu.Lock()
	set, refused := a.set, a.refused
	a.mu.Unlock()
	s := api.BGPStatus{Configured: len(a.policyReceivers()) > 0}
	told := map[string]api.BGPRoute{}
	if a.speaker != nil {
		state := a.speaker.State()
		s.Speaker = api.BGPSpeaker{Up: state.Up, PID: state.PID, Restarts: state.Restarts, Error: state.Error}
		for _, p := range state.Peers {
			s.Peers = append(s.Peers, peerOut(&p))
		}
		for _, r := range state.Routes {
			told[r.Key] = routeOut(&r)
		}
	}
	if a.pipe != nil {
		s.Peers = append(s.Peers, pipeOut(a.pipe.Stats(), set))
	}
	if a.gobgp != nil {
		s.Peers = append(s.Peers, gobgpOut(a.gobgp.State(), set))
	}
	for _, w := range set {
		r, ok := told[w.Key()]
		if !ok {
			r = api.BGPRoute{Family: w.Family(), Route: w.Route(), Owner: w.Owner}
		}
		if a.pipe != nil && isFor(w, config.BGPNameExaBGP) {
			r.Peers = append(r.Peers, api.BGPRoutePeer{Name: config.BGPNameExaBGP, Since: a.pipe.Stats().Since})
		}
		if a.gobgp != nil && isFor(w, config.BGPNameGoBGP) {
			r.Peers = append(r.Peers, api.BGPRoutePeer{Name: config.BGPNameGoBGP, Since: a.gobgp.State().Since})
		}
		s.Routes = append(s.Routes, r)
	}
	for _, r := range refused {
		s.Refused = append(s.Refused, api.BGPRefusal{Owner: r.Owner, Action: r.Action, Route: r.Route, Peer: r.Peer, Reason: r.Why.String(), Detail: r.Detail})
	}
	return s
}

func (a *announcer) policyReceivers() []announce.Receiver {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.policy.Receivers
}

func peerOut(p *bgp.PeerState) api.BGPPeer {
	out := api.BGPPeer{
		Name: p.Name, Address: p.Address.String(), AS: p.AS, Session: string(p.Session), Kind: "peer", Since: p.Since,
		Error: p.Error, ErrorAt: p.ErrorAt, Graceful: p.Graceful, Ups: p.Ups, Malformed: p.Broken,
		Sent: messages(p.Sent), Received: messages(p.Received), Routes: byName(p.Routes), RefusedRoutes: byName(p.Refused),
	}
	if p.RouterID.IsValid() {
		out.RouterID = p.RouterID.String()
	}
	for _, f := range p.Families {
		out.Families = append(out.Families, string(f))
	}
	return out
}

func messages(m bgp.Messages) uint64 {
	return m.Open + m.Update + m.Notification + m.KeepAlive + m.Refresh
}

func byName(n map[bgp.Family]int) map[string]int {
	out := map[string]int{}
	for f, count := range n {
		out[string(f)] = count
	}
	return out
}

func routeOut(r *bgp.RouteState) api.BGPRoute {
	out := api.BGPRoute{Family: string(r.Family), Route: r.Route, Owner: r.Owner, Error: r.Error}
	for _, p := range r.Peers {
		out.Peers = append(out.Peers, api.BGPRoutePeer{Name: p.Name, Since: p.Since, Error: p.Error})
	}
	return out
}

// isFor reports whether a receiver is told an announcement.
func isFor(w traffic.Announcement, name string) bool {
	return len(announce.For([]traffic.Announcement{w}, name)) > 0
}

// pipeOut is ExaBGP's pipe as a receiver.
func pipeOut(s exabgp.Stats, set []traffic.Announcement) api.BGPPeer {
	out := receiverOut(config.BGPNameExaBGP, s.Reader, set)
	out.Since, out.Error, out.Ups = s.Since, s.Error, s.Readers
	return out
}

// gobgpOut is an external GoBGP as a receiver.
func gobgpOut(s gobgpd.State, set []traffic.Announcement) api.BGPPeer {
	out := receiverOut(config.BGPNameGoBGP, s.Connected, set)
	out.Since, out.Error, out.Ups, out.AS = s.Since, s.Error, s.Connections, s.AS
	if s.RouterID.IsValid() {
		out.RouterID = s.RouterID.String()
	}
	return out
}

// receiverOut is a speaker that is not ours; its kind and name are one.
func receiverOut(name string, connected bool, set []traffic.Announcement) api.BGPPeer {
	out := api.BGPPeer{Name: name, Kind: name, Session: "waiting", Routes: map[string]int{}}
	if connected {
		out.Session = "connected"
	}
	for _, a := range announce.For(set, name) {
		out.Routes[a.Family()]++
	}
	out.Families = slices.Sorted(maps.Keys(out.Routes))
	return out
}

// announce announces by hand.
func (e *engine) announce(_ context.Context, o api.AnnounceOrder) ([]string, error) {
	routes, err := e.routers.announce(func(p announce.Policy, g announce.Guards) ([]traffic.Announcement, error) {
		return wanted(o, p, g)
	})
	return routes, toldWhy(err)
}

// wanted is what an order means: what an action announces about a prefix, or what the order spells out.
func wanted(o api.AnnounceOrder, p announce.Policy, g announce.Guards) ([]traffic.Announcement, error) {
	if o.Action != "" {
		return announce.Spell(o.Action, o.Prefix, p, g)
	}
	a := traffic.Announcement{NextHop: o.NextHop, Communities: o.Communities, Peers: o.Peers}
	if o.Rule == "" {
		a.Prefix = o.Prefix
		return []traffic.Announcement{a}, nil
	}
	rule, err := traffic.ParseRule(o.Rule)
	if err != nil {
		return nil, api.Invalid(err)
	}
	a.Rule, a.NextHop = &rule, netip.Addr{}
	return []traffic.Announcement{a}, nil
}

// withdraw takes back what was announced by hand.
func (e *engine) withdraw(_ context.Context, o api.WithdrawOrder) ([]string, error) {
	routes, err := e.routers.withdraw(o.Text)
	return routes, toldWhy(err)
}

// toldWhy gives an error the nature that clients are told.
func toldWhy(err error) error {
	var told *api.Error
	var refused *announce.Refused
	switch {
	case err == nil, errors.As(err, &told):
		return err
	case errors.Is(err, errNotAnnounced):
		return api.NotFound(err)
	case errors.Is(err, announce.ErrSuspended), errors.As(err, &refused):
		return api.Refused(err)
	}
	return err
}
