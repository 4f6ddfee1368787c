package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/bgp"
	"weir/bgp/exabgp"
	"weir/bgp/gobgpd"
	"weir/userspace/announce"
	"weir/userspace/config"
	"weir/userspace/networks"
	"weir/userspace/rulelint"
	"weir/userspace/traffic"
)

// announcer keeps routers told: it makes the set of announcements from the bans in force and hands it, whole, to whoever speaks
// BGP. It has a goroutine of its own, and they have theirs and processes too: the main loop only leaves the bans here.
type announcer struct {
	log     *slog.Logger
	speaker *bgp.Speaker   // nil: no peers
	pipe    *exabgp.Pipe   // nil: no ExaBGP
	gobgp   *gobgpd.Client // nil: no gobgpd
	peers   []string       // names of the speaker's peers
	bans    atomic.Pointer[[]traffic.Record]
	changed chan struct{} // holds one: something is to be announced anew
	save    func() error  // puts the bans on the disk
	saving  chan struct{} // holds one while that is under way

	mu      sync.Mutex // guards what follows
	policy  announce.Policy
	guards  announce.Guards
	byHand  []traffic.Announcement
	keeper  byHandFile
	set     []traffic.Announcement
	refused []announce.Refused
	told    map[announce.Refused]bool // refusals that were logged
}

// newAnnouncer makes the parts that a configuration asks for; nil when it asks for none.
func newAnnouncer(cfg *config.Config, table *networks.Table, save func() error, o Options) (*announcer, error) {
	a := &announcer{
		log: o.Log.With("component", "bgp"), changed: make(chan struct{}, 1), save: save, saving: make(chan struct{}, 1), told: map[announce.Refused]bool{},
		keeper: byHandFile(cfg.Store.Path + ".announced"),
	}
	a.bans.Store(&[]traffic.Record{})
	a.enforce(cfg, table, false)
	if cfg.BGP.Speaks() {
		options := bgp.Options{Log: o.Log}
		if len(o.Speaker) > 0 {
			options.Executable, options.Arguments = o.Speaker[0], o.Speaker[1:]
		}
		if o.Namespace != nil {
			options.Namespace = o.Namespace.Name()
		}
		speaker, err := bgp.New(bgpConfig(cfg), options)
		if err != nil {
			return nil, fmt.Errorf("set up BGP: %w", err)
		}
		a.speaker = speaker
		for _, p := range cfg.BGP.Peers {
			a.peers = append(a.peers, p.Name)
		}
	}
	if cfg.BGP.ExaBGP.Pipe != "" {
		pipe, err := exabgp.New(exabgp.Options{
			Path: cfg.BGP.ExaBGP.Pipe, Name: config.BGPNameExaBGP, AS: cfg.BGP.AS, Log: o.Log,
			WithdrawAtStop: cfg.BGP.OnStop == config.BGPWithdraw,
		})
		if err != nil {
			return nil, fmt.Errorf("set up ExaBGP: %w", err)
		}
		a.pipe = pipe
	}
	if cfg.BGP.GoBGP.Address != "" {
		client, err := gobgpd.New(gobgpd.Options{
			Address: cfg.BGP.GoBGP.Address, Name: config.BGPNameGoBGP, Log: o.Log,
			WithdrawAtStop: cfg.BGP.OnStop == config.BGPWithdraw,
		})
		if err != nil {
			return nil, fmt.Errorf("set up GoBGP: %w", err)
		}
		a.gobgp = client
	}
	var err error
	if a.byHand, err = a.keeper.read(); err != nil {
		a.log.Error("announcements by hand cannot be restored", "error", err)
	}
	return a, nil
}

// run runs the speakers. None of them can end the daemon: detection and drops go on without.
func (a *announcer) run(ctx context.Context, group *errgroup.Group) {
	start := func(name string, run func(context.Context) error) {
		group.Go(func() error {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				a.log.Error("announcing has ended", "by", name, "error", err)
			}
			return nil
		})
	}
	group.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-a.changed:
				a.saved()
				a.mu.Lock()
				a.apply()
				a.mu.Unlock()
			}
		}
	})
	if a.speaker != nil {
		start("speaker", a.speaker.Run)
	}
	if a.pipe != nil {
		start("exabgp", a.pipe.Run)
	}
	if a.gobgp != nil {
		start("gobgp", a.gobgp.Run)
	}
}

// saveTime is how long routers wait for the disk: one that is slower than this does not keep them from being told.
const saveTime = 50 * time.Millisecond

// saved waits until the bans are on the disk, so that a daemon that is killed a moment later finds all in its place that routers
// were told about, and tells them the same again.
func (a *announcer) saved() {
	select {
	case a.saving <- struct{}{}:
	default:
		return // the disk hangs: it is being waited for already
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := a.save(); err != nil {
			a.log.Debug("announced before it was saved", "error", err) // the store itself tells the operator
		}
		<-a.saving
	}()
	patience := time.NewTimer(saveTime)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
	}
}

