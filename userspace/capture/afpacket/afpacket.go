// Package afpacket captures by Linux's packet sockets with rings in shared memory (TPACKET_V3), as many as there are workers, without copying a frame again.
package afpacket

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"weir/userspace/traffic"
)

// Fanout is how the kernel spreads an interface's frames over the workers. Its values are PACKET_FANOUT_* of linux/if_packet.h.
type Fanout uint16

const (
	FanoutHash         Fanout = iota // by flow
	FanoutLB                         // one after the other
	FanoutCPU                        // by the CPU that the frame came in on
	FanoutRollover                   // to the next one when one has no room
	FanoutRandom                     // at random
	FanoutQueueMapping               // by the NIC's receive queue
)

var fanoutNames = [...]string{"hash", "lb", "cpu", "rollover", "random", "queue_mapping"}

// String returns the mode's name as the configuration has it.
func (f Fanout) String() string {
	if int(f) < len(fanoutNames) {
		return fanoutNames[f]
	}
	return fmt.Sprintf("fanout(%d)", uint16(f))
}

// Options say what is captured. Only Interface must be set; of Fanout the zero value is FanoutHash.
type Options struct {
	Interface      string
	Workers        int // rings, each with a goroutine; 0: one per CPU
	Fanout         Fanout
	Blocks         int           // of each ring; 0: 64
	BlockSize      int           // bytes, a power of two and at least a page; 0: 1 MiB
	SnapLength     int           // bytes of each frame that the kernel copies to the ring; 0: 256, which is all that Weir looks at
	Filter         []Instruction // frames that it returns 0 for never reach the ring; empty: none does
	KernelSampling uint32        // the kernel passes each frame on with a probability of one in so many; 0 and 1: all
	Promiscuous    bool
	Namespace      *os.File // the network namespace of the interface; nil: the process's own
	Log            *slog.Logger
}

const (
	defaultBlocks     = 64
	defaultBlockSize  = 1 << 20
	defaultSnapLength = 256
	maxWorkers        = 256 // what a fanout group holds before Linux 5.10

	// blockTime is when the kernel hands over a block that is not full.
	blockTime = 10 * time.Millisecond
	wait      = 50 * time.Millisecond  // how long a worker waits for a block before it looks at anything else
	watch     = 200 * time.Millisecond // how often the interface itself is looked at, and looked for while it is gone
)

// withDefaults checks the options and fills in what was left out.
func (o Options) withDefaults() (Options, error) {
	if o.Interface == "" {
		return o, errors.New("open capture: no interface; name one")
	}
	if o.Workers <= 0 {
		o.Workers = runtime.NumCPU()
	}
	o.Workers = min(o.Workers, maxWorkers)
	if o.Fanout > FanoutQueueMapping {
		return o, fmt.Errorf("capture from %s: %s: there is no such fanout mode", o.Interface, o.Fanout)
	}
	if o.Blocks == 0 {
		o.Blocks = defaultBlocks
	}
	if o.BlockSize == 0 {
		o.BlockSize = defaultBlockSize
	}
	if o.Blocks < 2 || o.BlockSize < os.Getpagesize() || o.BlockSize&(o.BlockSize-1) != 0 {
		return o, fmt.Errorf("capture from %s: %d blocks of %d bytes: there must be at least 2, each a power of two and at least a page", o.Interface, o.Blocks, o.BlockSize)
	}
	if o.SnapLength <= 0 {
		o.SnapLength = defaultSnapLength
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Engine captures from one interface by a group of rings.
type Engine struct {
	opts    Options
	log     *slog.Logger
	members []*member
	group   *group // what is open now; of the goroutine of Run alone

	restarts atomic.Uint64
	trouble  atomic.Pointer[string]
}

// member is one worker: what it has counted, and the ring that it is given when the interface is there.
type member struct {
	next     chan source
	received atomic.Uint64
	broken   atomic.Uint64
	lost     atomic.Uint64
}

// source is one ring. All of its methods are for one goroutine.
type source interface {
	// take hands over the frames of the next block that is ready, and reports false when there is none.
	take(see func(*traffic.Frame)) (frames, broken uint64, ok bool)
	// wait returns when a block may be ready, or after d.
	wait(d time.Duration) error
	// drops returns how many frames have found no room since it was asked last.
	drops() (uint64, error)
	close() error
}

// watched is the interface itself.
type watched interface {
	check() error // why it cannot be captured from any more
	close() error // gives back promiscuous mode
}

// group is all rings of an interface, opened together. An interface that goes away takes all of them along.
type group struct {
	sources []source
	watched watched
	using   sync.WaitGroup
	once    sync.Once
	over    chan struct{} // closed when the group is given up
	cause   error         // why; set before over is closed
}

func newGroup() *group { return &group{over: make(chan struct{})} }

// giveUp has all workers leave their rings.
func (g *group) giveUp(cause error) {
	g.once.Do(func() {
		g.cause = cause
		close(g.over)
	})
}

// errDown is the error of an interface that is there and switched off.
var errDown = errors.New("the interface is down")

// Open opens the rings: what arrives from now on waits in them until Run runs. The error names what is missing, and the remedy. An
// interface that is only down is waited for.
func Open(o Options) (*Engine, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{opts: o, log: o.Log.With("component", "afpacket", "interface", o.Interface)}
	for range o.Workers {
		e.members = append(e.members, &member{next: make(chan source, 1)})
	}
	e.group, err = openGroup(&e.opts)
	if errors.Is(err, errDown) {
		e.log.Warn("capture waits", "error", err)
		e.tell(err.Error())
		return e, nil
	}
	if err != nil {
		return nil, fmt.Errorf("capture from %s: %w", o.Interface, err)
	}
	return e, nil
}

// Workers is how many rings are read, each by a goroutine.
func (e *Engine) Workers() int { return len(e.members) }

// Run hands frames over until ctx ends, then closes the rings. handle is called once per worker; what it returns is called for each
// frame, by one goroutine, and must keep nothing of it. idle is called at least ten times a second, by the same goroutine. An
// interface that goes down or away is waited for. Run is to be called once.
func (e *Engine) Run(ctx context.Context, handle func(worker int) func(*traffic.Frame), idle func(worker int, now time.Time)) error {
	var running sync.WaitGroup
	for i, m := range e.members {
		see := handle(i)
		running.Go(func() { e.work(ctx, m, see, func(now time.Time) { idle(i, now) }) })
	}
	e.supervise(ctx)
	running.Wait()
	return e.release()
}

// tell says what is wrong now; nothing when the text is empty.
func (e *Engine) tell(text string) { e.trouble.Store(&text) }

// Stats may be called at any time.
func (e *Engine) Stats() traffic.CaptureStats {
	s := traffic.CaptureStats{Engine: "afpacket", Interface: e.opts.Interface, Mode: "one ring", Workers: len(e.members), Restarts: e.restarts.Load()}
	if len(e.members) > 1 {
		s.Mode = "fanout " + e.opts.Fanout.String()
	}
	for _, m := range e.members {
		s.Received += m.received.Load()
		s.KernelDrop += m.lost.Load()
		s.Dropped += m.broken.Load()
	}
	if t := e.trouble.Load(); t != nil {
		s.Error = *t
	}
	return s
}
