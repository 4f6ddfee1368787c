package api

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"connectrpc.com/connect"

	"weir/userspace/api/weirpb"
)

func (h *handlers) BgpPeers(ctx context.Context, _ *connect.Request[weirpb.BgpPeersRequest]) (*connect.Response[weirpb.BgpPeersResponse], error) {
	status, err := h.backend.BGP(ctx)
	if err != nil {
		return nil, answer(err)
	}
	return connect.NewResponse(bgpPeersOut(&status)), nil
}

func (h *handlers) BgpRoutes(ctx context.Context, req *connect.Request[weirpb.BgpRoutesRequest]) (*connect.Response[weirpb.BgpRoutesResponse], error) {
	limit, err := limitIn(req.Msg.GetLimit(), MaxRows)
	if err != nil {
		return nil, invalid(err)
	}
	status, err := h.backend.BGP(ctx)
	if err != nil {
		return nil, answer(err)
	}
	peer := req.Msg.GetPeer()
	if peer != "" && !slices.ContainsFunc(status.Peers, func(p BGPPeer) bool { return p.Name == peer }) {
		return nil, answer(NotFound(fmt.Errorf("peer %q is not in the configuration", clip(peer))))
	}
	return connect.NewResponse(bgpRoutesOut(&status, peer, limit)), nil
}

func (h *handlers) BgpAnnounce(ctx context.Context, req *connect.Request[weirpb.BgpAnnounceRequest]) (*connect.Response[weirpb.BgpAnnounceResponse], error) {
	order, err := announceIn(req.Msg)
	if err != nil {
		return nil, invalid(err)
	}
	routes, err := h.backend.Announce(ctx, order)
	if err != nil {
		return nil, answer(err)
	}
	return connect.NewResponse(&weirpb.BgpAnnounceResponse{Routes: routes}), nil
}

func (h *handlers) BgpWithdraw(ctx context.Context, req *connect.Request[weirpb.BgpWithdrawRequest]) (*connect.Response[weirpb.BgpWithdrawResponse], error) {
	order, err := withdrawIn(req.Msg)
	if err != nil {
		return nil, invalid(err)
	}
	routes, err := h.backend.Withdraw(ctx, order)
	if err != nil {
		return nil, answer(err)
	}
	return connect.NewResponse(&weirpb.BgpWithdrawResponse{Routes: routes}), nil
}

func bgpPeersOut(s *BGPStatus) *weirpb.BgpPeersResponse {
	out := &weirpb.BgpPeersResponse{Configured: s.Configured, Speaker: &weirpb.BgpSpeaker{
		Up: s.Speaker.Up, Pid: uint32(s.Speaker.PID), Restarts: uint64(s.Speaker.Restarts), Error: s.Speaker.Error,
	}}
	for i := range s.Peers {
		p := &s.Peers[i]
		out.Peers = append(out.Peers, &weirpb.BgpPeer{
			Name: p.Name, Kind: p.Kind, Address: p.Address, As: p.AS, Session: p.Session, Since: timeOut(p.Since), Error: p.Error, ErrorAt: timeOut(p.ErrorAt),
			RouterId: p.RouterID, Families: p.Families, GracefulRestart: p.Graceful,
			Ups: p.Ups, Sent: p.Sent, Received: p.Received, Malformed: p.Malformed, Routes: bgpFamiliesOut(p),
		})
	}
	return out
}

// bgpFamiliesOut has a row for every family that has routes or was agreed on.
func bgpFamiliesOut(p *BGPPeer) []*weirpb.BgpFamilyRoutes {
	families := map[string]bool{}
	for _, f := range p.Families {
		families[f] = true
	}
	for f := range p.Routes {
		families[f] = true
	}
	for f := range p.RefusedRoutes {
		families[f] = true
	}
	var out []*weirpb.BgpFamilyRoutes
	for _, f := range slices.Sorted(maps.Keys(families)) {
		out = append(out, &weirpb.BgpFamilyRoutes{Family: f, Announced: uint64(p.Routes[f]), Refused: uint64(p.RefusedRoutes[f])})
	}
	return out
}

// bgpRoutesOut has the routes and refusals that concern a peer, or all of them when peer is empty.
func bgpRoutesOut(s *BGPStatus, peer string, limit int) *weirpb.BgpRoutesResponse {
	out := &weirpb.BgpRoutesResponse{}
	for i := range s.Routes {
		r := &s.Routes[i]
		if peer != "" && !slices.ContainsFunc(r.Peers, func(p BGPRoutePeer) bool { return p.Name == peer }) {
			continue
		}
		out.Total++
		if len(out.Routes) < limit {
			out.Routes = append(out.Routes, bgpRouteOut(r))
		}
	}
	for i := range s.Refused {
		r := &s.Refused[i]
		if peer != "" && r.Peer != "" && r.Peer != peer {
			continue
		}
		out.RefusedTotal++
		if len(out.Refused) < limit {
			out.Refused = append(out.Refused, &weirpb.BgpRefusal{Owner: r.Owner, Action: r.Action, Route: r.Route, Peer: r.Peer, Reason: r.Reason, Detail: r.Detail})
		}
	}
	return out
}

func bgpRouteOut(r *BGPRoute) *weirpb.BgpRoute {
	out := &weirpb.BgpRoute{Family: r.Family, Route: r.Route, Owner: r.Owner, Error: r.Error}
	for i := range r.Peers {
		p := &r.Peers[i]
		out.Peers = append(out.Peers, &weirpb.BgpRoutePeer{Name: p.Name, Since: timeOut(p.Since), Error: p.Error})
	}
	return out
}
