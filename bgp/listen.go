package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// listener takes the connections of peers at one address. While it cannot listen it says why, and tries again.
type listener struct {
	address netip.AddrPort
	config  *Config
	log     *slog.Logger
	accept  func(from netip.Addr, conn *net.TCPConn) // takes over the connection

	mu  sync.Mutex
	err error
}

const listenRetry = 2 * time.Second

func (l *listener) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := l.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		l.log.Warn("cannot listen for peers", "address", l.address, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(listenRetry):
		}
	}
}

func (l *listener) fault() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *listener) note(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	return err
}

func (l *listener) listen(ctx context.Context) error {
	lc := net.ListenConfig{KeepAlive: -1, Control: l.prepare}
	lc.SetMultipathTCP(false) // which has neither TCP-MD5 nor TTL
	open, err := lc.Listen(ctx, network(l.address.Addr()), l.address.String())
	if err != nil {
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			err = fmt.Errorf("listen on %s: another program listens there, perhaps another BGP speaker: stop it, or listen elsewhere: %w", l.address, err)
		case errors.Is(err, syscall.EACCES):
			err = fmt.Errorf("listen on %s: ports below 1024 need root or CAP_NET_BIND_SERVICE: %w", l.address, err)
		default:
			err = fmt.Errorf("listen on %s: %w", l.address, err)
		}
		return l.note(err)
	}
	_ = l.note(nil)
	stop := context.AfterFunc(ctx, func() { _ = open.Close() }) // which ends Accept
	defer stop()
	for {
		conn, err := open.Accept()
		if err != nil {
			return l.note(errors.Join(fmt.Errorf("accept on %s: %w", l.address, err), open.Close()))
		}
		tcp := conn.(*net.TCPConn)
		l.accept(tcp.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap(), tcp)
	}
}

// prepare sets the passwords of all peers that may come this way, and lets the answer to a first packet go far enough for peers
// with TTL security; the connection's own TTL is set when it is there.
func (l *listener) prepare(_, _ string, c syscall.RawConn) error {
	v4 := l.address.Addr().Is4()
	if err := setTTL(c, v4, 255); err != nil {
		return err
	}
	hops := 0 // the furthest that a peer may be away; 256: as far as it likes
	for i := range l.config.Peers {
		p := &l.config.Peers[i]
		if p.Address.Is4() != v4 {
			continue
		}
		if p.TTLSecurity == 0 {
			hops = 256
		}
		hops = max(hops, int(p.TTLSecurity))
		if p.Password == "" {
			continue
		}
		if err := setMD5(c, p.Address, p.Password); err != nil {
			return fmt.Errorf("peer %s: %w", p.Name, err)
		}
	}
	if hops > 0 && hops < 256 {
		return setLeastTTL(c, v4, 256-hops) // all have TTL security: strangers from afar cannot even connect
	}
	return nil
}
