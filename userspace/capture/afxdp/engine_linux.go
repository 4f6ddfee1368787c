package afxdp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
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

// Engine captures from the receive queues of one interface, each by a socket that is read in a goroutine of its own.
type Engine struct {
	opts       Options
	log        *slog.Logger
	attachment *attachment
	members    []*member
	mode       atomic.Pointer[string]
	restarts   atomic.Uint64
}

// member is one queue and who reads it.
type member struct {
	queue    int
	socket   *socket // nil while the interface is away
	received atomic.Uint64
	broken   atomic.Uint64
	lost     atomic.Uint64 // of sockets before the one in use
	refused  atomic.Uint64
	losing   atomic.Uint64 // of the one in use
	refusing atomic.Uint64
	trouble  atomic.Pointer[string]
}

// Open attaches the program: from then on the frames of its queues go to Weir, and no more to the network stack. The error names
// what is missing, and the remedy.
func Open(o Options) (*Engine, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	e := &Engine{opts: o, log: o.Log.With("component", "afxdp", "interface", o.Interface)}
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, e.explain(err)
	}
	if err := within(o.Namespace, e.open); err != nil {
		return nil, errors.Join(e.explain(err), e.close())
	}
	e.log.Warn("AF_XDP has taken the interface: the network stack of this machine sees nothing of these queues any more", "queues", len(e.members), "mode", *e.mode.Load())
	return e, nil
}

// open opens all queues in the calling thread's namespace.
func (e *Engine) open() error {
	if len(e.opts.Queues) == 0 {
		device, err := net.InterfaceByName(e.opts.Interface)
		if err != nil {
			return fmt.Errorf("%w: %w", errMissing, err)
		}
		n, err := queues(device)
		if err != nil {
			return err
		}
		for i := range n {
			e.opts.Queues = append(e.opts.Queues, i)
		}
	}
	e.attachment = &attachment{opts: &e.opts, member: -1}
	for _, q := range e.opts.Queues {
		m := &member{queue: q}
		e.members = append(e.members, m)
		var err error
		if m.socket, err = openHere(&e.opts, e.attachment, q, patience); err != nil {
			return err
		}
		e.mode.Store(&m.socket.mode)
	}
	return nil
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

// Workers is how many queues are read, each by a goroutine.
func (e *Engine) Workers() int { return len(e.members) }

// Run hands frames over until ctx ends, then detaches the program. handle is called once per worker; what it returns is called for
// each frame, by one goroutine. The same goroutine calls idle at least ten times a second. An interface that goes away is waited for.
func (e *Engine) Run(ctx context.Context, handle func(worker int) func(*traffic.Frame), idle func(worker int, now time.Time)) error {
	var running sync.WaitGroup
	for i, m := range e.members {
		see := handle(i)
		running.Go(func() { e.follow(ctx, m, see, func(now time.Time) { idle(i, now) }) })
	}
	running.Wait()
	return e.close()
}

// follow reads one queue, and opens it again when the interface went away.
func (e *Engine) follow(ctx context.Context, m *member, see func(*traffic.Frame), idle func(time.Time)) {
	var last time.Time
	for ctx.Err() == nil {
		if m.socket == nil && !e.reopen(ctx, m, idle) {
			continue
		}
		err := m.socket.wait(wait)
		now := time.Now()
		if err == nil && m.socket.reader.ready() {
			frames, broken := m.socket.reader.take(now.UnixNano(), see)
			m.received.Add(frames)
			m.broken.Add(broken)
			err = m.socket.wake()
		}
		if err != nil {
			e.lose(m, err)
			continue
		}
		if now.Sub(last) >= wait {
			last = now
			m.count()
			idle(now)
		}
	}
	if m.socket != nil {
		m.count()
	}
}

// count takes over what the kernel has counted.
func (m *member) count() {
	lost, refused, err := m.socket.drops()
	if err != nil {
		m.tell(err.Error())
		return
	}
	m.losing.Store(lost)
	m.refusing.Store(refused)
}

// tell says what is wrong now; nothing when the text is empty.
func (m *member) tell(text string) { m.trouble.Store(&text) }

// lose gives a socket up whose interface is gone. The first worker speaks for all.
func (e *Engine) lose(m *member, err error) {
	m.count()
	m.lost.Add(m.losing.Swap(0))
	m.refused.Add(m.refusing.Swap(0))
	m.tell(e.explain(err).Error())
	if m == e.members[0] {
		e.log.Warn("capture interrupted", "error", err)
	}
	if err := m.socket.close(); err != nil {
		e.log.Warn("capture cannot be closed", "error", err)
	}
	m.socket = nil
}

// reopen waits a while and opens the queue again.
func (e *Engine) reopen(ctx context.Context, m *member, idle func(time.Time)) bool {
	ticks := time.NewTicker(wait)
	defer ticks.Stop()
	for began := time.Now(); time.Since(began) < retry; {
		select {
		case <-ctx.Done():
			return false
		case now := <-ticks.C:
			idle(now)
		}
	}
	if err := within(e.opts.Namespace, func() (err error) {
		m.socket, err = openHere(&e.opts, e.attachment, m.queue, 0)
		return err
	}); err != nil {
		m.tell(e.explain(err).Error())
		return false
	}
	e.mode.Store(&m.socket.mode)
	m.tell("")
	if m == e.members[0] {
		e.restarts.Add(1)
		e.log.Info("capture goes on")
	}
	return true
}

func (e *Engine) close() error {
	var errs []error
	for _, m := range e.members {
		if m.socket != nil {
			errs = append(errs, m.socket.close())
			m.socket = nil
		}
	}
	return errors.Join(errs...)
}

// Stats may be called at any time. What a NIC drops before the kernel sees it, with zero copy, is its driver's to tell (ethtool -S).
func (e *Engine) Stats() traffic.CaptureStats {
	s := traffic.CaptureStats{Engine: "afxdp", Interface: e.opts.Interface, Workers: len(e.members), Restarts: e.restarts.Load()}
	if mode := e.mode.Load(); mode != nil {
		s.Mode = *mode
	}
	for _, m := range e.members {
		s.Received += m.received.Load()
		s.KernelDrop += m.lost.Load() + m.losing.Load()
		s.Dropped += m.broken.Load() + m.refused.Load() + m.refusing.Load()
		if t := m.trouble.Load(); t != nil && s.Error == "" {
			s.Error = *t
		}
	}
	return s
}
