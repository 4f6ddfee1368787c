package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Family is an address family as operators write it.
type Family string

// The families that can be announced.
const (
	IPv4Unicast  Family = "ipv4-unicast"
	IPv6Unicast  Family = "ipv6-unicast"
	IPv4FlowSpec Family = "ipv4-flowspec"
	IPv6FlowSpec Family = "ipv6-flowspec"
)

// Families returns all families.
func Families() []Family { return []Family{IPv4Unicast, IPv6Unicast, IPv4FlowSpec, IPv6FlowSpec} }

// code is the family's AFI and SAFI (IANA).
func (f Family) code() (afi uint16, safi uint8) {
	switch f {
	case IPv4Unicast:
		return 1, 1
	case IPv6Unicast:
		return 2, 1
	case IPv4FlowSpec:
		return 1, 133
	case IPv6FlowSpec:
		return 2, 133
	}
	return 0, 0
}

// familyOf is the inverse of code; empty for a family that is none of ours.
func familyOf(afi uint16, safi uint8) Family {
	for _, f := range Families() {
		if a, s := f.code(); a == afi && s == safi {
			return f
		}
	}
	return ""
}

// What is used where a configuration has zero.
const (
	DefaultPort         = 179
	DefaultHoldTime     = 90 * time.Second
	DefaultConnectRetry = 2 * time.Second
	DefaultRestartTime  = 120 * time.Second
)

// Config says who speaks BGP with whom.
type Config struct {
	RouterID        netip.Addr // IPv4
	AS              uint32
	Listen          []netip.AddrPort // where peers may connect to; empty: nowhere
	GracefulRestart GracefulRestart
	Peers           []Peer
	KeepOnStop      bool // leave the routes at peers with graceful restart when the speaker is stopped; false: withdraw them
}

// GracefulRestart is RFC 4724 as the speaker offers it to all peers: they keep the routes while it restarts.
type GracefulRestart struct {
	Disabled      bool
	Time          time.Duration // how long peers keep the routes of a session that is lost; up to 4095 s, 0 is 120 s
	LongLivedTime time.Duration // RFC 9494: how much longer, as routes of last resort; up to 2^24-1 s, 0 does not offer it
}

// Peer is one router.
type Peer struct {
	Name         string
	Address      netip.Addr // link-local addresses with their zone
	Port         uint16     // 0 is 179
	LocalAddress netip.Addr // source address; zero: the system's choice
	AS           uint32     // our own: iBGP
	Password     string     // TCP-MD5 (RFC 2385), up to 80 bytes; empty: without
	Passive      bool       // wait for the peer to connect
	Multihop     uint8      // TTL of packets to an eBGP peer that is not a neighbour; 0: it is one
	TTLSecurity  uint8      // RFC 5082: hops to the peer, 1 for a neighbour; packets that have come further are dropped. 0: off
	HoldTime     time.Duration
	KeepAlive    time.Duration  // 0: a third of HoldTime
	ConnectRetry time.Duration  // between attempts to connect
	Families     []Family       // nil: IPv4 and IPv6 unicast
	MaxRoutes    map[Family]int // what is announced at most; missing or 0: no maximum
	Prepend      int            // eBGP: how often our own AS is prepended to all routes, beyond what an announcement says
}

// withDefaults returns the configuration with every zero replaced, sharing nothing that the caller may change.
func (c Config) withDefaults() Config {
	c.Listen = slices.Clone(c.Listen)
	if c.GracefulRestart.Time == 0 {
		c.GracefulRestart.Time = DefaultRestartTime
	}
	c.Peers = slices.Clone(c.Peers)
	for i := range c.Peers {
		p := &c.Peers[i]
		p.Address = p.Address.Unmap()
		if p.Port == 0 {
			p.Port = DefaultPort
		}
		if p.HoldTime == 0 {
			p.HoldTime = DefaultHoldTime
		}
		if p.KeepAlive == 0 {
			p.KeepAlive = p.HoldTime / 3
		}
		if p.ConnectRetry == 0 {
			p.ConnectRetry = DefaultConnectRetry
		}
		if p.Families == nil {
			p.Families = []Family{IPv4Unicast, IPv6Unicast}
		}
	}
	return c
}

