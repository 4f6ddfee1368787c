package plugin

import (
	"sync"
	"time"
)

// bucket lets so many records through in a second, and after a pause as many at once. It belongs to whoever locks it.
type bucket struct {
	rate float64 // a second, and the most that is saved up
	left float64
	at   time.Time // that left is of
}

// take reports whether n more may pass now: all or none.
func (b *bucket) take(n int, now time.Time) bool {
	if b.at.IsZero() {
		b.left = b.rate
	} else if passed := now.Sub(b.at); passed > 0 {
		b.left = min(b.rate, b.left+passed.Seconds()*b.rate)
	}
	b.at = now
	if float64(n) > b.left {
		return false
	}
	b.left -= float64(n)
	return true
}

// rates are the buckets of one program.
type rates struct {
	mu                                  sync.Mutex
	flows, packets, detections, results bucket
}

func newRates(l *Limits) *rates {
	of := func(rate int) bucket { return bucket{rate: float64(rate)} }
	return &rates{flows: of(l.Flows), packets: of(l.Packets), detections: of(l.Detections), results: of(l.Results)}
}

func (r *rates) take(b *bucket, n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return b.take(n, time.Now())
}
