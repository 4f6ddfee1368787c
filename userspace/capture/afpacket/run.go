package afpacket

import (
	"context"
	"errors"
	"time"

	"weir/userspace/traffic"
)

// work reads the rings that the worker is given, one after the other, until no more can come: a ring that was given is always closed.
func (e *Engine) work(ctx context.Context, m *member, see func(*traffic.Frame), idle func(time.Time)) {
	ticks := time.NewTicker(wait)
	defer ticks.Stop()
	for {
		select {
		case s, ok := <-m.next:
			if !ok {
				return
			}
			e.follow(ctx, m, s, see, idle)
		case now := <-ticks.C:
			idle(now)
		}
	}
}

// follow reads one ring until ctx ends or the group is given up, and closes it.
func (e *Engine) follow(ctx context.Context, m *member, s source, see func(*traffic.Frame), idle func(time.Time)) {
	g := e.group
	defer g.using.Done()
	var last time.Time
	for ctx.Err() == nil && !g.isOver() {
		more := m.take(s, see)
		if now := time.Now(); now.Sub(last) >= wait {
			last = now
			e.count(m, s)
			idle(now)
		}
		if more {
			continue
		}
		if err := s.wait(wait); err != nil {
			g.giveUp(err)
		}
	}
	if ctx.Err() == nil {
		e.drain(m, s, see)
	}
	e.count(m, s)
	if err := s.close(); err != nil {
		e.log.Warn("ring cannot be closed", "error", err)
	}
}

// drain takes what came before the interface went: the kernel hands its last block over when the block's time has passed.
func (e *Engine) drain(m *member, s source, see func(*traffic.Frame)) {
	for m.take(s, see) {
	}
	if s.wait(2*blockTime) == nil {
		for m.take(s, see) {
		}
	}
}

func (m *member) take(s source, see func(*traffic.Frame)) bool {
	frames, broken, ok := s.take(see)
	m.received.Add(frames)
	m.broken.Add(broken)
	return ok
}

// count takes over what the kernel has counted.
func (e *Engine) count(m *member, s source) {
	n, err := s.drops()
	if err != nil {
		e.tell(err.Error())
		return
	}
	m.lost.Add(n)
}

func (g *group) isOver() bool {
	select {
	case <-g.over:
		return true
	default:
		return false
	}
}

// supervise gives the workers their rings, and opens new ones when the interface comes back from where it has gone.
func (e *Engine) supervise(ctx context.Context) {
	ticks := time.NewTicker(watch)
	defer ticks.Stop()
	for ctx.Err() == nil {
		if e.group != nil {
			e.hand()
			e.guard(ctx, ticks.C)
			continue
		}
		select {
		case <-ctx.Done():
		case <-ticks.C:
			e.reopen()
		}
	}
	for _, m := range e.members {
		close(m.next)
	}
}

// hand gives each worker its ring.
func (e *Engine) hand() {
	e.group.using.Add(len(e.members))
	for i, m := range e.members {
		m.next <- e.group.sources[i]
	}
	e.group.sources = nil
}

// guard looks after the interface until it is gone, and then waits for the workers to leave their rings.
func (e *Engine) guard(ctx context.Context, ticks <-chan time.Time) {
	g := e.group
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
			if err := g.watched.check(); err != nil {
				g.giveUp(err)
			}
		case <-g.over:
			e.log.Warn("capture interrupted", "error", g.cause)
			e.tell(g.cause.Error())
			g.using.Wait()
			if err := g.watched.close(); err != nil {
				e.log.Warn("capture cannot be closed", "error", err)
			}
			e.group = nil
			return
		}
	}
}

func (e *Engine) reopen() {
	g, err := openGroup(&e.opts)
	if err != nil {
		e.tell(err.Error())
		return
	}
	e.group = g
	e.restarts.Add(1)
	e.tell("")
	e.log.Info("capture goes on")
}

// release closes what is left when no goroutine runs any more.
func (e *Engine) release() error {
	g := e.group
	if g == nil {
		return nil
	}
	errs := []error{g.watched.close()}
	for _, s := range g.sources {
		errs = append(errs, s.close())
	}
	e.group = nil
	return errors.Join(errs...)
}
