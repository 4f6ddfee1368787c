// Package influxdb writes traffic and attacks to InfluxDB 1, 2 and 3 over HTTP, and to InfluxDB 1 over UDP.
//
// The measurements, their tags and their fields are FastNetMon's, with rates per second as floats and times in whole seconds:
//
//	total_traffic, total_traffic_ipv6        tag direction
//	hosts_traffic, hosts_ipv6_traffic        tag host
//	networks_traffic, networks_ipv6_traffic  tag network
//
// What Weir adds: hostgroups_traffic with the tag hostgroup; flows of IPv6 in total; attacks, one point for each change, at its exact time; and the last
// point of a host whose traffic has ended is zero, so that whoever asks for the last known value sees no attack that never ends.
package influxdb

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// Sink writes to InfluxDB. Its methods are called by one goroutine at a time.
type Sink struct {
	options Options
	to      transport
	lines   batch

	// The hosts that were last written with something other than zero, and those that are being written so now.
	before, now map[netip.Prefix]struct{}
}

// transport brings lines to the server. After an error the next call starts clean.
type transport interface {
	send(ctx context.Context, lines []byte) error
	close()
}

// mostRemembered bounds what is remembered of hosts when pushes end in the middle again and again.
const mostRemembered = 1 << 20

// New returns a Sink that connects, and reads the files of its options, when it first writes.
func New(o Options) (*Sink, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Sink{options: o, before: map[netip.Prefix]struct{}{}, now: map[netip.Prefix]struct{}{}}
	if o.Version == UDP {
		s.to = &datagrams{address: o.Address}
	} else {
		s.to = newClient(o)
	}
	s.lines = batch{mostLines: o.MostLines, mostBytes: o.MostBytes, tags: tagsOf(o.Tags)}
	return s, nil
}

// Push writes s, in as many requests as it needs. When one is refused for good the others are sent all the same, and the error wraps traffic.ErrPermanent.
// After any other error the rest is not sent.
func (s *Sink) Push(ctx context.Context, snapshot *traffic.Snapshot) error {
	s.lines.begin(func(lines []byte) error { return s.to.send(ctx, lines) })
	s.write(snapshot)
	err := s.lines.end()
	s.remember(err == nil)
	return s.named("write traffic", err)
}

// Tell writes a point for each change. After an error a part of them may be stored; told again they become the same points, not others beside them.
func (s *Sink) Tell(ctx context.Context, changes []traffic.Change) error {
	s.lines.begin(func(lines []byte) error { return s.to.send(ctx, lines) })
	for i := range changes {
		s.lines.attack(&changes[i])
	}
	return s.named("write attacks", s.lines.end())
}

func (s *Sink) named(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s to influxdb at %s: %w", what, s.options.Address, err)
}

// remember keeps what was written for the zeros of the next push. After an error nobody knows how far it came: then both may have been written.
func (s *Sink) remember(all bool) {
	if all {
		s.before, s.now = s.now, s.before
	} else {
		if len(s.before)+len(s.now) > mostRemembered {
			clear(s.before)
		}
		for host := range s.now {
			s.before[host] = struct{}{}
		}
	}
	clear(s.now)
}

// Close closes the connection, if there is one.
func (s *Sink) Close() error {
	s.to.close()
	return nil
}

// Busy is the cause in errors of a server that asks to be left alone for a while.
type Busy struct {
	After time.Duration // as the server said; 0: it did not say for how long
	Words string        // the server's
}

func (b *Busy) Error() string {
	text := "the server is busy"
	if b.After > 0 {
		text += fmt.Sprintf(" and asks to wait for %s", b.After)
	}
	return text + ": " + b.Words
}
