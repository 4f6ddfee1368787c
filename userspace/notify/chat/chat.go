// Package chat sends messages about attacks to Slack, Telegram, Discord, Microsoft Teams and Matrix, and opens and closes alerts in PagerDuty and Opsgenie.
//
// Where to is said by a URL as the library shoutrrr has them; the library reads it. The requests are made here, because the library's know no deadline, read
// answers of any length, hide the status that says whether another try can help, and cannot close what they opened.
package chat

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"weir/userspace/notify/digest"
	"weir/userspace/traffic"
)

// Options says where messages go.
type Options struct {
	// URL is one of
	//
	//	slack://hook:TTTTTTTTT-BBBBBBBBB-XXXXXXXXXXXXXXXXXXXXXXXX@webhook
	//	slack://xoxb:123456789012-1234567890123-4mt0t4l1YL3g1T5L4cK70k3N@C0123456789
	//	telegram://TOKEN@telegram?chats=@channel,-1001234567890
	//	discord://TOKEN@WEBHOOK-ID
	//	teams://GROUP@TENANT/ALT-ID/GROUP-OWNER/EXTRA-ID?host=ORGANIZATION.webhook.office.com
	//	matrix://USER:PASSWORD@HOST/?rooms=!id:host,alias     (without USER the password is an access token)
	//	pagerduty://events.pagerduty.com/INTEGRATION-KEY?severity=critical
	//	opsgenie://api.opsgenie.com/API-KEY?priority=P1
	URL    string
	Text   string // text/template over a digest.Message; empty: digest.Plain
	Digest digest.Options

	Clock     func() time.Time  // nil: time.Now
	Transport http.RoundTripper // nil: HTTP by TLS; with proxies as HTTPS_PROXY and NO_PROXY say
}

// maxAnswer is how much of an answer is read.
const maxAnswer = 64 << 10

// note is a message as a service is given it.
type note struct {
	digest.Message
	title, text string
}

// request is one of those that together make a message.
type request struct {
	method, url string
	header      map[string]string
	body        any                                   // as JSON; nil: none
	ok          func(status int, answer []byte) error // what is wrong although the status is fine; nil: nothing
}

// service makes the requests of one kind of receiver.
type service interface {
	name() string
	// requests are made in order. Where one fails, those before it are not made again.
	requests(ctx context.Context, call caller, n *note) ([]request, error)
	// secrets are what must not be seen in errors.
	secrets() []string
	// forget drops what was learned by logging in, after an error.
	forget()
}

// caller makes a request and returns the answer's body.
type caller func(ctx context.Context, r *request) ([]byte, error)

// Sink sends messages to one receiver.
type Sink struct {
	service  service
	client   *http.Client
	text     *digest.Template
	outbox   *digest.Outbox
	clock    func() time.Time
	redacted *strings.Replacer

	sending string // the message that requests were made of last, and ...
	made    int    // ... how many of them
}

// New checks the options. It connects to nothing. Its errors do not hold the URL's secrets.
func New(o Options) (*Sink, error) {
	s := &Sink{clock: o.Clock}
	if s.clock == nil {
		s.clock = time.Now
	}
	var err error
	if s.service, err = parse(o.URL); err != nil {
		return nil, err
	}
	if s.text, err = digest.Compile(cmp.Or(o.Text, digest.Plain())); err != nil {
		return nil, fmt.Errorf("use %s text: %w", s.service.name(), err)
	}
	if s.outbox, err = digest.NewOutbox(o.Digest); err != nil {
		return nil, err
	}
	transport := o.Transport
	if transport == nil {
		transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableCompression: true,
			MaxConnsPerHost: 2, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: maxAnswer,
		}
	}
	s.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	s.redacted = redactor(s.service.secrets())
	return s, nil
}

