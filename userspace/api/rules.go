package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"

	"weir/userspace/api/weirpb"
	"weir/userspace/traffic"
)

// AppliedRule is a rule in the kernel, and what it has done.
type AppliedRule struct {
	ID     uint64
	Rule   traffic.Rule
	Shadow bool // it counts, and does nothing else
	Since  time.Time
	Until  time.Time // zero: it ends by hand only
	Attack string    // whose analysis it comes from; "": by hand

	Automatic bool // a hostgroup's ladder has put it in force

	Hits traffic.Count
}

// RuleStatus is the rules in force, in the order in which they are looked at.
type RuleStatus struct {
	Rules  []AppliedRule
	Shadow bool // dry run or kill switch: all of them only count
}

// RuleOrder puts rules in force.
type RuleOrder struct {
	Rules  []traffic.Rule
	Attack string        // instead: the rules that this attack's analysis has found
	Period time.Duration // 0: until they are deleted
	Shadow bool
}

const maxRuleOrder = 10_000 // rules in one order

var errNoRules = errors.New("rules: this daemon applies none: no interface has XDP")

func (h *handlers) Rules(ctx context.Context, _ *connect.Request[weirpb.RulesRequest]) (*connect.Response[weirpb.RulesResponse], error) {
	if h.backend.Rules == nil {
		return nil, answer(Unavailable(errNoRules))
	}
	s, err := h.backend.Rules(ctx)
	if err != nil {
		return nil, answer(err)
	}
	return connect.NewResponse(&weirpb.RulesResponse{Rules: appliedOut(s.Rules), Shadow: s.Shadow}), nil
}

func (h *handlers) AddRules(ctx context.Context, req *connect.Request[weirpb.AddRulesRequest]) (*connect.Response[weirpb.AddRulesResponse], error) {
	order, err := ruleOrderIn(req.Msg)
	if err != nil {
		return nil, invalid(err)
	}
	if h.backend.AddRules == nil {
		return nil, answer(Unavailable(errNoRules))
	}
	added, err := h.backend.AddRules(ctx, order)
	if err != nil {
		return nil, answer(err)
	}
	return connect.NewResponse(&weirpb.AddRulesResponse{Rules: appliedOut(added)}), nil
}

func (h *handlers) DeleteRules(ctx context.Context, req *connect.Request[weirpb.DeleteRulesRequest]) (*connect.Response[weirpb.DeleteRulesResponse], error) {
	if req.Msg.GetAll() == (len(req.Msg.GetIds()) > 0) {
		return nil, invalid(errors.New("delete rules: expected numbers of rules, or all"))
	}
	if h.backend.DeleteRules == nil {
		return nil, answer(Unavailable(errNoRules))
	}
	gone, err := h.backend.DeleteRules(ctx, req.Msg.GetIds(), req.Msg.GetAll())
	if err != nil {
		return nil, answer(err)
	}
	return connect.NewResponse(&weirpb.DeleteRulesResponse{Rules: appliedOut(gone)}), nil
}

func ruleOrderIn(m *weirpb.AddRulesRequest) (RuleOrder, error) {
	o := RuleOrder{Attack: strings.TrimSpace(m.GetAttackId()), Shadow: m.GetShadow()}
	if (o.Attack == "") == (len(m.GetRules()) == 0) {
		return o, errors.New("add rules: expected rules, or the attack whose analysis has found them")
	}
	if len(m.GetRules()) > maxRuleOrder {
		return o, fmt.Errorf("add rules: %d rules; expected at most %d at a time", len(m.GetRules()), maxRuleOrder)
	}
	for i, text := range m.GetRules() {
		rule, err := traffic.ParseRule(text)
		if err != nil {
			return o, fmt.Errorf("add rules: rule %d: %w", i+1, err)
		}
		o.Rules = append(o.Rules, rule)
	}
	if m.GetPeriod() != nil {
		if o.Period = m.GetPeriod().AsDuration(); m.GetPeriod().CheckValid() != nil || o.Period < shortestBan || o.Period > longestBan {
			return o, fmt.Errorf("add rules: period %s; expected 1 s to 366 days", o.Period)
		}
	}
	return o, nil
}

func appliedOut(rules []AppliedRule) (out []*weirpb.AppliedRule) {
	for i := range rules {
		r := &rules[i]
		out = append(out, &weirpb.AppliedRule{
			Id: r.ID, Rule: r.Rule.String(), Shadow: r.Shadow, Since: timeOut(r.Since), Until: timeOut(r.Until), AttackId: r.Attack,
			Packets: r.Hits.Packets, Bytes: r.Hits.Bytes, Automatic: r.Automatic,
		})
	}
	return out
}
