// Package export hands traffic, attacks and flow records to one store or stream, without ever holding up whoever measures.
//
// What must not be lost and is rare, changes of attacks, waits in a queue and is told again until the sink takes it. Traffic is measured anew all the time:
// only the newest snapshot waits. Flow records come by the million: they gather in one of two buffers while the other is being sent.
// All three are bounded, and what does not fit is counted.
package export

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"weir/userspace/traffic"
)

// Sink is where a Runner exports to. What it takes is told by which of Pusher, Teller and FlowTaker it has as well.
//
// Its methods are called by one goroutine, one at a time, with a context that has a deadline. After an error the next call starts clean.
// An error that wraps traffic.ErrPermanent says that the same data would be refused again. Other errors are tried again.
type Sink interface {
	Close() error
}

// Pusher is a Sink that stores traffic.
type Pusher interface {
	Push(ctx context.Context, s *traffic.Snapshot) error
}

// Teller is a Sink that stores attacks. It takes all changes or none; or its error has a method Unsent() int that says how many of the last it has not taken.
// It keeps nothing of the slice itself.
type Teller interface {
	Tell(ctx context.Context, changes []traffic.Change) error
}

// FlowTaker is a Sink that stores flow records, whose Header is nil. It may have Unsent as a Teller has. It keeps nothing of the slice.
type FlowTaker interface {
	Flows(ctx context.Context, flows []traffic.Flow) error
}

// Scheduler is a Teller that has something to do at a time of its own, such as to send a message that has waited for others to go with it.
type Scheduler interface {
	Teller
	// Due is when Tell is to be called even without changes; zero: not before there are some.
	Due() time.Time
}

// What an Options' zero fields stand for.
const (
	DefaultEvery        = 10 * time.Second
	DefaultTimeout      = 10 * time.Second
	DefaultGather       = time.Second
	DefaultGrace        = 5 * time.Second
	DefaultBackoffFirst = time.Second
	DefaultBackoffLast  = time.Minute
	DefaultQueue        = 4096
	DefaultFlowQueue    = 65536
)

// Options says how often a sink is called and how much may wait for it.
type Options struct {
	Every        time.Duration // between two pushes of traffic, at least
	Timeout      time.Duration // of one call
	Gather       time.Duration // how long flow records wait for more of them; less when half of FlowQueue is full
	Grace        time.Duration // how long Run may go on with what waits when its context has ended
	BackoffFirst time.Duration // the pause after a failure; twice as long after each further one, ...
	BackoffLast  time.Duration // ... up to this
	Queue        int           // changes that wait, of 16 KiB each on average
	FlowQueue    int           // flow records that wait; as many again may be on their way
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&o.Every, DefaultEvery},
		{&o.Timeout, DefaultTimeout},
		{&o.Gather, DefaultGather},
		{&o.Grace, DefaultGrace},
		{&o.BackoffFirst, DefaultBackoffFirst},
		{&o.BackoffLast, DefaultBackoffLast},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	o.BackoffLast = max(o.BackoffLast, o.BackoffFirst)
	if o.Queue <= 0 {
		o.Queue = DefaultQueue
	}
	if o.FlowQueue <= 0 {
		o.FlowQueue = DefaultFlowQueue
	}
	return o
}

// Runner exports to one sink. Its methods but Run may be called by any goroutine and never wait for the sink.
type Runner struct {
	name    string
	options Options
	log     *slog.Logger
	sink    Sink
	pusher  Pusher    // nil: takes no traffic
	teller  Teller    // nil: takes no attacks
	taker   FlowTaker // nil: takes no flow records
	timed   Scheduler // nil: does nothing by itself
	wake    chan struct{}

	mu      sync.Mutex
	closed  bool // Run has ended: what comes is lost
	waiting waiting
	stats   Stats
	resume  time.Time // no call before; only Run's goroutine changes it

	// Of the goroutine in Run.
	telling   []traffic.Change // taken off waiting.changes and not told yet
	batch     int              // changes told at a time, at most
	sending   []traffic.Flow   // taken from waiting.flows; those from unsent on are still to be sent
	unsent    int
	flowBatch int // records sent at a time, at most
	backoff   time.Duration
	logged    logged
}

// New returns a Runner that calls nothing before Run. The sink is closed by Run.
func New(name string, sink Sink, o Options, log *slog.Logger) *Runner {
	r := &Runner{
		name: name, options: o.withDefaults(), log: log.With("component", "export", "sink", name),
		sink: sink, wake: make(chan struct{}, 1), batch: mostChanges,
	}
	r.pusher, _ = sink.(Pusher)
	r.teller, _ = sink.(Teller)
	r.taker, _ = sink.(FlowTaker)
	r.timed, _ = sink.(Scheduler)
	r.flowBatch = r.options.FlowQueue
	return r
}

// Wants reports what the sink takes: what it does not is ignored by Push, Tell and Flows.
func (r *Runner) Wants() (snapshots, changes, flows bool) {
	return r.pusher != nil, r.teller != nil, r.taker != nil
}

// Every is how often the sink can do with a new snapshot.
func (r *Runner) Every() time.Duration { return r.options.Every }

// Run exports until ctx ends, then what still waits for at most Options.Grace, and closes the sink. Its error is that of closing.
func (r *Runner) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	// The grace runs from the end of ctx on, also while a call is under way.
	defer context.AfterFunc(ctx, func() {
		grace := time.NewTimer(r.options.Grace)
		defer grace.Stop()
		select {
		case <-grace.C:
			cancel()
		case <-work.Done():
		}
	})()

	ended := ctx.Done()
	draining := false
	for work.Err() == nil {
		wait, idle := r.step(work, draining)
		r.report(time.Now(), false)
		if draining && idle {
			break
		}
		var due <-chan time.Time
		if !idle {
			due = time.After(wait)
		}
		select {
		case <-due:
		case <-r.wake:
		case <-work.Done():
		case <-ended:
			ended, draining = nil, true
			// Who is away may be back: the last chance is taken at once.
			r.mu.Lock()
			r.backoff, r.resume = 0, time.Time{}
			r.mu.Unlock()
		}
	}
	r.abandon()
	r.report(time.Now(), true)
	return r.sink.Close()
}
