package flowcollect

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"time"

	"weir/flowcollect/netflow"
	"weir/flowcollect/sflow"
	"weir/userspace/traffic"
)

// Decoder is one worker's part without a socket: its exporters, and what becomes of their datagrams. Datagram is for one goroutine;
// the rest may be called by others meanwhile.
type Decoder struct {
	opts     Options
	sink     func(*traffic.Flow)
	netflow  netflow.Options
	stranger netflow.Options // the same for senders that nobody has vouched for
	sflow    sflow.Options
	places   *places
	claims   *claims

	mu        sync.Mutex // guards what follows
	settings  *settings
	filter    func(*traffic.Flow) bool
	exporters map[netip.Addr]*exporter
	restored  map[netip.Addr]kept // templates of exporters that have not been heard yet
	counts    decoderCounts
	swept     time.Time

	// What the datagram in hand belongs to.
	current *exporter
	now     time.Time
	emit    func(*traffic.Flow)
}

// decoderCounts is what a worker has met.
type decoderCounts struct {
	datagrams, bytes, records uint64
	refused, overLimit        uint64
	undecodable               [traffic.FlowSourceCount + 1]uint64 // the last: of no known protocol
}

// NewDecoder makes the decoder of one worker that shares nothing with others.
func NewDecoder(o *Options, worker int) *Decoder {
	complete := *o
	complete.complete()
	return newDecoder(&complete, worker, &places{most: complete.MaxExporters}, newClaims(0, complete.Ours))
}

// pendingOfStrangers is how much data without template a sender may have kept when anybody may send: there can be many.
const pendingOfStrangers = 64 << 10

func newDecoder(o *Options, worker int, shared *places, once *claims) *Decoder {
	d := &Decoder{
		opts: *o, sink: o.Sink(worker), settings: newSettings(o.Allow, o.Exporters), exporters: map[netip.Addr]*exporter{},
		restored: map[netip.Addr]kept{}, places: shared, claims: once,
		netflow: netflow.Options{MaxTemplates: o.MaxTemplates, TemplateLife: o.TemplateLife, Frame: o.Frame},
	}
	d.stranger = d.netflow
	d.stranger.MaxPendingBytes = pendingOfStrangers
	if o.Filter != nil {
		d.filter = o.Filter()
	}
	d.sflow = sflow.Options{Frame: o.Frame, UseAgent: o.UseAgent, Counters: d.interfaceCounters}
	d.emit = d.record
	return d
}

// ErrRefused is a datagram whose sender is not allowed, or one exporter too many.
var ErrRefused = errors.New("refused")

// Datagram takes one datagram that arrived at now. The error is of that datagram alone, and is counted.
func (d *Decoder) Datagram(from netip.AddrPort, data []byte, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.datagram(plain(from.Addr()), data, now)
}

// plain is an address as exporters are known by: without zone, and IPv4 as such.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func (d *Decoder) datagram(from netip.Addr, data []byte, now time.Time) error {
	d.counts.datagrams++
	d.counts.bytes += uint64(len(data))
	source, known := SourceOf(data)
	name := from
	if d.opts.UseAgent && known && source.SFlow() {
		name = agentOf(data, from)
	}
	x, err := d.exporter(name, from, now)
	if err != nil {
		return err
	}
	d.begin(x, data, now)
	switch {
	case !known:
		err = errUnknown
	case source.SFlow():
		if x.sflow == nil {
			x.sflow = sflow.NewSession(name, &d.sflow)
		}
		err = x.sflow.Decode(data, now, d.emit)
	default:
		if x.netflow == nil {
			x.netflow = d.session(x)
			d.restore(x)
		}
		err = x.netflow.Decode(data, now, d.emit)
	}
	return d.end(source, err)
}

// session begins to listen to an exporter's NetFlow or IPFIX.
func (d *Decoder) session(x *exporter) *netflow.Session {
	if d.settings.open() && !x.conf.known() {
		return netflow.NewSession(x.address, &d.stranger)
	}
	return netflow.NewSession(x.address, &d.netflow)
}

