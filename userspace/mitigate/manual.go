package mitigate

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"weir/userspace/traffic"
)

// ErrNotBanned is wrapped by the errors of Unban and UnbanGroup when there is nothing to lift.
var ErrNotBanned = errors.New("not banned")

// RefusedError is why a ban by hand was refused by a guard.
type RefusedError struct {
	Prefix netip.Prefix
	Why    Refusal
	Remedy string // what the operator can do
}

// Error names the prefix, the guard and the remedy.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("ban %s: %s; %s", display(e.Prefix), refusalTexts[e.Why], e.Remedy)
}

// Request is a ban by hand.
type Request struct {
	Prefix             netip.Prefix // a host as /32 or /128, or a prefix without host bits
	Incoming, Outgoing bool         // at least one
	For                time.Duration
	// For is how long the ban holds at least: like any ban it also outlasts a detected attack on its target. 0: until it is lifted by hand.
	Reason string         // for the record
	Rates  traffic.TwoWay // the target's rates per second now, for the script; zero when unknown
}

// Ban bans a prefix by hand, or makes the automatic ban that it already has one by hand, with a new end; the script is then not told again.
// All guards hold but the budget of new bans per minute, which is there against detection gone wild. What cannot be done is refused as a whole.
func (m *Manager) Ban(now time.Time, r Request) ([]Step, error) {
	m.enter(now)
	prefix, err := normalize("ban", r.Prefix)
	if err != nil {
		return nil, err
	}
	keys := directions(prefix, r.Incoming, r.Outgoing)
	if len(keys) == 0 {
		return nil, fmt.Errorf("ban %s: no direction given; expected incoming, outgoing or both", display(prefix))
	}
	if r.For < 0 {
		return nil, fmt.Errorf("ban %s: negative duration %s; give a positive one, or none for a ban until it is lifted by hand", display(prefix), r.For)
	}
	if err := m.guard(prefix, keys); err != nil {
		m.stats.Refused[err.Why]++
		return nil, err
	}
	var until time.Time
	if r.For > 0 {
		until = m.now.Add(r.For)
	}
	for _, k := range keys {
		delete(m.holdOff, k)
		m.banByHand(k, until, r)
	}
	return m.leave(), nil
}

// guard checks all that a ban by hand must pass.
func (m *Manager) guard(prefix netip.Prefix, keys []key) *RefusedError {
	places, followed := 0, 0
	for _, k := range keys {
		a := m.attacks[k]
		if a == nil {
			followed++
		}
		if a == nil || !a.Ban.Active() {
			places++
		}
	}
	refuse := func(why Refusal, remedy string) *RefusedError {
		return &RefusedError{Prefix: prefix, Why: why, Remedy: remedy}
	}
	switch {
	case !m.policy.Contains(prefix):
		return refuse(RefusalNotOurs, "ban a prefix within the configured networks, or add it to them first")
	case m.policy.NeverBan(prefix):
		return refuse(RefusalNeverBan, "ban a prefix that holds nothing of the list, or take it off the list first")
	case m.policy.KillSwitch:
		return refuse(RefusalKillSwitch, "turn it off in the configuration and reload first")
	case m.bans+places > m.policy.MaxActive:
		return refuse(RefusalMaxActive, fmt.Sprintf("unban something first, or raise the limit of %d", m.policy.MaxActive))
	case len(m.attacks)+followed > m.policy.MaxTracked:
		return refuse(RefusalMaxTracked, "try again when an attack is over")
	}
	return nil
}

// banByHand bans one target that has passed the guards.
func (m *Manager) banByHand(k key, until time.Time, r Request) {
	a := m.attacks[k]
	if a == nil {
		t := traffic.Target{Scope: traffic.ScopePrefix, Prefix: k.prefix, Direction: k.direction}
		hosts := 0
		if k.prefix.IsSingleIP() {
			t.Scope, hosts = traffic.ScopeHost, 1
		}
		a = &attack{key: k, updated: m.now, Record: traffic.Record{Attack: traffic.Attack{
			ID: m.ids.next(m.now), Target: t, Started: m.now, Detected: m.now, Hosts: hosts, Manual: true,
		}}}
		measure(&a.Attack, r.Rates, 0)
		m.attacks[k] = a
	}
	if a.Ban.Active() {
		m.takeOver(a, until, r.Reason)
		return
	}
	m.stats.ManualBans++
	m.engage(a, traffic.Ban{Until: until, Drop: m.policy.Manual.Drop, Notified: m.policy.Manual.Notify, Manual: true, Reason: r.Reason})
}

