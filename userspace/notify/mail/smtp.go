package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"

	"weir/userspace/traffic"
)

// maxSession is how much a server may say in one session: enough for any that is one, and an end to those that babble.
const maxSession = 256 << 10

// send delivers one mail over a connection of its own.
func (s *Sink) send(ctx context.Context, mail []byte) error {
	conn, err := s.options.Dial(ctx, "tcp", s.options.Server)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The end of the context ends whatever blocks.
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := s.session(conn, mail); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w while waiting: %w", ctx.Err(), err)
		}
		return err
	}
	return nil
}

func (s *Sink) session(conn net.Conn, mail []byte) error {
	config := &tls.Config{}
	if s.options.TLS != nil {
		config = s.options.TLS.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = s.host
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	if s.options.Security == Implicit {
		conn = tls.Client(conn, config)
	}
	c, err := smtp.NewClient(&limited{Conn: conn, left: maxSession}, s.host)
	if err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	if err := c.Hello(s.options.Hello); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	if s.options.Security == StartTLS {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return errors.New("protect the connection: the server offers no STARTTLS; use tls (port 465), or none for a server on this machine")
		}
		if err := c.StartTLS(config); err != nil {
			return fmt.Errorf("protect the connection: %w", err)
		}
	}
	if s.options.User != "" {
		if err := c.Auth(&auth{sink: s}); err != nil {
			return fmt.Errorf("log in as %s: %w; check user and password, and which of plain and login the server knows", s.options.User, wrong(err))
		}
	}
	if err := c.Mail(s.from.Address); err != nil {
		return fmt.Errorf("use sender %s: %w", s.from.Address, refused(err))
	}
	// One recipient that is refused keeps the mail from no other.
	var strangers error
	accepted := 0
	for _, to := range s.to {
		err := c.Rcpt(to.Address)
		var reply *textproto.Error
		switch {
		case err == nil:
			accepted++
		case errors.As(err, &reply) && reply.Code >= 500:
			strangers = errors.Join(strangers, fmt.Errorf("use recipient %s: %w", to.Address, refused(err)))
		default:
			return fmt.Errorf("use recipient %s: %w", to.Address, err)
		}
	}
	if accepted == 0 {
		return strangers
	}
	w, err := c.Data()
	if err != nil {
		return fmt.Errorf("begin the mail: %w", refused(err))
	}
	if _, err := w.Write(mail); err != nil {
		return fmt.Errorf("write the mail: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("hand over the mail: %w", refused(err))
	}
	_ = c.Quit() // it has been taken: how the server says good-bye does not matter
	return strangers
}

// refused adds traffic.ErrPermanent to a reply of 5yz: the same mail would be refused again.
func refused(err error) error {
	var reply *textproto.Error
	if errors.As(err, &reply) && reply.Code >= 500 && reply.Code < 600 && reply.Code != 530 && reply.Code != 535 {
		return fmt.Errorf("%w: %w", wrong(err), traffic.ErrPermanent)
	}
	return wrong(err)
}

// wrong bounds what a server says, for an error.
func wrong(err error) error {
	var reply *textproto.Error
	if errors.As(err, &reply) && len(reply.Msg) > 200 {
		return &textproto.Error{Code: reply.Code, Msg: reply.Msg[:200] + "..."}
	}
	return err
}

// limited is a connection that ends after so many bytes read.
type limited struct {
	net.Conn
	left int
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errors.New("the server says more than any mail server does")
	}
	n, err := l.Conn.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

// auth says who we are. The package net/smtp refuses Plain where it cannot tell that the connection is protected, for instance with TLS from
// the first byte; Options have been checked for that.
type auth struct {
	sink *Sink
	step int
}

func (a *auth) Start(*smtp.ServerInfo) (string, []byte, error) {
	o := &a.sink.options
	if o.Auth == Login {
		return "LOGIN", nil, nil
	}
	return "PLAIN", []byte("\x00" + o.User + "\x00" + o.Password), nil
}

func (a *auth) Next(_ []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	a.step++
	switch {
	case a.sink.options.Auth == Login && a.step == 1:
		return []byte(a.sink.options.User), nil
	case a.sink.options.Auth == Login && a.step == 2:
		return []byte(a.sink.options.Password), nil
	}
	return nil, fmt.Errorf("the server asks more than it should: %w", io.ErrUnexpectedEOF)
}
