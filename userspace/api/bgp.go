package api

import (
	"net/netip"
	"time"
)

// BGPStatus is what is announced to routers, and how the sessions with them are.
type BGPStatus struct {
	Configured bool // the configuration has a bgp section; without one all else is empty
	Speaker    BGPSpeaker
	Peers      []BGPPeer    // in the order of the configuration
	Routes     []BGPRoute   // what is to be announced, with what has become of it
	Refused    []BGPRefusal // what is not announced, and why
}

// BGPSpeaker is the process that speaks BGP.
type BGPSpeaker struct {
	Up       bool
	PID      int    // 0: it does not run
	Restarts int    // how often it has been started again
	Error    string // why it ended last, or what it cannot do
}

// BGPPeer is one receiver of routes. Counters run since the speaker was started.
type BGPPeer struct {
	Name, Address string // an exabgp receiver's address is its pipe
	AS            uint32
	Session       string    // of a peer: idle, connect, active, opensent, openconfirm or established; of the other kinds: connected or waiting
	Kind          string    // peer, exabgp or gobgp
	Since         time.Time // of this state of the session; zero: unknown
	Error         string    // what went wrong last, in words; it stays when the session is up again
	ErrorAt       time.Time
	RouterID      string   // of the peer while the session is up
	Families      []string // agreed on while the session is up
	Graceful      bool     // the peer keeps our routes for a while when the session is lost

	Sent, Received, Malformed uint64         // messages; malformed: updates among those received
	Ups                       uint64         // how often the session came up
	Routes, RefusedRoutes     map[string]int // by family: announced, and not announced because there is no room
}

// BGPRoute is one announcement.
type BGPRoute struct {
	Family string
	Route  string // the prefix or the rule
	Owner  string // id of the attack, or "manual"
	Error  string // why nobody can be told at all
	Peers  []BGPRoutePeer
}

// BGPRoutePeer is one announcement at one receiver.
type BGPRoutePeer struct {
	Name  string
	Since time.Time // when it was handed over; zero: not yet
	Error string    // why it is not announced
}

// BGPRefusal is something that policy asked for and a guard held back.
type BGPRefusal struct {
	Owner, Action, Route, Peer string // an empty peer: for all
	Reason                     string // the guard's name
	Detail                     string
}

// AnnounceOrder announces by hand: with Action what that announces about Prefix, without it what the rest spells out.
type AnnounceOrder struct {
	Action      string
	Prefix      netip.Prefix // masked
	Rule        string       // instead of Prefix: a rule in its text form
	NextHop     netip.Addr   // of Prefix
	Communities []uint32     // RFC 1997
	Peers       []string     // names of receivers; empty: all
}

// WithdrawOrder takes back what was announced by hand.
type WithdrawOrder struct {
	Text string // prefix or rule, whoever was told it; or the key of one announcement
}
