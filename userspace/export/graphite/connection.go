package graphite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// connection is a socket to Carbon, which never says anything: what a read tells is that the connection has ended.
// Over UDP nothing is read: there it is a later write that tells that one was refused.
type connection struct {
	net.Conn
	ended chan struct{} // closed when reading has ended; nil over UDP
	cause error         // why; to be read when ended is closed
}

var errClosed = errors.New("the server has closed the connection")

// connect makes sure that there is a connection that has not ended meanwhile: Carbon closes those that were idle for long, or when it is restarted.
func (s *Sink) connect(ctx context.Context) error {
	if s.conn != nil {
		if s.conn.check() == nil {
			return nil
		}
		s.disconnect()
	}
	network := "tcp"
	if s.options.Protocol == UDP {
		network = "udp"
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, network, s.options.Address)
	if err != nil {
		return fmt.Errorf("connect to graphite at %s by %s: %w; check that Carbon runs and listens there", s.options.Address, s.options.Protocol, err)
	}
	s.conn = &connection{Conn: raw}
	if network == "tcp" {
		s.conn.ended = make(chan struct{})
		go s.conn.watch()
	}
	return nil
}

func (s *Sink) disconnect() {
	if s.conn == nil {
		return
	}
	// Nothing that was written waits for this, and what could not be written was told of.
	_ = s.conn.Close()
	if s.conn.ended != nil {
		<-s.conn.ended
	}
	s.conn = nil
}

// watch reads until the connection ends.
func (c *connection) watch() {
	defer close(c.ended)
	_, c.cause = io.Copy(io.Discard, c.Conn)
	if c.cause == nil {
		c.cause = errClosed
	}
}

// check returns why the connection has ended, or nil.
func (c *connection) check() error {
	select {
	case <-c.ended:
		return c.cause
	default:
		return nil
	}
}

// interrupt ends a write that is under way.
func (c *connection) interrupt() {
	// An error means that the connection is closed, and so is the write.
	_ = c.SetWriteDeadline(time.Unix(1, 0))
}
