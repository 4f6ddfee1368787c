package plugin

import (
	"context"
	"sync"
	"unsafe"

	"weir/userspace/traffic"
)

// changeRoom is what a waiting change may take on average, in bytes: one with packets takes more, the others far less.
const changeRoom = 16 << 10

// changes is what a program has not fetched yet, numbered without a gap. What it has dealt with makes room for more.
type changes struct {
	most int

	mu      sync.Mutex
	waiting []traffic.Change
	first   uint64 // number of waiting[0], or of the next one
	room    int    // bytes that waiting takes
	closed  bool
	news    chan struct{} // closed when there are more or there will be none; nil: nobody waits
	space   chan struct{} // closed when there is room or there will be none; nil: nobody waits
}

func newChanges(most int) *changes { return &changes{most: most, first: 1} }

// add takes changes as there is room for them, until ctx ends. It returns how many of the last found none.
func (c *changes) add(ctx context.Context, more []traffic.Change) (left int) {
	for {
		n, space := c.addNow(more)
		more = more[n:]
		if len(more) == 0 || space == nil {
			return len(more)
		}
		select {
		case <-space:
		case <-ctx.Done():
			return len(more)
		}
	}
}

// addNow takes those that there is room for; nil instead of what to wait on says that there will never be any more.
func (c *changes) addNow(more []traffic.Change) (n int, space <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, nil
	}
	for n < len(more) {
		size := sizeOf(&more[n])
		// One that is larger than all there is room for goes alone: else it would stop all that come after it.
		if len(c.waiting) >= c.most || len(c.waiting) > 0 && c.room+size > c.most*changeRoom {
			break
		}
		c.waiting = append(c.waiting, more[n])
		c.room += size
		n++
	}
	if n > 0 {
		wake(&c.news)
	}
	if c.space == nil {
		c.space = make(chan struct{})
	}
	return n, c.space
}

// take forgets the changes up to the one numbered after and returns at most so many of the next, the number of the first of them, and what is
// closed when there may be more. It reports false for a number that was never given.
func (c *changes) take(after uint64, most int) (next []traffic.Change, number uint64, news <-chan struct{}, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.first + uint64(len(c.waiting)) - 1
	if after > last {
		return nil, 0, nil, false
	}
	if after >= c.first {
		n := int(after - c.first + 1)
		for i := range c.waiting[:n] {
			c.room -= sizeOf(&c.waiting[i])
			c.waiting[i] = traffic.Change{} // what it refers to is not to outlive it
		}
		c.waiting, c.first = c.waiting[n:], after+1
		wake(&c.space)
	}
	if c.news == nil {
		c.news = make(chan struct{})
	}
	// A copy, for what is taken meanwhile by another call is wiped.
	return append([]traffic.Change(nil), c.waiting[:min(most, len(c.waiting))]...), c.first, c.news, true
}

// count is how many wait.
func (c *changes) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting)
}

// close lets add return at once from now on.
func (c *changes) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	wake(&c.news)
	wake(&c.space)
}

func wake(c *chan struct{}) {
	if *c != nil {
		close(*c)
		*c = nil
	}
}

// sizeOf is about how many bytes a change keeps in memory. Its analysis is shared with whoever shows the attack, and not counted.
func sizeOf(c *traffic.Change) int {
	return int(unsafe.Sizeof(*c)) + len(c.Report) + len(c.Packets)*int(unsafe.Sizeof(traffic.SampledPacket{})) +
		len(c.Sources)*int(unsafe.Sizeof(traffic.SourceShare{}))
}
