package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// Config is a whole configuration: every value is set, valid, and consistent with the others. Whoever holds one must not change it.
type Config struct {
	Interfaces []Interface
	Networks   Networks
	Hostgroups []Hostgroup    // the group "default" first, then the others in the file's order
	NeverBan   []netip.Prefix // sorted, without duplicates
	Sources    Sources
	Detection  Detection
	Mitigation Mitigation
	BGP        BGP
	Flows      Flows
	Tunnels    traffic.Tunnels // what is looked into; the zero value but for the depth: nothing
	Export     Export
	Notify     Notify
	Hooks      Hooks
	Plugins    []Plugin
	Sampling   Sampling
	Memory     Memory
	API        API
	Prometheus Prometheus
	Store      Store
	Recorder   Recorder
	Log        Log
	Pin        Pin

	ListFiles []string         // every list file that was read, sorted: a change in one of them takes effect by a reload
	Places    map[string]Error // where sections of those who are told stand, by their paths
	Warnings  []Error          // what is allowed but hardly meant, in the order of its places
}

// At is an error about a section of those who are told, such as "export.redis" or "notify.mail[0]", at its place.
func (c *Config) At(section string, err error) Error {
	e := c.Places[section]
	e.Message = fmt.Sprintf("%q: %v", section, err)
	return e
}

// Mode is how an XDP program is attached to an interface.
type Mode string

// ModeAuto tries native first, then generic.
const (
	ModeAuto    Mode = "auto"
	ModeNative  Mode = "native"
	ModeGeneric Mode = "generic"
)

// Role is what happens to the packets of an interface that are not dropped.
type Role string

const (
	RoleHost   Role = "host"   // they go on to this machine's network stack
	RoleWire   Role = "wire"   // they leave by the paired interface
	RoleMirror Role = "mirror" // they are copies: nothing goes on but ARP and neighbour discovery
)

// Interface is one network interface that is measured.
type Interface struct {
	Name    string // as the engine names it
	Engine  Engine
	Mode    Mode // EngineXDP and EngineAFXDP
	Role    Role
	Pair    string  // RoleWire: the interface that the rest leaves by, itself paired with this one; else empty
	Egress  bool    // RoleHost: the machine's own outgoing traffic is counted as well
	Capture Capture // of engines other than EngineXDP
}

// Networks says which addresses are ours.
type Networks struct {
	Prefixes       []netip.Prefix // from the file and its list files; masked, sorted, without duplicates
	LocalAddresses bool           // and the machine's own addresses, as they come and go
	OpenVZ         bool           // and the addresses of OpenVZ containers
}

// Sources are what XDP knows the senders of packets by. The longest prefix that holds a source decides; one on both lists is allowed.
type Sources struct {
	Allow []netip.Prefix // pass all rules, though no ban; sorted, without duplicates
	Block []netip.Prefix // are dropped; sorted, without duplicates
}

// Hostgroup is the policy for some of our hosts. All arrays are indexed by traffic.Incoming and traffic.Outgoing.
type Hostgroup struct {
	Name     string
	Networks []netip.Prefix    // masked, sorted, without duplicates; the most specific prefix of all groups wins
	Enabled  [2]bool           // whether attacks in this direction are detected
	Host     [2]traffic.Limits // per host, in units per second
	Prefix   [2]traffic.Limits // per prefix of many hosts (carpet bombing), in units per second
	Total    [2]traffic.Limits // for the group as a whole, in units per second
	Window   time.Duration     // what thresholds hold over
	Average  time.Duration     // over 0: time constant of a moving average that replaces the window
	Clear    float64           // an attack ends under this part of the threshold, over 0, at most 1 ...
	Quiet    time.Duration     // ... for this long
	Drop     bool              // drop the packets of a host under attack
	Notify   bool              // run the notify script
	Actions  []string          // what BGP announces: names of BGP.Actions, in the file's order
	Ladder   []Rung            // what is done in place of Drop, Notify and Actions, the weakest response first; none: those
	BanTime  time.Duration     // least duration of a ban
}

// Detection tunes the detector as a whole.
type Detection struct {
	WarmUp     time.Duration // after a start or a clock jump nothing is an attack for this long
	MaxWatched int           // hosts followed closely at a time
	Confidence float64       // an attack seen in samples is one when the rate is over the threshold with this probability; 0: error bars do not count
}

// Mitigation limits what is done about attacks.
type Mitigation struct {
	Enabled        bool
	DryRun         bool // decide and report, act on nothing
	KillSwitch     bool // release everything, start nothing
	KillSwitchFile string
	MaxActive      int           // mitigations in force at a time
	MaxPerMinute   int           // new ones
	Expiry         time.Duration // a kernel rule that the daemon does not renew ends after this
	Probe          Probe
	Tolerance      float64 // a rule in shadow is put in force when at least all but this part of the host's ordinary traffic would still pass
}

// Hooks is the operator's program that is asked about decisions.
type Hooks struct {
	Script  string        // empty: none
	Timeout time.Duration // of one call
}

// Sampling says how many frames are kept for a closer look: one in so many packets, 0 for none.
type Sampling struct {
	Rate        int // of all packets
	SuspectRate int // of the packets of hosts under suspicion
}

// Memory limits what is allocated.
type Memory struct {
	Cells int64 // bytes for host counters, all CPUs together
}

// API is the control socket.
type API struct {
	Socket string
	Group  string // the group that may use it besides root; empty: root alone
}

// Prometheus serves metrics.
type Prometheus struct {
	Listen   string // host:port; empty: off
	TopHosts int    // busiest hosts with metrics of their own
}

// Store keeps attacks and bans over restarts.
type Store struct{ Path string }

// Format is how log records are written.
type Format string

const (
	FormatText Format = "text"
	FormatJSON Format = "json"
)

// Log is the daemon's log on standard error.
type Log struct {
	Level  slog.Level
	Format Format
}

// OnStop is what becomes of the data plane when the daemon stops.
type OnStop string

const (
	OnStopDetach OnStop = "detach" // nothing stays behind
	OnStopKeep   OnStop = "keep"   // programs stay attached and go on dropping until each rule expires
)

// Pin is where the kernel keeps the data plane for a daemon that dies.
type Pin struct {
	Path   string
	OnStop OnStop
}
