package config

import (
	"net/netip"
	"reflect"
	"time"

	"weir/userspace/traffic"
)

// BGP is how decisions reach routers: who is told, and what an action announces. With no peers, no ExaBGP and no external GoBGP nothing is.
type BGP struct {
	RouterID        netip.Addr       // IPv4; zero: none, and no peers
	AS              uint32           // our own; 0: none, and no peers
	Listen          []netip.AddrPort // where peers may open sessions, all with one port; empty: nowhere
	OnStop          BGPOnStop
	GracefulRestart BGPGracefulRestart
	Aggregate       BGPAggregate
	Peers           []BGPPeer // in the file's order
	ExaBGP          BGPExaBGP
	GoBGP           BGPGoBGP
	Actions         []BGPAction // in the file's order
}

// Speaks reports whether Weir has BGP sessions of its own.
func (b *BGP) Speaks() bool { return len(b.Peers) > 0 }

// Equal reports whether two configurations say the same.
func (b BGP) Equal(o BGP) bool { return reflect.DeepEqual(b, o) }

// Receivers returns the names that an announcement can be for: the peers, then BGPNameExaBGP and BGPNameGoBGP where they are configured.
func (b *BGP) Receivers() []string {
	var names []string
	for _, p := range b.Peers {
		names = append(names, p.Name)
	}
	if b.ExaBGP.Pipe != "" {
		names = append(names, BGPNameExaBGP)
	}
	if b.GoBGP.Address != "" {
		names = append(names, BGPNameGoBGP)
	}
	return names
}

// The names that stand beside those of peers in an announcement's list of receivers.
const (
	BGPNameExaBGP = "exabgp"
	BGPNameGoBGP  = "gobgp"
)

// BGPOnStop is what becomes of the announcements when the daemon stops.
type BGPOnStop string

const (
	BGPWithdraw BGPOnStop = "withdraw" // they are withdrawn
	BGPKeep     BGPOnStop = "keep"     // they stay at the peers for as long as graceful restart lets them
)

// BGPGracefulRestart is what peers are asked to do while the speaker is away (RFC 4724, RFC 9494).
type BGPGracefulRestart struct {
	Enabled   bool
	Time      time.Duration // whole seconds that peers keep our routes
	LongLived time.Duration // whole seconds that they keep them as a last resort after that; 0: not
}

// BGPAggregate announces one prefix in place of many blackholed hosts.
type BGPAggregate struct {
	Over       int // more hosts of one prefix than this; 0: never
	IPv4, IPv6 int // the prefix's length
}

// BGPFamily is an address family by its name.
type BGPFamily string

const (
	BGPUnicast4  BGPFamily = "ipv4-unicast"
	BGPUnicast6  BGPFamily = "ipv6-unicast"
	BGPFlowSpec4 BGPFamily = "ipv4-flowspec"
	BGPFlowSpec6 BGPFamily = "ipv6-flowspec"
)

func bgpFamilies() []BGPFamily {
	return []BGPFamily{BGPUnicast4, BGPUnicast6, BGPFlowSpec4, BGPFlowSpec6}
}

// BGPPeer is one router.
type BGPPeer struct {
	Name         string
	Address      netip.Addr
	Port         int
	LocalAddress netip.Addr // zero: the system's choice
	AS           uint32
	Password     string // TCP-MD5 (RFC 2385); empty: none
	Passive      bool   // wait for the peer to open the session
	Multihop     int    // TTL of packets to a router that is no neighbour; 0: a neighbour
	TTLSecurity  int    // RFC 5082: the routers, at most, that the peer is away, from 1 for a neighbour; 0: off
	HoldTime     time.Duration
	Keepalive    time.Duration
	ConnectRetry time.Duration
	Families     map[BGPFamily]int // what it carries, and the most routes announced to it at a time
}

// BGPExaBGP is a command pipe of ExaBGP.
type BGPExaBGP struct {
	Pipe     string            // empty: none
	Families map[BGPFamily]int // as for a peer
}

// BGPGoBGP is a gobgpd of its own, by its gRPC API, v3 or v4, whichever answers.
type BGPGoBGP struct {
	Address  string            // host:port; empty: none
	Families map[BGPFamily]int // as for a peer
}

// BGPKind says what routers do with an announcement.
type BGPKind string

const (
	BGPBlackhole BGPKind = "blackhole" // drop all packets to the prefix
	BGPDivert    BGPKind = "divert"    // send the prefix's packets elsewhere, to be cleaned
	BGPFlowSpec  BGPKind = "flowspec"  // do what the rules say
)

// BGPLengthNetwork as a length stands for the one of our networks that holds the target.
const BGPLengthNetwork = -1

// BGPAction is what is announced about a target. Arrays are indexed by 0 for IPv4 and 1 for IPv6.
type BGPAction struct {
	Name          string
	Kind          BGPKind
	Directions    [2]bool        // by traffic.Incoming and traffic.Outgoing: which attacks it is for
	Length        [2]int         // the length that a target is widened to, or BGPLengthNetwork; targets already wider stay as they are
	Widest        [2]int         // the shortest length that may be announced
	GroupPrefixes []netip.Prefix // BGPDivert: what is announced for an attack on a hostgroup as a whole
	OverNeverBan  bool           // BGPDivert: hosts that are never banned may be in the prefix
	Rules         []traffic.Rule // BGPFlowSpec: templates; their destination is the target
	Found         bool           // BGPFlowSpec: also the rules for routers that the attack's analysis has found
	Announcements []BGPAnnouncement
}

// BGPAnnouncement is the attributes that some receivers get a target's prefix or rules with.
type BGPAnnouncement struct {
	Peers               []string      // among Receivers; empty: all
	NextHop             [2]netip.Addr // for IPv4 and IPv6; zero: the family is not announced. BGPFlowSpec: not used
	Communities         []uint32
	LargeCommunities    [][3]uint32
	ExtendedCommunities [][8]byte
	LocalPref, MED      *uint32
	Prepend             int // how many times more our AS stands in the path
}
