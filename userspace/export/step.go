package export

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"weir/userspace/traffic"
)

// mostChanges is how many changes one call is given at most: so many can be stored within a call's timeout.
const mostChanges = 256

// step makes the calls that are due. It returns how long the next one is off, or idle where nothing waits.
func (r *Runner) step(ctx context.Context, draining bool) (wait time.Duration, idle bool) {
	for ctx.Err() == nil {
		now := time.Now()
		if now.Before(r.resume) {
			return r.resume.Sub(now), !r.any() && (draining || r.due().IsZero())
		}
		if r.tell(ctx) || r.remind(ctx, now) || r.push(ctx, now, draining) || r.sendFlows(ctx, now, draining) {
			continue
		}
		wait, idle = r.nextDue(now)
		if due := r.due(); !draining && !due.IsZero() {
			left := due.Sub(now)
			if left <= 0 {
				left = time.Second // it was called, and wants to be again
			}
			if idle || left < wait {
				wait, idle = left, false
			}
		}
		return wait, idle
	}
	return 0, true
}

// due is when the sink wants to be called by itself; zero: it does not.
func (r *Runner) due() time.Time {
	if r.timed == nil {
		return time.Time{}
	}
	return r.timed.Due()
}

// remind calls a sink whose time has come. It reports whether it has.
func (r *Runner) remind(ctx context.Context, now time.Time) bool {
	due := r.due()
	if due.IsZero() || now.Before(due) {
		return false
	}
	err := r.call(ctx, func(ctx context.Context) error { return r.timed.Tell(ctx, nil) })
	// A sink that has nothing to say at its own time after all must not be asked again and again.
	return err != nil || !r.due().Equal(due)
}

// any reports whether anything waits.
func (r *Runner) any() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := &r.waiting
	return w.snapshot != nil || len(w.changes)+len(r.telling) > 0 || len(w.flows) > 0 || r.unsent < len(r.sending)
}

// nextDue is when what waits for its time has waited enough.
func (r *Runner) nextDue(now time.Time) (wait time.Duration, idle bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := &r.waiting
	idle = true
	if w.snapshot != nil {
		wait, idle = w.pushAt.Sub(now), false
	}
	if len(w.flows) > 0 {
		if d := w.flowsFrom.Add(r.options.Gather).Sub(now); idle || d < wait {
			wait, idle = d, false
		}
	}
	return max(wait, 0), idle
}

// tell hands over the changes that wait, as many as one call is given. It reports whether there were any.
func (r *Runner) tell(ctx context.Context) bool {
	if len(r.telling) == 0 && !r.takeChanges() {
		return false
	}
	n := min(len(r.telling), r.batch)
	err := r.call(ctx, func(ctx context.Context) error { return r.teller.Tell(ctx, r.telling[:n]) })
	took, lost := n, 0
	if err != nil {
		took = taken(err, n)
		// Of many, the one that is refused is looked for by telling fewer at a time.
		if refused(err) && took < n && (n == 1 || took > 0) {
			lost = 1
		}
		r.batch = max(n/2, 1)
	} else {
		r.batch = min(r.batch*2, mostChanges)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.telling[:took+lost])
	r.telling = r.telling[took+lost:]
	r.stats.Changes += uint64(took)
	r.stats.Lost.Changes += uint64(lost)
	r.stats.Waiting.Changes = uint64(len(r.telling))
	return true
}

// takeChanges takes the oldest changes off the queue, if there are any.
func (r *Runner) takeChanges() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.waiting.changes), mostChanges)
	for range n {
		r.telling = append(r.telling, r.waiting.take())
	}
	r.stats.Waiting.Changes = uint64(n)
	return n > 0
}

// push stores the newest snapshot if it is time. It reports whether it was.
func (r *Runner) push(ctx context.Context, now time.Time, draining bool) bool {
	r.mu.Lock()
	w := &r.waiting
	s := w.snapshot
	if s == nil || now.Before(w.pushAt) && !draining {
		r.mu.Unlock()
		return false
	}
	w.snapshot = nil
	// A late push does not shift those after it, unless it is very late.
	w.pushAt = w.pushAt.Add(r.options.Every)
	if !w.pushAt.After(now) {
		w.pushAt = now.Add(r.options.Every)
	}
	r.mu.Unlock()
	err := r.call(ctx, func(ctx context.Context) error { return r.pusher.Push(ctx, s) })
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.stats.Lost.Snapshots++
	} else {
		r.stats.Pushes++
	}
	return true
}

// sendFlows sends the records that are on their way, or those that have gathered for long enough. It reports whether there were any.
func (r *Runner) sendFlows(ctx context.Context, now time.Time, draining bool) bool {
	if r.unsent == len(r.sending) && !r.swap(now, draining) {
		return false
	}
	n := min(len(r.sending)-r.unsent, r.flowBatch)
	flows := r.sending[r.unsent : r.unsent+n]
	err := r.call(ctx, func(ctx context.Context) error { return r.taker.Flows(ctx, flows) })
	took, lost := n, 0
	if err != nil {
		took = taken(err, n)
		// To look for one bad record among many thousand costs more than it is worth.
		if refused(err) {
			lost = n - took
		}
		r.flowBatch = max(n/2, 1)
	} else {
		r.flowBatch = min(r.flowBatch*2, r.options.FlowQueue)
	}
	r.unsent += took + lost
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Flows += uint64(took)
	r.stats.Lost.Flows += uint64(lost)
	r.stats.Waiting.Flows = uint64(len(r.sending) - r.unsent)
	return true
}

// swap takes the records that have gathered, if they are to be sent now, and leaves the empty buffer in their place.
func (r *Runner) swap(now time.Time, draining bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := &r.waiting
	if len(w.flows) == 0 || !draining && len(w.flows) < (r.options.FlowQueue+1)/2 && now.Sub(w.flowsFrom) < r.options.Gather {
		return false
	}
	r.sending, w.flows = w.flows, r.sending[:0]
	r.unsent = 0
	r.stats.Waiting.Flows = uint64(len(r.sending))
	return true
}

// call calls the sink with a deadline and notes how that went. After a failure that may pass the next call has to wait.
func (r *Runner) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	err := f(ctx)
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.backoff, r.stats.Up, r.stats.LastSuccess = 0, true, now
		return nil
	}
	r.stats.Failures++
	r.stats.LastError, r.stats.LastErrorAt = err.Error(), now
	if refused(err) {
		r.backoff, r.stats.Up = 0, true
		return err
	}
	r.stats.Up = false
	r.backoff = min(max(r.backoff*2, r.options.BackoffFirst), r.options.BackoffLast)
	// Between a half and the whole of it, so that many that wait for one server do not come back all at once.
	r.resume = now.Add(r.backoff/2 + rand.N(r.backoff/2+1))
	return err
}

func refused(err error) bool { return errors.Is(err, traffic.ErrPermanent) }

// taken is how many of n the sink has taken though it returned err.
func taken(err error, n int) int {
	var partial interface{ Unsent() int }
	if !errors.As(err, &partial) {
		return 0
	}
	return n - min(max(partial.Unsent(), 0), n)
}
