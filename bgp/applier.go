package bgp

import (
	"context"
	"sync"
	"time"
)

// applier does a peer's operations one after the other, in a goroutine of its own. What is waiting is bounded by the number of
// routes: of two operations on one route only the later one is done.
type applier struct {
	engine  *engine
	changed func()
	wake    chan struct{} // holds one
	ready   chan struct{} // closed when all that is wanted has been done for the first time

	mu       sync.Mutex
	waiting  map[string]operation // by route ID
	order    []string
	received uint64 // sequence of the last operation
	complete bool   // all that is wanted has been received at least once
	done     uint64
	rejected []rejection
	flushed  []chan struct{} // to close when nothing is waiting
	busy     time.Time       // since when an operation is being done; zero: none is

	held map[string]*route // what is in GoBGP's table; of the goroutine
}

func newApplier(e *engine, changed func()) *applier {
	return &applier{
		engine: e, changed: changed, wake: make(chan struct{}, 1), ready: make(chan struct{}), waiting: map[string]operation{}, held: map[string]*route{},
	}
}

// add takes operations; complete says that for now there are no more.
func (a *applier) add(operations []operation, complete bool) {
	a.mu.Lock()
	for _, o := range operations {
		if _, waits := a.waiting[o.id()]; !waits {
			a.order = append(a.order, o.id())
		}
		a.waiting[o.id()] = o
		a.received = o.Sequence
	}
	a.complete = a.complete || complete
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// clear takes everything back and returns when that is done, or ctx has ended.
func (a *applier) clear(ctx context.Context) {
	flushed := make(chan struct{})
	a.mu.Lock()
	var all []operation
	for id := range a.waiting {
		all = append(all, operation{Sequence: a.received, Withdraw: id})
	}
	for id := range a.held {
		all = append(all, operation{Sequence: a.received, Withdraw: id})
	}
	a.flushed = append(a.flushed, flushed)
	a.mu.Unlock()
	a.add(all, true)
	select {
	case <-flushed:
	case <-ctx.Done():
	}
}

func (a *applier) run(ctx context.Context) {
	announced := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		}
		a.mu.Lock()
		waiting, order, upTo, complete, flushed := a.waiting, a.order, a.received, a.complete, a.flushed
		a.waiting, a.order, a.flushed = map[string]operation{}, nil, nil
		a.mu.Unlock()
		for _, id := range order {
			a.apply(ctx, waiting[id])
		}
		a.mu.Lock()
		a.done = upTo
		a.mu.Unlock()
		if complete && !announced {
			announced = true
			close(a.ready)
		}
		for _, f := range flushed {
			close(f)
		}
		a.changed()
	}
}

func (a *applier) apply(ctx context.Context, o operation) {
	a.mu.Lock()
	a.busy = time.Now()
	a.mu.Unlock()
	var err error
	id := o.id()
	old := a.held[id]
	if o.Route != nil {
		err = a.engine.announce(ctx, o.Route)
	}
	// A route that cannot be changed into what is wanted now is not to stay as it was.
	if old != nil && (o.Route == nil || err != nil) {
		if withdrawErr := a.engine.withdraw(ctx, old); err == nil {
			err = withdrawErr
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy = time.Time{}
	delete(a.held, id)
	if err == nil && o.Route != nil {
		a.held[id] = o.Route
	}
	if err != nil {
		a.rejected = append(a.rejected, rejection{id, o.Sequence, err.Error()})
	}
}

// progress returns how far the operations are done, and which could not be since it was called last.
func (a *applier) progress() (done uint64, rejected []rejection) {
	a.mu.Lock()
	defer a.mu.Unlock()
	rejected, a.rejected = a.rejected, nil
	return a.done, rejected
}

// stuck is how long GoBGP has been busy with one operation.
func (a *applier) stuck() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy.IsZero() {
		return 0
	}
	return time.Since(a.busy)
}
