// Package plugin runs external programs that bring packets and flow records, are told of attacks and traffic, detect, or mitigate.
//
// Each program gets a Unix socket of its own, named by the environment variable WEIR_PLUGIN_SOCKET, on which Weir serves pluginpb/plugin.proto;
// it is started again when it ends, hangs or says nothing. Its standard input stays open and silent for as long as Weir lives, so that
// a program that reads it learns of Weir's end however that comes.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"weir/userspace/traffic"
)

// Callbacks are where a plug-in's data goes. They are called by several goroutines at once, and nothing they are handed may be kept after they return.
// One that blocks holds up the plug-in that has called, and nobody else.
type Callbacks struct {
	Flows   func([]traffic.Flow)            // needed for KindSource
	Frames  func([]traffic.Frame)           // needed for KindSource
	Detect  func(Detection) error           // needed for KindDetector; its error is told to the plug-in. Not called for two detections at once
	Applied func(number uint64, _ []Result) // needed for KindMitigator; number is that of SetBans
}

// Result is what became of one ban at a mitigator.
type Result struct {
	AttackID string
	InForce  bool
	Message  string // why not, or what was done; may be empty
}

// Plugin is one external program. Its methods but Run may be called by any goroutine at any time.
//
// It is a sink for export.Runner, with Push, Tell and Close: what waits for a slow program waits in its Runner's queues, and is lost from those.
type Plugin struct {
	options   Options
	callbacks Callbacks
	log       *slog.Logger
	output    *lines

	changes   *changes
	snapshots mailbox[traffic.Snapshot]
	bans      mailbox[banSet]
	banNumber sync.Mutex // orders SetBans
	book      *book
	rates     *rates
	calls     chan struct{} // one token for each call that may be under way
	ended     chan struct{} // closed when calls that wait are to return
	endOnce   sync.Once

	mu      sync.Mutex
	session *session // of the running program; nil: there is none
	stats   Stats
}

// session is what is known of the program since it was started.
type session struct {
	kinds   [kindCount]bool // what Hello has named
	hello   bool
	alive   time.Duration // it begins a call at least so often; 0: it has not said so
	last    time.Time     // the last call began
	greeted chan struct{} // closed by the first Hello
}

// New checks the options. Nothing happens before Run.
func New(o Options, c Callbacks, log *slog.Logger) (*Plugin, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("use plug-in %q: %w", o.Name, err)
	}
	if err := c.check(&o); err != nil {
		return nil, fmt.Errorf("use plug-in %q: %w", o.Name, err)
	}
	log = log.With("component", "plugin", "plugin", o.Name)
	p := &Plugin{
		options: o, callbacks: c, log: log,
		output:  newLines(log, o.Limits.Lines),
		changes: newChanges(o.Limits.Changes), book: newBook(o.Limits.Detections, o.Limits.Repeat),
		calls: make(chan struct{}, o.Limits.Calls), ended: make(chan struct{}),
	}
	p.rates = newRates(&p.options.Limits)
	return p, nil
}

// check names the first function that is missing.
func (c *Callbacks) check(o *Options) error {
	for _, f := range []struct {
		kind Kind
		name string
		set  bool
	}{
		{KindSource, "Flows", c.Flows != nil}, {KindSource, "Frames", c.Frames != nil},
		{KindDetector, "Detect", c.Detect != nil}, {KindMitigator, "Applied", c.Applied != nil},
	} {
		if o.may(f.kind) && !f.set {
			return fmt.Errorf("a %s needs the function %s", f.kind, f.name)
		}
	}
	return nil
}

// Run serves the socket and keeps the program running until ctx ends; then it asks the program and all that it has started to end, and kills
// what is left after Limits.Grace. The program's failures are no error of Run: those are counted and logged. Run may be called once.
func (p *Plugin) Run(ctx context.Context) error {
	defer p.end()
	listener, err := p.listen()
	if err != nil {
		return fmt.Errorf("run plug-in %q: %w", p.options.Name, err)
	}
	server := newServer(p)
	served := make(chan error, 1)
	go func() { served <- server.serve(ctx, listener) }()
	var sweeping sync.WaitGroup
	sweep, stop := context.WithCancel(context.WithoutCancel(ctx))
	sweeping.Go(func() { p.sweep(sweep) })

	supervised, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.supervise(supervised)
	}()
	select {
	case <-done: // ctx has ended
	case err = <-served: // nobody would answer the program any more
		served <- nil
	}
	cancel()
	<-done
	p.end()
	stop()
	sweeping.Wait()
	err = errors.Join(err, server.close(), <-served)
	if err != nil {
		return fmt.Errorf("run plug-in %q: %w", p.options.Name, err)
	}
	return nil
}

// end lets calls that wait return, and has what is told from now on refused.
func (p *Plugin) end() {
	p.endOnce.Do(func() { close(p.ended) })
	p.changes.close()
}

// sweep ends detections that are not repeated.
func (p *Plugin) sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			p.expire(now, false)
		case <-ctx.Done():
			p.expire(time.Now(), true) // the plug-in is gone for good
			return
		}
	}
}

// sweepEvery is how often detections are looked at that nobody has repeated.
const sweepEvery = time.Second

// Push has the newest snapshot sent to whoever asks for it next, and drops the one before. It never waits.
func (p *Plugin) Push(_ context.Context, s *traffic.Snapshot) error {
	p.snapshots.put(s)
	return nil
}

// Tell puts changes where the program fetches them, and waits while there is no room because it does not. The error has a method Unsent,
// that says how many of the last found none until ctx ended.
func (p *Plugin) Tell(ctx context.Context, changes []traffic.Change) error {
	if left := p.changes.add(ctx, changes); left > 0 {
		return &unsentError{name: p.options.Name, left: left}
	}
	return nil
}

// unsentError says how many changes a program has left no room for.
type unsentError struct {
	name string
	left int
}

func (e *unsentError) Error() string {
	return fmt.Sprintf("tell plug-in %q: it does not fetch what waits for it", e.name)
}

// Unsent is how many of the changes, the last ones, were not taken.
func (e *unsentError) Unsent() int { return e.left }

// Close is there for export.Runner; it is Run's end that closes a plug-in.
func (p *Plugin) Close() error { return nil }

// SetBans says which bans are in force. It never waits, and keeps nothing of the slice. A set that says nothing new is not sent.
func (p *Plugin) SetBans(records []traffic.Record) {
	set := bansOut(records)
	p.banNumber.Lock()
	defer p.banNumber.Unlock()
	if before, _, _ := p.bans.get(); before == nil || !before.equal(set) {
		p.bans.put(set)
	}
}
