package flowcollect

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// places are how many exporters all workers together may follow.
type places struct {
	most int
	used atomic.Int64
}

// take takes a place; false: there is none.
func (p *places) take() bool {
	if p.used.Add(1) <= int64(p.most) {
		return true
	}
	p.used.Add(-1)
	return false
}

func (p *places) free() { p.used.Add(-1) }

// When an exporter may lose its place to another one: UDP senders can be forged, so whoever was heard but for a moment keeps his
// for a moment.
const (
	idleAfter    = 10 * time.Minute // silent for so long: anybody's
	briefly      = time.Minute      // heard for less than this,
	idleBriefly  = 10 * time.Second // and silent for this: anybody's
	goneAfter    = 24 * time.Hour   // silent for so long: forgotten, unless it is in the configuration
	sweepEvery   = time.Minute
	evictTries   = 16
	evictTriesBy = 64 // for an exporter that is in the configuration
)

// exporter finds an exporter by the name that it goes by, or begins to follow it. The error is ErrRefused.
func (d *Decoder) exporter(name, from netip.Addr, now time.Time) (*exporter, error) {
	x := d.exporters[name]
	if x != nil && x.sender == from {
		return x, nil
	}
	if !d.settings.allowed(from) {
		d.counts.refused++
		return nil, ErrRefused
	}
	if x != nil { // an agent that has changed its address
		x.sender = from
		return x, nil
	}
	conf := d.settings.of(name)
	if !d.places.take() && (!d.evict(conf.known(), now) || !d.places.take()) {
		d.counts.overLimit++
		return nil, ErrRefused
	}
	x = &exporter{address: name, sender: from, first: now, seen: now}
	d.exporters[name] = x
	d.configure(x)
	return x, nil
}

// configure puts in force for an exporter what is configured for it now.
func (d *Decoder) configure(x *exporter) {
	x.conf = d.settings.of(x.address)
	x.group, x.member = nil, 0
	if x.conf.Group != "" {
		x.group, x.member = d.claims.join(x.conf.Group, x.address)
	}
}

// evict gives up one exporter, if there is one among the few that it looks at: a flood of forged senders asks for each datagram.
func (d *Decoder) evict(forKnown bool, now time.Time) bool {
	tries := evictTries
	if forKnown {
		tries = evictTriesBy
	}
	for _, x := range d.exporters { // in random order
		if tries--; tries < 0 {
			return false
		}
		if x.mayGo(forKnown, now) {
			d.forget(x, now)
			return true
		}
	}
	return false
}

// mayGo reports whether an exporter's place may be given to another.
func (x *exporter) mayGo(toKnown bool, now time.Time) bool {
	silent := now.Sub(x.seen)
	switch {
	case len(x.streams) > 0: // it is connected
		return false
	case silent > idleAfter:
		return true
	case x.conf.known():
		return false
	}
	useless := x.sources == 0 && x.errors > 0
	return useless || toKnown && silent > time.Second || x.seen.Sub(x.first) < briefly && silent > idleBriefly
}

// forget ends an exporter. Its templates are kept in case that it comes back, unless it was heard but for a moment.
func (d *Decoder) forget(x *exporter, now time.Time) {
	if x.seen.Sub(x.first) >= briefly && len(d.restored) < d.opts.MaxExporters {
		if k := d.keep(x, now, 0); k.Templates != nil {
			d.restored[x.address] = k
		}
	}
	delete(d.exporters, x.address)
	d.places.free()
}

// tick does what is due now and then.
func (d *Decoder) tick(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.swept) < sweepEvery {
		return
	}
	d.swept = now
	for _, x := range d.exporters {
		if now.Sub(x.seen) > goneAfter && !x.conf.known() && len(x.streams) == 0 {
			d.forget(x, now)
			continue
		}
		x.turn(now)
	}
}
