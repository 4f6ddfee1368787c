package afxdp

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

	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"weir/userspace/traffic"
)

const (
	wait     = 50 * time.Millisecond // half of what may pass between two calls of idle
	retry    = time.Second           // how long after an interface went away it is looked for again
	patience = time.Second           // how long Open waits for a queue that somebody has just left
)

var (
	errMissing = errors.New("there is no such interface; `ip link` lists those that there are")
	errDown    = errors.New("the interface is down; bring it up by `ip link set INTERFACE up`")
)

const (
	permissionRemedy = "run as root or give the capabilities CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF"
	busyRemedy       = "another XDP program or AF_XDP socket has the interface: `ip link set INTERFACE xdp off` takes a program away"
	memoryRemedy     = "take fewer frames or queues, or raise the limit of locked memory (ulimit -l)"
	driverRemedy     = "the driver may be unable to do that: take mode auto and zero copy auto, and queues that the interface has (`ethtool -l`)"
)

// Engine captures from the receive queues of one interface, each by a socket of its own.
type Engine struct {
	opts       Options
	log        *slog.Logger
	all        bool // queues, however many there are
	queues     atomic.Int32
	attachment *attachment
	workers    []*worker
	mode       atomic.Pointer[string]
	restarts   atomic.Uint64
	away       atomic.Int32 // workers that have lost the interface
}

// Open attaches the program: from then on the frames of its queues go to Weir, and no more to the network stack. An interface that is
// only down is waited for. The error names what is missing, and the remedy.
func Open(o Options) (*Engine, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	e := &Engine{opts: o, log: o.Log.With("component", "afxdp", "interface", o.Interface), all: len(o.Queues) == 0}
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, e.explain(err)
	}
	if err := e.plan(); err != nil {
		return nil, e.explain(err)
	}
	err := within(o.Namespace, e.open)
	if err == nil {
		e.log.Warn("AF_XDP has taken the interface: the network stack of this machine sees nothing of these queues any more", "queues", e.queues.Load(), "mode", *e.mode.Load())
		return e, nil
	}
	if closing := e.close(); closing != nil || !errors.Is(err, errDown) {
		return nil, errors.Join(e.explain(err), closing)
	}
	e.log.Warn("capture waits", "error", err)
	for _, w := range e.workers {
		w.tell(e.explain(err).Error())
		w.away = true
		e.away.Add(1)
	}
	return e, nil
}

// plan gives each worker its queues.
func (e *Engine) plan() error {
	numbers := e.opts.Queues
	if e.all {
		n, err := e.countQueues()
		if err != nil {
			return err
		}
		for q := range n {
			numbers = append(numbers, q)
		}
	}
	e.queues.Store(int32(len(numbers)))
	e.attachment = &attachment{opts: &e.opts, member: -1}
	count := len(numbers)
	if e.opts.Workers > 0 {
		count = min(count, e.opts.Workers)
	}
	for n := range count {
		e.workers = append(e.workers, &worker{engine: e, number: n})
	}
	for at, q := range numbers {
		w := e.workers[at%count]
		w.inlets = append(w.inlets, &inlet{queue: q})
	}
	return nil
}

// open opens all queues in the calling thread's namespace.
func (e *Engine) open() error {
	for _, w := range e.workers {
		for _, i := range w.inlets {
			if err := e.openInlet(i, patience); err != nil {
				return err
			}
		}
	}
	return nil
}

// openInlet opens a queue in the calling thread's namespace.
func (e *Engine) openInlet(i *inlet, patience time.Duration) (err error) {
	if i.socket, err = openHere(&e.opts, e.attachment, i.queue, patience); err == nil {
		e.mode.Store(&i.socket.mode)
	}
	return err
}

// within runs f in a network namespace; nil is the process's own.
func within(namespace *os.File, f func() error) (err error) {
	if namespace == nil {
		return f()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and with it its namespace
		if err = unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter network namespace: %w", err)
			return
		}
		err = f()
	}()
	<-done
	return err
}

func (e *Engine) explain(err error) error {
	err = fmt.Errorf("capture from %s: %w", e.opts.Interface, err)
	for _, known := range []struct {
		remedy string
		causes []error
	}{
		{permissionRemedy, []error{os.ErrPermission}},
		{busyRemedy, []error{unix.EBUSY, unix.EEXIST}},
		{memoryRemedy, []error{unix.ENOMEM, unix.ENOBUFS}},
		{driverRemedy, []error{unix.EINVAL, unix.EOPNOTSUPP, unix.ERANGE, unix.EPROTONOSUPPORT}},
	} {
		for _, cause := range known.causes {
			if errors.Is(err, cause) {
				return fmt.Errorf("%w; %s", err, known.remedy)
			}
		}
	}
	return err
}

// Workers is how many goroutines hand frames over.
func (e *Engine) Workers() int { return len(e.workers) }

// Run hands frames over until ctx ends, then detaches the program. handle is called once per worker; what it returns is called for
// each frame, by one goroutine. The same goroutine calls idle at least ten times a second. An interface that goes away is waited for.
func (e *Engine) Run(ctx context.Context, handle func(worker int) func(*traffic.Frame), idle func(worker int, now time.Time)) error {
	var running sync.WaitGroup
	for n, w := range e.workers {
		see := handle(n)
		running.Go(func() { w.run(ctx, see, func(now time.Time) { idle(n, now) }) })
	}
	running.Wait()
	return e.close()
}

func (e *Engine) close() error {
	var errs []error
	for _, w := range e.workers {
		for _, i := range w.inlets {
			errs = append(errs, w.close(i))
		}
	}
	return errors.Join(errs...)
}

// Stats may be called at any time. What a NIC drops before the kernel sees it, with zero copy, is its driver's to tell (ethtool -S).
func (e *Engine) Stats() traffic.CaptureStats {
	s := traffic.CaptureStats{Engine: "afxdp", Interface: e.opts.Interface, Workers: len(e.workers), Restarts: e.restarts.Load()}
	if mode := e.mode.Load(); mode != nil {
		s.Mode = *mode
	}
	for _, w := range e.workers {
		s.Received += w.received.Load()
		s.KernelDrop += w.lost.Load()
		s.Dropped += w.broken.Load() + w.refused.Load()
		if t := w.trouble.Load(); t != nil && s.Error == "" {
			s.Error = *t
		}
	}
	return s
}