// takeOver gives a ban in force another end, and what a ban by hand does beyond what it did.
func (m *Manager) takeOver(a *attack, until time.Time, reason string) {
	b := &a.Ban
	dropped, notified := b.Drops(), b.Notified
	b.Manual, b.Until, b.Reason = true, until, reason
	b.Drop = b.Drop || m.policy.Manual.Drop
	b.Notified = b.Notified || m.policy.Manual.Notify && (!b.DryRun || m.policy.DryRunNotify)
	a.Attack.Phase = a.phase()
	m.record(a)
	if b.Drops() && !dropped {
		m.block(a)
	}
	if b.Notified && !notified {
		m.notify(a, ActionBan)
	}
	m.log(a, "ban changed by hand")
	m.schedule(a)
}

// Unban lifts the bans of exactly this prefix, in both directions, by hand or automatic. For the policy's HoldOff the target is not banned
// automatically again, not even by a new attack.
func (m *Manager) Unban(now time.Time, prefix netip.Prefix) ([]Step, error) {
	m.enter(now)
	prefix, err := normalize("unban", prefix)
	if err != nil {
		return nil, err
	}
	if m.unban(directions(prefix, true, true)) {
		return m.leave(), nil
	}
	if near := m.overlapping(prefix); len(near) > 0 {
		return nil, fmt.Errorf("unban %s: %w itself; in force nearby, to be unbanned by their own names: %s", display(prefix), ErrNotBanned, strings.Join(near, ", "))
	}
	return nil, fmt.Errorf("unban %s: %w; see the list of bans", display(prefix), ErrNotBanned)
}

// UnbanGroup lifts the bans of a hostgroup as a whole, as Unban does those of a prefix.
func (m *Manager) UnbanGroup(now time.Time, group string) ([]Step, error) {
	m.enter(now)
	if m.unban([]key{{group: group, direction: traffic.Incoming}, {group: group, direction: traffic.Outgoing}}) {
		return m.leave(), nil
	}
	return nil, fmt.Errorf("unban hostgroup %s: %w; see the list of bans", group, ErrNotBanned)
}

func (m *Manager) unban(keys []key) (lifted bool) {
	for _, k := range keys {
		a := m.attacks[k]
		if a == nil || !a.Ban.Active() {
			continue
		}
		lifted = true
		why := RefusalNone
		if m.policy.HoldOff > 0 {
			why = RefusalHoldOff
			m.holdOff[k] = m.now.Add(m.policy.HoldOff)
			m.wake(m.holdOff[k])
		}
		m.lift(a, why, "ban lifted by hand")
		if a.Attack.Phase != traffic.PhaseOver && why == RefusalNone {
			m.decide(a)
		}
	}
	return lifted
}

// overlapping names up to five bans that share addresses with prefix.
func (m *Manager) overlapping(prefix netip.Prefix) []string {
	var names []string
	for _, a := range m.sorted() {
		if a.Ban.Active() && a.key.prefix.IsValid() && a.key.prefix.Overlaps(prefix) && len(names) < 5 {
			names = append(names, a.Attack.Target.String())
		}
	}
	return names
}

func directions(prefix netip.Prefix, incoming, outgoing bool) []key {
	var keys []key
	if incoming {
		keys = append(keys, key{prefix: prefix, direction: traffic.Incoming})
	}
	if outgoing {
		keys = append(keys, key{prefix: prefix, direction: traffic.Outgoing})
	}
	return keys
}

// normalize takes IPv4 out of IPv6 notation, and refuses what is no prefix.
func normalize(verb string, p netip.Prefix) (netip.Prefix, error) {
	if !p.IsValid() {
		return p, fmt.Errorf("%s: no address given; expected an address or a prefix like 192.0.2.0/24", verb)
	}
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%s %s: host bits are set; did you mean %s or %s?", verb, p, p.Masked(), p.Addr())
	}
	return p, nil
}

// display prints a host as its address.
func display(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
