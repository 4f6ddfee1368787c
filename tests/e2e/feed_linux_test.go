package e2e

import (
	"sync"
	"testing"
	"time"
)

// patience is how long any single thing may take that is waited for: much more than it ever needs, so that a busy machine fails nothing.
const patience = 20 * time.Second

// feed keeps what arrives, in order, for whoever waits for it. The zero value is ready.
type feed[T any] struct {
	mu      sync.Mutex
	items   []T
	changed chan struct{} // closed at the next arrival
}

func (f *feed[T]) add(item T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items = append(f.items, item)
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// from returns what has arrived since the mark, and a channel that closes when more does.
func (f *feed[T]) from(mark int) ([]T, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	return f.items[mark:], f.changed
}

// mark is where what arrives from now on begins.
func (f *feed[T]) mark() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.items)
}

func (f *feed[T]) all() []T {
	items, _ := f.from(0)
	return items
}

// await returns the first item since the mark that matches, and fails the test when none arrives in time or broken closes first.
func (f *feed[T]) await(t *testing.T, what string, mark int, broken <-chan struct{}, match func(T) bool) T {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		items, changed := f.from(mark)
		for _, item := range items {
			if match(item) {
				return item
			}
		}
		select {
		case <-changed:
		case <-broken:
			if _, more := f.from(mark + len(items)); more != changed {
				continue // it arrived just before the end
			}
			t.Fatalf("the daemon ended while the test waited for %s; arrived: %v", what, items)
		case <-deadline.C:
			t.Fatalf("%s: not within %s; arrived: %v", what, patience, items)
		}
	}
}

// until asks again and again where nobody tells: counters of the kernel have no events.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !condition() {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}
