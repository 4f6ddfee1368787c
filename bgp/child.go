package bgp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	heartbeat     = 250 * time.Millisecond // at least this often the child reports
	countSpacing  = time.Second            // and no more often than this it asks the kernel for its counters
	reportSpacing = 10 * time.Millisecond  // and no more often than this
	stuckTimeout  = 10 * time.Second       // GoBGP is given up when one operation takes longer
	stopTimeout   = 2 * time.Second        // for taking everything back
)

// errStop ends the child by order of its parent.
var errStop = errors.New("told to stop")

// Child is the child process's whole life: it takes a configuration and routes from control, its end of the socket to the Speaker,
// and speaks BGP until the parent says stop or is gone, which is no error. It gives away all privileges but that of
// listening on ports below 1024. Interrupting it is the parent's business: what ctx brings is only waited for, not acted on,
// because a service manager signals all processes at once, and the routes must not be lost by that.
func Child(ctx context.Context, control *os.File, log *slog.Logger) error {
	if err := confine(); err != nil {
		return fmt.Errorf("give away privileges: %w", err)
	}
	// Go's listeners take Multipath TCP by default, and its sockets know neither TCP-MD5 nor TTL. GoBGP's are made out of our reach.
	if err := os.Setenv("GODEBUG", "multipathtcp=0"); err != nil {
		return fmt.Errorf("turn off Multipath TCP: %w", err)
	}
	conn, err := net.FileConn(control)
	if err != nil {
		return fmt.Errorf("open control socket: it must be inherited from the daemon: %w", err)
	}
	if err := control.Close(); err != nil {
		return fmt.Errorf("close control file: %w", err)
	}
	c := &child{conn: conn, in: bufio.NewReaderSize(conn, relayBuffer), log: log, changed: make(chan struct{}, 1)}
	err = c.run(context.WithoutCancel(ctx))
	_ = conn.Close()
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

type child struct {
	conn       net.Conn
	in         *bufio.Reader
	log        *slog.Logger
	changed    chan struct{} // holds one: there is something to report
	config     Config
	neighbours []*neighbour
	listeners  []*listener
}

func (c *child) run(ctx context.Context) error {
	var first order
	if err := readFrame(c.in, &first); err != nil {
		return ended(err)
	}
	if first.Config == nil {
		return errors.New("read configuration: the first message has none")
	}
	c.config = *first.Config
	group, ctx := errgroup.WithContext(ctx)
	for i := range c.config.Peers {
		n, err := newNeighbour(ctx, &c.config, &c.config.Peers[i], c.log, c.change)
		if err != nil {
			return fmt.Errorf("start speaker: %w", err)
		}
		c.neighbours = append(c.neighbours, n)
	}
	for _, address := range c.config.Listen {
		c.listeners = append(c.listeners, &listener{address: address, config: &c.config, log: c.log, accept: c.accept})
	}
	group.Go(func() error { return c.orders(ctx) })
	group.Go(func() error { return c.reports(ctx) })
	for _, n := range c.neighbours {
		group.Go(func() error {
			n.applier.run(ctx)
			return nil
		})
		// No session before all routes are in the table: a peer takes what it has not heard of by End-of-RIB for gone.
		group.Go(func() error {
			select {
			case <-n.applier.ready:
				n.run(ctx)
			case <-ctx.Done():
			}
			return nil
		})
	}
	for _, l := range c.listeners {
		group.Go(func() error {
			l.run(ctx)
			return nil
		})
	}
	// Reading orders does not notice the context: the connection is closed under it.
	defer context.AfterFunc(ctx, func() { _ = c.conn.Close() })()
	return group.Wait()
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return errStop // the parent is gone: peers with graceful restart keep the routes until the next one comes
	}
	return err
}

func (c *child) change() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// accept finds out whose connection it is.
func (c *child) accept(from netip.Addr, conn *net.TCPConn) {
	for _, n := range c.neighbours {
		if n.peer.Address == from {
			n.accept(conn)
			return
		}
	}
	_ = conn.Close()
}

// orders does what the parent says.
func (c *child) orders(ctx context.Context) error {
	for {
		var o order
		if err := readFrame(c.in, &o); err != nil {
			return ended(err)
		}
		switch {
		case o.Stop != nil:
			if o.Stop.Withdraw {
				c.withdraw(ctx)
			}
			return errStop
		case o.Batch != nil:
			operations, err := o.Batch.unpack(len(c.neighbours))
			if err != nil {
				return err
			}
			byPeer := make([][]operation, len(c.neighbours))
			for _, op := range operations {
				byPeer[op.Peer] = append(byPeer[op.Peer], op)
			}
			for i, n := range c.neighbours {
				if len(byPeer[i]) > 0 || o.Batch.Complete {
					n.applier.add(byPeer[i], o.Batch.Complete)
				}
			}
		}
	}
}

// withdraw takes all routes back from all peers and says good-bye.
func (c *child) withdraw(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, n := range c.neighbours {
		all.Go(func() {
			if n.isUp() {
				n.applier.clear(ctx)
				if err := n.engine.shutDown(ctx); err != nil {
					c.log.Warn("cannot say good-bye to the peer", "peer", n.peer.Name, "error", err)
				}
				n.waitDown(ctx)
			}
		})
	}
	all.Wait()
}

// reports tells the parent how things are.
func (c *child) reports(ctx context.Context) error {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	// Where the kernel has no such counter, both stay 0.
	first, _ := md5Failures()
	unsigned, counted := uint64(0), time.Now()
	for {
		if time.Since(counted) > countSpacing {
			if last, err := md5Failures(); err == nil {
				unsigned = last - first
			}
			counted = time.Now()
		}
		r := report{Peers: make([]peerReport, len(c.neighbours))}
		for i, n := range c.neighbours {
			r.Peers[i] = n.report(unsigned)
			if t := n.applier.stuck(); t > stuckTimeout {
				return fmt.Errorf("peer %s: GoBGP has been busy with one route for %s", n.peer.Name, t.Round(time.Second))
			}
		}
		var faults []error
		for _, l := range c.listeners {
			faults = append(faults, l.fault())
		}
		if err := errors.Join(faults...); err != nil {
			r.Error = err.Error()
		}
		if err := writeFrame(c.conn, r); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return ended(io.EOF) // the parent does not listen any more: that is how its end looks from this side
		}
		// First a pause in which changes collect, then the next change or the next beat.
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(reportSpacing):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.changed:
		case <-beat.C:
		}
	}
}
