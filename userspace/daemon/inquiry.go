package daemon

import (
	"net/netip"
	"time"

	"weir/userspace/analyze"
	"weir/userspace/notify"
	"weir/userspace/traffic"
)

// An attack is looked into as soon as so many of its packets were sampled, at the latest so long after it was detected, and again
// later: an attacker may change what he does.
const inquiryEnough = 2000

func inquiryDelays() []time.Duration {
	return []time.Duration{200 * time.Millisecond, 2 * time.Second, 10 * time.Second, time.Minute}
}

// inquiry is an attack that is looked into.
type inquiry struct {
	target  traffic.Target
	next    time.Time
	rounds  int
	looked  int // samples that there were at the last look
	running bool
}

// see takes in a sample.
func (e *engine) see(s *analyze.Seen) {
	e.book.Add(s)
	e.packets.keep(notify.Packet{Time: s.Time, Packet: s.Packet, Rate: s.Rate})
}

// sampled takes in a sample of the kernel's.
func (e *engine) sampled(s *traffic.Sample) {
	seen, ok := analyze.Look(s.Data, traffic.LinkEthernet, s.Length, s.Time, s.Rate)
	if !ok {
		return
	}
	seen = e.inside(seen, traffic.LinkEthernet, s.Data, s.Length)
	if e.records != nil {
		e.records.ring.Add(s, traffic.LinkEthernet, seen.Packet.Dst, seen.Packet.Src)
	}
	e.see(&seen)
}

// inside is what a sample is where what is in a tunnel counts: of that, no more is known than the parser says.
func (e *engine) inside(s analyze.Seen, link traffic.Link, frame []byte, length uint32) analyze.Seen {
	var p traffic.Packet
	if !e.tunnels || e.frames.ParseLink(link, frame, length, &p) != traffic.ReasonOK || p == s.Packet {
		return s
	}
	return analyze.Seen{Time: s.Time, Packet: p, Rate: s.Rate}
}

// lookInto begins to look into an attack.
func (e *engine) lookInto(a *traffic.Attack) {
	t := a.Target
	if t.Scope == traffic.ScopeGroup || e.inquiries[t] != nil {
		return
	}
	e.book.Follow(t, a.Started)
	e.inquiries[t] = &inquiry{target: t, next: e.lastTick.Add(inquiryDelays()[0])}
}

// leaveAlone ends that.
func (e *engine) leaveAlone(t traffic.Target) {
	e.book.Forget(t)
	delete(e.inquiries, t)
}

// inquire has those attacks analyzed whose time has come, beside the main loop.
func (e *engine) inquire(now time.Time) {
	for _, i := range e.inquiries {
		samples := e.book.Samples(i.target)
		if i.running || samples == i.looked || now.Before(i.next) && (i.rounds > 0 || samples < inquiryEnough) {
			continue
		}
		c, ok := e.book.Open(i.target)
		if !ok {
			continue
		}
		c.Background = e.background(now, i.target)
		i.running, i.looked = true, samples
		e.aside(func() {
			is := c.Analyze(now)
			e.tellLoop(func(now time.Time) {
				i.running = false
				i.rounds++
				delays := inquiryDelays()
				i.next = now.Add(delays[min(i.rounds, len(delays)-1)])
				if e.inquiries[i.target] == i {
					e.perform(e.manager.Describe(now, i.target, is))
				}
			})
		})
	}
}

// background is the share of a target's packets that is ordinary in all likelihood; 0 when that is not known.
func (e *engine) background(now time.Time, t traffic.Target) float64 {
	usual, known := e.world.ordinary(now, t)
	both := e.rates(t, traffic.Trip{})
	rate := both.Incoming.Total.Packets
	if t.Direction == traffic.Outgoing {
		rate = both.Outgoing.Total.Packets
	}
	if !known || rate == 0 {
		return 0
	}
	return min(1, usual/float64(rate))
}

// ours reports whether an address is in one of our networks.
func (e *engine) ours() func(netip.Addr) bool {
	table := e.world.table
	return func(a netip.Addr) bool {
		_, ours := table.Group(a)
		return ours
	}
}
