// Package investigate keeps samples of packets, from before an attack and of it, and has them analyzed.
package investigate

import (
	"net/netip"
	"time"

	"weir/userspace/analyze"
	"weir/userspace/analyze/signature"
	"weir/userspace/traffic"
)

// What a Book keeps at most.
const (
	recentMost   = 8192 // packets of anybody: the last ones
	attackMost   = 10_000
	payloadBytes = 192 // of each
	hostsMost    = 256 // whose ordinary traffic is known: those seen last
	hostSamples  = 128 // of each, beside histograms: about 23 KiB a host
)

// before is how long an attack may have been under way when it is detected: what came earlier is ordinary traffic.
const before = time.Second

// Book is the samples that there are. One goroutine uses it.
type Book struct {
	ours    func(netip.Addr) bool
	recent  []analyze.Seen // a ring
	of      []bool         // of each of recent, whether it was an attack's: then it is nobody's ordinary traffic, also when the attack is over
	buffers []byte         // the payloads of recent
	next    int            // in recent
	attacks map[side]*attack
	normal  *normal
}

// side is who is attacked, or attacks.
type side struct {
	prefix    netip.Prefix
	direction traffic.Direction
}

// attack is what was sampled of one that is on.
type attack struct {
	target  traffic.Target
	since   time.Time
	samples []analyze.Seen
	seen    int // samples in all
}

// New returns an empty book. ours tells whose hosts may be attacked.
func New(ours func(netip.Addr) bool) *Book {
	return &Book{
		ours: ours, recent: make([]analyze.Seen, 0, recentMost), of: make([]bool, recentMost), buffers: make([]byte, recentMost*payloadBytes), attacks: map[side]*attack{}, normal: newNormal(),
	}
}

// SetOurs is for when our networks have changed.
func (b *Book) SetOurs(ours func(netip.Addr) bool) { b.ours = ours }

// Add keeps a sample; it copies the payload.
func (b *Book) Add(s *analyze.Seen) {
	if len(b.recent) < recentMost {
		b.recent = append(b.recent, analyze.Seen{})
	} else if !b.of[b.next] {
		b.leave(&b.recent[b.next])
	}
	i := b.next
	b.next = (b.next + 1) % recentMost
	at := &b.recent[i]
	*at = *s
	at.Payload = append(b.buffers[i*payloadBytes:i*payloadBytes:(i+1)*payloadBytes], s.Payload[:min(len(s.Payload), payloadBytes)]...)
	b.of[i] = false
	for _, a := range b.attacks {
		if a.concerns(s) {
			a.add(s)
			b.of[i] = true
		}
	}
}

// leave hands on what falls out of recent and was no attack's: it was ordinary traffic.
func (b *Book) leave(s *analyze.Seen) {
	for _, end := range ends(s) {
		if b.ours(end.prefix.Addr()) {
			b.normal.add(end, s)
		}
	}
}

// ends are both sides that a packet may belong to.
func ends(s *analyze.Seen) [2]side {
	return [2]side{host(s.Packet.Dst, traffic.Incoming), host(s.Packet.Src, traffic.Outgoing)}
}

func host(a netip.Addr, d traffic.Direction) side { return side{netip.PrefixFrom(a, a.BitLen()), d} }

// Follow collects samples of an attack from now on, together with what recent has of it from shortly before since on.
func (b *Book) Follow(t traffic.Target, since time.Time) {
	key := side{t.Prefix, t.Direction}
	if t.Scope == traffic.ScopeGroup || b.attacks[key] != nil {
		return
	}
	a := &attack{target: t, since: since.Add(-before)}
	b.attacks[key] = a
	for _, i := range b.ordered() {
		if s := &b.recent[i]; !s.Time.Before(a.since) && a.concerns(s) {
			a.add(s)
			b.of[i] = true
		}
	}
}

// Forget drops what was kept of an attack.
func (b *Book) Forget(t traffic.Target) { delete(b.attacks, side{t.Prefix, t.Direction}) }

// Samples is how many samples there have been of an attack.
func (b *Book) Samples(t traffic.Target) int {
	if a := b.attacks[side{t.Prefix, t.Direction}]; a != nil {
		return a.seen
	}
	return 0
}

// ordered yields where recent's packets stand, the oldest first.
func (b *Book) ordered() []int {
	out := make([]int, 0, len(b.recent))
	for i := range b.recent {
		at := i
		if len(b.recent) == recentMost {
			at = (b.next + i) % recentMost
		}
		out = append(out, at)
	}
	return out
}

func (a *attack) concerns(s *analyze.Seen) bool {
	if a.target.Direction == traffic.Outgoing {
		return a.target.Prefix.Contains(s.Packet.Src)
	}
	return a.target.Prefix.Contains(s.Packet.Dst)
}

// add keeps a sample with a payload of its own. Once there are enough, the oldest go: an attacker may change what he does.
func (a *attack) add(s *analyze.Seen) {
	own := *s
	own.Payload = append([]byte(nil), s.Payload[:min(len(s.Payload), payloadBytes)]...)
	if len(a.samples) < attackMost {
		a.samples = append(a.samples, own)
	} else {
		a.samples[a.seen%attackMost] = own
	}
	a.seen++
}

// ordinary is what is known of a target's traffic from before an attack.
func (b *Book) ordinary(a *attack) ([]analyze.Seen, *signature.Baseline) {
	known := b.normal.of(a.target)
	var samples []analyze.Seen
	if known != nil {
		samples = known.Samples()
	}
	for _, i := range b.ordered() {
		if s := &b.recent[i]; s.Time.Before(a.since) && a.concerns(s) && !b.of[i] {
			own := *s
			own.Payload = append([]byte(nil), s.Payload...)
			samples = append(samples, own)
		}
	}
	return samples, known
}
