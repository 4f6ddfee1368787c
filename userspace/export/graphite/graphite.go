// Package graphite writes traffic to Graphite: as lines of text or as pickles over TCP, or as lines over UDP.
//
// The paths are FastNetMon's, below a prefix, with rates per second:
//
//	total.{incoming,outgoing,internal,other}.{pps,bps}, and .flows of the first two
//	networks.A_B_C_D_LEN.{incoming,outgoing}.{pps,bps}
//	hosts.A_B_C_D.{incoming,outgoing}.{pps,bps,flows}
//
// bps is bits per second. In addresses dots and colons are written as underscores. What Weir adds: total is of IPv4 and IPv6 together, which also stand
// apart in total_ipv4 and total_ipv6; IPv6 networks and hosts are written; and a series of a host that was written gets one zero when its traffic has ended.
// Without that zero whatever shows or asks the last known value would see an attack that never ends.
package graphite

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"weir/userspace/traffic"
)

// The protocols that Carbon and its relays understand.
const (
	TCP    = "tcp"    // lines of text
	Pickle = "pickle" // Python's pickles: cheaper for Carbon to read
	UDP    = "udp"    // lines of text; what is lost is lost, and a burst of many hosts will be
)

// Which hosts are written.
const (
	AllHosts  = "all"
	IPv4Hosts = "ipv4" // as FastNetMon
	NoHosts   = "none"
)

// DefaultPrefix is FastNetMon's, so that its dashboards show Weir's traffic.
const DefaultPrefix = "fastnetmon"

// Options says where the traffic goes to, and how much of it. Zero fields stand for the first named.
type Options struct {
	Address     string // host:port; 127.0.0.1:2003, or :2004 for pickles
	Protocol    string // TCP, Pickle or UDP
	Prefix      string // DefaultPrefix; of every path, without a dot at its end
	Hosts       string // AllHosts, IPv4Hosts or NoHosts
	Detailed    bool   // also per protocol (tcp_pps, tcp_bps, udp_ ..., icmp_, tcp_syn_, fragments_, dropped_), and per hostgroup
	NoFinalZero bool   // hosts whose traffic has ended get no zero, as with FastNetMon
}

// Sink writes to Graphite. Its methods are called by one goroutine at a time.
type Sink struct {
	options Options
	conn    *connection // nil: not connected
	out     writer

	// What hosts were last written with something other than zero, as one bit per series, and what they are being written with now.
	before, now map[netip.Prefix]series
}

// series is which of a host's are not zero: the bits of incoming are those of fields, the bits of outgoing are higher by 16.
type series uint32

const outgoingShift = 16

// mostRemembered bounds what is remembered of hosts when pushes end in the middle again and again.
const mostRemembered = 1 << 20

// New returns a Sink that connects when it first pushes.
func New(o Options) (*Sink, error) {
	if o.Protocol == "" {
		o.Protocol = TCP
	}
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.Hosts == "" {
		o.Hosts = AllHosts
	}
	switch o.Protocol {
	case TCP, UDP:
		o.Address = orElse(o.Address, "127.0.0.1:2003")
	case Pickle:
		o.Address = orElse(o.Address, "127.0.0.1:2004")
	default:
		return nil, fmt.Errorf("use graphite protocol %q: unknown; expected one of %s, %s, %s", o.Protocol, TCP, Pickle, UDP)
	}
	switch o.Hosts {
	case AllHosts, IPv4Hosts, NoHosts:
	default:
		return nil, fmt.Errorf("write hosts %q to graphite: unknown; expected one of %s, %s, %s", o.Hosts, AllHosts, IPv4Hosts, NoHosts)
	}
	if err := checkAddress(o.Address); err != nil {
		return nil, fmt.Errorf("use graphite address %q: %w; write it as host:port, such as 127.0.0.1:2003", o.Address, err)
	}
	for node := range strings.SplitSeq(o.Prefix, ".") {
		if node == "" || node != clean(node) {
			return nil, fmt.Errorf("use graphite prefix %q: %q cannot be part of a path; use letters, digits, _ and -, with single dots between", o.Prefix, node)
		}
	}
	return &Sink{options: o, before: map[netip.Prefix]series{}, now: map[netip.Prefix]series{}}, nil
}

func orElse(s, standard string) string {
	if s == "" {
		return standard
	}
	return s
}

func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if host == "" {
		return fmt.Errorf("no host")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("port %q is not 1 to 65535", port)
	}
	return nil
}

// clean makes one node of a path out of a name: whatever else could split the path, or stand for a pattern in a query, is an underscore.
func clean(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		}
		return '_'
	}, name)
}

// Push writes s. Where it ends in an error, a part of s may have been stored.
func (s *Sink) Push(ctx context.Context, snapshot *traffic.Snapshot) (err error) {
	if err := s.connect(ctx); err != nil {
		return err
	}
	// The connection's deadline is the context's, whichever way that ends.
	stop := context.AfterFunc(ctx, s.conn.interrupt)
	s.out.begin(s.options, s.conn, snapshot.Time.Unix())
	s.write(snapshot)
	err = s.out.end()
	if err == nil {
		err = s.conn.check()
	}
	interrupted := !stop()
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		err = fmt.Errorf("write to graphite at %s by %s: %w", s.options.Address, s.options.Protocol, err)
	}
	if err != nil || interrupted {
		s.disconnect()
	}
	s.remember(err == nil)
	return err
}

// remember keeps what was written for the zeros of the next push. After an error nobody knows how far it came: then both may have been written.
func (s *Sink) remember(all bool) {
	if all {
		s.before, s.now = s.now, s.before
	} else {
		if len(s.before)+len(s.now) > mostRemembered {
			clear(s.before)
		}
		for host, written := range s.now {
			s.before[host] |= written
		}
	}
	clear(s.now)
}

// Close closes the connection, if there is one.
func (s *Sink) Close() error {
	s.disconnect()
	return nil
}
