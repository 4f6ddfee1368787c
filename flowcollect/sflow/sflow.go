// Package sflow decodes what one exporter sends by sFlow version 2, 4 and 5.
package sflow

import (
	"encoding/binary"
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// Options bound what an exporter may take. The zero Options are the defaults.
type Options struct {
	// MaxSources bounds the sub-agents and data sources (interfaces) that are followed. Samples of others are told all the same, but
	// nobody counts what of them was lost. 0: 4096.
	MaxSources int
	// Frame reads sampled headers; nil: only packets that are spelled out (sampled_ipv4, sampled_ipv6) are told.
	Frame func(link traffic.Link, header []byte, wireLength uint32, p *traffic.Packet) traffic.Reason
	// Counters is told of each interface's counters; nil: nobody is.
	Counters func(*traffic.InterfaceCounters)
	UseAgent bool // a record's exporter is the agent that the datagram names, not who sent it
}

const defaultSources = 4096

// Counts is what a session has met.
type Counts struct {
	Datagrams  uint64 // that were read
	Records    uint64 // samples and notifications that were told
	Samples    uint64 // flow samples, told or not
	Counters   uint64 // counter samples
	Discards   uint64 // notifications of discarded packets, told or not
	Unparsed   uint64 // samples and notifications without readable IP addresses
	Unknown    uint64 // samples and records of formats that Weir does not know
	Malformed  uint64 // records that are too short for what they say they are, and say nothing of addresses: passed over
	Unfollowed uint64 // samples of data sources beyond MaxSources
	RateChange uint64 // sampling rates that became others
	AgentDrops uint64 // samples and notifications that the agent itself says it has lost
	Errors     uint64 // datagrams that could not be read
}

// Session is all that is known of one exporter. One goroutine uses it.
type Session struct {
	opts     Options
	exporter netip.Addr
	agents   map[agentKey]*agent
	sources  map[sourceKey]*source
	last     *source // what the last sample was from, and probably the next
	formats  map[formatKey]uint64
	counts   Counts
	flow     traffic.Flow
}

// NewSession begins to listen to an exporter. The options may be shared.
func NewSession(exporter netip.Addr, o *Options) *Session {
	s := &Session{opts: *o, exporter: exporter, agents: map[agentKey]*agent{}, sources: map[sourceKey]*source{}, formats: map[formatKey]uint64{}}
	if s.opts.MaxSources <= 0 {
		s.opts.MaxSources = defaultSources
	}
	return s
}

// datagram is one datagram in hand.
type datagram struct {
	source   traffic.FlowSource
	address  netip.Addr // of the agent, as it names itself
	sub      uint32     // its number among the agent's; 0 before version 5
	sequence uint32
	uptime   uint32 // ms
	samples  uint32
	at       int // where they begin
	time     int64
	agent    *agent     // nil: not followed
	exporter netip.Addr // of its records
}

// Decode reads one datagram that arrived at now, and tells its samples one after the other in the same Flow. A datagram that cannot be
// read is an *Error: it tells nothing, and changes nothing but Counts.Errors.
func (s *Session) Decode(b []byte, now time.Time, emit func(*traffic.Flow)) error {
	var d datagram
	err := d.begin(b)
	if err == nil && d.source == traffic.SFlow5 {
		err = check(b, d.at, d.samples)
	} else if err == nil {
		err = s.readOld(b, &d, nil)
	}
	if err != nil {
		s.counts.Errors++
		return err
	}
	s.counts.Datagrams++
	d.time, d.exporter = now.UnixNano(), s.exporter
	if s.opts.UseAgent && d.address.IsValid() && !d.address.IsUnspecified() {
		d.exporter = d.address
	}
	d.agent = s.follow(&d, now)
	if d.source == traffic.SFlow5 {
		s.read(b, &d, emit)
		return nil
	}
	return s.readOld(b, &d, emit)
}

// Lengths of a datagram's header (sFlow version 5 specification, "Sample Datagram Format"; RFC 3176 section 4): version and type of
// address, the address, and what follows.
const (
	beginBytes  = 8
	ipv4Bytes   = 4
	ipv6Bytes   = 16
	headerBytes = 12 // sequence, uptime, number of samples
	subBytes    = 4  // before those, in version 5
)

// Types of addresses.
const (
	addressNone = iota
	addressIPv4
	addressIPv6
)

// begin reads the header.
func (d *datagram) begin(b []byte) error {
	if len(b) < beginBytes {
		return short(len(b), "the datagram's header")
	}
	switch version := binary.BigEndian.Uint32(b); version {
	case 5:
		d.source = traffic.SFlow5
	case 4:
		d.source = traffic.SFlow4
	case 2:
		d.source = traffic.SFlow2
	default:
		return fail(0, "version %d; expected 2, 4 or 5", version)
	}
	kind, at := binary.BigEndian.Uint32(b[4:]), beginBytes
	switch {
	case kind == addressNone:
	case kind == addressIPv4 && len(b) >= at+ipv4Bytes:
		d.address, at = netip.AddrFrom4([4]byte(b[at:])), at+ipv4Bytes
	case kind == addressIPv6 && len(b) >= at+ipv6Bytes:
		d.address, at = netip.AddrFrom16([16]byte(b[at:])).Unmap(), at+ipv6Bytes
	case kind > addressIPv6:
		return fail(4, "an agent's address of type %d; expected 0, 1 (IPv4) or 2 (IPv6)", kind)
	default:
		return short(len(b), "the agent's address")
	}
	need := headerBytes
	if d.source == traffic.SFlow5 {
		need += subBytes
	}
	if len(b) < at+need {
		return short(len(b), "the datagram's header")
	}
	if d.source == traffic.SFlow5 {
		d.sub, at = binary.BigEndian.Uint32(b[at:]), at+subBytes
	}
	d.sequence, d.uptime, d.samples = binary.BigEndian.Uint32(b[at:]), binary.BigEndian.Uint32(b[at+4:]), binary.BigEndian.Uint32(b[at+8:])
	d.at = at + headerBytes
	return nil
}
