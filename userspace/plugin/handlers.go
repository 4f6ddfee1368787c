package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"weir/userspace/plugin/pluginpb"
)

// handlers are the calls of plugin.proto. Those that wait for news are in waiting.go.
type handlers struct{ *Plugin }

func invalid(err error) error { return connect.NewError(connect.CodeInvalidArgument, err) }

// require refuses a call of a program that is not of any of the kinds.
func (p *Plugin) require(kinds ...Kind) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == nil || !p.session.hello {
		return connect.NewError(connect.CodeFailedPrecondition, errors.New("say Hello first"))
	}
	for _, k := range kinds {
		if p.session.kinds[k] {
			return nil
		}
	}
	return connect.NewError(connect.CodePermissionDenied, fmt.Errorf("only for a %s: name that kind in Hello", kinds[0]))
}

// leastAlive is how often a program may promise to call, at most.
const leastAlive = time.Second

// Hello answers who Weir is, and takes down who the program is.
func (h *handlers) Hello(_ context.Context, r *connect.Request[pluginpb.HelloRequest]) (*connect.Response[pluginpb.HelloResponse], error) {
	m := r.Msg
	if err := words("version", m.GetVersion()); err != nil {
		return nil, invalid(err)
	}
	if len(m.GetKinds()) == 0 {
		return nil, invalid(errors.New("kinds: say what you are"))
	}
	var kinds [kindCount]bool
	for _, k := range m.GetKinds() {
		if k <= pluginpb.Kind_KIND_UNSPECIFIED || k > pluginpb.Kind(kindCount) {
			return nil, invalid(fmt.Errorf("kinds: %d is not one", k))
		}
		kind := Kind(k - 1)
		if !h.options.may(kind) {
			return nil, connect.NewError(connect.CodePermissionDenied, fmt.Errorf("the configuration does not allow it to be a %s; add that to its kinds", kind))
		}
		kinds[kind] = true
	}
	var alive time.Duration
	if m.GetAlive() != nil {
		if err := m.GetAlive().CheckValid(); err != nil {
			return nil, invalid(fmt.Errorf("alive: %w", err))
		}
		if alive = m.GetAlive().AsDuration(); alive < leastAlive {
			return nil, invalid(fmt.Errorf("alive %s: expected at least %s", alive, leastAlive))
		}
	}
	h.mu.Lock()
	s := h.session
	if s == nil {
		h.mu.Unlock()
		return nil, connect.NewError(connect.CodeUnavailable, errStopping)
	}
	first := !s.hello
	s.kinds, s.alive, s.hello = kinds, alive, true
	if first {
		close(s.greeted)
		h.stats.Up, h.stats.Since = true, time.Now()
	}
	h.stats.Version = m.GetVersion()
	h.mu.Unlock()
	if first {
		h.log.Info("plug-in is up", "version", m.GetVersion())
	}
	l := &h.options.Limits
	return connect.NewResponse(&pluginpb.HelloResponse{
		Name: h.options.Name, Settings: text(h.options.Settings), Version: h.options.Version,
		Batch: uint32(l.Batch), Flows: uint32(l.Flows), Packets: uint32(l.Packets), Detections: uint32(l.Detections),
		RepeatWithin: durationpb.New(l.Repeat), LongestWait: durationpb.New(l.Wait),
	}), nil
}

// errStopping says that there will be no more answers.
var errStopping = errors.New("the daemon is stopping")

// admit bounds the records of one call and of a second. What is too much is counted.
func (p *Plugin) admit(b *bucket, n int, most int, what string) error {
	var err error
	switch {
	case n > most || float64(n) > b.rate:
		err = fmt.Errorf("%d %s in one call: expected at most %d", n, what, min(most, int(b.rate)))
	case !p.rates.take(b, n):
		err = fmt.Errorf("more than %.0f %s in a second: come back later", b.rate, what)
	default:
		return nil
	}
	p.count(func(s *Stats) { s.Flooded += uint64(n) })
	return connect.NewError(connect.CodeResourceExhausted, err)
}

// mostRefusals is how many refusals an answer names.
const mostRefusals = 20

// read turns the records of one call into ours, and leaves out the broken ones.
func read[M any, T any](p *Plugin, what string, messages []M, in func(M, time.Time, *T) error) ([]T, []*pluginpb.Refusal) {
	now := time.Now()
	out := make([]T, len(messages))
	var refusals []*pluginpb.Refusal
	taken := 0
	for i, m := range messages {
		err := in(m, now, &out[taken])
		if err == nil {
			taken++
			continue
		}
		if len(refusals) == 0 {
			p.complain("record", fmt.Errorf("%s %d of %d: %w", what, i, len(messages), err))
		}
		if len(refusals) < mostRefusals {
			refusals = append(refusals, &pluginpb.Refusal{Index: uint32(i), Reason: text(err.Error())})
		}
	}
	p.count(func(s *Stats) { s.Refused += uint64(len(messages) - taken) })
	return out[:taken], refusals
}

