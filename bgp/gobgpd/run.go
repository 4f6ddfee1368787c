package gobgpd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"weir/bgp/gobgpd/gobgppb"
)

const (
	together = 64              // requests under way at a time
	stopTime = 2 * time.Second // how long Run goes on after its context has ended
)

// Run connects to gobgpd and makes its table as wanted, until ctx ends: then it sends what is due for two seconds at most and returns
// nil. A gobgpd that cannot be reached is not an error: it is tried again, and told everything when it is back. Run is called once.
func (c *Client) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, c.conn.Close()) }()
	c.note(false, nil)
	for ctx.Err() == nil {
		err := c.serve(ctx)
		c.mu.Lock()
		c.book.lost()
		c.mu.Unlock()
		if ctx.Err() != nil {
			c.note(false, nil)
			break
		}
		c.note(false, err)
		select {
		case <-ctx.Done():
		case <-time.After(c.options.Retry / 4):
		}
	}
	return nil
}

// note notes whether gobgpd can be talked to, and logs changes.
func (c *Client) note(connected bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.state
	reason := ""
	if err != nil {
		reason = fmt.Sprintf("talk to GoBGP at %s: %s", c.options.Address, words(err))
	}
	if s.Since.IsZero() || s.Connected != connected {
		s.Since = time.Now()
	}
	if connected && !s.Connected {
		s.Connections++
		c.log.Info("connected", "api", s.API, "as", s.AS)
	} else if reason != "" && s.Error != reason {
		c.log.Warn("not connected", "error", words(err))
	}
	s.Connected, s.Error = connected, reason
	if !connected {
		s.API, s.AS, s.RouterID, s.Peers = 0, 0, netip.Addr{}, nil
	}
}

// words leaves out what gRPC puts around an error.
func words(err error) string {
	if s, isStatus := status.FromError(err); isStatus {
		return s.Message()
	}
	return err.Error()
}

// serve waits for a connection and uses it until it is lost, which it returns as an error, or ctx ends.
func (c *Client) serve(ctx context.Context) error {
	if err := c.ready(ctx); err != nil {
		return err
	}
	lost := make(chan struct{})
	watch, cancel := context.WithCancel(ctx)
	defer func() { cancel(); <-lost }()
	go func() {
		defer close(lost)
		c.conn.WaitForStateChange(watch, connectivity.Ready)
	}()
	gobgp, global, err := greet(ctx, c.conn)
	if err != nil {
		return err
	}
	if global.GetAsn() == 0 {
		return errors.New("BGP has not been started there: give gobgpd a configuration with its AS and router id")
	}
	if err := c.met(ctx, gobgp, global); err != nil {
		return err
	}
	check := time.NewTicker(c.options.Check)
	defer check.Stop()
	for ctx.Err() == nil {
		more, err := c.send(ctx, gobgp)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-lost:
			if ctx.Err() == nil {
				return errors.New("the connection was closed")
			}
		case <-c.wake:
		case <-check.C:
			if err := c.check(ctx, gobgp, global); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
	return c.finish(gobgp)
}

// ready waits for a connection; an attempt that fails is an error.
func (c *Client) ready(ctx context.Context) error {
	c.conn.Connect()
	for {
		s := c.conn.GetState()
		switch s {
		case connectivity.Ready:
			return nil
		case connectivity.TransientFailure:
			// gRPC keeps the cause for whoever calls.
			_, _, err := greet(ctx, c.conn)
			if err != nil {
				return err
			}
		case connectivity.Idle:
			c.conn.Connect()
		}
		if !c.conn.WaitForStateChange(ctx, s) {
			return ctx.Err()
		}
	}
}

// met notes who gobgpd is. Its AS may have changed, and with it the paths that it is told.
func (c *Client) met(ctx context.Context, gobgp caller, global *gobgppb.Global) error {
	id, err := netip.ParseAddr(global.GetRouterId())
	if err != nil {
		return fmt.Errorf("read its router id: %w", err)
	}
	peers, err := gobgp.peers(ctx)
	if err != nil {
		return err
	}
	sortPeers(peers)
	c.mu.Lock()
	c.state.API, c.state.AS, c.state.RouterID, c.state.Peers = gobgp.version, global.GetAsn(), id, peers
	c.plan()
	c.mu.Unlock()
	c.note(true, nil)
	return nil
}

func sortPeers(peers []Peer) {
	slices.SortFunc(peers, func(a, b Peer) int { return strings.Compare(a.Address, b.Address) })
}

// send sends the next requests and waits for their answers. It reports false when there are none, and returns an error when the
// connection is of no use any more.
func (c *Client) send(ctx context.Context, gobgp caller) (bool, error) {
	c.mu.Lock()
	jobs := c.book.next(together)
	c.mu.Unlock()
	if len(jobs) == 0 {
		return false, nil
	}
	answers := make([]error, len(jobs))
	var group errgroup.Group
	for i, j := range jobs {
		group.Go(func() error {
			answers[i] = gobgp.do(ctx, j)
			return broken(answers[i])
		})
	}
	err := group.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, j := range jobs {
		switch answer := answers[i]; {
		case answer == nil:
			c.book.answered(j, "")
			if j.add {
				c.state.Announced++
			} else {
				c.state.Withdrawn++
			}
		case broken(answer) == nil:
			c.log.Error("announcement refused", "announcement", j.name, "add", j.add, "error", words(answer))
			c.book.answered(j, "GoBGP says: "+words(answer))
		}
	}
	return true, err
}

// broken returns errors that are of the connection; others are gobgpd's answer to one request.
func broken(err error) error {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Unimplemented, codes.Unauthenticated, codes.PermissionDenied:
		return err
	}
	return nil
}

