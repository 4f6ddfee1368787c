// Package notify calls the operator's script about bans, by the contract that FastNetMon's scripts are written for.
//
// The script is run as `SCRIPT SUBJECT DIRECTION PPS ACTION`: the address (or prefix, or hostgroup name), incoming or outgoing, the packets per second
// when the ban began, and ban, attack_details or unban. On its standard input it gets a text for ban and attack_details, see Report, and nothing for unban.
//
// Three things differ from FastNetMon on purpose. IPv6 addresses are written as RFC 5952 has them, not with zero-padded groups. The script is run directly,
// not by a shell: its path may hold any character and carries no arguments. The calls about one target come in order, each when the one before is over.
// Beside the arguments the script finds WEIR_ATTACK_ID, WEIR_SCOPE, WEIR_HOSTGROUP and WEIR_DRY_RUN (1 or 0) in its environment.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"weir/userspace/traffic"
)

// The actions, in FastNetMon's words.
const (
	ActionBan     = "ban"
	ActionDetails = "attack_details"
	ActionUnban   = "unban"
)

// What an Options' zero fields stand for.
const (
	DefaultTimeout     = 30 * time.Second
	DefaultQueue       = 1024
	DefaultConcurrency = 8
	DefaultGrace       = 5 * time.Second
)

// Options says which script is called, and how.
type Options struct {
	Path        string        // absolute
	Timeout     time.Duration // then the script and all it has started are killed
	Queue       int           // calls that wait; "unban" may fill as much again, so that no ban is left standing for want of room
	Concurrency int           // scripts that run at a time
	Grace       time.Duration // how long the waiting and running ones have at shutdown
}

// Notification is one call of the script.
type Notification struct {
	Action  string
	Record  traffic.Record
	Packets []Packet // for ActionBan and ActionDetails, where there are any
}

// Notifier calls the script. Its methods may be called by any goroutine.
type Notifier struct {
	options Options
	log     *logger
	ready   chan *lane // lanes with a call to make and none being made; never full

	mu     sync.Mutex
	lanes  map[laneKey]*lane
	queued int
	closed bool

	stats counters
}

// laneKey tells apart what must stay in order.
type laneKey struct {
	subject   string
	direction traffic.Direction
}

// lane is the calls about one target, in order.
type lane struct {
	key     laneKey
	waiting []Notification
}

// New returns a Notifier that calls nothing before Run. That the script exists is not asked now: it may be put there while the daemon runs.
func New(o Options, log *slog.Logger) (*Notifier, error) {
	if !filepath.IsAbs(o.Path) {
		return nil, fmt.Errorf("use notify script %q: not an absolute path; give it from the root, and without arguments", o.Path)
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Queue <= 0 {
		o.Queue = DefaultQueue
	}
	if o.Concurrency <= 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.Grace <= 0 {
		o.Grace = DefaultGrace
	}
	return &Notifier{
		options: o,
		log:     newLogger(log.With("component", "notify", "script", o.Path)),
		ready:   make(chan *lane, 2*o.Queue),
		lanes:   map[laneKey]*lane{},
	}, nil
}

// Notify queues a call and returns at once. It reports false, and counts and logs it, when there is no room or the Notifier has stopped.
func (n *Notifier) Notify(c Notification) bool {
	if n.enqueue(c) {
		return true
	}
	n.stats.rejected.Add(1)
	n.log.bounded().Warn("notify script not called: queue full or closed", "subject", Subject(c.Record.Attack.Target), "action", c.Action)
	return false
}

func (n *Notifier) enqueue(c Notification) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	limit := n.options.Queue
	if c.Action == ActionUnban {
		limit *= 2
	}
	if n.closed || n.queued >= limit {
		return false
	}
	n.queued++
	k := laneKey{Subject(c.Record.Attack.Target), c.Record.Attack.Target.Direction}
	l := n.lanes[k]
	if l == nil {
		l = &lane{key: k}
		n.lanes[k] = l
		n.ready <- l
	}
	// A lane that was there already has a call waiting, and is in ready, or one being made, after which it is put back.
	l.waiting = append(l.waiting, c)
	return true
}

// Run makes the calls until ctx ends. Then those waiting and running have Options.Grace; what is left is killed or dropped, and counted.
func (n *Notifier) Run(ctx context.Context) error {
	work, kill := context.WithCancelCause(context.WithoutCancel(ctx))
	defer kill(nil)
	var workers sync.WaitGroup
	for range n.options.Concurrency {
		workers.Go(func() { n.serve(ctx, work) })
	}
	done := make(chan struct{})
	go func() {
		workers.Wait()
		close(done)
	}()
	<-ctx.Done()
	deadline := time.NewTimer(n.options.Grace)
	defer deadline.Stop()
	select {
	case <-done:
	case <-deadline.C:
		kill(errShutdown)
		<-done
	}
	n.discard()
	return nil
}

// errShutdown is why a call was ended when the daemon stops.
var errShutdown = errors.New("shutdown")

// serve makes calls until ctx has ended and no more are waiting, or work has ended.
func (n *Notifier) serve(ctx, work context.Context) {
	for {
		select {
		case l := <-n.ready:
			n.next(work, l)
			continue
		default:
		}
		select {
		case l := <-n.ready:
			n.next(work, l)
		case <-ctx.Done():
			// A call may still wait behind one that another worker makes; that worker takes it.
			select {
			case l := <-n.ready:
				n.next(work, l)
				continue
			default:
				return
			}
		}
	}
}

// next makes the lane's first call and puts the lane back if there are more.
func (n *Notifier) next(work context.Context, l *lane) {
	n.mu.Lock()
	if work.Err() != nil {
		n.mu.Unlock()
		return // left for discard
	}
	c := l.waiting[0]
	l.waiting = l.waiting[1:]
	n.queued--
	n.mu.Unlock()

	n.call(work, c)

	n.mu.Lock()
	defer n.mu.Unlock()
	if len(l.waiting) > 0 {
		n.ready <- l
	} else {
		delete(n.lanes, l.key)
	}
}

// discard drops what is still waiting when the Notifier stops.
func (n *Notifier) discard() {
	n.mu.Lock()
	left := n.queued
	n.closed, n.queued = true, 0
	clear(n.lanes)
	n.mu.Unlock()
	if left > 0 {
		n.stats.rejected.Add(uint64(left))
		n.log.bounded().Warn("notify script not called: shutdown", "queued", left)
	}
}
