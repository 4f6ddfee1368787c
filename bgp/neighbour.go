package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const dialTimeout = 5 * time.Second

// neighbour is one peer within the child: it finds a connection, serves it, and finds the next.
type neighbour struct {
	config   *Config
	peer     *Peer
	engine   *engine
	log      *slog.Logger
	changed  func() // told after every change of the state
	incoming chan *net.TCPConn
	applier  *applier

	mu    sync.Mutex
	state PeerState
	cold  bool // no session since the child was started
}

func newNeighbour(ctx context.Context, c *Config, p *Peer, log *slog.Logger, changed func()) (*neighbour, error) {
	log = log.With("peer", p.Name)
	e, err := startEngine(ctx, c, p, log)
	if err != nil {
		return nil, fmt.Errorf("peer %s: %w", p.Name, err)
	}
	n := &neighbour{
		config: c, peer: p, engine: e, log: log, changed: changed, incoming: make(chan *net.TCPConn, 1), cold: true,
		state: PeerState{Session: Idle, Since: time.Now()},
	}
	n.applier = newApplier(e, changed)
	return n, nil
}

// accept takes over a connection that the peer has made.
func (n *neighbour) accept(conn *net.TCPConn) {
	select {
	case n.incoming <- conn:
	default:
		_ = conn.Close() // one is waiting already
	}
}

// run serves the peer until ctx ends.
func (n *neighbour) run(ctx context.Context) {
	var conn *net.TCPConn
	for delay := time.Duration(0); ; delay = n.retry() {
		if conn == nil {
			conn = n.connection(ctx, delay)
		}
		if conn == nil {
			return
		}
		conn = n.serve(ctx, conn)
	}
}

// retry is how long to wait before the next attempt: not the same for all speakers of a network that starts up.
func (n *neighbour) retry() time.Duration {
	return time.Duration((0.75 + rand.Float64()/2) * float64(n.peer.ConnectRetry))
}

// connection returns the next connection with the peer, whoever makes it, or nil when ctx ends.
func (n *neighbour) connection(ctx context.Context, delay time.Duration) *net.TCPConn {
	for ; ; delay = n.retry() {
		n.enter(Active)
		var due <-chan time.Time
		if !n.peer.Passive {
			due = time.After(delay)
		}
		select {
		case <-ctx.Done():
			return nil
		case conn := <-n.incoming:
			if n.prepare(conn) {
				return conn
			}
		case <-due:
			if conn := n.dial(ctx); conn != nil {
				return conn
			}
		}
	}
}

// prepare sets the options of a connection that the peer has made.
func (n *neighbour) prepare(conn *net.TCPConn) bool {
	raw, err := conn.SyscallConn()
	if err == nil {
		err = setPeerOptions(raw, n.peer, n.config.AS)
	}
	if err != nil {
		n.fail(errors.Join(fmt.Errorf("take connection: %w", err), conn.Close()))
	}
	return err == nil
}

// dial connects to the peer, unless the peer connects meanwhile.
func (n *neighbour) dial(ctx context.Context) *net.TCPConn {
	n.enter(Connect)
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	dialled := make(chan result, 1)
	go func() {
		conn, err := n.peer.dialer(n.config.AS).DialContext(ctx, network(n.peer.Address), net.JoinHostPort(n.peer.Address.String(), strconv.Itoa(int(n.peer.Port))))
		dialled <- result{conn, err}
	}()
	select {
	case r := <-dialled:
		if r.err != nil {
			n.fail(n.dialError(r.err))
			return nil
		}
		return r.conn.(*net.TCPConn)
	case conn := <-n.incoming:
		cancel()
		if r := <-dialled; r.err == nil {
			_ = r.conn.Close() // the peer's own is as good
		}
		if n.prepare(conn) {
			return conn
		}
		return nil
	}
}

// dialError says what the failure to connect means.
func (n *neighbour) dialError(err error) error {
	to := fmt.Sprintf("connect to %s port %d", n.peer.Address, n.peer.Port)
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s: connection refused: no BGP speaker listens there, or not for us", to)
	case errors.Is(err, syscall.EADDRNOTAVAIL) && n.peer.LocalAddress.IsValid():
		return fmt.Errorf("%s: this machine does not have the local address %s", to, n.peer.LocalAddress)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		if n.peer.Password != "" {
			return fmt.Errorf("%s: no answer within %s; with TCP-MD5 that is also what a wrong password looks like: is it the same at the peer?", to, dialTimeout)
		}
		return fmt.Errorf("%s: no answer within %s; if the peer expects a TCP-MD5 password, one must be configured", to, dialTimeout)
	}
	return fmt.Errorf("%s: %w", to, err)
}