// finish sends what is due at the end.
func (c *Client) finish(gobgp caller) error {
	if c.options.WithdrawAtStop {
		c.Apply(nil)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	for {
		more, err := c.send(ctx, gobgp)
		if err != nil {
			c.log.Warn("not everything was sent before the end", "error", words(err))
			return nil
		}
		if !more {
			return nil
		}
	}
}

// check compares gobgpd's table with what it has acknowledged: BGP may have been restarted there, or paths deleted by hand.
func (c *Client) check(ctx context.Context, gobgp caller, known *gobgppb.Global) error {
	_, global, err := greet(ctx, c.conn)
	if err != nil {
		return err
	}
	if global.GetAsn() != known.GetAsn() || global.GetRouterId() != known.GetRouterId() {
		return errors.New("it has been given another AS or router id")
	}
	peers, err := gobgp.peers(ctx)
	if err != nil {
		return err
	}
	sortPeers(peers)
	c.mu.Lock()
	c.state.Peers = peers
	families := c.book.families()
	c.mu.Unlock()
	has := map[string]*gobgppb.Path{}
	for _, f := range families {
		paths, err := gobgp.paths(ctx, f.family, f.prefixes)
		if err != nil {
			return err
		}
		for _, p := range paths {
			has[pathKey(p)] = p
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	lost := c.book.checked(func(w wish) bool {
		p, there := has[w.key]
		return there && sameAttributes(p, w.path)
	})
	if lost > 0 {
		c.state.Restored += lost
		c.log.Warn("announcements had been lost or changed in GoBGP", "count", lost)
	}
	return nil
}

// sameAttributes compares two paths by their attributes, but for the next hop, which GoBGP writes in its own way, and for an AS path
// without a number, which is the same as none.
func sameAttributes(a, b *gobgppb.Path) bool {
	return slices.EqualFunc(essence(a), essence(b), bytes.Equal)
}

// essence is what the attributes say, in one order and without their flags.
func essence(p *gobgppb.Path) [][]byte {
	var all [][]byte
	for _, b := range p.GetPattrsBinary() {
		kind, value, ok := attributeValue(b)
		if !ok || kind == attributeNextHop || kind == attributeMPReach || kind == attributeASPath && len(value) == 0 {
			continue
		}
		all = append(all, append([]byte{kind}, value...))
	}
	slices.SortFunc(all, bytes.Compare)
	return all
}
