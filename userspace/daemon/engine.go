package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"weir/loader"
	"weir/userspace/api"
	"weir/userspace/decide"
	"weir/userspace/detect"
	"weir/userspace/hosts"
	"weir/userspace/investigate"
	"weir/userspace/metrics"
	"weir/userspace/mitigate"
	"weir/userspace/notify"
	"weir/userspace/packet"
	"weir/userspace/store"
	"weir/userspace/traffic"
)

// engine is the main loop: it reads what was counted, judges it, and acts. One goroutine runs it; whoever wants something of it
// sends a function. What may wait (the script, the disk, clients) has a queue and a goroutine of its own.
type engine struct {
	log      *slog.Logger
	opts     Options
	commands chan func(now time.Time)

	world    *world
	detector *detect.Detector
	manager  *mitigate.Manager
	attacher *loader.Attacher // nil: no interface has XDP
	notifier *notify.Notifier // nil: no script
	routers  *announcer
	store    *store.Store
	server   *api.Server
	metrics  *metrics.Server // nil: not served

	started     time.Time
	loaded      time.Time // when the configuration in force was read
	configError string    // why the last reload was refused
	second      time.Time // when the slow part ran last
	skipped     uint64    // ticks that came late by more than a whole one
	lastTick    time.Time
	killFile    bool
	unjudged    traffic.Target // the target that the kernel last refused a verdict on, to log it once

	workers     []*worker   // those of user space, by number
	flows       *flowSource // nil: no flow records are collected
	kafka       *kafkaFlows // nil: none come by Kafka
	plugins     plugins
	captures    []*capture
	totals      totals
	base        carried        // counts of data planes that reloads have replaced
	frames      *packet.Parser // looks into the tunnels of the configuration
	tunnels     bool           // there are any
	packets     evidence
	book        *investigate.Book
	records     *records
	exports     *exports
	rules       *ruleBook
	auto        responder
	challenges  challenges
	hooks       *decide.Script // nil: there is none
	members     atomic.Pointer[members]
	inquiries   map[traffic.Target]*inquiry
	aside       func(func())    // runs what takes its time
	done        <-chan struct{} // closed when the daemon ends
	unannounced bool            // bans have changed since routers were told
	complained  time.Time       // when it was last logged that samples cannot be read
	publish     atomic.Pointer[metrics.Snapshot]
}

func (e *engine) run(ctx context.Context) error {
	ticks := time.NewTicker(tickEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case command := <-e.commands:
			command(time.Now())
		case now := <-ticks.C:
			e.tick(now)
		}
	}
}

// tellLoop runs a function in the main loop, some time, unless the daemon ends.
func (e *engine) tellLoop(f func(now time.Time)) {
	select {
	case e.commands <- f:
	case <-e.done:
	}
}

// ask runs a function in the main loop and waits until it is done.
func (e *engine) ask(ctx context.Context, f func(now time.Time)) error {
	done := make(chan struct{})
	command := func(now time.Time) {
		defer close(done)
		f(now)
	}
	select {
	case e.commands <- command:
	case <-ctx.Done():
		return api.Unavailable(errors.New("the daemon is stopping or very busy; try again"))
	}
	<-done
	return nil
}

// tick is one turn: read, judge, act.
func (e *engine) tick(now time.Time) {
	begin := time.Now()
	if !e.lastTick.IsZero() && now.Sub(e.lastTick) > 2*tickEvery {
		e.skipped++
	}
	e.lastTick = now
	for _, s := range e.world.spaces {
		s.meter.Read(now, func(d hosts.Delta) { e.observe(s, d) })
	}
	for _, event := range e.detector.Tick(now) {
		e.perform(e.manager.Handle(now, event, e.rates(event.Target, event.Trip)))
	}
	e.perform(e.manager.Tick(now))
	e.sample(now)
	e.inquire(now)
	if e.unannounced {
		e.unannounced = false
		bans := e.manager.Bans()
		e.routers.update(bans)
		for _, p := range e.plugins.mitigates {
			p.SetBans(bans)
		}
		e.respond(now)
		e.challenge(now)
	}
	if len(e.auto.Rules()) > 0 && !now.Before(e.auto.renew) {
		e.respond(now)
	}
	if len(e.challenges.armed) > 0 && !now.Before(e.challenges.renew) {
		e.challenge(now)
	}
	if now.Sub(e.second) >= secondEvery {
		e.everySecond(now)
	}
	if e.metrics != nil {
		e.metrics.ObserveTick(time.Since(begin))
	}
}

