package mail

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// server is an SMTP server of its own making, with as much of RFC 5321, 3207 and 4954 as the tests need.
type server struct {
	t        *testing.T
	listener net.Listener
	tls      *tls.Config // nil: no STARTTLS
	trust    *tls.Config // for the client
	implicit bool
	replies  map[string]string // by verb: what it says instead; "hang", "close"
	refuse   string            // recipient that is refused

	mu    sync.Mutex
	lines []string // commands, "*" before those that came protected
	mails []string
	conns []net.Conn
	wg    sync.WaitGroup
}

func certificates(t *testing.T) (ours, trust *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return &tls.Config{Certificates: s.TLS.Certificates}, &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
}

func newServer(t *testing.T, configure func(*server)) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, listener: l}
	s.tls, s.trust = certificates(t)
	if configure != nil {
		configure(s)
	}
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			s.wg.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

func (s *server) serve(c net.Conn) {
	defer c.Close()
	protected := false
	if s.implicit {
		c, protected = tls.Server(c, s.tls), true
	}
	r := bufio.NewReader(c)
	say := func(text string) { _, _ = c.Write([]byte(text + "\r\n")) }
	line := func() (string, bool) {
		text, err := r.ReadString('\n')
		return strings.TrimRight(text, "\r\n"), err == nil
	}
	if !s.special(c, "GREETING", say) {
		return
	}
	if s.reply("GREETING") == "" {
		say("220 mail.example.net ESMTP")
	}
	for {
		command, ok := line()
		if !ok {
			return
		}
		s.note(command, protected)
		verb, argument, _ := strings.Cut(command, " ")
		if s.reply(verb) != "" {
			if !s.special(c, verb, say) {
				return
			}
			continue
		}
		switch verb {
		case "EHLO":
			if s.tls != nil && !protected {
				say("250-mail.example.net\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN")
			} else {
				say("250-mail.example.net\r\n250 AUTH PLAIN LOGIN")
			}
		case "STARTTLS":
			say("220 go ahead")
			t := tls.Server(c, s.tls)
			c, r, protected = t, bufio.NewReader(t), true
		case "AUTH":
			if !s.authenticate(argument, say, line) {
				say("535 5.7.8 no")
				continue
			}
			say("235 welcome")
		case "RCPT":
			if s.refuse != "" && strings.Contains(argument, s.refuse) {
				say("550 5.1.1 nobody here")
				continue
			}
			say("250 ok")
		case "MAIL":
			say("250 ok")
		case "DATA":
			say("354 go on")
			var mail strings.Builder
			for {
				text, ok := line()
				if !ok {
					return
				}
				if text == "." {
					break
				}
				mail.WriteString(strings.TrimPrefix(text, ".") + "\r\n")
			}
			if s.reply("END") != "" {
				if !s.special(c, "END", say) {
					return
				}
				continue
			}
			s.mu.Lock()
			s.mails = append(s.mails, mail.String())
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("502 what")
		}
	}
}

func (s *server) reply(verb string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replies[verb]
}

// special says what a test wants said; false: the connection is over.
func (s *server) special(c net.Conn, verb string, say func(string)) bool {
	switch reply := s.reply(verb); reply {
	case "":
	case "hang":
		_, _ = c.Read(make([]byte, 1)) // until the client goes
		return false
	case "close":
		return false
	case "babble":
		for {
			if _, err := c.Write([]byte("250-" + strings.Repeat("bla", 1000) + "\r\n")); err != nil {
				return false
			}
		}
	default:
		say(reply)
	}
	return true
}

func (s *server) authenticate(argument string, say func(string), line func() (string, bool)) bool {
	decode := func(text string) string {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			s.t.Errorf("the client sends %q for Base64", text)
		}
		return string(b)
	}
	kind, first, _ := strings.Cut(argument, " ")
	if kind == "PLAIN" {
		return decode(first) == "\x00weir\x00secret"
	}
	say("334 VXNlcm5hbWU6")
	user, _ := line()
	say("334 UGFzc3dvcmQ6")
	password, _ := line()
	return decode(user) == "weir" && decode(password) == "secret"
}

func (s *server) note(command string, protected bool) {
	if protected {
		command = "*" + command
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, command)
}

// taken are the mails, and the commands in short.
func (s *server) taken() (mails, lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mails, s.lines
}
