package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"weir/userspace/plugin/pluginpb"
	"weir/userspace/traffic"
)

// Changes in one answer.
const (
	usualChanges = 100
	mostChanges  = 1000
)

// patience is how long a call may wait for news.
func (p *Plugin) patience(wait *durationpb.Duration) (time.Duration, error) {
	if wait == nil {
		return 0, nil
	}
	if err := wait.CheckValid(); err != nil || wait.AsDuration() < 0 {
		return 0, invalid(errors.New("wait: expected a duration, not below 0"))
	}
	return min(wait.AsDuration(), p.options.Limits.Wait), nil
}

// await asks look until it has something, and waits for news in between, as long as the call may.
func (p *Plugin) await(ctx context.Context, wait *durationpb.Duration, look func() (found bool, news <-chan struct{}, err error)) error {
	patience, err := p.patience(wait)
	if err != nil {
		return err
	}
	if err := waiting(ctx); err != nil {
		return err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		found, news, err := look()
		if err != nil {
			return err
		}
		if found || patience == 0 {
			return answering(ctx)
		}
		select {
		case <-news:
		case <-timer.C:
			patience = 0 // what came in the same moment is still looked for
		case <-p.ended:
			return connect.NewError(connect.CodeUnavailable, errStopping)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// follow sends until the caller goes or Weir stops. send sends all that there is by now.
func (p *Plugin) follow(ctx context.Context, send func() (news <-chan struct{}, err error)) error {
	for {
		if err := waiting(ctx); err != nil {
			return err
		}
		news, err := send()
		if err != nil {
			return err
		}
		select {
		case <-news:
		case <-p.ended:
			return connect.NewError(connect.CodeUnavailable, errStopping)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sendOne sends one message of a stream in the time of a whole answer; until the next there is no deadline.
func sendOne[M any](ctx context.Context, stream *connect.ServerStream[M], m *M) error {
	if err := answering(ctx); err != nil {
		return err
	}
	if err := stream.Send(m); err != nil {
		return err
	}
	return waiting(ctx)
}

// fetch is changes.take for a caller who may be wrong.
func (p *Plugin) fetch(after uint64, most int) (next []traffic.Change, number uint64, news <-chan struct{}, err error) {
	next, number, news, ok := p.changes.take(after, most)
	if !ok {
		return nil, 0, nil, invalid(fmt.Errorf("after %d: no change has had that number since Weir was started; begin with 0", after))
	}
	return next, number, news, nil
}

// NextChanges returns changes of attacks.
func (h *handlers) NextChanges(ctx context.Context, r *connect.Request[pluginpb.NextChangesRequest]) (*connect.Response[pluginpb.NextChangesResponse], error) {
	if err := h.require(KindSink, KindDetector); err != nil {
		return nil, err
	}
	most := usualChanges
	if r.Msg.GetMost() > 0 {
		most = int(min(r.Msg.GetMost(), mostChanges))
	}
	out := &pluginpb.NextChangesResponse{}
	err := h.await(ctx, r.Msg.GetWait(), func() (bool, <-chan struct{}, error) {
		next, number, news, err := h.fetch(r.Msg.GetAfter(), most)
		for i := range next {
			out.Changes = append(out.Changes, changeOut(number+uint64(i), &next[i]))
		}
		return len(next) > 0, news, err
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(out), nil
}

// Changes sends changes of attacks.
func (h *handlers) Changes(ctx context.Context, _ *connect.Request[pluginpb.ChangesRequest], stream *connect.ServerStream[pluginpb.Change]) error {
	if err := h.require(KindSink, KindDetector); err != nil {
		return err
	}
	after := uint64(0)
	return h.follow(ctx, func() (<-chan struct{}, error) {
		for {
			next, number, news, err := h.fetch(after, 1)
			if err != nil || len(next) == 0 {
				return news, err
			}
			if err := sendOne(ctx, stream, changeOut(number, &next[0])); err != nil {
				return nil, err
			}
			after = number
		}
	})
}

func hostsIn(hosts uint32) uint32 {
	if hosts == 0 {
		return usualHosts
	}
	return min(hosts, mostHosts)
}

// NextTraffic returns the newest snapshot.
func (h *handlers) NextTraffic(ctx context.Context, r *connect.Request[pluginpb.NextTrafficRequest]) (*connect.Response[pluginpb.NextTrafficResponse], error) {
	if err := h.require(KindSink, KindDetector); err != nil {
		return nil, err
	}
	out := &pluginpb.NextTrafficResponse{}
	err := h.await(ctx, r.Msg.GetWait(), func() (bool, <-chan struct{}, error) {
		s, number, news := h.snapshots.get()
		if err := known(r.Msg.GetAfter(), number); err != nil || number == r.Msg.GetAfter() {
			return false, news, err
		}
		out.Snapshot = snapshotOut(number, s, hostsIn(r.Msg.GetHosts()))
		return true, nil, nil
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(out), nil
}

// known refuses a number that was never given.
func known(after, last uint64) error {
	if after > last {
		return invalid(fmt.Errorf("after %d: there was no such number since Weir was started; begin with 0", after))
	}
	return nil
}

// Traffic sends snapshots.
func (h *handlers) Traffic(ctx context.Context, r *connect.Request[pluginpb.TrafficRequest], stream *connect.ServerStream[pluginpb.Snapshot]) error {
	if err := h.require(KindSink, KindDetector); err != nil {
		return err
	}
	after := uint64(0)
	return h.follow(ctx, func() (<-chan struct{}, error) {
		s, number, news := h.snapshots.get()
		if number == after {
			return news, nil
		}
		after = number
		return news, sendOne(ctx, stream, snapshotOut(number, s, hostsIn(r.Msg.GetHosts())))
	})
}

// NextBans returns the bans in force.
func (h *handlers) NextBans(ctx context.Context, r *connect.Request[pluginpb.NextBansRequest]) (*connect.Response[pluginpb.NextBansResponse], error) {
	if err := h.require(KindMitigator); err != nil {
		return nil, err
	}
	out := &pluginpb.NextBansResponse{}
	err := h.await(ctx, r.Msg.GetWait(), func() (bool, <-chan struct{}, error) {
		set, number, news := h.bans.get()
		if err := known(r.Msg.GetAfter(), number); err != nil || number == r.Msg.GetAfter() {
			return false, news, err
		}
		out.Bans = &pluginpb.BanSet{Number: number, Bans: *set}
		return true, nil, nil
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(out), nil
}

// Bans sends the bans in force.
func (h *handlers) Bans(ctx context.Context, _ *connect.Request[pluginpb.BansRequest], stream *connect.ServerStream[pluginpb.BanSet]) error {
	if err := h.require(KindMitigator); err != nil {
		return err
	}
	after := uint64(0)
	return h.follow(ctx, func() (<-chan struct{}, error) {
		set, number, news := h.bans.get()
		if number == after {
			return news, nil
		}
		after = number
		return news, sendOne(ctx, stream, &pluginpb.BanSet{Number: number, Bans: *set})
	})
}