// sample keeps what was sampled of the attacks that are on.
func (e *engine) sample(now time.Time) {
	if e.world.plane != nil {
		if err := e.world.plane.Samples(samplesPerTick, e.sampled); err != nil && now.Sub(e.complained) > time.Minute {
			e.complained = now
			e.log.Error("samples cannot be read", "error", err)
		}
	}
	follow := e.packets.following()
	for _, w := range e.workers {
		w.recent.on.Store(follow)
		w.recent.take(e.see)
	}
}

// observe takes what was counted for one host to the detector, and into the totals.
func (e *engine) observe(s *space, d hosts.Delta) {
	group := s.group(d.Slot, d.Owner)
	s.saw(d.Slot, d.To)
	s.ordinary.Saw(d.Slot, d.Direction, d.Counts.Total.Packets, d.To)
	e.totals.add(group, s.network(d.Slot, d.Owner), d.Owner.Addr().Is6(), d.Direction, &d.Counts)
	o := detect.Observation{Host: d.Owner, Group: group, Direction: d.Direction, From: d.From, To: d.To, Counts: d.Counts}
	e.detector.Observe(&o)
}

// everySecond does what needs no hurry. It follows a reading, so that no flow is missed when the interval ends.
func (e *engine) everySecond(now time.Time) {
	if e.world.plane != nil {
		e.world.plane.Flip()
	}
	e.totals.close(now.Sub(e.second))
	e.second = now
	e.answer(now)
	e.push(now)
	if e.rules.expire(now) {
		if err := e.change(now, e.rules.list); err != nil {
			e.log.Error("rules cannot be kept", "error", err)
		}
	}
	if err := e.world.reclaim(now); err != nil {
		e.log.Error("cells cannot be reclaimed", "error", err)
	}
	if on := exists(e.world.cfg.Mitigation.KillSwitchFile); on != e.killFile {
		e.killFile = on
		e.log.Warn("kill switch file has changed", "on", on)
		e.routers.enforce(e.world.cfg, e.world.table, on)
		e.unannounced = true
		e.reenforce(now)
		plane, cfg := e.world.plane, e.world.cfg
		e.aside(func() { // long lists take their time
			if err := setSources(plane, cfg, on); err != nil {
				e.log.Error("lists of sources are not in force", "error", err)
			}
		})
		e.perform(e.manager.SetPolicy(now, e.mitigatePolicy(e.world.cfg, e.world.table)))
	}
	e.publish.Store(e.snapshot())
}

// rates is what a target sends and receives per second. At the moment of a trip the meter's second is not over, so all is scaled to
// what the trip's own arithmetic says of its metric.
func (e *engine) rates(t traffic.Target, trip traffic.Trip) traffic.TwoWay {
	var both traffic.TwoWay
	switch t.Scope {
	case traffic.ScopeHost:
		both = e.world.rate(t.Prefix.Addr())
	case traffic.ScopePrefix:
		both = e.world.rateWithin(t.Prefix)
	case traffic.ScopeGroup:
		both = e.totals.group(e.groupIndex(t.Group))
	}
	own := &both.Incoming
	if t.Direction == traffic.Outgoing {
		own = &both.Outgoing
	}
	if measured, ok := e.detector.Rate(t); ok && measured.Total.Packets > own.Total.Packets {
		*own = measured
	}
	if got := float64(trip.Metric.Of(own)); got > 0 && got < trip.Value {
		*own = perSecond(*own, got/trip.Value)
	}
	return both
}

func (e *engine) groupIndex(name string) int {
	for i, g := range e.world.cfg.Hostgroups {
		if g.Name == name {
			return i
		}
	}
	return -1
}

// perform does what the manager has decided, in order. Nothing here waits.
func (e *engine) perform(steps []mitigate.Step) {
	for i := range steps {
		e.performOne(&steps[i])
	}
}

