// Package announce decides what BGP is to announce: from the bans in force and the policy it makes the whole set of announcements, past all guards.
package announce

import (
	"fmt"
	"net/netip"

	"weir/userspace/traffic"
)

// Kind says what routers do with an announcement.
type Kind uint8

const (
	Blackhole Kind = iota // drop all packets to the prefix
	Divert                // send the prefix's packets elsewhere, to be cleaned
	FlowSpec              // do what the rules say
	KindCount
)

var kindNames = [KindCount]string{"blackhole", "divert", "flowspec"}

// String returns the kind's name as it stands in the configuration.
func (k Kind) String() string {
	if k < KindCount {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// LengthNetwork as a length stands for the one of our networks that holds the target.
const LengthNetwork = -1

// The shortest prefixes that are ever announced, whatever policy and networks say: a default route, or half the Internet, never is.
const (
	WidestIPv4 = 8
	WidestIPv6 = 16
)

// fallbackGroup is the hostgroup whose actions hold where a hostgroup has none of its own.
const fallbackGroup = "default"

// Manual is the Owner of what was announced by hand.
const Manual = "manual"

// Policy says what is announced about whom, and to whom. Arrays of two are indexed by 0 for IPv4 and 1 for IPv6.
type Policy struct {
	Groups    map[string][]string // by hostgroup: the names of its actions, in their order; one that is not listed follows "default"
	Actions   map[string]Action
	Receivers []Receiver // without one nothing is announced
	Aggregate Aggregate
	Suspended bool // a dry run, or the kill switch: nothing is announced, by hand neither
}

// Receiver is who can be told: a peer, or a whole other BGP speaker.
type Receiver struct {
	Name      string
	MaxRoutes map[string]int // by family, as traffic.Announcement.Family has it: those that it carries, and the most routes of each
}

// Aggregate announces one prefix in place of many blackholed hosts.
type Aggregate struct {
	Over   int    // more hosts of one prefix than this; 0: never
	Length [2]int // the prefix's
}

// Action is what is announced about a target.
type Action struct {
	Kind          Kind
	Directions    [2]bool        // by traffic.Incoming and traffic.Outgoing: which attacks it is for
	Length        [2]int         // what a target is widened to, or LengthNetwork; 0: nothing. A target that is wider already stays as it is
	Widest        [2]int         // the shortest prefix that may be announced; 0: WidestIPv4, WidestIPv6
	GroupPrefixes []netip.Prefix // Divert: what is announced for an attack on a hostgroup as a whole
	OverNeverBan  bool           // Divert: hosts that are never banned may be in the prefix, though they never are its target

	// FlowSpec: templates without a destination, which is the target. One whose Family is not 0 is for targets of this IP version.
	Rules []traffic.Rule
	Found bool // FlowSpec: also the rules for routers that the attack's analysis has found

	// What whom is told. One entry at most has no Peers: it is for everybody whom no other entry names.
	Announcements []Attributes
}

// Attributes is what comes with a prefix or rule.
type Attributes struct {
	Peers               []string      // names of receivers; empty: all
	NextHop             [2]netip.Addr // zero: targets of this IP version are not announced. FlowSpec: not used
	Communities         []uint32
	LargeCommunities    [][3]uint32
	ExtendedCommunities [][8]byte
	LocalPref, MED      *uint32
	Prepend             int
}

// Guards knows our networks. Its functions must be quick.
type Guards struct {
	Contains func(netip.Prefix) bool                  // lies wholly inside our networks; nil: nothing is ours, so nothing is announced
	NeverBan func(netip.Prefix) bool                  // has an address in common with the never-ban list; nil: there is none
	Network  func(netip.Addr) (netip.Prefix, bool)    // the most specific of our networks that holds an address; nil: unknown
	Group    func(netip.Addr) (group string, ok bool) // the hostgroup of an address, for bans by hand; nil: "default"
}

// Reason says why something is not announced.
type Reason uint8

const (
	NotOurs    Reason = iota // not wholly inside our networks
	NeverBan                 // a host that is never banned is in it
	TooWide                  // shorter than the action may announce
	NoNextHop                // the action has none of this IP version
	BadRule                  // the rule is not valid, or matches more than the target
	NoReceiver               // nobody who carries the family is told
	Conflict                 // the receiver has another announcement of the same prefix or rule
	MaxRoutes                // the receiver has as many routes as it may
	NoAction                 // there is no action of this name
	ReasonCount
)

var reasonNames = [ReasonCount]string{
	"not_ours", "never_ban", "too_wide", "no_next_hop", "bad_rule", "no_receiver", "conflict", "max_routes", "no_action",
}

// String returns the reason's name as it stands in metrics.
func (r Reason) String() string {
	if r < ReasonCount {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Refused is something that is not announced although policy asks for it.
type Refused struct {
	Owner     string // the attack's identifier, or Manual
	Action    string // empty for what was spelled out by hand
	Route     string // the prefix or the rule
	Peer      string // whom it was for; empty: nobody gets it
	Aggregate bool   // an aggregate: its hosts are announced one by one instead
	Why       Reason
	Detail    string // what is the matter and what can be done, for the operator
}

// Error names the route, whom it was for, and the detail.
func (r *Refused) Error() string {
	if r.Peer != "" {
		return fmt.Sprintf("announce %s to %s: %s", r.Route, r.Peer, r.Detail)
	}
	return fmt.Sprintf("announce %s: %s", r.Route, r.Detail)
}

// family is the index of an address' IP version.
func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}
