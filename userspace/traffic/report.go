package traffic

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Snapshot is all traffic as last measured, for stores. Whoever is handed one may keep it and changes nothing in it.
type Snapshot struct {
	Time     time.Time
	Interval time.Duration // since the snapshot before; rates are of the last second
	Version  [2]Totals     // by IP version: 0 is IPv4, 1 is IPv6
	Networks []NetworkRate // ours, in the order of the configuration, also those without traffic
	Groups   []GroupRate   // hostgroups
	Hosts    []HostRate    // those with traffic in the last second, in no particular order
}

// Totals are rates per second of everything, by Direction. Internal and Other have packets and bytes alone.
type Totals [DirectionCount]Counts

// NetworkRate is what one of our networks receives and sends, per second.
type NetworkRate struct {
	Prefix netip.Prefix
	TwoWay
}

// GroupRate is what a hostgroup receives and sends, per second.
type GroupRate struct {
	Name string
	TwoWay
}

// HostRate is what a host receives and sends, per second.
type HostRate struct {
	Host  netip.Prefix // a host as /32 or /128; shorter where the hosts of a prefix share their counters
	Group string
	TwoWay
}

// ChangeKind is what has happened to an attack.
type ChangeKind uint8

const (
	ChangeStarted   ChangeKind = iota // it was detected
	ChangeBanned                      // a ban or response is in force
	ChangeEscalated                   // a stronger response, or a weaker one, has taken the place of the one before
	ChangeDescribed                   // what it is made of is known, or known better
	ChangeDetails                     // packets of it were gathered
	ChangeUnbanned                    // the ban has been lifted
	ChangeEnded                       // it is over
	ChangeKindCount
)

var changeKindNames = [ChangeKindCount]string{"started", "banned", "escalated", "described", "details", "unbanned", "ended"}

// String returns the kind's name as it stands in JSON.
func (k ChangeKind) String() string {
	if k < ChangeKindCount {
		return changeKindNames[k]
	}
	return fmt.Sprintf("change(%d)", uint8(k))
}

// Change is one step in an attack's life, for whoever is told. It is a value: whoever holds one holds a snapshot.
type Change struct {
	Kind    ChangeKind
	At      time.Time
	Record  Record
	Group   string          // the target's hostgroup
	Report  string          // the text that FastNetMon's script would get; ChangeBanned, ChangeDetails
	Packets []SampledPacket // ChangeDetails: of the attack
	Sources []SourceShare   // the attack's busiest sources, as far as samples tell; the largest share first
	Capture string          // the file with the attack's packets; empty: there is none
}

// SampledPacket is a packet of an attack that was sampled.
type SampledPacket struct {
	Time time.Time
	Rate uint32 // one packet in Rate was sampled
	Packet
}

// SourceShare is how much of an attack's sampled packets came from one source, and what is known of it.
type SourceShare struct {
	Source  netip.Addr
	Share   float64 // 0 to 1
	AS      uint32  // 0: unknown
	ASName  string
	Country string // ISO 3166 code of two letters; empty: unknown
	Name    string // by reverse DNS; empty: unknown
}

// ErrPermanent is wrapped by errors of sinks when the same data would be refused again.
var ErrPermanent = errors.New("refused for good")
