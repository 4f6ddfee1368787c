package flowcollect

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// What connections there may be, and how long they may take.
const (
	connectionsMost     = 256
	connectionsOfSender = 16
	firstWithin         = 30 * time.Second // a connection that says nothing is nobody's
	messageWithin       = 30 * time.Second // from its first byte
	connectionIdle      = 30 * time.Minute
)

// accept takes connections until the listener is closed.
func (q *queue) accept(ctx context.Context, l net.Listener, feeding *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			feeding.Go(func() { q.follow(ctx, c) })
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default: // out of files: others may be closed by then
			q.opts.Log.Warn("a connection cannot be accepted", "address", l.Addr().String(), "error", err)
			if !pause(ctx) {
				return
			}
		}
	}
}

// follow reads one connection to its end.
func (q *queue) follow(ctx context.Context, c net.Conn) {
	from, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err == nil {
		err = q.remember(c, plain(from.Addr()))
	}
	if err == nil {
		err = q.stream(ctx, c, from)
		q.mu.Lock()
		delete(q.connections, c)
		q.mu.Unlock()
	}
	if err = errors.Join(err, unlessClosed(c.Close())); err != nil && ctx.Err() == nil {
		q.opts.Log.Debug("an exporter's connection has ended", "from", c.RemoteAddr().String(), "error", err)
	}
}

// remember keeps a connection, so that the end of all is its end; the error says why it may not stay.
func (q *queue) remember(c net.Conn, from netip.Addr) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	own := 0
	for _, address := range q.connections {
		if address == from {
			own++
		}
	}
	switch {
	case q.closed:
		return net.ErrClosed
	case len(q.connections) >= connectionsMost:
		return fmt.Errorf("accept a connection: there are %d already", connectionsMost)
	case own >= connectionsOfSender:
		return fmt.Errorf("accept a connection: its sender has %d already", connectionsOfSender)
	}
	q.connections[c] = from
	return nil
}

// stream hands a connection's messages over.
func (q *queue) stream(ctx context.Context, c net.Conn, from netip.AddrPort) error {
	s, err := q.decoder.connect(from, time.Now())
	if err != nil {
		return err
	}
	defer func() { s.end(time.Now()) }()
	m := newMessage()
	m.stream, m.from = s, from
	messages := newFramer(c)
	for {
		m.data, err = messages.next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			s.fail(err)
			return err
		}
		// After a message that cannot be read, nobody knows what else is wrong: RFC 7011 has the connection closed.
		if err := q.hand(ctx, m); err != nil {
			return err
		}
	}
}

// framer reads IPFIX messages from a connection (RFC 7011 section 10.4): each says how long it is.
type framer struct {
	connection net.Conn
	reader     *bufio.Reader
	idle       time.Duration // until the next message begins
	last       int           // bytes of the message that was read last
}

const longestMessage = 1 << 16

func newFramer(c net.Conn) *framer {
	return &framer{connection: c, reader: bufio.NewReaderSize(c, longestMessage), idle: firstWithin}
}

// next reads one message, which is valid until the one after it. The error is io.EOF where the connection has ended between messages, in
// whatever way.
func (f *framer) next() ([]byte, error) {
	const header, version, begin = 16, 10, 4
	if _, err := f.reader.Discard(f.last); err != nil {
		return nil, fmt.Errorf("read IPFIX over TCP: %w", err)
	}
	f.last = 0
	if err := f.connection.SetReadDeadline(time.Now().Add(f.idle)); err != nil {
		return nil, io.EOF
	}
	if _, err := f.reader.Peek(1); err != nil {
		return nil, io.EOF
	}
	f.idle = connectionIdle
	if err := f.connection.SetReadDeadline(time.Now().Add(messageWithin)); err != nil {
		return nil, io.EOF
	}
	b, err := f.reader.Peek(begin)
	if err != nil {
		return nil, fmt.Errorf("read IPFIX over TCP: a message that is cut off: %w", err)
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	if v := binary.BigEndian.Uint16(b); v != version || length < header {
		return nil, fmt.Errorf("read IPFIX over TCP: version %d, length %d; expected version %d, and a length of at least %d", v, length, version, header)
	}
	if b, err = f.reader.Peek(length); err != nil {
		return nil, fmt.Errorf("read IPFIX over TCP: a message of %d bytes that is cut off after %d: %w", length, len(b), err)
	}
	f.last = length
	return b, nil
}
