// Package api serves what a running Weir knows and does over a Unix socket, as gRPC, gRPC-Web and JSON from one protobuf definition.
package api

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// Backend is what the server asks the daemon for. Every function must be set unless it says otherwise, may be called by several goroutines at once,
// and returns errors made by Invalid, Refused, NotFound or Unavailable where the caller is to be told so; any other error is an internal one.
type Backend struct {
	Status  func(context.Context) (Status, error)
	Hosts   func(context.Context, HostQuery) ([]HostRate, error)         // highest first
	Attacks func(context.Context, AttackQuery) ([]traffic.Record, error) // latest first
	Bans    func(context.Context) ([]traffic.Record, error)              // those in force, latest first
	Ban     func(context.Context, BanOrder) ([]traffic.Record, error)    // the bans now in force for the order
	Unban   func(context.Context, UnbanOrder) ([]traffic.Record, error)  // the bans that were lifted
	Reload  func(context.Context) (loaded time.Time, err error)

	BGP      func(context.Context) (BGPStatus, error)
	Announce func(context.Context, AnnounceOrder) (routes []string, err error) // the prefixes or rules now announced for the order
	Withdraw func(context.Context, WithdrawOrder) (routes []string, err error) // those that were withdrawn

	Rules       func(context.Context) (RuleStatus, error)                    // may be nil, as the next two: the call is answered with Unavailable
	AddRules    func(context.Context, RuleOrder) ([]AppliedRule, error)      // those that were added
	DeleteRules func(context.Context, []uint64, bool) ([]AppliedRule, error) // those that were deleted: by their numbers, or all

	Exporters func(context.Context) (ExporterStatus, error) // may be nil: the call is answered with Unavailable
}

// complete names the first function that is missing.
func (b *Backend) complete() error {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"Status", b.Status != nil}, {"Hosts", b.Hosts != nil}, {"Attacks", b.Attacks != nil}, {"Bans", b.Bans != nil},
		{"Ban", b.Ban != nil}, {"Unban", b.Unban != nil}, {"Reload", b.Reload != nil},
		{"BGP", b.BGP != nil}, {"Announce", b.Announce != nil}, {"Withdraw", b.Withdraw != nil},
	} {
		if !f.set {
			return fmt.Errorf("serve API: backend has no %s", f.name)
		}
	}
	return nil
}

// Status is the daemon at one moment.
type Status struct {
	Version       string
	Started, Now  time.Time
	ConfigPath    string
	ConfigLoaded  time.Time
	ConfigError   string // why the last reload was refused; empty when the file is in force
	WarmingUp     bool   // no attack is declared yet
	DryRun        bool   // attacks are declared, nothing is dropped
	KillSwitch    bool   // no mitigation is started
	Networks      int    // prefixes that are ours
	Hosts         int    // host cells in use, per direction
	HostCapacity  int    // host cells there are, per direction
	Interfaces    []Interface
	Directions    [traffic.DirectionCount]DirectionTotal
	AttacksActive int
	AttacksTotal  uint64 // started since the daemon started
	BansActive    int
	BansTotal     uint64  // put in force since the daemon started
	Losses        []Tally // whatever was lost or given up since the start, by where
	Reasons       [traffic.ReasonCount]uint64
	Anomalies     [traffic.AnomalyCount]uint64 // the one for AnomalyNone is not looked at
	Flows         *FlowCollector               // nil: no flow records are collected
}

// Interface is one attached (or wanted) network interface.
type Interface struct {
	Name     string
	Index    int    // the kernel's; 0 while the interface does not exist
	Role     string // host, wire or mirror
	Engine   string // empty: xdp
	Mode     string // of engine xdp: native, generic or none; else how the engine reads, in its own words
	Why      string // why this mode, or why not attached
	Attached bool
	Egress   bool   // outgoing traffic is counted at tc egress too
	Pair     string // role wire: where packets are redirected to
	Since    time.Time
	Capture  *traffic.CaptureStats // nil: engine xdp
}

// DirectionTotal is the traffic of one direction: since the daemon started, and per second.
type DirectionTotal struct{ Total, Rate traffic.Counts }

// Tally is a named counter.
type Tally struct {
	Name  string
	Count uint64
}

// HostQuery selects hosts.
type HostQuery struct {
	Directions []traffic.Direction // Incoming, Outgoing, or both
	OrderBy    traffic.Metric
	Limit      int          // 1 to MaxRows
	Within     netip.Prefix // valid: only hosts inside
	Group      string       // not empty: only hosts of this hostgroup
	BannedOnly bool
}

// HostRate is one host in one direction.
type HostRate struct {
	Host      netip.Prefix // /32 or /128, or the prefix that hosts beyond the memory budget are folded into
	Group     string
	Direction traffic.Direction
	Rate      traffic.Counts // per second
	Total     traffic.Counts // since the host's cell came into use
	Banned    bool
	AttackID  string // empty when not under attack
}

// AttackQuery selects attacks.
type AttackQuery struct {
	ID         string // not empty: only this one; NotFound when there is none
	ActiveOnly bool
	Limit      int       // 1 to MaxRows
	Since      time.Time // not zero: only those detected at or after this time
}

// BanOrder asks for a ban by hand.
type BanOrder struct {
	Target     netip.Prefix        // a host as /32 or /128, or a prefix without host bits
	Directions []traffic.Direction // Incoming, Outgoing, or both
	For        time.Duration       // 0: until it is lifted by hand
	Reason     string
}

// UnbanOrder asks for the end of the bans of exactly one target, in both directions.
type UnbanOrder struct {
	Target netip.Prefix // valid: a host or prefix
	Group  string       // else: this hostgroup as a whole
}

// kind says how an error of the backend is told to the client.
type kind uint8

const (
	kindInvalid kind = iota
	kindRefused
	kindNotFound
	kindUnavailable
)

// Error is an error that the client is told the nature of.
type Error struct {
	kind kind
	err  error
}

func (e *Error) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.err }

// Invalid says that the request itself is wrong (InvalidArgument).
func Invalid(err error) error { return &Error{kindInvalid, err} }

// Refused says that the daemon's state or its guards forbid the request (FailedPrecondition).
func Refused(err error) error { return &Error{kindRefused, err} }

// NotFound says that what was asked for does not exist (NotFound).
func NotFound(err error) error { return &Error{kindNotFound, err} }

// Unavailable says that the daemon cannot answer now, and may later (Unavailable).
func Unavailable(err error) error { return &Error{kindUnavailable, err} }

// MaxRows is the most rows that one answer holds.
const MaxRows = 10000

var errStopping = errors.New("the daemon is stopping")
