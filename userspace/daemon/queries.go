package daemon

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"weir/userspace/api"
	"weir/userspace/metrics"
	"weir/userspace/mitigate"
	"weir/userspace/traffic"
)

// backend answers the API. Whatever touches the engine's state runs in its loop.
func (e *engine) backend(reload func(context.Context) (time.Time, error)) api.Backend {
	return api.Backend{
		Status: func(ctx context.Context) (s api.Status, err error) {
			interfaces := e.interfaces()
			err = e.ask(ctx, func(now time.Time) { s = e.status(now) })
			s.Interfaces = append(interfacesFor(interfaces), e.capturedInterfaces()...)
			return s, err
		},
		Hosts: func(ctx context.Context, q api.HostQuery) (rows []api.HostRate, err error) {
			err = e.ask(ctx, func(time.Time) { rows = e.hosts(q) })
			return rows, err
		},
		Attacks: func(ctx context.Context, q api.AttackQuery) (records []traffic.Record, err error) {
			if err = e.ask(ctx, func(time.Time) { records = e.manager.Attacks() }); err != nil {
				return nil, err
			}
			return selectAttacks(records, q)
		},
		Bans: func(ctx context.Context) (records []traffic.Record, err error) {
			err = e.ask(ctx, func(time.Time) { records = e.manager.Bans() })
			return records, err
		},
		Ban:      e.ban,
		Unban:    e.unban,
		Reload:   reload,
		BGP:      e.bgpStatus,
		Announce: e.announce,
		Withdraw: e.withdraw,
		Rules: func(ctx context.Context) (s api.RuleStatus, err error) {
			asked := e.ask(ctx, func(time.Time) { s, err = e.rulesNow() })
			return s, errors.Join(asked, err)
		},
		AddRules: func(ctx context.Context, o api.RuleOrder) (added []api.AppliedRule, err error) {
			asked := e.ask(ctx, func(now time.Time) { added, err = e.addRules(now, o) })
			return added, errors.Join(asked, err)
		},
		DeleteRules: func(ctx context.Context, ids []uint64, all bool) (gone []api.AppliedRule, err error) {
			asked := e.ask(ctx, func(now time.Time) { gone, err = e.deleteRules(now, ids, all) })
			return gone, errors.Join(asked, err)
		},
		Exporters: e.exporters,
	}
}

func selectAttacks(records []traffic.Record, q api.AttackQuery) ([]traffic.Record, error) {
	var out []traffic.Record
	for _, r := range records {
		switch {
		case q.ID != "" && r.Attack.ID != q.ID:
		case q.ActiveOnly && r.Attack.Phase == traffic.PhaseOver:
		case !q.Since.IsZero() && r.Attack.Detected.Before(q.Since):
		case len(out) < q.Limit || q.ID != "":
			out = append(out, r)
		}
	}
	if q.ID != "" && len(out) == 0 {
		return nil, api.NotFound(errors.New("no attack has the id " + q.ID + "; `weir attacks` lists them"))
	}
	return out, nil
}

func (e *engine) ban(ctx context.Context, o api.BanOrder) (records []traffic.Record, err error) {
	request := mitigate.Request{
		Prefix:   o.Target,
		Incoming: slices.Contains(o.Directions, traffic.Incoming),
		Outgoing: slices.Contains(o.Directions, traffic.Outgoing),
		For:      o.For,
		Reason:   o.Reason,
	}
	asked := e.ask(ctx, func(now time.Time) {
		request.Rates = e.rates(traffic.Target{Scope: scopeOf(o), Prefix: o.Target}, traffic.Trip{})
		var steps []mitigate.Step
		if steps, err = e.manager.Ban(now, request); err != nil {
			err = api.Refused(err)
			return
		}
		e.perform(steps)
		for _, r := range e.manager.Bans() {
			if r.Attack.Target.Prefix == o.Target && slices.Contains(o.Directions, r.Attack.Target.Direction) {
				records = append(records, r)
			}
		}
	})
	return records, errors.Join(asked, err)
}

func scopeOf(o api.BanOrder) traffic.Scope {
	if o.Target.IsSingleIP() {
		return traffic.ScopeHost
	}
	return traffic.ScopePrefix
}

