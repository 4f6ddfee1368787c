package export

import (
	"time"
	"unsafe"

	"weir/userspace/traffic"
)

// changeRoom is what a waiting change may take on average, in bytes: one with packets takes more, the others far less.
const changeRoom = 16 << 10

// waiting is what the sink has not been called with yet.
type waiting struct {
	snapshot *traffic.Snapshot
	pushAt   time.Time // the next push is due

	changes []traffic.Change // the oldest first
	room    int              // bytes taken by changes

	flows     []traffic.Flow
	flowsFrom time.Time // when the first of them came
}

// Push has s stored when its time comes, unless a newer one comes before. The Runner keeps s.
func (r *Runner) Push(s *traffic.Snapshot) {
	if r.pusher == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		r.stats.Lost.Snapshots++
		return
	}
	if r.waiting.snapshot != nil {
		// One that was due is missing in the store; one that was not would never have been there.
		if time.Now().Before(r.waiting.pushAt) {
			r.stats.Replaced++
		} else {
			r.stats.Lost.Snapshots++
		}
	}
	r.waiting.snapshot = s
	r.rouse()
}

// Awaits reports whether a snapshot that is pushed now may be stored before the next one comes: not while the sink is away for longer. Where it is
// not awaited, nothing need be made of the traffic: Miss notes it.
func (r *Runner) Awaits(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pusher != nil && !r.resume.After(now.Add(r.options.Every))
}

// Miss notes that the store will lack a snapshot, as Push does of one that waits for too long.
func (r *Runner) Miss() {
	if r.pusher == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting.snapshot = nil
	r.stats.Lost.Snapshots++
}

// Tell has c told to the sink. Where too many wait already the oldest is lost: the newest say how things stand.
func (r *Runner) Tell(c traffic.Change) {
	if r.teller == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		r.stats.Lost.Changes++
		return
	}
	w := &r.waiting
	size := sizeOf(&c)
	for len(w.changes) > 0 && (len(w.changes) >= r.options.Queue || w.room+size > r.options.Queue*changeRoom) {
		w.take()
		r.stats.Lost.Changes++
	}
	w.changes = append(w.changes, c)
	w.room += size
	r.rouse()
}

// take takes the oldest change off the queue.
func (w *waiting) take() traffic.Change {
	c := w.changes[0]
	w.room -= sizeOf(&c)
	w.changes[0] = traffic.Change{} // what it refers to is not to outlive it
	w.changes = w.changes[1:]
	return c
}

// sizeOf is about how many bytes a change keeps in memory. Its analysis is shared with whoever shows the attack, and not counted.
func sizeOf(c *traffic.Change) int {
	return int(unsafe.Sizeof(*c)) + len(c.Report) + len(c.Packets)*int(unsafe.Sizeof(traffic.SampledPacket{})) +
		len(c.Sources)*int(unsafe.Sizeof(traffic.SourceShare{}))
}

// Flows has copies of the records sent, without their headers. What does not fit is lost.
func (r *Runner) Flows(flows []traffic.Flow) {
	if r.taker == nil || len(flows) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	w := &r.waiting
	free := r.options.FlowQueue - len(w.flows)
	if r.closed {
		free = 0
	}
	if free < len(flows) {
		r.stats.Lost.Flows += uint64(len(flows) - free)
		flows = flows[:free]
	}
	if len(flows) == 0 {
		return
	}
	before := len(w.flows)
	if before == 0 {
		w.flowsFrom = time.Now()
	}
	w.flows = append(w.flows, flows...)
	for i := before; i < len(w.flows); i++ {
		w.flows[i].Header = nil // belongs to the caller's buffer
	}
	// Run looks at the clock by itself once it knows that there are any.
	if half := (r.options.FlowQueue + 1) / 2; before == 0 || before < half && len(w.flows) >= half {
		r.rouse()
	}
}

// rouse lets Run look at what waits.
func (r *Runner) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
