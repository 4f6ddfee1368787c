package bgp

import (
	"net/netip"
	"time"
)

// Session is the state of a BGP session by its name in RFC 4271 section 8.2.2, in lower case.
type Session string

// The states. Active is also that of a passive peer that is waited for.
const (
	Idle        Session = "idle"
	Connect     Session = "connect"
	Active      Session = "active"
	OpenSent    Session = "opensent"
	OpenConfirm Session = "openconfirm"
	Established Session = "established"
)

// State is a snapshot of the speaker; the caller may keep and change it.
type State struct {
	Up       bool         `json:"up"`              // the child runs
	PID      int          `json:"pid,omitempty"`   // of the child
	Restarts int          `json:"restarts"`        // how often the child has been started again
	Error    string       `json:"error,omitempty"` // why the child ended last, or what it cannot do, such as listening
	Peers    []PeerState  `json:"peers"`           // in the order of the configuration
	Routes   []RouteState `json:"routes"`          // in the order of the announcements
}

// PeerState is one peer.
type PeerState struct {
	Name     string         `json:"name"`
	Address  netip.Addr     `json:"address"`
	AS       uint32         `json:"as"`
	Session  Session        `json:"session"`
	Since    time.Time      `json:"since"`              // of this state of the session
	Error    string         `json:"error,omitempty"`    // what went wrong last, in words: it stays when the session is up again
	ErrorAt  time.Time      `json:"error_at,omitzero"`  // when
	Ups      uint64         `json:"ups"`                // how often the session came up since the child was started
	RouterID netip.Addr     `json:"router_id,omitzero"` // of the peer, while the session is up, as the following two
	Families []Family       `json:"families,omitempty"` // agreed with the peer
	Graceful bool           `json:"graceful_restart"`   // the peer keeps our routes for a while when the session is lost
	Sent     Messages       `json:"sent"`               // over all sessions since the child was started
	Received Messages       `json:"received"`
	Broken   uint64         `json:"malformed_updates"` // UPDATE messages among the received that were malformed; they are ignored as all are
	Routes   map[Family]int `json:"routes"`            // announced, or to be announced as soon as the session is up
	Refused  map[Family]int `json:"refused,omitempty"` // not announced: over MaxRoutes
}

// Messages counts BGP messages by type.
type Messages struct {
	Open         uint64 `json:"open"`
	Update       uint64 `json:"update"`
	Notification uint64 `json:"notification"`
	KeepAlive    uint64 `json:"keepalive"`
	Refresh      uint64 `json:"route_refresh"`
}

// RouteState is one announcement and what has become of it.
type RouteState struct {
	Key    string      `json:"key"` // Announcement.Key
	Family Family      `json:"family"`
	Route  string      `json:"route"` // the prefix or rule
	Owner  string      `json:"owner,omitempty"`
	Error  string      `json:"error,omitempty"` // why nobody can be told at all
	Peers  []RoutePeer `json:"peers"`
}

// RoutePeer is one announcement at one peer.
type RoutePeer struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since,omitzero"`  // when it was handed to the session with the peer; zero: it was not yet
	Error string    `json:"error,omitempty"` // why it is not announced
}
