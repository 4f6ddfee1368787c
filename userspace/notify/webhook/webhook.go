// Package webhook tells an HTTP server of each step in an attack's life by POST.
//
// The body is the change as JSON, in the form that all of Weir's outputs share, or what the operator's template makes of it. Beside the operator's own
// headers a request has
//
//	X-Weir-Event: started            what has happened: started, banned, escalated, described, details, unbanned, ended
//	Idempotency-Key: 3f0c...         the same when the same change is sent again, because the answer to the first was lost
//	X-Weir-Signature: t=1767323045,v1=5257a869...
//
// The signature is there if a secret is set: t is when it was made, in seconds since 1970, and v1 is the HMAC-SHA256, in lower hexadecimal, of t as it stands
// there, a full stop and the body, with the secret as key. A receiver computes it again, compares in constant time, and refuses what is older than a few
// minutes, so that nobody can send an old request again: see Verify.
package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"weir/userspace/eventjson"
	"weir/userspace/traffic"
)

// Options says where to POST, and what.
type Options struct {
	URL         string               // http or https; may hold user and password
	Headers     map[string]string    // added to each request
	Secret      string               // for X-Weir-Signature; empty: there is none
	Kinds       []traffic.ChangeKind // what is told; empty: everything
	Template    string               // text/template over the keys of eventjson.Change; see Compile. Empty: that JSON itself
	ContentType string               // empty: application/json
	TLS         TLS

	Clock     func() time.Time  // nil: time.Now
	Transport http.RoundTripper // nil: HTTP by TLS; with proxies as HTTPS_PROXY and NO_PROXY say
}

// maxAnswer is how much of an answer is read.
const maxAnswer = 64 << 10

// Sink posts changes.
type Sink struct {
	options  Options
	client   *http.Client
	where    string // the URL without what may be secret
	template *Template
}

// Unsent is Tell's error: the changes before were delivered.
type Unsent struct {
	Left int // changes of those told that were not delivered: the last ones
	err  error
}

// Error says what went wrong.
func (e *Unsent) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *Unsent) Unwrap() error { return e.err }

// Unsent is Left.
func (e *Unsent) Unsent() int { return e.Left }

// New checks the options. It connects to nothing.
func New(o Options) (*Sink, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("use webhook's URL: it is none; give one such as https://example.net/weir") // not what it is: it may hold a secret
	}
	s := &Sink{options: o, where: u.Scheme + "://" + u.Host}
	for name, value := range o.Headers {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("use webhook header %q: the name or the value has characters that HTTP does not allow", name)
		}
		if strings.EqualFold(name, "X-Weir-Signature") || strings.EqualFold(name, "Content-Length") {
			return nil, fmt.Errorf("use webhook header %q: it is set by Weir; leave it out", name)
		}
	}
	if s.options.Clock == nil {
		s.options.Clock = time.Now
	}
	s.options.ContentType = cmp.Or(o.ContentType, "application/json")
	if o.Template != "" {
		if s.template, err = Compile(o.Template, s.options.ContentType); err != nil {
			return nil, err
		}
	}
	transport := o.Transport
	if transport == nil {
		config, err := o.TLS.Config()
		if err != nil {
			return nil, err
		}
		transport = newTransport(config)
	}
	s.client = &http.Client{
		Transport: transport,
		// A redirected POST would come as a GET, or with its signature at a stranger's.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

func newTransport(config *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true, DisableCompression: true,
		MaxIdleConns: 2, MaxConnsPerHost: 2, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: maxAnswer,
	}
}

// Tell posts each change by itself, in their order. Its error is an *Unsent: those before the one that failed were delivered. It wraps traffic.ErrPermanent
// for a change that the server refuses (status 4xx but 401, 403, 404, 407, 408, 425 and 429, which somebody may mend, or which pass).
func (s *Sink) Tell(ctx context.Context, changes []traffic.Change) error {
	for i := range changes {
		c := &changes[i]
		if len(s.options.Kinds) > 0 && !slices.Contains(s.options.Kinds, c.Kind) {
			continue
		}
		if err := s.post(ctx, c); err != nil {
			return &Unsent{Left: len(changes) - i, err: fmt.Errorf("post change %s of attack %s to %s: %w", c.Kind, c.Record.Attack.ID, s.where, err)}
		}
	}
	return nil
}

