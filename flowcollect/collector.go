package flowcollect

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/userspace/traffic"
)

// Collector receives datagrams by sockets and hands their records to workers.
type Collector struct {
	opts     Options
	decoders []*Decoder // by worker: those with UDP sockets of their own first, then the one that is fed by queue, if there is one
	sockets  []*udpWorker
	queue    *queue
	keeper   keeper
	addrs    []string // that are listened on
	buffer   int64    // of each UDP socket
}

// Workers is how many workers a collector of these options has: Sink and Tick are called with numbers from 0 on.
func Workers(o Options) int {
	o.complete()
	n := 0
	if len(o.Listen) > 0 {
		n = socketWorkers(&o)
	}
	if needsQueue(&o) {
		n++
	}
	return n
}

// New checks the options. Nothing is opened yet.
func New(o Options) (*Collector, error) {
	o.complete()
	o.Log = o.Log.With("component", "flowcollect")
	if err := o.check(); err != nil {
		return nil, err
	}
	c := &Collector{opts: o, keeper: keeper{path: o.TemplatePath}}
	shared, once := &places{most: o.MaxExporters}, newClaims(rand.Uint64(), o.Ours)
	for i := range Workers(o) {
		c.decoders = append(c.decoders, newDecoder(&o, i, shared, once))
	}
	return c, nil
}

// Listen opens the sockets and reads the templates that were kept. The error names the address.
func (c *Collector) Listen(ctx context.Context) error {
	all, err := c.keeper.read()
	if err != nil {
		c.opts.Log.Warn("templates of before are lost; exporters send them again", "error", err)
	}
	for _, d := range c.decoders {
		d.restored = maps.Clone(all)
		if d.restored == nil {
			d.restored = map[netip.Addr]kept{}
		}
	}
	if err := c.open(ctx); err != nil {
		return errors.Join(err, c.close())
	}
	if c.buffer > 0 && c.buffer < int64(c.opts.ReceiveBuffer) {
		c.opts.Log.Warn("the receive buffer is smaller than asked for; give CAP_NET_ADMIN or raise net.core.rmem_max",
			"bytes", c.buffer, "asked", c.opts.ReceiveBuffer)
	}
	return nil
}

func (c *Collector) close() error {
	var errs []error
	for _, w := range c.sockets {
		errs = append(errs, w.close())
	}
	if c.queue != nil {
		errs = append(errs, c.queue.close())
	}
	return errors.Join(errs...)
}

// Run receives until ctx ends, then closes the sockets and keeps the templates. It returns the first error of a socket.
func (c *Collector) Run(ctx context.Context) error {
	group, running := errgroup.WithContext(ctx)
	for _, w := range c.sockets {
		group.Go(func() error { return w.run(running) })
	}
	if c.queue != nil {
		group.Go(func() error { return c.queue.run(running) })
	}
	group.Go(func() error {
		ticks := time.NewTicker(keepEvery)
		defer ticks.Stop()
		for {
			select {
			case <-running.Done():
				return nil
			case now := <-ticks.C:
				c.keep(now, keepAnew)
			}
		}
	})
	err := group.Wait()
	c.keep(time.Now(), 0)
	return errors.Join(err, c.close())
}

// keep writes the templates to the disk, if they have changed. What is wrong with that is said once.
func (c *Collector) keep(now time.Time, older time.Duration) {
	failed := ""
	if err := c.keeper.write(c.decoders, now, older); err != nil {
		failed = err.Error()
	}
	if failed != "" && failed != c.keeper.failed {
		c.opts.Log.Error("templates cannot be kept over a restart", "path", c.keeper.path, "error", failed)
	}
	c.keeper.failed = failed
}

// Reconfigure puts other exporters, senders and filters in force; what is known of exporters stays.
func (c *Collector) Reconfigure(exporters []ExporterOptions, allow []netip.Prefix, filter func() func(*traffic.Flow) bool) {
	s := newSettings(allow, exporters)
	for _, d := range c.decoders {
		var f func(*traffic.Flow) bool
		if filter != nil {
			f = filter()
		}
		d.reconfigure(s, f)
	}
}

// Addrs are the addresses that are listened on, as "udp 192.0.2.1:2055"; none before Listen.
func (c *Collector) Addrs() []string { return slices.Clone(c.addrs) }

// Exporters describes all exporters as of now, by address.
func (c *Collector) Exporters(now time.Time) []ExporterState {
	var out []ExporterState
	for _, d := range c.decoders {
		out = append(out, d.Exporters(now)...)
	}
	slices.SortStableFunc(out, byAddress)
	return out
}

func byAddress(a, b ExporterState) int { return a.Address.Compare(b.Address) }

// Exporters describes the decoder's exporters as of now, by address. It keeps the worker from its datagrams for one exporter at a time.
func (d *Decoder) Exporters(now time.Time) []ExporterState {
	d.mu.Lock()
	all := slices.Collect(maps.Keys(d.exporters))
	d.mu.Unlock()
	out := make([]ExporterState, 0, len(all))
	for _, address := range all {
		d.mu.Lock()
		if x := d.exporters[address]; x != nil {
			out = append(out, x.state(now))
		}
		d.mu.Unlock()
	}
	slices.SortFunc(out, byAddress)
	return out
}

// Stats may be called at any time after Listen.
func (c *Collector) Stats() Stats {
	s := Stats{Listen: c.Addrs(), Workers: len(c.decoders), ReceiveBuffer: c.buffer, Undecodable: map[string]uint64{}}
	if c.buffer > 0 {
		s.ReceiveBufferAsked = int64(c.opts.ReceiveBuffer)
	}
	for _, d := range c.decoders {
		d.addTo(&s)
	}
	for _, w := range c.sockets {
		s.KernelDropped += w.dropped.Load()
	}
	return s
}

// Stats are the decoder's own.
func (d *Decoder) Stats() Stats {
	s := Stats{Workers: 1, Undecodable: map[string]uint64{}}
	d.addTo(&s)
	return s
}

// addTo adds a decoder's counts to those of all.
func (d *Decoder) addTo(s *Stats) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.Exporters += len(d.exporters)
	s.Datagrams += d.counts.datagrams
	s.Bytes += d.counts.bytes
	s.Records += d.counts.records
	s.Refused += d.counts.refused
	s.OverLimit += d.counts.overLimit
	for source, n := range d.counts.undecodable {
		s.Undecodable[nameOf(traffic.FlowSource(source))] += n
	}
}
