package flowcollect

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// queue is a worker that is fed by other goroutines: those of TCP connections, and where there are no better sockets, those of UDP. Each
// hands over one message and waits until it is decoded, so nothing is copied, and who is too fast is slowed down by his own socket.
type queue struct {
	opts     *Options
	number   int
	decoder  *Decoder
	messages chan *message
	tcp      []net.Listener
	udp      []*net.UDPConn

	mu          sync.Mutex // guards what follows
	connections map[net.Conn]netip.Addr
	closed      bool
}

// message is what one goroutine hands to the worker, again and again.
type message struct {
	stream *stream // nil: a datagram
	from   netip.AddrPort
	data   []byte
	done   chan error
}

func newQueue(o *Options, number int, d *Decoder) *queue {
	return &queue{opts: o, number: number, decoder: d, messages: make(chan *message), connections: map[net.Conn]netip.Addr{}}
}

// close closes all that the queue is fed by.
func (q *queue) close() error {
	var errs []error
	for _, l := range q.tcp {
		errs = append(errs, unlessClosed(l.Close()))
	}
	for _, c := range q.udp {
		errs = append(errs, unlessClosed(c.Close()))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for c := range q.connections {
		errs = append(errs, unlessClosed(c.Close()))
	}
	return errors.Join(errs...)
}

// unlessClosed leaves out the error of something that is closed already.
func unlessClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// run decodes what comes until ctx ends.
func (q *queue) run(ctx context.Context) error {
	var feeding sync.WaitGroup
	for _, l := range q.tcp {
		feeding.Go(func() { q.accept(ctx, l, &feeding) })
	}
	for _, c := range q.udp {
		feeding.Go(func() { q.read(ctx, c) })
	}
	ticks := time.NewTicker(tickEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			err := q.close()
			feeding.Wait()
			return err
		case now := <-ticks.C:
			q.opts.Tick(q.number, now)
			q.decoder.tick(now)
		case m := <-q.messages:
			m.done <- q.decode(m, time.Now())
		}
	}
}

func (q *queue) decode(m *message, now time.Time) error {
	if m.stream != nil {
		return m.stream.message(m.data, now)
	}
	return q.decoder.Datagram(m.from, m.data, now)
}

// hand hands a message to the worker. The error is the message's own, or that of ctx.
func (q *queue) hand(ctx context.Context, m *message) error {
	select {
	case q.messages <- m:
		return <-m.done
	case <-ctx.Done():
		return ctx.Err()
	}
}

func newMessage() *message { return &message{done: make(chan error, 1)} }

// read reads a socket's datagrams.
func (q *queue) read(ctx context.Context, c *net.UDPConn) {
	const longest = 1 << 16
	m := newMessage()
	buffer := make([]byte, longest)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buffer)
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			q.opts.Log.Warn("a flow datagram cannot be read", "address", c.LocalAddr().String(), "error", err)
			if !pause(ctx) {
				return
			}
			continue
		}
		m.from, m.data = from, buffer[:n]
		if err := q.hand(ctx, m); err != nil {
			q.opts.Log.Debug("a flow datagram is lost", "from", from.String(), "error", err)
		}
	}
}

// pause waits a little after an error that may go away; false: ctx has ended.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(tickEvery):
		return true
	}
}
