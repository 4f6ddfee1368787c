package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"weir/userspace/api/weirpb"
)

// What an answer holds when the request sets no limit, and what a ban order may say.
const (
	defaultHosts    = 20
	defaultAttacks  = 100
	shortestBan     = time.Second
	longestBan      = 366 * 24 * time.Hour
	maxReasonLength = 200 // characters
)

// handlers implements weirpbconnect.WeirHandler: it checks requests, asks the backend, and translates.
type handlers struct {
	backend Backend
	feed    *feed
}

// invalid is the answer to a request that is wrong in itself.
func invalid(err error) error { return connect.NewError(connect.CodeInvalidArgument, err) }

// answer translates an error of the backend.
func answer(err error) error {
	var e *Error
	switch {
	case errors.As(err, &e):
		code := [...]connect.Code{
			kindInvalid: connect.CodeInvalidArgument, kindRefused: connect.CodeFailedPrecondition,
			kindNotFound: connect.CodeNotFound, kindUnavailable: connect.CodeUnavailable,
		}[e.kind]
		return connect.NewError(code, err)
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, err)
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, err)
	}
	return connect.NewError(connect.CodeInternal, err)
}

func (h *handlers) Status(ctx context.Context, _ *connect.Request[weirpb.StatusRequest]) (*connect.Response[weirpb.StatusResponse], error) {
	status, err := h.backend.Status(ctx)
	if err != nil {
		return nil, answer(err)
	}
	routers, err := h.backend.BGP(ctx)
	if err != nil {
		return nil, answer(err)
	}
	out := statusOut(&status)
	if routers.Configured {
		out.Bgp = bgpPeersOut(&routers)
	}
	return connect.NewResponse(out), nil
}

func (h *handlers) Hosts(ctx context.Context, req *connect.Request[weirpb.HostsRequest]) (*connect.Response[weirpb.HostsResponse], error) {
	query, err := hostQueryIn(req.Msg)
	if err != nil {
		return nil, invalid(err)
	}
	rows, err := h.backend.Hosts(ctx, query)
	if err != nil {
		return nil, answer(err)
	}
	out := &weirpb.HostsResponse{}
	for i := range rows[:min(len(rows), query.Limit)] {
		out.Hosts = append(out.Hosts, hostOut(&rows[i]))
	}
	return connect.NewResponse(out), nil
}

func hostQueryIn(m *weirpb.HostsRequest) (query HostQuery, err error) {
	if query.Directions, err = directionsIn(m.GetDirection()); err != nil {
		return query, err
	}
	if query.OrderBy, err = metricIn(m.GetOrderBy()); err != nil {
		return query, err
	}
	if query.Limit, err = limitIn(m.GetLimit(), defaultHosts); err != nil {
		return query, err
	}
	if text := m.GetPrefix(); text != "" {
		if query.Within, err = prefixIn("prefix", text); err != nil {
			return query, err
		}
	}
	query.Group, query.BannedOnly = m.GetHostgroup(), m.GetBannedOnly()
	return query, nil
}

func (h *handlers) Attacks(ctx context.Context, req *connect.Request[weirpb.AttacksRequest]) (*connect.Response[weirpb.AttacksResponse], error) {
	limit, err := limitIn(req.Msg.GetLimit(), defaultAttacks)
	if err != nil {
		return nil, invalid(err)
	}
	query := AttackQuery{ID: req.Msg.GetId(), ActiveOnly: req.Msg.GetActiveOnly(), Limit: limit}
	if since := req.Msg.GetSince(); since != nil {
		if err := since.CheckValid(); err != nil {
			return nil, invalid(fmt.Errorf("since: %w", err))
		}
		query.Since = since.AsTime()
	}
	rows, err := h.backend.Attacks(ctx, query)
	if err != nil {
		return nil, answer(err)
	}
	out := &weirpb.AttacksResponse{}
	for i := range rows[:min(len(rows), query.Limit)] {
		out.Attacks = append(out.Attacks, attackOut(&rows[i]))
	}
	return connect.NewResponse(out), nil
}

func (h *handlers) Bans(ctx context.Context, _ *connect.Request[weirpb.BansRequest]) (*connect.Response[weirpb.BansResponse], error) {
	bans, err := h.backend.Bans(ctx)
	if err != nil {
		return nil, answer(err)
	}
	return connect.NewResponse(&weirpb.BansResponse{Bans: bansOut(bans)}), nil
}

