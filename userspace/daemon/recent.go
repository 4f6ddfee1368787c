package daemon

import (
	"sync"
	"sync/atomic"

	"weir/userspace/notify"
)

// recentMost is how many records a worker keeps for the main loop to look at: the newest ones.
const recentMost = 512

// recent is what a worker has seen lately. It keeps nothing unless an attack is on.
type recent struct {
	on   atomic.Bool
	mu   sync.Mutex
	list []notify.Packet
	at   int // the oldest, once the list is full
}

// wanted reports whether somebody looks at what is kept.
func (r *recent) wanted() bool { return r.on.Load() }

// add keeps a packet, or a flow record as one of the flow's average length.
func (r *recent) add(p notify.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) < recentMost {
		r.list = append(r.list, p)
		return
	}
	r.list[r.at] = p
	r.at = (r.at + 1) % recentMost
}

// take hands over what is kept, oldest first, and keeps nothing of it.
func (r *recent) take(see func(notify.Packet)) {
	r.mu.Lock()
	list, at := r.list, r.at
	r.list, r.at = nil, 0
	r.mu.Unlock()
	for i := range list {
		see(list[(at+i)%len(list)])
	}
}