func (s *Sink) post(ctx context.Context, c *traffic.Change) error {
	body, err := eventjson.Change(c)
	if err == nil && s.template != nil {
		body, err = s.template.render(body)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", err, traffic.ErrPermanent)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.options.URL, bytes.NewReader(body))
	if err != nil {
		return s.plainly(err)
	}
	h := request.Header
	h.Set("Content-Type", s.options.ContentType)
	h.Set("User-Agent", "weir")
	h.Set("X-Weir-Event", c.Kind.String())
	h.Set("Idempotency-Key", deliveryKey(c))
	for name, value := range s.options.Headers {
		if strings.EqualFold(name, "Host") {
			request.Host = value
			continue
		}
		h.Set(name, value)
	}
	if s.options.Secret != "" {
		h.Set("X-Weir-Signature", Sign(s.options.Secret, body, s.options.Clock()))
	}
	response, err := s.client.Do(request)
	if err != nil {
		return s.plainly(err)
	}
	defer response.Body.Close()
	// The status says enough, also where the rest cannot be read.
	answer, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	status := response.StatusCode
	switch {
	case status >= 200 && status < 300:
		return nil
	case status >= 300 && status < 400:
		return fmt.Errorf("the server answers %d, a redirection, which is not followed; give the URL that it redirects to", status)
	}
	err = fmt.Errorf("the server answers %d%s", status, excerpt(answer))
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return fmt.Errorf("%w; check the headers, the user and the secret", err)
	case http.StatusNotFound:
		return fmt.Errorf("%w; check the URL", err)
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return err
	}
	if status >= 400 && status < 500 {
		return fmt.Errorf("%w: %w", err, traffic.ErrPermanent)
	}
	return err
}

// plainly takes the URL, which may hold a secret, out of the HTTP client's error.
func (s *Sink) plainly(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// excerpt is the beginning of an answer, for an error.
func excerpt(answer []byte) string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(answer[:min(len(answer), 200)]), "")), " ")
	if text == "" {
		return ""
	}
	return ": " + strconv.Quote(text)
}

// deliveryKey is the same for the same change.
func deliveryKey(c *traffic.Change) string {
	sum := sha256.Sum256([]byte(c.Record.Attack.ID + "\x00" + c.Kind.String() + "\x00" + strconv.FormatInt(c.At.UnixNano(), 10)))
	return hex.EncodeToString(sum[:16])
}

// Close closes idle connections.
func (s *Sink) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

// Sign makes the value of X-Weir-Signature for a body that is sent at a time.
func Sign(secret string, body []byte, at time.Time) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac(secret, t, body))
}

// Verify checks a signature as a receiver would, and that it is at most tolerance away from now.
func Verify(secret, signature string, body []byte, now time.Time, tolerance time.Duration) error {
	t, v1, found := strings.Cut(strings.TrimPrefix(signature, "t="), ",v1=")
	seconds, err := strconv.ParseInt(t, 10, 64)
	if !found || err != nil {
		return fmt.Errorf("verify signature %q: it is not of the form t=SECONDS,v1=HEX", signature)
	}
	got, err := hex.DecodeString(v1)
	if err != nil || !hmac.Equal(got, mac(secret, t, body)) {
		return errors.New("verify signature: it is not of this secret and body")
	}
	if away := now.Sub(time.Unix(seconds, 0)).Abs(); away > tolerance {
		return fmt.Errorf("verify signature: it was made %s away from now; check the clocks", away.Round(time.Second))
	}
	return nil
}

func mac(secret, t string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(t))
	h.Write([]byte{'.'})
	h.Write(body)
	return h.Sum(nil)
}
