package api

import (
	"fmt"
	"sync"

	"weir/userspace/traffic"
)

// The bounds of what watching costs: so many clients, so many changes held for each.
const (
	maxWatchers = 64
	maxPending  = 256
)

// change is one attack as it was when it changed, and how many changes before it the watcher did not get.
type change struct {
	record traffic.Record
	missed uint64
}

// watcher holds what one client has not been sent yet.
type watcher struct {
	ready   chan struct{} // holds one token while something is pending
	mu      sync.Mutex
	pending []change
	missed  uint64 // since the last pending change
}

// put never waits: with a full queue the change is counted as missed and told with the next one that fits.
func (w *watcher) put(r *traffic.Record) (kept bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) >= maxPending {
		w.missed++
		return false
	}
	w.pending = append(w.pending, change{record: *r, missed: w.missed})
	w.missed = 0
	select {
	case w.ready <- struct{}{}:
	default:
	}
	return true
}

// take returns what is pending and starts anew.
func (w *watcher) take() []change {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.pending
	w.pending = nil
	return taken
}

// feed hands every change of an attack to every watcher.
type feed struct {
	closed   chan struct{}
	mu       sync.Mutex
	watchers map[*watcher]struct{}
	missed   uint64
	done     bool
}

func newFeed() *feed {
	return &feed{closed: make(chan struct{}), watchers: map[*watcher]struct{}{}}
}

func (f *feed) join() (*watcher, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done {
		return nil, errStopping
	}
	if len(f.watchers) >= maxWatchers {
		return nil, fmt.Errorf("watch attacks: %d clients watch already; try again when one has gone", maxWatchers)
	}
	w := &watcher{ready: make(chan struct{}, 1)}
	f.watchers[w] = struct{}{}
	return w, nil
}

func (f *feed) leave(w *watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watchers, w)
}

func (f *feed) publish(r *traffic.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.watchers {
		if !w.put(r) {
			f.missed++
		}
	}
}

func (f *feed) stats() (watchers int, missed uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.watchers), f.missed
}

// close ends all watches; further ones are refused.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.done {
		f.done = true
		close(f.closed)
	}
}