// SendFlows takes flow records.
func (h *handlers) SendFlows(_ context.Context, r *connect.Request[pluginpb.SendFlowsRequest]) (*connect.Response[pluginpb.SendFlowsResponse], error) {
	if err := h.require(KindSource); err != nil {
		return nil, err
	}
	messages := r.Msg.GetFlows()
	if err := h.admit(&h.rates.flows, len(messages), h.options.Limits.Batch, "flow records"); err != nil {
		return nil, err
	}
	flows, refusals := read(h.Plugin, "flow record", messages, flowIn)
	if len(flows) > 0 {
		h.callbacks.Flows(flows)
	}
	h.count(func(s *Stats) { s.Flows += uint64(len(flows)) })
	return connect.NewResponse(&pluginpb.SendFlowsResponse{
		Accepted: uint32(len(flows)), Refused: uint32(len(messages) - len(flows)), Refusals: refusals,
	}), nil
}

// SendPackets takes captured frames.
func (h *handlers) SendPackets(_ context.Context, r *connect.Request[pluginpb.SendPacketsRequest]) (*connect.Response[pluginpb.SendPacketsResponse], error) {
	if err := h.require(KindSource); err != nil {
		return nil, err
	}
	messages := r.Msg.GetPackets()
	if err := h.admit(&h.rates.packets, len(messages), h.options.Limits.Batch, "packets"); err != nil {
		return nil, err
	}
	frames, refusals := read(h.Plugin, "packet", messages, frameIn)
	if len(frames) > 0 {
		h.callbacks.Frames(frames)
	}
	h.count(func(s *Stats) { s.Packets += uint64(len(frames)) })
	return connect.NewResponse(&pluginpb.SendPacketsResponse{
		Accepted: uint32(len(frames)), Refused: uint32(len(messages) - len(frames)), Refusals: refusals,
	}), nil
}

// Detect takes what a detector says of an attack.
func (h *handlers) Detect(_ context.Context, r *connect.Request[pluginpb.DetectRequest]) (*connect.Response[pluginpb.DetectResponse], error) {
	if err := h.require(KindDetector); err != nil {
		return nil, err
	}
	if err := h.admit(&h.rates.detections, 1, 1, "calls of Detect"); err != nil {
		return nil, err
	}
	d, err := detectionIn(r.Msg, time.Now())
	if err != nil {
		h.count(func(s *Stats) { s.Refused++ })
		return nil, invalid(err)
	}
	d.Plugin = h.options.Name
	before, err := h.book.say(d, h.callbacks.Detect)
	var full errBookFull
	switch {
	case errors.As(err, &full):
		h.count(func(s *Stats) { s.Flooded++ })
		return nil, connect.NewError(connect.CodeResourceExhausted, err)
	case err != nil:
		h.count(func(s *Stats) { s.Refused++ })
		return nil, connect.NewError(connect.CodeFailedPrecondition, err)
	}
	if d.Kind == DetectionStarted {
		h.count(func(s *Stats) { s.Detections++ })
	}
	return connect.NewResponse(&pluginpb.DetectResponse{RepeatBefore: timeOut(before)}), nil
}

// Applied takes what became of bans.
func (h *handlers) Applied(_ context.Context, r *connect.Request[pluginpb.AppliedRequest]) (*connect.Response[pluginpb.AppliedResponse], error) {
	if err := h.require(KindMitigator); err != nil {
		return nil, err
	}
	messages := r.Msg.GetResults()
	if err := h.admit(&h.rates.results, len(messages), h.options.Limits.Results, "results"); err != nil {
		return nil, err
	}
	if _, last, _ := h.bans.get(); r.Msg.GetNumber() == 0 || r.Msg.GetNumber() > last {
		h.count(func(s *Stats) { s.Refused += uint64(len(messages)) })
		return nil, invalid(fmt.Errorf("number %d: no such set of bans; the newest is %d", r.Msg.GetNumber(), last))
	}
	results := make([]Result, 0, len(messages))
	for i, m := range messages {
		if err := errors.Join(words("attack_id", m.GetAttackId()), words("message", m.GetMessage())); err != nil {
			h.count(func(s *Stats) { s.Refused += uint64(len(messages)) })
			return nil, invalid(fmt.Errorf("result %d: %w", i, err))
		}
		results = append(results, Result{AttackID: m.GetAttackId(), InForce: m.GetInForce(), Message: m.GetMessage()})
	}
	h.count(func(s *Stats) { s.Results += uint64(len(results)) })
	h.callbacks.Applied(r.Msg.GetNumber(), results)
	return connect.NewResponse(&pluginpb.AppliedResponse{}), nil
}
