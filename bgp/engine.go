package bgp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/server"
)

// engine is a GoBGP server with one neighbour, which is not the peer but the relay to it, by the loopback interface. It speaks
// BGP and keeps what the peer is to have; a server for each peer means a table for each peer.
type engine struct {
	server   *server.BgpServer
	config   *Config
	peer     *Peer
	listen   netip.AddrPort
	password string // of the neighbour's connection: other users of the machine are kept out. Empty where the system has no TCP-MD5
}

const (
	portAttempts   = 20
	engineTimeout  = 5 * time.Second
	connectRetries = 2 * time.Millisecond
)

func startEngine(ctx context.Context, c *Config, p *Peer, log *slog.Logger) (*engine, error) {
	e := &engine{config: c, peer: p}
	if md5Works() {
		e.password = rand.Text()
	}
	// A port that was free a moment ago may be taken now.
	for range portAttempts {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		e.listen = netip.AddrPortFrom(loopback(), port)
		e.server = server.NewBgpServer(server.LoggerOption(newLogger(log)))
		go e.server.Serve()
		err = e.server.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{
			Asn: c.AS, RouterId: c.RouterID.String(), ListenPort: int32(port), ListenAddresses: []string{loopback().String()},
		}})
		if err == nil {
			return e, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("start GoBGP on %s: %w", e.listen, err)
		}
	}
	return nil, fmt.Errorf("start GoBGP on %s: no free port after %d attempts", loopback(), portAttempts)
}

func loopback() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

func freePort() (uint16, error) {
	l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(loopback(), 0)))
	if err != nil {
		return 0, fmt.Errorf("find a free port on %s (is the loopback interface up?): %w", loopback(), err)
	}
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	if err := l.Close(); err != nil {
		return 0, fmt.Errorf("close port %d: %w", port, err)
	}
	return port, nil
}

// begin prepares GoBGP for one session.
func (e *engine) begin(ctx context.Context) error {
	p, gr := e.peer, e.config.GracefulRestart
	n := &api.Peer{
		Conf: &api.PeerConf{
			NeighborAddress: loopback().String(), LocalAsn: e.config.AS, PeerAsn: p.AS, AuthPassword: e.password,
		},
		Timers: &api.Timers{Config: &api.TimersConfig{
			HoldTime: uint64(p.HoldTime / time.Second), KeepaliveInterval: uint64(p.KeepAlive / time.Second),
		}},
		Transport: &api.Transport{PassiveMode: true},
		GracefulRestart: &api.GracefulRestart{
			Enabled: !gr.Disabled, RestartTime: uint32(gr.Time / time.Second), NotificationEnabled: !gr.Disabled, LonglivedEnabled: gr.LongLivedTime > 0,
		},
	}
	for _, f := range p.Families {
		s := &api.AfiSafi{
			Config:            &api.AfiSafiConfig{Family: apiFamily(f), Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: !gr.Disabled}},
		}
		if gr.LongLivedTime > 0 {
			s.LongLivedGracefulRestart = &api.LongLivedGracefulRestart{
				Config: &api.LongLivedGracefulRestartConfig{Enabled: true, RestartTime: uint32(gr.LongLivedTime / time.Second)},
			}
		}
		n.AfiSafis = append(n.AfiSafis, s)
	}
	if err := e.server.AddPeer(ctx, &api.AddPeerRequest{Peer: n}); err != nil {
		return fmt.Errorf("add neighbour to GoBGP: %w", err)
	}
	return nil
}

// end makes GoBGP forget the session. The connection must be closed already.
func (e *engine) end(ctx context.Context) error {
	if err := e.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: loopback().String()}); err != nil {
		return fmt.Errorf("remove neighbour from GoBGP: %w", err)
	}
	return nil
}

// connect returns a connection to GoBGP on which it has begun to speak: its OPEN message has been read into buf. It hangs up on
// who comes in the first moments after begin.
func (e *engine) connect(ctx context.Context, buf []byte) (*net.TCPConn, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(loopback(), 0))}
	if e.password != "" {
		d.Control = func(_, _ string, c syscall.RawConn) error { return setMD5(c, loopback(), e.password) }
	}
	for {
		conn, err := d.DialContext(ctx, "tcp4", e.listen.String())
		if err == nil {
			tcp := conn.(*net.TCPConn)
			deadline, _ := ctx.Deadline()
			var m []byte
			if err = tcp.SetReadDeadline(deadline); err == nil {
				m, err = readMessage(tcp, buf)
			}
			if err == nil && m[18] == typeOpen {
				return tcp, m, tcp.SetReadDeadline(time.Time{})
			}
			_ = tcp.Close() // GoBGP has hung up, and another connection is made
		}
		select {
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("connect to GoBGP on %s: %w", e.listen, errors.Join(ctx.Err(), err))
		case <-time.After(connectRetries):
		}
	}
}

// announce puts a route into the peer's table, in place of one of the same ID.
func (e *engine) announce(ctx context.Context, r *route) error {
	prepend := r.Prepend + e.peer.Prepend
	if e.peer.AS == e.config.AS {
		prepend = 0 // an iBGP peer takes a path with its own AS for a loop
	}
	p, err := apiPath(r, e.config.AS, prepend)
	if err != nil {
		return err
	}
	if _, err := e.server.AddPath(ctx, &api.AddPathRequest{Path: p}); err != nil {
		return fmt.Errorf("announce %s: %w", r.ID, err)
	}
	return nil
}

// withdraw takes a route out of it.
func (e *engine) withdraw(ctx context.Context, r *route) error {
	p, err := apiPath(r, e.config.AS, 0)
	if err != nil {
		return err
	}
	if err := e.server.DeletePath(ctx, &api.DeletePathRequest{Path: p}); err != nil {
		return fmt.Errorf("withdraw %s: %w", r.ID, err)
	}
	return nil
}

// shutDown says good-bye to the peer, behind all that is on its way to it.
func (e *engine) shutDown(ctx context.Context) error {
	if err := e.server.ShutdownPeer(ctx, &api.ShutdownPeerRequest{Address: loopback().String(), Communication: "the speaker was stopped"}); err != nil {
		return fmt.Errorf("shut down neighbour: %w", err)
	}
	return nil
}

func apiFamily(f Family) *api.Family {
	afi, safi := f.code()
	return &api.Family{Afi: api.Family_Afi(afi), Safi: api.Family_Safi(safi)}
}