// redactor replaces secrets, also as they stand in URLs and in quotes.
func redactor(secrets []string) *strings.Replacer {
	var pairs []string
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		quoted := strconv.Quote(secret)
		for _, form := range []string{secret, url.PathEscape(secret), url.QueryEscape(secret), quoted[1 : len(quoted)-1]} {
			pairs = append(pairs, form, "***")
		}
	}
	return strings.NewReplacer(pairs...)
}

// hidden is an error whose text holds no secrets.
type hidden struct {
	text  string
	cause error
}

func (h *hidden) Error() string { return h.text }

// Is says what the cause is, without giving it away.
func (h *hidden) Is(target error) bool { return errors.Is(h.cause, target) }

// Tell sends the messages that are due, see digest.Outbox: changes themselves are always taken, and what could not be sent is sent by the next call.
func (s *Sink) Tell(ctx context.Context, changes []traffic.Change) error {
	return s.outbox.Tell(s.clock(), changes, func(m digest.Message) error {
		if err := s.send(ctx, m); err != nil {
			s.service.forget()
			return &hidden{s.redacted.Replace(fmt.Sprintf("send message about %s to %s: %s", m.Key, s.service.name(), err)), err}
		}
		return nil
	})
}

func (s *Sink) send(ctx context.Context, m digest.Message) error {
	text, err := s.text.Render(m)
	if err != nil {
		return fmt.Errorf("%w: %w", err, traffic.ErrPermanent)
	}
	title := m.Title()
	// The standard text begins with the title, which services show by itself.
	text = strings.TrimLeft(strings.TrimPrefix(text, title), "\n")
	requests, err := s.service.requests(ctx, s.call, &note{m, title, strings.TrimSpace(text)})
	if err != nil {
		return err
	}
	if key := m.Key + " " + m.Event.String() + " " + m.At.String(); s.sending != key {
		s.sending, s.made = key, 0
	}
	var refused error
	for s.made < len(requests) {
		_, err := s.call(ctx, &requests[s.made])
		if err != nil && !errors.Is(err, traffic.ErrPermanent) {
			return err
		}
		// One receiver that refuses keeps the message from no other.
		if refused == nil {
			refused = err
		}
		s.made++
	}
	return refused
}

// call makes a request. Statuses 4xx are for good but those that somebody may mend or that pass.
func (s *Sink) call(ctx context.Context, r *request) ([]byte, error) {
	var body io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", err, traffic.ErrPermanent)
		}
		body = bytes.NewReader(b)
	}
	q, err := http.NewRequestWithContext(ctx, r.method, r.url, body)
	if err != nil {
		return nil, plainly(err)
	}
	q.Header.Set("User-Agent", "weir")
	if body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	for name, value := range r.header {
		q.Header.Set(name, value)
	}
	response, err := s.client.Do(q)
	if err != nil {
		return nil, plainly(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	status := response.StatusCode
	if status >= 200 && status < 300 {
		if err != nil && r.ok != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		if r.ok != nil {
			return answer, r.ok(status, answer)
		}
		return answer, nil
	}
	err = fmt.Errorf("the server answers %d%s", status, excerpt(answer))
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired:
		return nil, fmt.Errorf("%w; check the URL with its keys, and that the receiver still exists", err)
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return nil, err
	}
	if status >= 400 && status < 500 {
		return nil, fmt.Errorf("%w: %w", err, traffic.ErrPermanent)
	}
	return nil, err
}

// plainly takes the URL out of the HTTP client's error.
func plainly(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// excerpt is the beginning of an answer, for an error.
func excerpt(answer []byte) string {
	text := strings.Join(strings.Fields(digest.Clean(string(answer[:min(len(answer), 300)]))), " ")
	if text == "" {
		return ""
	}
	return ": " + strconv.Quote(text)
}

// clip shortens a text to so many characters.
func clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// Due is when Tell is to be called even without changes, because a message has waited long enough for others; zero: not before there are some.
func (s *Sink) Due() time.Time { return s.outbox.Due() }

// Close closes idle connections.
func (s *Sink) Close() error {
	s.client.CloseIdleConnections()
	return nil
}