// serve runs one session. It returns the connection that the peer has made in place of it, if there is one.
func (n *neighbour) serve(ctx context.Context, conn *net.TCPConn) (next *net.TCPConn) {
	n.enter(OpenSent)
	if err := n.engine.begin(ctx); err != nil {
		n.fail(errors.Join(err, conn.Close()))
		return nil
	}
	inner, first, err := n.engine.connect(ctx, make([]byte, messageBytes))
	if err == nil {
		r := newRelay(n, conn, inner)
		done := make(chan error, 1)
		go func() { done <- r.run(ctx, first) }()
		next, err = n.watch(r, done)
	} else {
		err = errors.Join(err, conn.Close())
	}
	n.down(err)
	if err := n.engine.end(context.WithoutCancel(ctx)); err != nil {
		n.fail(err)
	}
	return next
}

// watch waits for the end of a session. A peer that connects anew has forgotten the session, whatever we think of it
// (RFC 4724 section 5); one that connects while the session is being made has two, and this one stays.
func (n *neighbour) watch(r *relay, done <-chan error) (next *net.TCPConn, err error) {
	for {
		select {
		case err := <-done:
			return nil, err
		case conn := <-n.incoming:
			if !r.isEstablished() || !n.prepare(conn) {
				_ = conn.Close()
				continue
			}
			r.abort(errors.New("the peer has connected anew"))
			return conn, <-done
		}
	}
}

// What the relay and the connection loop tell about the session.

func (n *neighbour) update(change func(s *PeerState)) {
	n.mu.Lock()
	change(&n.state)
	n.mu.Unlock()
	n.changed()
}

func (n *neighbour) enter(session Session) {
	n.update(func(s *PeerState) {
		if s.Session != session {
			s.Session, s.Since = session, time.Now()
		}
	})
}

func (n *neighbour) fail(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	repeated := false
	n.update(func(s *PeerState) {
		repeated = s.Error == err.Error()
		s.Error, s.ErrorAt = err.Error(), time.Now()
	})
	if !repeated {
		n.log.Warn("no session with the peer", "error", err)
	}
}

func (n *neighbour) opened(o *opening) {
	n.enter(OpenConfirm)
	n.update(func(s *PeerState) {
		s.RouterID = o.routerID
		s.Families = slices.DeleteFunc(slices.Clone(n.peer.Families), func(f Family) bool { return !slices.Contains(o.families, f) })
		s.Graceful = !n.config.GracefulRestart.Disabled && o.speaks(capGraceful) && len(s.Families) > 0
	})
}

func (n *neighbour) up() {
	n.enter(Established)
	n.update(func(s *PeerState) {
		s.Ups++
		n.cold = false
	})
	n.log.Info("session is up", "address", n.peer.Address)
}

func (n *neighbour) down(err error) {
	n.update(func(s *PeerState) { s.RouterID, s.Families, s.Graceful = netip.Addr{}, nil, false })
	n.enter(Idle)
	n.fail(err)
}

// restarting reports whether the peer may know routes of a speaker that was here before.
func (n *neighbour) restarting() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cold
}

// What a peer can do very often waits for the next report.

func (n *neighbour) malformed(fault string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state.Broken++
	n.state.Error, n.state.ErrorAt = "the peer has sent a malformed UPDATE message, which was ignored like all of them: "+fault, time.Now()
}

func (n *neighbour) count(sent bool, kind uint8) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := &n.state.Received
	if sent {
		m = &n.state.Sent
	}
	switch kind {
	case typeOpen:
		m.Open++
	case typeUpdate:
		m.Update++
	case typeNotification:
		m.Notification++
	case typeKeepAlive:
		m.KeepAlive++
	case typeRefresh:
		m.Refresh++
	}
}

// report is a snapshot for the parent. unsigned is how many segments the kernel has dropped for their TCP-MD5 signature: a wrong
// password shows nowhere else when the peer is the one that connects.
func (n *neighbour) report(unsigned uint64) peerReport {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := peerReport{State: n.state}
	r.State.Families = slices.Clone(n.state.Families)
	r.Done, r.Rejected = n.applier.progress()
	if unsigned > 0 && n.peer.Password != "" && n.state.Session != Established {
		if r.State.Error == "" {
			r.State.Error, r.State.ErrorAt = "waiting for the peer", r.State.Since
		}
		r.State.Error += fmt.Sprintf(" (the kernel has dropped %d segments with a missing or wrong TCP-MD5 signature since the speaker was started)", unsigned)
	}
	return r
}

func (n *neighbour) isUp() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state.Session == Established
}

// waitDown waits for the end of the session.
func (n *neighbour) waitDown(ctx context.Context) {
	const spacing = 5 * time.Millisecond
	for n.isUp() && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(spacing):
		}
	}
}
