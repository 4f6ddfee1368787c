package afxdp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"weir/userspace/traffic"
)

// worker reads some of the queues, by turns, in one goroutine. What is not atomic is that goroutine's alone.
type worker struct {
	engine   *Engine
	number   int
	inlets   []*inlet
	polled   []unix.PollFd // one for each open socket; empty: to be made anew
	received atomic.Uint64
	broken   atomic.Uint64
	lost     atomic.Uint64
	refused  atomic.Uint64
	trouble  atomic.Pointer[string]
	away     bool // it has lost its interface, and has not all of its queues again
}

// inlet is one queue.
type inlet struct {
	queue         int
	socket        *socket   // nil while the interface is away
	retryAt       time.Time // not before then is it opened again
	lost, refused uint64    // as the socket said last
}

// run reads the worker's queues until ctx ends, and opens those again whose interface went away.
func (w *worker) run(ctx context.Context, see func(*traffic.Frame), idle func(time.Time)) {
	var last, looked time.Time
	for ctx.Err() == nil {
		w.wait(ctx)
		now := time.Now()
		for _, i := range w.inlets {
			if i.socket != nil && i.socket.reader.ready() {
				w.take(i, now, see)
			}
		}
		if now.Sub(last) < wait {
			continue
		}
		last = now
		for _, i := range w.inlets {
			w.check(i, now)
		}
		if now.Sub(looked) >= retry {
			looked = now
			w.look()
		}
		w.reopen(now)
		idle(now)
	}
	for _, i := range w.inlets {
		w.count(i)
	}
}

// wait waits until one of the queues has a frame, at most for as long as idle allows.
func (w *worker) wait(ctx context.Context) {
	if slices.ContainsFunc(w.inlets, func(i *inlet) bool { return i.socket != nil && i.socket.reader.ready() }) {
		return
	}
	if len(w.polled) == 0 {
		for _, i := range w.inlets {
			if i.socket != nil {
				w.polled = append(w.polled, unix.PollFd{Fd: int32(i.socket.fd), Events: unix.POLLIN})
			}
		}
	}
	if len(w.polled) > 0 {
		if _, err := unix.Poll(w.polled, int(wait.Milliseconds())); err == nil || errors.Is(err, unix.EINTR) {
			return
		}
	}
	// Without a socket, or when the kernel cannot wait for them all.
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (w *worker) take(i *inlet, now time.Time, see func(*traffic.Frame)) {
	frames, broken := i.socket.reader.take(now.UnixNano(), see)
	w.received.Add(frames)
	w.broken.Add(broken)
	if err := i.socket.wake(); err != nil {
		w.lose(i, err, now)
	}
}

// check takes over what the kernel has counted for a queue, and finds out whether its interface is still there.
func (w *worker) check(i *inlet, now time.Time) {
	w.count(i)
	if i.socket == nil {
		return
	}
	if err := i.socket.check(); err != nil {
		w.lose(i, err, now)
	}
}

// count takes over what the kernel has counted.
func (w *worker) count(i *inlet) {
	if i.socket == nil {
		return
	}
	lost, refused, err := i.socket.drops()
	if err != nil {
		w.tell(err.Error())
		return
	}
	w.lost.Add(lost - i.lost)
	w.refused.Add(refused - i.refused)
	i.lost, i.refused = lost, refused
}

// tell says what is wrong now; nothing when the text is empty.
func (w *worker) tell(text string) { w.trouble.Store(&text) }

// lose gives a socket up whose interface is gone. The first worker to notice speaks for all.
func (w *worker) lose(i *inlet, err error, now time.Time) {
	e := w.engine
	w.count(i)
	w.tell(e.explain(err).Error())
	if !w.away {
		if w.away = true; e.away.Add(1) == 1 {
			e.log.Warn("capture interrupted", "error", err)
		}
	}
	if err := w.close(i); err != nil {
		e.log.Warn("capture cannot be closed", "error", err)
	}
	i.retryAt = now.Add(retry)
}

func (w *worker) close(i *inlet) error {
	if i.socket == nil {
		return nil
	}
	s := i.socket
	i.socket, i.lost, i.refused, w.polled = nil, 0, 0, nil
	return s.close()
}

// look finds out whether the interface has other queues than before, and takes its share of them. Frames on a queue that nobody reads
// would go to the network stack uncounted.
func (w *worker) look() {
	e := w.engine
	if !e.all {
		return
	}
	if w.number == 0 {
		n, err := e.countQueues()
		if before := e.queues.Load(); err == nil && int32(n) != before { // an interface that is away is told of by its queues
			e.queues.Store(int32(n))
			e.log.Info("the interface has another number of queues", "before", before, "now", n)
			if err := e.attachment.renew(); err != nil {
				e.log.Warn("new queues may be without program", "error", err)
			}
		}
	}
	n := int(e.queues.Load())
	w.inlets = slices.DeleteFunc(w.inlets, func(i *inlet) bool { return i.queue >= n && i.socket == nil })
	for q := w.number; q < n; q += len(e.workers) {
		if !slices.ContainsFunc(w.inlets, func(i *inlet) bool { return i.queue == q }) {
			w.inlets = append(w.inlets, &inlet{queue: q})
		}
	}
}

// reopen opens the queues that are due.
func (w *worker) reopen(now time.Time) {
	e, closed := w.engine, 0
	for _, i := range w.inlets {
		if i.socket != nil {
			continue
		}
		closed++
		if now.Before(i.retryAt) {
			continue
		}
		if err := within(e.opts.Namespace, func() error { return e.openInlet(i, 0) }); err != nil {
			w.tell(e.explain(err).Error())
			i.retryAt = now.Add(retry)
			continue
		}
		closed--
		w.polled = nil
	}
	if closed == 0 && w.away {
		if w.away = false; e.away.Add(-1) == 0 { // the last one to be back
			e.restarts.Add(1)
			e.log.Info("capture goes on", "mode", *e.mode.Load())
		}
	}
	if t := w.trouble.Load(); closed == 0 && t != nil && *t != "" {
		w.tell("")
	}
}

// countQueues counts the queues that the interface has now.
func (e *Engine) countQueues() (n int, err error) {
	err = within(e.opts.Namespace, func() error {
		device, err := net.InterfaceByName(e.opts.Interface)
		if err != nil {
			return fmt.Errorf("%w: %w", errMissing, err)
		}
		n, _, err = queues(device.Name)
		return err
	})
	return n, err
}