func (h *handlers) Ban(ctx context.Context, req *connect.Request[weirpb.BanRequest]) (*connect.Response[weirpb.BanResponse], error) {
	order, err := banOrderIn(req.Msg)
	if err != nil {
		return nil, invalid(err)
	}
	bans, err := h.backend.Ban(ctx, order)
	if err != nil {
		return nil, answer(err)
	}
	return connect.NewResponse(&weirpb.BanResponse{Bans: bansOut(bans)}), nil
}

func banOrderIn(m *weirpb.BanRequest) (order BanOrder, err error) {
	if order.Target, err = prefixIn("target", m.GetTarget()); err != nil {
		return order, err
	}
	if order.Directions, err = directionsIn(m.GetDirection()); err != nil {
		return order, err
	}
	if period := m.GetPeriod(); period != nil {
		if err := period.CheckValid(); err != nil {
			return order, fmt.Errorf("period: %w", err)
		}
		order.For = period.AsDuration()
		if order.For < shortestBan || order.For > longestBan {
			return order, fmt.Errorf("period %s: expected %s to %s", order.For, shortestBan, longestBan)
		}
	}
	order.Reason = m.GetReason()
	if utf8.RuneCountInString(order.Reason) > maxReasonLength {
		return order, fmt.Errorf("reason: expected at most %d characters", maxReasonLength)
	}
	if strings.ContainsFunc(order.Reason, unicode.IsControl) {
		return order, errors.New("reason: expected text without control characters")
	}
	return order, nil
}

func (h *handlers) Unban(ctx context.Context, req *connect.Request[weirpb.UnbanRequest]) (*connect.Response[weirpb.UnbanResponse], error) {
	order := UnbanOrder{Group: req.Msg.GetHostgroup()}
	switch text := req.Msg.GetTarget(); {
	case text != "" && order.Group != "":
		return nil, invalid(errors.New("unban: expected a target or a hostgroup, not both"))
	case order.Group == "":
		var err error
		if order.Target, err = prefixIn("target", text); err != nil {
			return nil, invalid(err)
		}
	}
	bans, err := h.backend.Unban(ctx, order)
	if err != nil {
		return nil, answer(err)
	}
	return connect.NewResponse(&weirpb.UnbanResponse{Bans: bansOut(bans)}), nil
}

func (h *handlers) Reload(ctx context.Context, _ *connect.Request[weirpb.ReloadRequest]) (*connect.Response[weirpb.ReloadResponse], error) {
	loaded, err := h.backend.Reload(ctx)
	if err != nil {
		return nil, answer(err)
	}
	return connect.NewResponse(&weirpb.ReloadResponse{Loaded: timestamppb.New(loaded)}), nil
}

// WatchAttacks sends what is active, then every change. The watch is in place before what is active is read, so nothing falls between.
func (h *handlers) WatchAttacks(ctx context.Context, _ *connect.Request[weirpb.WatchAttacksRequest], stream *connect.ServerStream[weirpb.WatchAttacksResponse]) error {
	watcher, err := h.feed.join()
	if err != nil {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	defer h.feed.leave(watcher)
	active, err := h.backend.Attacks(ctx, AttackQuery{ActiveOnly: true, Limit: MaxRows})
	if err != nil {
		return answer(err)
	}
	send := func(m *weirpb.WatchAttacksResponse) error {
		return sending(ctx, func() error { return stream.Send(m) })
	}
	if err := send(&weirpb.WatchAttacksResponse{}); err != nil {
		return err
	}
	for i := range active {
		if err := send(&weirpb.WatchAttacksResponse{Attack: attackOut(&active[i])}); err != nil {
			return err
		}
	}
	for {
		select {
		case <-ctx.Done():
			return answer(ctx.Err())
		case <-h.feed.closed:
			return connect.NewError(connect.CodeUnavailable, errStopping)
		case <-watcher.ready:
		}
		for _, c := range watcher.take() {
			if err := send(&weirpb.WatchAttacksResponse{Attack: attackOut(&c.record), Missed: c.missed}); err != nil {
				return err
			}
		}
	}
}
