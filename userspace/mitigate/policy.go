package mitigate

import (
	"net/netip"
	"time"

	"weir/userspace/traffic"
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
	DefaultClear        = 0.8
	DefaultHold         = time.Minute
	DefaultLook         = 30 * time.Second
	DefaultMost         = 4 * time.Hour
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

	// Ladder, where there is one, is what is done in place of Drop, Announce and Notify, the weakest response first.
	Ladder []Rung
	Limits [traffic.ScopeCount][2]traffic.Limits // the thresholds, by scope and direction: what still passes is held against them
	Clear  float64                               // what passes is calm under this part of them; 0: DefaultClear

	// Hides: what is announced keeps the attack from us. Where it is still there after a ban, the next ban is twice as long.
	Hides bool
}

// Rung is one response of a ladder, and when it is taken. Everything that it does is in it: what is in force on the rung below ends.
type Rung struct {
	Drop   bool // drop all packets of the target in the kernel
	Notify bool // call the script, when an attack first comes to a rung that does

	Rules        traffic.RuleUse // of the rules that the analysis has found
	LimitPackets uint64          // per second, 0: none
	LimitBytes   uint64          // per second, 0: none
	Challenge    traffic.Challenge
	Announce     []string // names of BGP actions
	Hides        bool     // one of them keeps the attack from us: a blackhole, a diversion

	Over    float64        // it is climbed to when more than so many times a threshold passes on the rung below; 0: 1
	After   time.Duration  // ... for so long
	AtOnce  traffic.Limits // what passes over one of these, per second, goes straight to this rung
	Classes []string       // patterns of path.Match: it is for attacks of these classes only; none: for all
	Hold    time.Duration  // so long after the last excess, the rung below is tried; 0: DefaultHold
}

// Probe is how it is found out whether an attack is still there: a response ends, and what passes then is looked at.
type Probe struct {
	Look time.Duration // for so long; 0: DefaultLook
	Most time.Duration // a response that was needed again is held twice as long as before, at most so long; 0: DefaultMost
}

// Hooks are asked before something is decided, in this order; nil: nobody is. They must be quick.
type Hooks struct {
	Threshold func(*traffic.Event) (veto bool, why string)  // a threshold was crossed; vetoed, nothing is followed
	Attack    func(*traffic.Attack) (veto bool, why string) // something is about to be done about an attack; vetoed, it is held
	Mitigate  func(*traffic.Record) Amendment               // the ban is what is about to be put in force
}

// Amendment is what a hook has changed of a ban. The zero value changes nothing.
type Amendment struct {
	Veto         bool
	Why          string
	Drop, Notify *bool
	Rung         int            // of the ladder, from 1; 0: as it was
	BanTime      *time.Duration // 0: it ends by hand only
	Communities  []uint32       // besides those of what is announced
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

	Probe Probe

	MaxTracked int // attacks followed at a time; more are counted and left alone
	History    int // attacks remembered after they are over

	Hooks Hooks // what the operator's own program says of decisions

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
	setTime(&p.Probe.Look, DefaultLook)
	setTime(&p.Probe.Most, DefaultMost)
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
