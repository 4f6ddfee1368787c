package daemon

import (
	"time"

	"weir/loader"
	"weir/userspace/api"
	"weir/userspace/respond"
	"weir/userspace/traffic"
)

// roomForRules is how many rules the kernel has room for.
const roomForRules = 4096

// ordinaryAfter is how long hosts are watched before it is known what their ordinary traffic is.
const ordinaryAfter = time.Minute

// responder keeps the automatic rules in force. Only the main loop uses it.
type responder struct {
	*respond.Book
	renew time.Time // when the kernel is to be told again, so that the rules do not end
	left  int       // for how many there was no room at the last look
}

// respond makes the automatic rules those that the bans in force ask for, and has the kernel apply them.
func (e *engine) respond(now time.Time) {
	if e.world.plane == nil {
		return
	}
	changed := e.auto.Want(now, e.manager.Bans(), len(e.rules.list), func() uint64 {
		e.rules.last++
		return e.rules.last
	})
	if left := e.auto.Left(); len(left) != e.auto.left {
		if e.auto.left = len(left); e.auto.left > 0 {
			e.log.Warn("too many rules: those that stop least are not in force", "left_out", len(left), "room", roomForRules, "first", left[0].Text)
		}
	}
	if !changed && (len(e.auto.Rules()) == 0 || now.Before(e.auto.renew)) {
		return
	}
	e.auto.renew = now.Add(e.world.cfg.Mitigation.Expiry / 2)
	if err := e.applyRules(now, e.rules.list); err != nil {
		e.log.Error("automatic rules are not in force", "rules", len(e.auto.Rules()), "error", err)
	}
}

// entries are the automatic rules as the kernel takes them: they end unless they are renewed.
func (r *responder) entries(now time.Time, expiry time.Duration, harmless bool) []loader.RuleEntry {
	var out []loader.RuleEntry
	for _, a := range r.Rules() {
		mode := loader.Enforce
		if a.Shadow || harmless {
			mode = loader.Shadow
		}
		out = append(out, loader.RuleEntry{Rule: a.Rule, Mode: mode, Until: now.Add(expiry), ID: a.ID})
	}
	return out
}

// applied are the automatic rules for those who ask, without the ones that only count all that arrives.
func (r *responder) applied(expiry time.Duration) []api.AppliedRule {
	var out []api.AppliedRule
	for _, a := range r.Rules() {
		if a.Purpose != respond.Count {
			out = append(out, api.AppliedRule{ID: a.ID, Rule: a.Rule, Shadow: a.Shadow, Since: a.Since, Until: r.renew.Add(expiry / 2), Attack: a.Attack, Automatic: true})
		}
	}
	return out
}

// answer holds what still passes against the thresholds, which may take responses up or down their ladders, and judges the rules in shadow.
func (e *engine) answer(now time.Time) {
	if len(e.auto.Rules()) > 0 {
		e.readHits(now)
	}
	told := map[traffic.Target]bool{}
	for _, o := range e.detector.Active() {
		told[o.Target] = true
		e.update(now, o.Target)
	}
	for _, r := range e.manager.Bans() { // also of attacks that nobody sees while they are kept from us
		if t := r.Attack.Target; r.Ban.Response != nil && !told[t] {
			e.update(now, t)
		}
	}
}

func (e *engine) update(now time.Time, t traffic.Target) {
	both := e.rates(t, traffic.Trip{})
	own := both.Incoming
	if t.Direction == traffic.Outgoing {
		own = both.Outgoing
	}
	e.perform(e.manager.Update(now, t, both, e.auto.Passing(t, own)))
}

// readHits takes in what the automatic rules have met, and puts those in force that this proves.
func (e *engine) readHits(now time.Time) {
	hits, err := e.world.plane.RuleHits()
	if err != nil {
		e.log.Error("hits of rules cannot be read", "error", err)
		return
	}
	sums := make(map[uint64]traffic.Count, len(hits))
	for _, h := range hits {
		sums[h.ID] = traffic.Count{Packets: h.Packets, Bytes: h.Bytes}
	}
	e.auto.Met(now, sums)
	proofs := e.auto.Prove(now, e.world.cfg.Mitigation.Tolerance, func(t traffic.Target) (float64, bool) {
		return e.world.ordinary(now, t)
	})
	for _, p := range proofs {
		e.log.Info("rule put in force", "rule", p.Text, "attack_id", p.Attack, "meets_pps", p.Rate.Packets, "left_pps", p.Left,
			"ordinary_pps", p.Ordinary, "ordinary_known", p.Known, "collateral", p.Collateral)
	}
	if len(proofs) > 0 {
		e.respond(now)
	}
}

// ordinary is how many packets a second a target has when it is not attacked; false while it was not watched for long enough.
func (w *world) ordinary(now time.Time, t traffic.Target) (pps float64, known bool) {
	known = true
	for _, s := range w.spaces {
		known = known && now.Sub(s.began) >= ordinaryAfter
		s.eachIn(t.Prefix, func(slot uint32) { pps += s.ordinary.At(slot, t.Direction, now) })
	}
	return pps, known
}

// freeze keeps the ordinary rates of a target as they are while something is the matter with it.
func (w *world) freeze(now time.Time, t traffic.Target, on bool) {
	for _, s := range w.spaces {
		s.eachIn(t.Prefix, func(slot uint32) { s.ordinary.Freeze(slot, t.Direction, on, now) })
	}
}
