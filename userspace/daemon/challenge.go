package daemon

import (
	"net/netip"
	"slices"
	"time"

	"weir/loader"
	"weir/userspace/config"
	"weir/userspace/traffic"
)

const (
	// proofs is how many sources can have proven themselves at a time, where a ladder challenges any: 8 MiB.
	proofs = 1 << 18
	// challengeGrace is how long a host under "authenticate all" tells by what it sends whom it is connected with.
	challengeGrace = 10 * time.Second
)

// roomForProofs is how many proven sources the data plane is to have room for; 0: nobody is ever challenged.
func roomForProofs(cfg *config.Config) int {
	for _, g := range cfg.Hostgroups {
		if slices.ContainsFunc(g.Ladder, func(r config.Rung) bool { return r.Challenge != traffic.ChallengeNone }) {
			return proofs
		}
	}
	return 0
}

// challenges is whose clients are challenged. Only the main loop uses it.
type challenges struct {
	plane *loader.DataPlane // that was told
	armed map[netip.Prefix]traffic.Challenge
	renew time.Time
}

// challenge has the kernel challenge the clients of those hosts that responses name, and of nobody else.
func (e *engine) challenge(now time.Time) {
	plane := e.world.plane
	if plane == nil || roomForProofs(e.world.cfg) == 0 {
		return
	}
	c := &e.challenges
	if c.plane != plane { // what another one was told, this one does not know
		*c = challenges{plane: plane, armed: map[netip.Prefix]traffic.Challenge{}}
	}
	wanted := map[netip.Prefix]traffic.Challenge{}
	if !e.harmless() {
		for _, r := range e.manager.Bans() {
			t, response := r.Attack.Target, r.Ban.Response
			if response != nil && response.Challenge != traffic.ChallengeNone && t.Scope != traffic.ScopeGroup && t.Direction == traffic.Incoming {
				wanted[t.Prefix] = response.Challenge
			}
		}
	}
	due := !now.Before(c.renew)
	if due {
		c.renew = now.Add(e.world.cfg.Mitigation.Expiry / 2)
	}
	for p, how := range wanted {
		if c.armed[p] == how && !due {
			continue
		}
		c.armed[p] = how
		a := loader.Authentication{Mode: authModes()[how], Until: e.world.cfg.Mitigation.Expiry, Grace: challengeGrace}
		if err := plane.SetAuthentication(p, a); err != nil {
			e.log.Error("sources are not challenged", "target", p.String(), "error", err)
		}
	}
	for p := range c.armed {
		if wanted[p] != traffic.ChallengeNone {
			continue
		}
		delete(c.armed, p)
		if err := plane.SetAuthentication(p, loader.Authentication{}); err != nil {
			e.log.Error("sources are challenged until that ends by itself", "target", p.String(), "error", err)
		}
	}
}

func authModes() [traffic.ChallengeCount]loader.AuthMode {
	return [traffic.ChallengeCount]loader.AuthMode{
		traffic.ChallengeSYN: loader.AuthSYN, traffic.ChallengeReplies: loader.AuthReplies, traffic.ChallengeAll: loader.AuthAll,
	}
}
