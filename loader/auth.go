package loader

import (
	"fmt"
	"time"
)

// AuthMode says what is asked of TCP sources that have not proven to be real, when they send to a host under authentication. Each
// mode includes the ones before it. It is enum auth_mode of bpf/abi_auth.h, value for value.
type AuthMode uint8

const (
	AuthOff     AuthMode = iota
	AuthSYN              // a SYN is answered by a challenge; everything else passes
	AuthReplies          // a SYN-ACK is dropped: needs what the hosts send to be seen, or they cannot connect to anybody
	AuthAll              // all else of TCP is dropped: needs that as well, or connections that exist break off
	authCount
)

// String returns the mode's name as it stands in configuration, JSON and metrics.
func (m AuthMode) String() string {
	switch m {
	case AuthOff:
		return "off"
	case AuthSYN:
		return "syn"
	case AuthReplies:
		return "replies"
	case AuthAll:
		return "all"
	}
	return fmt.Sprintf("auth(%d)", uint8(m))
}

// Authentication is what the kernel is to ask of the TCP sources of a host.
type Authentication struct {
	Mode  AuthMode
	Until time.Duration // from now; the kernel ends it by its own clock
	// Grace is for how long AuthAll is AuthReplies at first, while what the host sends tells who it is connected with. Where
	// AuthAll is in force already, it stays so.
	Grace time.Duration
}

// AuthLimits bound what authentication may do. They hold for all hosts.
type AuthLimits struct {
	Lifetime time.Duration // of a proof, since the source was last heard; at least a second
	Answers  int           // challenges a second that one CPU may send, at least 1; over that, the SYNs of sources not proven are dropped
}

// DefaultAuthLimits are those of a data plane that has been told no others.
func DefaultAuthLimits() AuthLimits { return AuthLimits{Lifetime: 10 * time.Minute, Answers: 500_000} }

// AuthStats are the counts of authentication since the data plane was loaded. In Counters.Exits its packets are ReasonChallenged,
// ReasonProven and ReasonUnproven.
type AuthStats struct {
	Hosts      int    // hosts and prefixes under authentication now
	Sources    int    // proven sources now
	Room       int    // proven sources that the table has places for
	Challenged uint64 // SYNs that were answered by a challenge
	Proofs     uint64 // sources that were new in the table because they answered one
	Learned    uint64 // and because one of our hosts talked to them
	Evicted    uint64 // proofs that had to make room for others
	Dropped    uint64 // packets dropped because their source was not proven
	Unanswered uint64 // of these, SYNs over the limit for answers
}

// Bounds of authentication.
const (
	MaxAuthenticate = 1 << 24 // proven sources
	MaxAuthHosts    = 4096    // hosts and prefixes at a time
)