func (e *engine) unban(ctx context.Context, o api.UnbanOrder) (records []traffic.Record, err error) {
	asked := e.ask(ctx, func(now time.Time) {
		var steps []mitigate.Step
		if o.Group != "" {
			steps, err = e.manager.UnbanGroup(now, o.Group)
		} else {
			steps, err = e.manager.Unban(now, o.Target)
		}
		if errors.Is(err, mitigate.ErrNotBanned) {
			err = api.NotFound(err)
		} else if err != nil {
			err = api.Refused(err)
		}
		e.perform(steps)
		for _, s := range steps {
			if s.Kind == mitigate.StepRecord && !s.Ban.Active() {
				records = append(records, s.Record)
			}
		}
	})
	return records, errors.Join(asked, err)
}

// hosts lists the hosts that a query asks for, busiest first.
func (e *engine) hosts(q api.HostQuery) []api.HostRate {
	attacks := e.attacked()
	var rows []api.HostRate
	for _, dir := range q.Directions {
		for _, h := range e.candidates(q, dir) {
			row := api.HostRate{
				Host:      h.Owner,
				Group:     e.world.cfg.Hostgroups[h.group].Name,
				Direction: dir,
				Rate:      h.Rate,
				Total:     h.Total,
			}
			if r, ok := attacks[traffic.Target{Prefix: h.Owner, Direction: dir}]; ok {
				row.AttackID, row.Banned = r.Attack.ID, r.Ban.Drops()
			}
			if (q.Group == "" || row.Group == q.Group) && (!q.BannedOnly || row.Banned) {
				rows = append(rows, row)
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b api.HostRate) int {
		return cmp.Or(cmp.Compare(q.OrderBy.Of(&b.Rate), q.OrderBy.Of(&a.Rate)), a.Host.Addr().Compare(b.Host.Addr()))
	})
	return rows[:min(len(rows), q.Limit)]
}

// candidates are the hosts that a query chooses from: those inside a prefix if it names one, idle or not, else the busiest of all.
func (e *engine) candidates(q api.HostQuery, dir traffic.Direction) []host {
	if q.Within.IsValid() {
		return e.world.inside(q.Within, dir)
	}
	limit := q.Limit
	if q.Group != "" || q.BannedOnly {
		limit, _ = e.world.capacity() // the filter comes after the choice
	}
	return e.world.top(dir, q.OrderBy, limit)
}

// attacked indexes the attacks that are on by their prefix and direction alone.
func (e *engine) attacked() map[traffic.Target]traffic.Record {
	out := map[traffic.Target]traffic.Record{}
	for _, r := range e.manager.Attacks() {
		if r.Attack.Phase != traffic.PhaseOver {
			out[traffic.Target{Prefix: r.Attack.Target.Prefix, Direction: r.Attack.Target.Direction}] = r
		}
	}
	return out
}

func (e *engine) status(now time.Time) api.Status {
	s := e.publish.Load()
	stats := e.manager.Stats()
	out := api.Status{
		Version:      e.opts.Version,
		Started:      e.started,
		Now:          now,
		ConfigPath:   e.opts.ConfigPath,
		ConfigLoaded: e.loaded,
		ConfigError:  e.configError,
		WarmingUp:    s.WarmingUp,
		DryRun:       stats.DryRun,
		KillSwitch:   stats.KillSwitch,
		Networks:     len(e.world.table.Networks()),
		Hosts:        s.CellsUsed,
		HostCapacity: s.CellCapacity,
		AttacksTotal: stats.Attacks,
		BansActive:   stats.Bans,
		BansTotal:    stats.AutoBans + stats.ManualBans + stats.Restored,
		Anomalies:    s.Anomalies,
		Flows:        e.flowStatus(),
	}
	for phase, n := range stats.Phases {
		if p := traffic.Phase(phase); p != traffic.PhaseSuspected && p != traffic.PhaseOver {
			out.AttacksActive += n
		}
	}
	for r, n := range s.Reasons {
		out.Reasons[r] = n.Packets
	}
	for l, n := range s.Losses {
		out.Losses = append(out.Losses, api.Tally{Name: metrics.Loss(l).String(), Count: n})
	}
	for dir := range out.Directions {
		out.Directions[dir].Total = s.IPv4[dir]
		out.Directions[dir].Total.Add(&s.IPv6[dir])
	}
	for dir := range 2 {
		for family := range e.totals.rate {
			out.Directions[dir].Rate.Add(&e.totals.rate[family][dir])
		}
	}
	return out
}
