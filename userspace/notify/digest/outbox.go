package digest

import (
	"errors"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// maxPending is how many messages wait while they cannot be sent: hours of them, for the digest makes few.
const maxPending = 64

// Outbox is a Digest whose messages wait until they are sent. It is for one goroutine.
type Outbox struct {
	digest  *Digest
	pending []Message
	dropped uint64
}

// NewOutbox returns an Outbox that knows of no attack.
func NewOutbox(o Options) (*Outbox, error) {
	d, err := New(o)
	if err != nil {
		return nil, err
	}
	return &Outbox{digest: d}, nil
}

// Tell takes in changes and sends what is due, in order. Where send fails, the message and those behind it are sent by the next call, which may bring the
// same changes again, others, or none. A message that is refused for good (traffic.ErrPermanent) is given up, and those behind it are sent.
func (o *Outbox) Tell(now time.Time, changes []traffic.Change, send func(Message) error) error {
	o.digest.Add(now, changes)
	o.pending = append(o.pending, o.digest.Messages(now)...)
	for len(o.pending) > maxPending {
		// The end of an attack closes what was opened elsewhere: it is worth more than the news on the way.
		i := max(slices.IndexFunc(o.pending, func(m Message) bool { return m.Event != Ended }), 0)
		o.pending = slices.Delete(o.pending, i, i+1)
		o.dropped++
	}
	var refused error
	for len(o.pending) > 0 {
		err := send(o.pending[0])
		switch {
		case err == nil:
		case errors.Is(err, traffic.ErrPermanent):
			refused = err
		default:
			return err // not with what was refused before, or what still waits would be held as refused, too
		}
		o.pending = slices.Delete(o.pending, 0, 1)
	}
	return refused
}

// Due is when Tell is to be called even without changes; zero: not before there are some.
func (o *Outbox) Due() time.Time {
	if len(o.pending) > 0 {
		return o.pending[0].At
	}
	return o.digest.Due()
}

// Observe takes the rates of attacks from a snapshot: see Digest.Observe.
func (o *Outbox) Observe(s *traffic.Snapshot) { o.digest.Observe(s) }

// Dropped is how many messages were given up because too many could not be sent.
func (o *Outbox) Dropped() uint64 { return o.dropped }
