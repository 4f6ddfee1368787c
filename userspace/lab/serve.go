package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
)

const (
	answerText    = "served\n"
	datagramBytes = 1500
)

// Server answers HTTP requests over TCP and echoes UDP datagrams at one address and port of a Host.
type Server struct {
	http   *http.Server
	udp    net.PacketConn
	tcp    net.Listener
	served atomic.Uint64
	group  sync.WaitGroup

	once sync.Once
	mu   sync.Mutex
	errs []error
}

// Serve opens a server on host. It ends with Close, of its own or of the lab.
func Serve(host *Host, addr netip.AddrPort) (*Server, error) {
	s := &Server{}
	err := host.Do(func() (err error) { // a socket stays in the namespace that it was made in
		var config net.ListenConfig
		if s.tcp, err = config.Listen(context.Background(), "tcp", addr.String()); err != nil {
			return err
		}
		if s.udp, err = config.ListenPacket(context.Background(), "udp", addr.String()); err != nil {
			return errors.Join(err, s.tcp.Close())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("serve at %s: %w", addr, err)
	}
	s.http = &http.Server{Handler: http.HandlerFunc(s.answer)}
	s.http.SetKeepAlivesEnabled(false)
	s.group.Go(func() { s.note(s.http.Serve(s.tcp), http.ErrServerClosed) })
	s.group.Go(func() { s.note(s.echo(), net.ErrClosed) })
	if host.lab == nil || !host.lab.atEnd(s.Close) {
		return nil, errors.Join(fmt.Errorf("serve at %s: the lab is closed", addr), s.Close())
	}
	return s, nil
}

// note keeps an error for Close unless it is the one that closing causes.
func (s *Server) note(err, expected error) {
	if err == nil || errors.Is(err, expected) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err)
}

func (s *Server) answer(w http.ResponseWriter, _ *http.Request) {
	s.served.Add(1)
	if _, err := w.Write([]byte(answerText)); err != nil {
		return // the client is gone and has counted a failure
	}
}

func (s *Server) echo() error {
	buffer := make([]byte, datagramBytes)
	for {
		n, from, err := s.udp.ReadFrom(buffer)
		if err != nil {
			return err
		}
		s.served.Add(1)
		if _, err := s.udp.WriteTo(buffer[:n], from); errors.Is(err, net.ErrClosed) {
			return err
		} // any other error is this client's: unreachable
	}
}

// Served is how many requests and datagrams have been answered.
func (s *Server) Served() uint64 { return s.served.Load() }

// Close ends the server; it may be called more than once. It returns what went wrong while it was serving, too.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.note(s.http.Close(), net.ErrClosed)
		s.note(s.udp.Close(), net.ErrClosed)
		s.group.Wait()
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.errs...)
}
