package bgp

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	handshakeTimeout = 20 * time.Second       // from the connection to an established session
	lingerTimeout    = 500 * time.Millisecond // for the peer to read our last words
	keepAliveSpacing = 500 * time.Millisecond // GoBGP is told no more often that the peer lives; hold times are 3 s and more
	refreshSpacing   = 5 * time.Second        // a peer gets a family's routes again no more often, however often it asks
	relayBuffer      = 64 << 10
)

// verdict is an error that says why a session ended, as opposed to one that only says that the connection is gone.
type verdict struct{ error }

// relay passes the messages of one session on between a peer and GoBGP.
type relay struct {
	neighbour *neighbour
	outer     *net.TCPConn // the peer
	inner     *net.TCPConn // GoBGP
	forced    chan error   // why somebody else has closed both connections; holds one

	mu          sync.Mutex // writing to inner, and all below
	open        *opening   // of the peer
	theirs      bool       // the peer has accepted our OPEN: its first KEEPALIVE is there
	ours        bool       // GoBGP has accepted the peer's
	established bool
	told        time.Time // when GoBGP was last told that the peer lives
	refreshed   map[Family]time.Time
	refreshing  map[Family]bool
}

func newRelay(n *neighbour, outer, inner *net.TCPConn) *relay {
	return &relay{neighbour: n, outer: outer, inner: inner, forced: make(chan error, 1), refreshed: map[Family]time.Time{}, refreshing: map[Family]bool{}}
}

// run returns when both connections are closed, and why. first is GoBGP's OPEN message.
func (r *relay) run(ctx context.Context, first []byte) error {
	defer context.AfterFunc(ctx, func() { r.abort(ctx.Err()) })()
	handshake := time.AfterFunc(handshakeTimeout, func() {
		if !r.isEstablished() {
			r.abort(fmt.Errorf("the peer has not answered our OPEN message within %s", handshakeTimeout))
		}
	})
	defer handshake.Stop()
	out := make(chan error, 1)
	go func() {
		err := r.outbound(first)
		// The peer may still be reading what GoBGP said last, and closing with unread input would take it away.
		_ = r.outer.CloseWrite()
		_ = r.outer.SetReadDeadline(time.Now().Add(lingerTimeout))
		out <- err
	}()
	in := r.inbound()
	r.close()
	return r.reason(in, <-out)
}

// reason picks the error that says the most.
func (r *relay) reason(in, out error) error {
	select {
	case err := <-r.forced:
		return err
	default:
	}
	var v verdict
	if errors.As(in, &v) || !errors.As(out, &v) {
		return in
	}
	return out
}

// abort ends the session from outside.
func (r *relay) abort(why error) {
	select {
	case r.forced <- why:
	default:
	}
	r.close()
}

// close closes both connections; that one of them is closed already does not matter.
func (r *relay) close() {
	_ = r.inner.Close()
	_ = r.outer.Close()
}

// outbound takes what GoBGP says to the peer.
func (r *relay) outbound(m []byte) error {
	in, out := bufio.NewReaderSize(r.inner, relayBuffer), bufio.NewWriterSize(r.outer, relayBuffer)
	buf := make([]byte, messageBytes)
	for {
		if m[18] == typeOpen {
			markGraceful(m, r.neighbour.restarting())
		}
		r.neighbour.count(true, m[18])
		var err error
		if out.Available() < len(m) {
			err = r.flush(out) // whole messages only: the relay's own last words may come between two writes
		}
		if err == nil {
			_, err = out.Write(m)
		}
		if err == nil && !anotherIn(in) {
			err = r.flush(out)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return verdict{fmt.Errorf("the peer has read nothing for %s", r.neighbour.peer.HoldTime)}
		}
		if err != nil {
			return fmt.Errorf("send to the peer: %w", err)
		}
		switch m[18] {
		case typeKeepAlive:
			r.agree(func() { r.ours = true })
		case typeNotification:
			n := parseNotice(m[headerBytes:])
			return verdict{errors.New(n.sent(r.neighbour.peer, r.opening()))}
		}
		if m, err = readMessage(in, buf); err != nil {
			return fmt.Errorf("read from GoBGP: %w", err)
		}
	}
}

// flush writes what is collected, for which a peer that reads has a whole hold time.
func (r *relay) flush(out *bufio.Writer) error {
	if err := r.outer.SetWriteDeadline(time.Now().Add(r.neighbour.peer.HoldTime)); err != nil {
		return err
	}
	return out.Flush()
}