// begin takes a datagram in hand.
func (d *Decoder) begin(x *exporter, data []byte, now time.Time) {
	x.datagrams++
	x.octets += uint64(len(data))
	x.seen = now
	if x.group != nil {
		d.claims.hear(x.member, now)
	}
	d.current, d.now = x, now
}

// end is done with the datagram in hand.
func (d *Decoder) end(source traffic.FlowSource, err error) error {
	x := d.current
	if err != nil {
		x.errors++
		x.lastError = err
		d.counts.undecodable[source]++
		return err
	}
	x.sources |= 1 << source
	return nil
}

var errUnknown = errors.New("byte 0: neither sFlow, NetFlow nor IPFIX; see that the exporter sends one of them to this port")

// SourceOf tells by its first bytes what a datagram is; false: of no exporter.
func SourceOf(datagram []byte) (source traffic.FlowSource, known bool) {
	if len(datagram) < 4 {
		return traffic.FlowSourceCount, false
	}
	switch binary.BigEndian.Uint32(datagram) {
	case 2:
		return traffic.SFlow2, true
	case 4:
		return traffic.SFlow4, true
	case 5:
		return traffic.SFlow5, true
	}
	switch binary.BigEndian.Uint16(datagram) {
	case 1:
		return traffic.NetFlow1, true
	case 5:
		return traffic.NetFlow5, true
	case 7:
		return traffic.NetFlow7, true
	case 9:
		return traffic.NetFlow9, true
	case 10:
		return traffic.IPFIX, true
	}
	return traffic.FlowSourceCount, false
}

// agentOf is the agent that an sFlow datagram names, in all versions behind the version; where it names none, the sender.
func agentOf(b []byte, sender netip.Addr) netip.Addr {
	const at, ipv4, ipv6 = 8, 1, 2
	if len(b) < at+16 { // nor is it long enough for anything else
		return sender
	}
	agent := sender
	switch binary.BigEndian.Uint32(b[4:]) {
	case ipv4:
		agent = netip.AddrFrom4([4]byte(b[at:]))
	case ipv6:
		agent = netip.AddrFrom16([16]byte(b[at:])).Unmap()
	}
	if agent.IsUnspecified() {
		return sender
	}
	return agent
}

// record decides what becomes of one record of the exporter in hand.
func (d *Decoder) record(f *traffic.Flow) {
	x, conf := d.current, d.current.conf
	x.records++
	d.counts.records++
	if f.Notice {
		x.notices++
		return
	}
	if rate := conf.rate(f); rate > 0 {
		f.Rate, f.RateOrigin = rate, traffic.RateConfigured
	}
	x.rate, x.origin = f.Rate, f.RateOrigin
	switch {
	case f.RateOrigin == traffic.RateUnknown:
		x.withheld++
		if d.opts.Withheld != nil {
			d.opts.Withheld(f)
		}
		return
	case conf.otherSide(f):
		x.duplicates++
		return
	case conf.elsewhere(f):
		x.filtered++
		return
	case x.group != nil && d.claims.taken(x.group, x.member, f, d.now):
		x.duplicates++
		return
	case d.filter != nil && !d.filter(f):
		x.filtered++
		return
	}
	if conf.Side == traffic.SideUnknown {
		x.sides.take(f)
	}
	packets, bytes := f.Scaled()
	x.packets += packets
	x.bytes += bytes
	d.sink(f)
}

func (d *Decoder) interfaceCounters(c *traffic.InterfaceCounters) {
	const most = 1024
	x := d.current
	if x.interfaces == nil {
		x.interfaces = map[uint32]traffic.InterfaceCounters{}
	}
	if _, known := x.interfaces[c.Index]; known || len(x.interfaces) < most {
		x.interfaces[c.Index] = *c
	}
}

// reconfigure puts other settings in force.
func (d *Decoder) reconfigure(s *settings, filter func(*traffic.Flow) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settings, d.filter = s, filter
	for _, x := range d.exporters {
		if !s.allowed(x.sender) {
			d.forget(x, d.now)
			continue
		}
		d.configure(x)
	}
}
