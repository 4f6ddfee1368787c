package digest

import (
	"net/netip"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// attack is one that is followed.
type attack struct {
	record   traffic.Record
	group    string
	sources  []traffic.SourceShare
	capture  string
	last     time.Time // of the changes seen, ...
	kinds    uint16    // ... and the kinds seen at that time, by bit: what is told twice is not counted twice
	first    Sample
	banned   bool
	over     bool
	incident *incident // nil: not told yet
	due      time.Time // when it is to be told; where incident is nil
}

// news reports whether the change has not been seen, and remembers it.
func (a *attack) news(c *traffic.Change) bool {
	bit := uint16(1) << min(c.Kind, 15)
	switch {
	case c.At.Before(a.last):
		return false
	case c.At.After(a.last):
		a.last, a.kinds = c.At, 0
	case a.kinds&bit != 0:
		return false
	}
	a.kinds |= bit
	return true
}

// learn keeps what the change says of the attack.
func (a *attack) learn(c *traffic.Change) {
	if a.incident != nil {
		a.incident.rate.Sub(directed(&a.record.Attack))
		a.incident.rate.Add(directed(&c.Record.Attack))
	}
	a.record, a.group = c.Record, c.Group
	if len(c.Sources) > 0 {
		a.sources = c.Sources[:min(len(c.Sources), MaxListed)]
	}
	if c.Capture != "" {
		a.capture = c.Capture
	}
}

// touch sees to it that the attack's incident is told of by then.
func (a *attack) touch(by time.Time) {
	if in := a.incident; in != nil && (in.due.IsZero() || by.Before(in.due)) {
		in.due = by
	}
}

// directed is the rate in the attack's direction.
func directed(a *traffic.Attack) *traffic.Counts {
	if a.Target.Direction == traffic.Outgoing {
		return &a.Rate.Outgoing
	}
	return &a.Rate.Incoming
}

// incident is what was first told in one message: one attack, or many.
type incident struct {
	key      string
	grouped  bool
	place    place              // attacks there join; of grouped ones
	attacks  map[string]*attack // those that go on, and the only one also when it is over
	networks []netip.Prefix     // at most MaxListed
	closed   sum                // of the attacks that are over and no longer in attacks
	listed   []Attack           // the strongest of them
	rate     traffic.Counts     // of attacks together
	peak     traffic.Counts     // the highest rate seen
	samples  samples
	told     time.Time // when it was told last
	due      time.Time // when it is to be told again; zero: there is no news
}

// sum is what is kept of attacks that are no longer followed.
type sum struct {
	count, hosts   int
	volume         traffic.Counts
	started, ended time.Time
}

// place is where attacks belong together.
type place struct {
	direction traffic.Direction
	network   netip.Prefix // zero: anywhere
}

// placeOf is the attack's: the /24 or /48 of its host, its prefix if that is wider, or nowhere in particular for a hostgroup.
func placeOf(t *traffic.Target) place {
	p := place{direction: t.Direction}
	if t.Scope == traffic.ScopeGroup || !t.Prefix.IsValid() {
		return p
	}
	bits := 24
	if t.Prefix.Addr().Is6() {
		bits = 48
	}
	p.network = netip.PrefixFrom(t.Prefix.Addr(), min(bits, t.Prefix.Bits())).Masked()
	return p
}

// join puts an attack into the incident.
func (in *incident) join(a *attack, now time.Time) {
	a.incident = in
	in.attacks[a.record.Attack.ID] = a
	in.rate.Add(directed(&a.record.Attack))
	network := a.record.Attack.Target.Prefix
	if in.grouped {
		network = placeOf(&a.record.Attack.Target).network
	}
	if network.IsValid() && len(in.networks) < MaxListed && !slices.Contains(in.networks, network) {
		in.networks = append(in.networks, network)
	}
	if !in.grouped {
		in.samples.add(a.first)
	}
	in.measure(a.last)
	in.settle(a, a.last, now)
}

// measure keeps the rate of now.
func (in *incident) measure(at time.Time) {
	raise(&in.peak, &in.rate)
	in.samples.add(Sample{Time: at, Packets: in.rate.Total.Packets, Bytes: in.rate.Total.Bytes})
}

// settle takes in that an attack has changed, and takes it out of a group if it is over.
func (in *incident) settle(a *attack, at, soon time.Time) {
	in.measure(at)
	if !a.over {
		return
	}
	in.rate.Sub(directed(&a.record.Attack))
	a.record.Attack.Rate = traffic.TwoWay{}
	in.samples.add(Sample{Time: at, Packets: in.rate.Total.Packets, Bytes: in.rate.Total.Bytes})
	if !in.grouped {
		return
	}
	b := &a.record.Attack
	in.closed.count++
	in.closed.hosts += max(b.Hosts, 1)
	in.closed.volume.Add(&b.Volume)
	in.closed.started = earliest(in.closed.started, b.Started)
	in.closed.ended = latest(in.closed.ended, b.Ended)
	in.listed = strongest(append(in.listed, a.describe(at)))
	delete(in.attacks, b.ID)
	if len(in.attacks) == 0 && (in.due.IsZero() || soon.Before(in.due)) {
		in.due = soon
	}
}

// over reports whether all attacks of the incident are.
func (in *incident) over() bool {
	for _, a := range in.attacks {
		if !a.over {
			return false
		}
	}
	return true
}

// raise makes each counter of peak at least that of rate.
func raise(peak, rate *traffic.Counts) {
	for _, c := range [...]struct{ to, from *traffic.Count }{
		{&peak.Total, &rate.Total}, {&peak.TCP, &rate.TCP}, {&peak.UDP, &rate.UDP}, {&peak.ICMP, &rate.ICMP},
		{&peak.TCPSYN, &rate.TCPSYN}, {&peak.Fragments, &rate.Fragments}, {&peak.Dropped, &rate.Dropped},
	} {
		c.to.Packets, c.to.Bytes = max(c.to.Packets, c.from.Packets), max(c.to.Bytes, c.from.Bytes)
	}
	peak.Flows, peak.Unseen = max(peak.Flows, rate.Flows), max(peak.Unseen, rate.Unseen)
}

// earliest is the earlier of two times that are not zero.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