// anotherIn reports whether a whole message is buffered, so that writing can wait for it.
func anotherIn(in *bufio.Reader) bool {
	if in.Buffered() < headerBytes {
		return false
	}
	header, err := in.Peek(headerBytes)
	return err == nil && in.Buffered() >= int(binary.BigEndian.Uint16(header[16:]))
}

// inbound takes what the peer says.
func (r *relay) inbound() error {
	in, buf := bufio.NewReaderSize(r.outer, relayBuffer), make([]byte, messageBytes)
	for {
		m, err := readMessage(in, buf)
		if err == nil {
			r.neighbour.count(false, m[18])
			err = r.take(m[18], m[headerBytes:])
		}
		var bad *refusal
		if errors.As(err, &bad) {
			r.say(&bad.notice)
			return verdict{fmt.Errorf("%w; NOTIFICATION sent to the peer: %s", bad, bad.notice)}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
			return errors.New("the peer has closed the connection" + r.hint())
		default:
			return err
		}
	}
}

func (r *relay) hint() string {
	if o := r.opening(); o == nil {
		return " before it said anything: is this machine configured as its peer there?"
	}
	return ""
}

// say sends the relay's own last words. GoBGP sends nothing else in between that would matter.
func (r *relay) say(n *notice) {
	if err := r.outer.SetWriteDeadline(time.Now().Add(lingerTimeout)); err != nil {
		return
	}
	if _, err := r.outer.Write(n.message()); err == nil {
		r.neighbour.count(true, typeNotification)
		_ = r.outer.CloseWrite()
		_ = r.outer.SetReadDeadline(time.Now().Add(lingerTimeout))
		_, _ = io.Copy(io.Discard, r.outer) // until the peer has hung up as well
	}
}

// take handles one message of the peer.
func (r *relay) take(kind uint8, body []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch kind {
	case typeOpen:
		if r.open != nil {
			return r.unexpected()
		}
		o, err := parseOpen(body)
		if err != nil {
			return err
		}
		r.open = o
		r.neighbour.opened(o)
		return r.tell(o.message())
	case typeNotification:
		n := parseNotice(body)
		return verdict{errors.New(n.received(r.neighbour.config))}
	}
	if r.open == nil || kind != typeKeepAlive && !r.theirs {
		return r.unexpected()
	}
	switch kind {
	case typeKeepAlive:
		if !r.theirs {
			r.theirs = true
			r.settle()
			return r.tell(message(typeKeepAlive, nil))
		}
	case typeUpdate:
		if fault := updateFault(body); fault != "" {
			r.neighbour.malformed(fault)
		}
	case typeRefresh:
		if f := familyOf(binary.BigEndian.Uint16(body), body[3]); f != "" && body[2] == 0 { // 1 and 2 are of RFC 7313, which was not agreed on
			r.refresh(f)
		}
	}
	if now := time.Now(); now.Sub(r.told) >= keepAliveSpacing {
		r.told = now
		return r.tell(message(typeKeepAlive, nil)) // an UPDATE is a sign of life too
	}
	return nil
}

func (r *relay) unexpected() error {
	subcode := uint8(1)
	switch {
	case r.theirs:
		subcode = 3
	case r.open != nil:
		subcode = 2
	}
	return refuse(5, subcode, nil, "the peer has sent a message out of order")
}

// tell writes to GoBGP, which always reads. The lock is held.
func (r *relay) tell(m []byte) error {
	if _, err := r.inner.Write(m); err != nil {
		return fmt.Errorf("send to GoBGP: %w", err)
	}
	return nil
}

// refresh has GoBGP send a family's routes again, soon if not now. The lock is held.
func (r *relay) refresh(f Family) {
	if r.refreshing[f] {
		return
	}
	wait := refreshSpacing - time.Since(r.refreshed[f])
	r.refreshing[f] = true
	time.AfterFunc(max(wait, 0), func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.refreshing[f] = false
		r.refreshed[f] = time.Now()
		afi, safi := f.code()
		body := binary.BigEndian.AppendUint16(nil, afi)
		_ = r.tell(message(typeRefresh, append(body, 0, safi))) // fails when the session is over
	})
}

// agree notes a step towards the session under the lock.
func (r *relay) agree(step func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	step()
	r.settle()
}

// settle finds out whether the session is up. The lock is held.
func (r *relay) settle() {
	if r.theirs && r.ours && !r.established {
		r.established = true
		r.neighbour.up()
	}
}

func (r *relay) isEstablished() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.established
}

func (r *relay) opening() *opening {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}
