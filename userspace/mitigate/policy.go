package mitigate

import (
	"net/netip"
	"time"
)

// What a Policy's zero fields stand for.
const (
	DefaultBanTime      = 30 * time.Minute // not by itself: a BanTime of 0 has a meaning; for whoever reads the configuration
	DefaultMaxActive    = 100
	DefaultMaxPerMinute = 30
	DefaultRuleTime     = time.Minute
	DefaultHoldOff      = 10 * time.Minute
	DefaultDetailsAfter = 3 * time.Second
	DefaultConfirm      = time.Minute
	DefaultMaxTracked   = 10000
	DefaultHistory      = 1000
)

// Forever as a ban time: the ban ends by hand only, as FastNetMon's ban_time = 0 has it.
const Forever time.Duration = -1

// fallbackGroup is the hostgroup whose policy holds where a hostgroup has none of its own.
const fallbackGroup = "default"

// GroupPolicy is what is done about the attacks of one hostgroup.
type GroupPolicy struct {
	Drop     bool // drop the target's packets in the kernel; a hostgroup as a whole is never dropped
	Announce bool // somebody else acts on the ban: routers, by BGP
	Notify   bool // call the script

	// BanTime is how long a ban holds at least; it ends when that time is over and the attack has ended.
	// 0: it ends with the attack. Forever: it ends by hand only.
	BanTime time.Duration
}

// Policy decides what is done about attacks. Its functions are called from the Manager's methods and must be quick.
type Policy struct {
	Groups map[string]GroupPolicy // by hostgroup; one that is not listed follows "default"
	Manual GroupPolicy            // what a ban by hand does; its BanTime is not used; neither Drop nor Notify: Drop

	MaxActive    int // bans in force at a time, by hand, dry and script-only ones included; a prefix counts as one; 0: DefaultMaxActive
	MaxPerMinute int // automatic bans begun within any minute; 0: DefaultMaxPerMinute

	DryRun       bool // decide and record everything, drop nothing
	DryRunNotify bool // in a dry run, call the script all the same
	KillSwitch   bool // lift every ban and begin none; attacks are still followed

	RuleTime     time.Duration // how long a kernel rule lives unless renewed; it is renewed when half of that is over
	HoldOff      time.Duration // how long an unban by hand keeps the target from being banned automatically; negative: not at all
	DetailsAfter time.Duration // how long after a ban the script is given the packets sampled since; negative: never
	Confirm      time.Duration // how long a restored attack is taken to go on without the detector having seen it again

	MaxTracked int // attacks followed at a time; more are counted and left alone
	History    int // attacks remembered after they are over

	NeverBan func(netip.Prefix) bool // overlaps the never-ban list; nil: there is none
	Contains func(netip.Prefix) bool // lies wholly inside our own networks; nil: nothing is ours, so nothing is banned
}

func (p Policy) withDefaults() Policy {
	setInt := func(v *int, to int) {
		if *v <= 0 {
			*v = to
		}
	}
	setTime := func(v *time.Duration, to time.Duration) {
		if *v == 0 {
			*v = to
		}
	}
	setInt(&p.MaxActive, DefaultMaxActive)
	setInt(&p.MaxPerMinute, DefaultMaxPerMinute)
	setInt(&p.MaxTracked, DefaultMaxTracked)
	setInt(&p.History, DefaultHistory)
	setTime(&p.RuleTime, DefaultRuleTime)
	setTime(&p.HoldOff, DefaultHoldOff)
	setTime(&p.DetailsAfter, DefaultDetailsAfter)
	setTime(&p.Confirm, DefaultConfirm)
	if !p.Manual.Drop && !p.Manual.Notify {
		p.Manual.Drop = true
	}
	if p.NeverBan == nil {
		p.NeverBan = func(netip.Prefix) bool { return false }
	}
	if p.Contains == nil {
		p.Contains = func(netip.Prefix) bool { return false }
	}
	return p
}

func (p *Policy) group(name string) GroupPolicy {
	if g, ok := p.Groups[name]; ok {
		return g
	}
	return p.Groups[fallbackGroup]
}