func (e *engine) performOne(s *mitigate.Step) {
	switch s.Kind {
	case mitigate.StepRecord:
		if s.Attack.Phase == traffic.PhaseOver {
			e.packets.forget(s.Target)
			e.leaveAlone(s.Target)
			e.auto.Forget(s.Attack.ID)
		} else {
			e.packets.follow(s.Target)
			e.lookInto(&s.Attack)
		}
		e.unannounced = true
		e.store.Put(s.Record)
		e.records.put(s.Record)
		e.tell(e.lastTick, &s.Record)
		e.server.Publish(s.Record)
	case mitigate.StepBlock:
		e.judge(s.Target, s.Until)
	case mitigate.StepRelease:
		e.judge(s.Target, time.Time{})
		e.rejudge(s.Target)
	case mitigate.StepNotify:
		n := notify.Notification{Action: s.Action, Record: s.Record, Packets: e.packets.of(s.Target)}
		if e.notifier != nil {
			e.notifier.Notify(n)
		}
		if s.Action == mitigate.ActionDetails {
			e.details(e.lastTick, &s.Record)
		}
		if s.Action == mitigate.ActionDetails || s.Action == mitigate.ActionBan {
			e.records.text(&n)
		}
	case mitigate.StepSuspect:
		e.suspect(s.Target, s.On)
	case mitigate.StepLog:
		e.log.Info("attack", "step", s.Message, "target", s.Target.String(), "direction", s.Target.Direction.String(), "attack_id", s.Attack.ID,
			"trip", s.Attack.Trip.String(), "held", s.Held, "response", responseOf(&s.Ban))
	}
}

// judge puts a verdict on a target until a moment, or takes it off.
func (e *engine) judge(t traffic.Target, until time.Time) {
	v := loader.Verdict{}
	if !until.IsZero() {
		v = loader.Verdict{Action: traffic.ActionDrop, Until: time.Until(until)}
	}
	if err := e.world.judge(t, v); err != nil {
		if e.unjudged != t {
			e.log.Error("verdict cannot be set", "target", t.String(), "direction", t.Direction.String(), "error", err)
		}
		e.unjudged = t
		return
	}
	if e.unjudged == t {
		e.unjudged = traffic.Target{}
	}
	if e.opts.InForce != nil {
		e.opts.InForce(t, time.Now(), until)
	}
}

// rejudge puts the verdicts of other bans back that a release has taken off with its own: a host's under its prefix, and the
// other way round.
func (e *engine) rejudge(released traffic.Target) {
	for _, r := range e.manager.Bans() {
		t := r.Attack.Target
		if r.Ban.Drops() && t.Direction == released.Direction && t.Prefix != released.Prefix && t.Prefix.Overlaps(released.Prefix) {
			e.judge(t, time.Now().Add(e.world.cfg.Mitigation.Expiry))
		}
	}
}

// suspect raises the sampling rate of a host, or lowers it again. A prefix has too many packets to need it.
func (e *engine) suspect(t traffic.Target, on bool) {
	e.world.freeze(e.lastTick, t, on)
	if t.Scope != traffic.ScopeHost || e.world.plane == nil {
		return
	}
	slot, ok := e.world.kernel.find(t.Prefix.Addr())
	if !ok {
		return
	}
	if err := e.world.plane.SetSuspect(slot, t.Direction, on); err != nil {
		e.log.Error("sampling rate cannot be set", "target", t.String(), "error", err)
	}
}

// responseOf says which rung is in force, what it does and why, for the log.
func responseOf(b *traffic.Ban) string {
	r := b.Response
	if r == nil || len(r.History) == 0 {
		return ""
	}
	return fmt.Sprintf("rung %d of %d: %s, because %s", r.Rung, r.Rungs, r, r.History[len(r.History)-1].Why)
}

// liveAddresses are those found at run time, by source.
type liveAddresses struct{ local, openvz []netip.Prefix }

func (l liveAddresses) all() []netip.Prefix {
	return append(append([]netip.Prefix(nil), l.local...), l.openvz...)
}
