package flowcollect

import (
	"net/netip"
	"slices"
	"time"

	"weir/flowcollect/netflow"
	"weir/userspace/traffic"
)

// stream is one connection of an exporter. What it announces holds for the connection alone (RFC 7011 section 8: templates belong to the
// transport session), and so do its sequence numbers.
type stream struct {
	decoder  *Decoder
	exporter netip.Addr
	session  *netflow.Session
}

// connect begins a connection.
func (d *Decoder) connect(from netip.AddrPort, now time.Time) (*stream, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	address := plain(from.Addr())
	x, err := d.exporter(address, address, now)
	if err != nil {
		return nil, err
	}
	s := &stream{decoder: d, exporter: address, session: d.session(x)}
	x.streams = append(x.streams, s)
	return s, nil
}

// message takes one IPFIX message.
func (s *stream) message(data []byte, now time.Time) error {
	d := s.decoder
	d.mu.Lock()
	defer d.mu.Unlock()
	x := d.exporters[s.exporter]
	if x == nil || !slices.Contains(x.streams, s) { // a reload has ended it
		return ErrRefused
	}
	d.counts.datagrams++
	d.counts.bytes += uint64(len(data))
	d.begin(x, data, now)
	return d.end(traffic.IPFIX, s.session.Decode(data, now, d.emit))
}

// fail counts what was wrong with a connection before it was a message.
func (s *stream) fail(err error) {
	d := s.decoder
	d.mu.Lock()
	defer d.mu.Unlock()
	if x := d.exporters[s.exporter]; x != nil {
		x.errors++
		x.lastError = err
		d.counts.undecodable[traffic.IPFIX]++
	}
}

// end ends a connection. What was counted in it stays with the exporter.
func (s *stream) end(now time.Time) {
	d := s.decoder
	d.mu.Lock()
	defer d.mu.Unlock()
	x := d.exporters[s.exporter]
	if x == nil {
		return
	}
	if at := slices.Index(x.streams, s); at >= 0 {
		x.streams = slices.Delete(x.streams, at, at+1)
		x.past.addNetFlow(s.session.Health(now))
		x.past.ended()
	}
}