// enforce puts a policy in force. Suspended, nothing is announced.
func (a *announcer) enforce(cfg *config.Config, table *networks.Table, suspended bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.policy = announcePolicy(cfg)
	a.policy.Suspended = suspended || cfg.Mitigation.DryRun || cfg.Mitigation.KillSwitch
	a.guards = announce.Guards{
		Contains: table.Contains,
		NeverBan: table.NeverBan,
		Network:  table.Covering,
		Group: func(addr netip.Addr) (string, bool) {
			i, ok := table.Group(addr)
			if !ok {
				return "", false
			}
			return cfg.Hostgroups[i].Name, true
		},
	}
}

// update takes the bans in force, and has them announced as soon as what is under way is done.
func (a *announcer) update(bans []traffic.Record) {
	a.bans.Store(&bans)
	select {
	case a.changed <- struct{}{}:
	default: // it is known already that something has changed
	}
}

// apply makes the set anew and hands it over. The lock is held.
func (a *announcer) apply() {
	a.set, a.refused = announce.Desired(*a.bans.Load(), a.byHand, a.policy, a.guards)
	a.set = slices.DeleteFunc(a.set, func(w traffic.Announcement) bool {
		why := dangerous(w, a.guards)
		if why != "" {
			a.refused = append(a.refused, announce.Refused{Owner: w.Owner, Route: w.Route(), Why: announce.BadRule, Detail: why})
		}
		return why != ""
	})
	said := map[announce.Refused]bool{}
	for _, r := range a.refused {
		said[r] = true
		if !a.told[r] {
			a.log.Warn("not announced", "route", r.Route, "peer", r.Peer, "action", r.Action, "attack_id", r.Owner, "reason", r.Why.String(), "detail", r.Detail)
		}
	}
	a.told = said
	if a.speaker != nil {
		a.speaker.Apply(announce.For(a.set, a.peers...))
	}
	if a.pipe != nil {
		a.pipe.Apply(announce.For(a.set, config.BGPNameExaBGP))
	}
	if a.gobgp != nil {
		a.gobgp.Apply(announce.For(a.set, config.BGPNameGoBGP))
	}
}

// announce adds announcements by hand, all of them or none.
func (a *announcer) announce(spell func(announce.Policy, announce.Guards) ([]traffic.Announcement, error)) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	wanted, err := spell(a.policy, a.guards)
	if err != nil {
		return nil, err
	}
	byHand := a.byHand
	var routes []string
	for _, w := range wanted {
		w.Owner = announce.Manual
		if why := dangerous(w, a.guards); why != "" {
			return nil, &announce.Refused{Owner: announce.Manual, Route: w.Route(), Why: announce.BadRule, Detail: why}
		}
		if err := announce.Check(w, *a.bans.Load(), byHand, a.policy, a.guards); err != nil {
			return nil, err
		}
		kept := slices.DeleteFunc(slices.Clone(byHand), func(b traffic.Announcement) bool { return b.Key() == w.Key() })
		byHand = append(kept, w)
		routes = append(routes, w.Route())
	}
	return routes, a.setByHand(byHand)
}

var errNotAnnounced = errors.New("nothing of the kind was announced by hand; `weir bgp routes` lists what is announced, and what a ban announces goes with `weir unban`")

// withdraw takes announcements by hand back.
func (a *announcer) withdraw(text string) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	withdrawn, kept := announce.Withdraw(a.byHand, text)
	if len(withdrawn) == 0 {
		return nil, errNotAnnounced
	}
	var routes []string
	for _, w := range withdrawn {
		routes = append(routes, w.Route())
	}
	return routes, a.setByHand(kept)
}

// setByHand keeps and announces what is announced by hand. The lock is held.
func (a *announcer) setByHand(byHand []traffic.Announcement) error {
	if err := a.keeper.write(byHand); err != nil {
		return err
	}
	a.byHand = byHand
	a.apply()
	return nil
}

// dangerous says what is against a rule that routers are to be told, in words; nothing is against a prefix here.
func dangerous(w traffic.Announcement, g announce.Guards) string {
	if w.Rule == nil {
		return ""
	}
	standard, err := rulelint.ProfileByName("flowspec")
	if err != nil {
		return err.Error()
	}
	findings := rulelint.Lint(*w.Rule, standard, g.Contains)
	if !rulelint.Refused(findings) {
		return ""
	}
	var reasons []string
	for _, f := range findings {
		if f.Severity == rulelint.Error {
			reasons = append(reasons, f.Reason+"; "+f.Remedy)
		}
	}
	return strings.Join(reasons, "; ")
}
