package daemon

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/userspace/enrich"
	"weir/userspace/export"
	"weir/userspace/mitigate"
	"weir/userspace/notify"
	"weir/userspace/traffic"
)

const (
	toldQueue    = 4096 // changes that wait to be enriched
	sourcesTold  = 10   // of an attack
	flowsAtOnce  = 64   // records that a worker hands over at a time
	refreshEvery = time.Minute
)

// exports is everybody who is told: stores, streams and people. The main loop and the workers leave things here and wait for nobody.
type exports struct {
	log     *slog.Logger
	runners []*export.Runner
	takers  []*export.Runner // those that take flow records
	every   time.Duration    // between two snapshots; 0: nobody wants any
	next    time.Time
	enrich  *enrich.Enricher
	changes chan traffic.Change
	told    map[string]mitigate.Told // by attack
	lost    uint64                   // changes that there was no room for
	last    time.Time                // of the last snapshot
	folder  string                   // of captures; empty: there are none
}

// capture is the file with an attack's packets; empty: there is none yet.
func (x *exports) capture(id string) string {
	if x.folder == "" {
		return ""
	}
	names, err := filepath.Glob(filepath.Join(x.folder, id+"_*.pcapng"))
	if err != nil || len(names) == 0 {
		return ""
	}
	return names[0]
}

// newExports makes the runners for what a configuration asks for; nothing is connected to yet.
func newExports(list []*export.Runner, e *enrich.Enricher, log *slog.Logger) *exports {
	x := &exports{log: log.With("component", "exports"), enrich: e, told: map[string]mitigate.Told{}, changes: make(chan traffic.Change, toldQueue)}
	for _, r := range list {
		x.add(r)
	}
	return x
}

// add takes up one more; nothing runs yet.
func (x *exports) add(r *export.Runner) {
	x.runners = append(x.runners, r)
	snapshots, _, flows := r.Wants()
	if snapshots && (x.every == 0 || r.Every() < x.every) {
		x.every = r.Every()
	}
	if flows {
		x.takers = append(x.takers, r)
	}
}

// run runs the sinks until ctx ends. None of them can end the daemon.
func (x *exports) run(ctx context.Context, group *errgroup.Group) {
	for _, r := range x.runners {
		group.Go(func() error {
			if err := r.Run(ctx); err != nil {
				x.log.Error("a sink has ended", "sink", r.Stats().Name, "error", err)
			}
			return nil
		})
	}
	group.Go(func() error {
		refresh := time.NewTicker(refreshEvery)
		defer refresh.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-refresh.C:
				x.enrich.Refresh()
			case c := <-x.changes:
				x.enrich.Fill(ctx, c.Sources)
				c.Capture = x.capture(c.Record.Attack.ID)
				for _, r := range x.runners {
					r.Tell(c)
				}
			}
		}
	})
}

// known notes what was told before a restart.
func (x *exports) known(records []traffic.Record) {
	for i := range records {
		if r := &records[i]; r.Attack.Phase != traffic.PhaseOver {
			_, x.told[r.Attack.ID] = mitigate.Told{}.Changes(r)
		}
	}
}

// tell leaves what is new of an attack with all who are told.
func (e *engine) tell(now time.Time, r *traffic.Record) {
	x := e.exports
	if len(x.runners) == 0 {
		return
	}
	kinds, told := x.told[r.Attack.ID].Changes(r)
	if x.told[r.Attack.ID] = told; r.Attack.Phase == traffic.PhaseOver {
		delete(x.told, r.Attack.ID)
	}
	for _, kind := range kinds {
		e.leave(e.changeOf(now, kind, r))
	}
}

// details leaves packets of an attack with all who are told.
func (e *engine) details(now time.Time, r *traffic.Record) {
	if len(e.exports.runners) == 0 {
		return
	}
	c := e.changeOf(now, traffic.ChangeDetails, r)
	for _, p := range e.packets.of(r.Attack.Target) {
		c.Packets = append(c.Packets, traffic.SampledPacket{Time: p.Time, Rate: p.Rate, Packet: p.Packet})
	}
	e.leave(c)
}

func (e *engine) changeOf(now time.Time, kind traffic.ChangeKind, r *traffic.Record) traffic.Change {
	t := r.Attack.Target
	c := traffic.Change{Kind: kind, At: now, Record: *r, Group: t.Group, Sources: e.book.Sources(t, sourcesTold)}
	if c.Group == "" && t.Prefix.IsValid() {
		c.Group = e.members.Load().name(t.Prefix.Addr())
	}
	if kind == traffic.ChangeBanned || kind == traffic.ChangeDetails {
		c.Report = notify.Report(r, e.packets.of(t))
	}
	return c
}

func (e *engine) leave(c traffic.Change) {
	select {
	case e.exports.changes <- c:
	default:
		e.exports.lost++
	}
}

// push leaves a snapshot of all traffic with the stores, when one is due.
func (e *engine) push(now time.Time) {
	x := e.exports
	if x.every == 0 || now.Before(x.next) {
		return
	}
	x.next = now.Add(x.every - secondEvery/2)
	// With all stores away there is no need to look at every host.
	if !slices.ContainsFunc(x.runners, func(r *export.Runner) bool { return r.Awaits(now) }) {
		for _, r := range x.runners {
			r.Miss()
		}
		return
	}
	s := e.traffic(now)
	if !x.last.IsZero() {
		s.Interval = now.Sub(x.last)
	}
	x.last = now
	for _, r := range x.runners {
		r.Push(s)
	}
}

// traffic is all traffic as last measured.
func (e *engine) traffic(now time.Time) *traffic.Snapshot {
	counters := e.counters()
	var beside [2][2]traffic.Count
	for version := range beside {
		exits := &counters.Exits[version+1]
		beside[version] = [2]traffic.Count{exits[traffic.ReasonInternal], exits[traffic.ReasonOther]}
	}
	e.totals.closeBeside(now.Sub(e.exports.last), beside)
	s := &traffic.Snapshot{Time: now}
	for version := range s.Version {
		copy(s.Version[version][:], e.totals.rate[version][:])
		s.Version[version][traffic.Internal] = e.totals.beside[version][0]
		s.Version[version][traffic.Other] = e.totals.beside[version][1]
	}
	for i, n := range e.world.table.Networks() {
		s.Networks = append(s.Networks, traffic.NetworkRate{Prefix: n.Prefix, TwoWay: e.totals.networks.at(i)})
	}
	for i, g := range e.world.cfg.Hostgroups {
		s.Groups = append(s.Groups, traffic.GroupRate{Name: g.Name, TwoWay: e.totals.groups.at(i)})
	}
	s.Hosts = e.world.busy()
	return s
}

// given is a worker's share of the flow records that stores take.
type given struct {
	takers []*export.Runner
	buffer []traffic.Flow
}

// add keeps a record for the stores.
func (g *given) add(f *traffic.Flow) {
	if len(g.takers) == 0 {
		return
	}
	g.buffer = append(g.buffer, *f)
	g.buffer[len(g.buffer)-1].Header = nil
	if len(g.buffer) >= flowsAtOnce {
		g.flush()
	}
}

// flush hands over what was kept.
func (g *given) flush() {
	if len(g.buffer) == 0 {
		return
	}
	for _, r := range g.takers {
		r.Flows(g.buffer)
	}
	g.buffer = g.buffer[:0]
}