// Validate returns everything that is wrong with the configuration, joined.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !c.RouterID.Is4() || c.RouterID.IsUnspecified() {
		wrong("router ID %s: must be an IPv4 address other than 0.0.0.0", c.RouterID)
	}
	if c.AS == 0 {
		wrong("AS 0: must be 1 to 4294967295")
	}
	if t := c.GracefulRestart.Time; t < time.Second || t > 4095*time.Second {
		wrong("graceful restart time %s: must be 1 s to 4095 s", t)
	}
	if t := c.GracefulRestart.LongLivedTime; t < 0 || t > (1<<24-1)*time.Second {
		wrong("long-lived graceful restart time %s: must be at most 16777215 s", t)
	}
	if c.GracefulRestart.Disabled && c.GracefulRestart.LongLivedTime > 0 {
		wrong("long-lived graceful restart: needs graceful restart")
	}
	for _, l := range c.Listen {
		if !l.IsValid() {
			wrong("listen address %s: must be an address and a port", l)
		}
	}
	names, addresses := map[string]bool{}, map[netip.Addr]bool{}
	for _, p := range c.Peers {
		errs = append(errs, p.validate(&c)...)
		if names[p.Name] {
			wrong("peer %s: the name is taken", p.Name)
		}
		if addresses[p.Address] {
			wrong("peer %s: another peer has address %s", p.Name, p.Address)
		}
		names[p.Name], addresses[p.Address] = true, true
	}
	return errors.Join(errs...)
}

func (p *Peer) validate(c *Config) (errs []error) {
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("peer %s: "+format, append([]any{p.Name}, args...)...))
	}
	if p.Name == "" {
		wrong("needs a name")
	}
	if !p.Address.IsValid() || p.Address.IsUnspecified() || p.Address.IsMulticast() {
		wrong("address %s: must be that of one router", p.Address)
	}
	if p.LocalAddress.IsValid() && p.LocalAddress.Is4() != p.Address.Is4() {
		wrong("local address %s: must be of the family of %s", p.LocalAddress, p.Address)
	}
	if p.AS == 0 {
		wrong("AS 0: must be 1 to 4294967295")
	}
	if len(p.Password) > maxPassword {
		wrong("password: must be at most %d bytes", maxPassword)
	}
	if p.Passive && len(c.Listen) == 0 {
		wrong("passive: needs an address to listen on")
	}
	if p.Multihop > 0 && p.TTLSecurity > 0 {
		wrong("multihop and TTL security exclude each other: TTL security says itself how many hops there are")
	}
	if s := p.HoldTime; s < 3*time.Second || s > 65535*time.Second {
		wrong("hold time %s: must be 3 s to 65535 s", s)
	}
	if k := p.KeepAlive; k < time.Second || k >= p.HoldTime {
		wrong("keepalive time %s: must be at least 1 s and less than the hold time", k)
	}
	if r := p.ConnectRetry; r < 100*time.Millisecond {
		wrong("connect retry time %s: must be at least 100 ms", r)
	}
	if len(p.Families) == 0 {
		wrong("needs an address family")
	}
	for _, f := range p.Families {
		if !slices.Contains(Families(), f) {
			wrong("unknown address family %q; expected one of %v", f, Families())
		}
	}
	if p.Prepend < 0 || p.Prepend > maxPrepend {
		wrong("prepend %d: must be 0 to %d", p.Prepend, maxPrepend)
	}
	for f, n := range p.MaxRoutes {
		if n < 0 || !slices.Contains(Families(), f) {
			wrong("maximum of %d routes of %q: must be 0 or more of a known family", n, f)
		}
	}
	return errs
}

const (
	maxPassword = 80 // TCP_MD5SIG_MAXKEYLEN of linux/tcp.h
	maxPrepend  = 64
)
