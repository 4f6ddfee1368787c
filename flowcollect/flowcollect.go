// Package flowcollect takes in the datagrams of flow exporters, knows each exporter's sampling rate and health, and hands their records on.
package flowcollect

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// Options say who is listened to, where, and who is handed the records.
type Options struct {
	Listen        []netip.AddrPort // UDP, both families; any protocol on any of them
	TCP           []netip.AddrPort // IPFIX over TCP
	Workers       int              // sockets per address, each with a goroutine; 0: one for each CPU
	ReceiveBuffer int              // bytes of each UDP socket; 0: 16 MiB
	Allow         []netip.Prefix   // who is listened to; empty: everybody
	MaxExporters  int              // followed at a time; 0: 1024
	MaxTemplates  int              // of one exporter; 0: 4096
	TemplateLife  time.Duration    // 0: 24 h
	TemplatePath  string           // the file that templates outlive a restart in; empty: none
	UseAgent      bool             // sFlow: a record's exporter is the agent that the datagram names
	Exporters     []ExporterOptions
	Namespace     *os.File // Linux: the network namespace of the sockets; nil: the process's own
	Log           *slog.Logger

	// Frame reads the sampled frames in records.
	Frame func(link traffic.Link, header []byte, wireLength uint32, p *traffic.Packet) traffic.Reason
	// Sink is called once per worker. What it returns is handed every record that counts, with its final rate, in that worker's
	// goroutine; nothing of the record may be kept.
	Sink func(worker int) func(*traffic.Flow)
	// Filter is called once per worker, and again after Reconfigure; nil: there is none. What it returns says whether a record counts,
	// and may change its rate.
	Filter func() func(*traffic.Flow) bool
	// Ours says which addresses are ours: where a group samples, it shares traffic out by our host in it. It is called by all workers.
	// nil: by the destination.
	Ours func(netip.Addr) bool
	// Withheld is told of the records that do not count because nobody knows how they were sampled; nil: nobody is.
	Withheld func(*traffic.Flow)
	// Tick is called at least ten times a second by each worker's goroutine; nil: never.
	Tick func(worker int, now time.Time)
}

// ExporterOptions are what the configuration knows of the exporters with an address in Prefix. The most specific prefix wins.
type ExporterOptions struct {
	Prefix           netip.Prefix
	Name             string
	Rate             uint32            // one in so many, whatever the exporter says; 0: what it says
	InterfaceRates   map[uint32]uint32 // by the interface that a record was metered at; goes before DomainRates, which go before Rate
	DomainRates      map[uint32]uint32
	Side             traffic.FlowSide // only records of this side count; SideUnknown: both
	OnlyInterfaces   []uint32         // only records with one of these as input or output count; empty: all
	IgnoreInterfaces []uint32         // records that were metered at one of these do not count
	Group            string           // exporters of one group see the same traffic, which counts once; empty: none
}

const (
	defaultBuffer    = 16 << 20
	defaultExporters = 1024
	defaultLife      = 24 * time.Hour
	tickEvery        = 100 * time.Millisecond
)

func (o *Options) complete() {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.ReceiveBuffer <= 0 {
		o.ReceiveBuffer = defaultBuffer
	}
	if o.MaxExporters <= 0 {
		o.MaxExporters = defaultExporters
	}
	if o.TemplateLife <= 0 {
		o.TemplateLife = defaultLife
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Sink == nil {
		o.Sink = func(int) func(*traffic.Flow) { return func(*traffic.Flow) {} }
	}
	if o.Tick == nil {
		o.Tick = func(int, time.Time) {}
	}
}

func (o *Options) check() error {
	if len(o.Listen)+len(o.TCP) == 0 {
		return fmt.Errorf("collect flows: no address to listen on")
	}
	for _, list := range [][]netip.AddrPort{o.Listen, o.TCP} {
		for i, a := range list {
			switch {
			case !a.IsValid():
				return fmt.Errorf("collect flows: %q is no address to listen on", a)
			case a.Addr().Zone() != "":
				return fmt.Errorf("listen on %s: addresses of one link only cannot be listened on; take [::]:%d", a, a.Port())
			case slices.ContainsFunc(list[:i], func(b netip.AddrPort) bool { return overlap(a, b) }):
				return fmt.Errorf("listen on %s: there is another address that holds it; remove one", a)
			}
		}
	}
	for _, e := range o.Exporters {
		if !e.Prefix.IsValid() {
			return fmt.Errorf("flow exporters: %q has no prefix", e.Name)
		}
	}
	return nil
}

// overlap reports whether two sockets would be there for the same datagrams.
func overlap(a, b netip.AddrPort) bool {
	if a.Port() == 0 || a.Port() != b.Port() || a.Addr().Is4() != b.Addr().Is4() {
		return false
	}
	return a == b || a.Addr().IsUnspecified() || b.Addr().IsUnspecified()
}

// dual reports whether an IPv6 wildcard address is to take IPv4 as well: unless IPv4 has a socket of its own on that port.
func dual(list []netip.AddrPort, at int) bool {
	return !slices.ContainsFunc(list, func(a netip.AddrPort) bool { return a.Port() == list[at].Port() && a.Addr().Is4() })
}

// Stats are the collector's own counts since its start.
type Stats struct {
	Listen                            []string // "udp 0.0.0.0:2055", "tcp [::]:4739"
	Workers, Exporters                int
	ReceiveBuffer, ReceiveBufferAsked int64 // bytes of each UDP socket; 0: there is none
	Datagrams, Bytes, Records         uint64
	KernelDropped                     uint64            // datagrams that found no room in a socket; Linux alone tells
	Refused                           uint64            // datagrams of senders that are not allowed
	OverLimit                         uint64            // datagrams of more exporters than there may be
	Undecodable                       map[string]uint64 // datagrams that could not be read, by protocol
}
