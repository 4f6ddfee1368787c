// Package mail sends messages about attacks by SMTP: a text, the same as HTML, a chart of the rate over time, and the attack's packets.
//
// What it is tested against is an SMTP server written for the tests, because no small one is to be had in every test environment.
package mail

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"os"
	"strconv"
	"strings"
	"time"

	"weir/userspace/notify/digest"
	"weir/userspace/traffic"
)

// Security is how the connection is protected.
type Security uint8

// StartTLS is the zero value: what is sent before is only the greeting.
const (
	StartTLS Security = iota // the connection is protected before anything is said, or given up
	Implicit                 // TLS from the first byte
	None                     // nothing is protected: passwords are then sent to this machine itself only
)

// Auth is how we say who we are.
type Auth uint8

// Plain is the zero value. Without a user nobody is authenticated.
const (
	Plain Auth = iota // RFC 4616
	Login             // what some servers know instead
)

// What an Options' zero fields stand for.
const (
	DefaultSubject    = "[weir] {{.Title}}"
	DefaultMaxCapture = 5 << 20
)

// Options says where mail goes, and how.
type Options struct {
	Server   string // host:port; without a port 587, for Implicit 465, for None 25
	Security Security
	TLS      *tls.Config // nil: the system's authorities, the server's host name
	Auth     Auth
	User     string
	Password string
	Hello    string // our name for EHLO; empty: this machine's

	From       string   // an address, with or without a name
	To         []string // the same
	Subject    string   // text/template over a digest.Message
	Text       string   // the same; empty: digest.Plain
	MaxCapture int64    // bytes: a larger file with packets is not attached; negative: none is
	Digest     digest.Options

	Clock func() time.Time                                                     // nil: time.Now
	Dial  func(ctx context.Context, network, address string) (net.Conn, error) // nil: TCP
}

// Sink sends mail.
type Sink struct {
	options       Options
	host          string
	from          *netmail.Address
	to            []*netmail.Address
	subject, text *digest.Template
	outbox        *digest.Outbox
}

// New checks the options. It connects to nothing.
func New(o Options) (*Sink, error) {
	s := &Sink{options: o}
	host, port, err := net.SplitHostPort(o.Server)
	if err != nil {
		host, port = strings.Trim(o.Server, "[]"), map[Security]string{StartTLS: "587", Implicit: "465", None: "25"}[o.Security]
	}
	if n, err := strconv.ParseUint(port, 10, 16); host == "" || err != nil || n == 0 {
		return nil, fmt.Errorf("use mail server %q: it is not a host with a port; give one such as mail.example.net:587", o.Server)
	}
	s.host, s.options.Server = host, net.JoinHostPort(host, port)
	if o.Security > None || o.Auth > Login {
		return nil, fmt.Errorf("use mail security %d with authentication %d: there are none such", o.Security, o.Auth)
	}
	if o.Security == None && o.User != "" && !local(host) {
		return nil, fmt.Errorf("use mail server %q: without TLS everybody could read the password; use starttls or tls, or no user", o.Server)
	}
	if strings.ContainsAny(o.User+o.Password, "\x00\r\n") {
		return nil, errors.New("use mail user and password: they hold a line end or a null byte; take it out")
	}
	if s.options.Hello == "" {
		if s.options.Hello, err = os.Hostname(); err != nil || strings.ContainsFunc(s.options.Hello, notInName) || s.options.Hello == "" {
			s.options.Hello = "localhost"
		}
	}
	if strings.ContainsFunc(s.options.Hello, notInName) {
		return nil, fmt.Errorf("use mail hello name %q: it is no host name", o.Hello)
	}
	if s.from, err = address(o.From); err != nil {
		return nil, err
	}
	if len(o.To) == 0 {
		return nil, errors.New("send mail: to nobody; give at least one address")
	}
	for _, to := range o.To {
		a, err := address(to)
		if err != nil {
			return nil, err
		}
		s.to = append(s.to, a)
	}
	if s.subject, err = digest.Compile(cmp.Or(o.Subject, DefaultSubject)); err != nil {
		return nil, fmt.Errorf("use mail subject: %w", err)
	}
	if s.text, err = digest.Compile(cmp.Or(o.Text, digest.Plain())); err != nil {
		return nil, fmt.Errorf("use mail text: %w", err)
	}
	if s.options.MaxCapture == 0 {
		s.options.MaxCapture = DefaultMaxCapture
	}
	if s.options.Clock == nil {
		s.options.Clock = time.Now
	}
	if s.options.Dial == nil {
		s.options.Dial = (&net.Dialer{}).DialContext
	}
	s.outbox, err = digest.NewOutbox(o.Digest)
	return s, err
}

func notInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-.:[]", r)
}

// local reports whether the host is this machine itself.
func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func address(s string) (*netmail.Address, error) {
	a, err := netmail.ParseAddress(s)
	if err != nil || strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '<' || r == '>' }) {
		return nil, fmt.Errorf("use mail address %q: it is none; give one such as noc@example.net", s)
	}
	return a, nil
}

// Tell sends the mails that are due, see digest.Outbox: changes themselves are always taken, and what could not be sent is sent by the next call.
func (s *Sink) Tell(ctx context.Context, changes []traffic.Change) error {
	return s.outbox.Tell(s.options.Clock(), changes, func(m digest.Message) error {
		mail, err := s.compose(m)
		if err != nil {
			return fmt.Errorf("write mail about %s: %w: %w", m.Key, err, traffic.ErrPermanent)
		}
		if err := s.send(ctx, mail); err != nil {
			return fmt.Errorf("send mail by %s: %w", s.options.Server, err)
		}
		return nil
	})
}

// Push keeps the rates of attacks for the chart. It sends nothing.
func (s *Sink) Push(_ context.Context, snapshot *traffic.Snapshot) error {
	s.outbox.Observe(snapshot)
	return nil
}

// Due is when Tell is to be called even without changes, because a message has waited long enough for others; zero: not before there are some.
func (s *Sink) Due() time.Time { return s.outbox.Due() }

// Close has nothing to close: each mail has a connection of its own.
func (s *Sink) Close() error { return nil }
