package daemon

import (
	"sync"
	"sync/atomic"

	"weir/userspace/analyze"
)

const (
	recentMost  = 512 // samples that a worker keeps for the main loop to look at: the newest ones
	recentBytes = 192 // of the payload of each
)

// recent is what a worker has sampled lately. It keeps more while an attack is on.
type recent struct {
	on   atomic.Bool // an attack is on
	mu   sync.Mutex
	list []analyze.Seen
	at   int // the oldest, once the list is full
}

// add keeps a sample with a payload of its own.
func (r *recent) add(s analyze.Seen) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := len(r.list)
	if at == recentMost {
		at = r.at
		r.at = (r.at + 1) % recentMost
	} else {
		r.list = append(r.list, analyze.Seen{})
	}
	buffer := r.list[at].Payload[:0]
	r.list[at] = s
	r.list[at].Payload = append(buffer, s.Payload[:min(len(s.Payload), recentBytes)]...)
}

// take hands over what is kept, oldest first; see keeps nothing of a sample's payload. The worker waits meanwhile, if it has a sample.
func (r *recent) take(see func(*analyze.Seen)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.list {
		see(&r.list[(r.at+i)%len(r.list)])
	}
	r.list, r.at = r.list[:0], 0
}
