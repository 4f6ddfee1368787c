package webhook

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/eventjson"
	"weir/userspace/traffic"
)

var now = time.Unix(1767323045, 0)

func change(id string, kind traffic.ChangeKind) traffic.Change {
	c := traffic.Change{Kind: kind, At: now}
	c.Record.Attack.ID, c.Record.Ban.Reason, c.Record.Ban.Since = id, `"quoted"`, now
	c.Record.Attack.Volume.Total.Packets = 1<<63 + 1
	return c
}

// hit is a request as far as the tests look at it.
type hit struct {
	event, key, signature, kind, custom, host, user, body string
}

type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	hits   []hit
	answer func(n int, w http.ResponseWriter, q *http.Request)
}

func newReceiver(t *testing.T, answer func(n int, w http.ResponseWriter, q *http.Request)) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		user, _, _ := q.BasicAuth()
		r.mu.Lock()
		n := len(r.hits)
		r.hits = append(r.hits, hit{q.Header.Get("X-Weir-Event"), q.Header.Get("Idempotency-Key"), q.Header.Get("X-Weir-Signature"), q.Header.Get("Content-Type"), q.Header.Get("X-Custom"), q.Host, user, string(body)})
		r.mu.Unlock()
		if r.answer != nil {
			r.answer(n, w, q)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []hit {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hits
}

// authority writes the server's certificate as an authority.
func (r *receiver) authority(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func mustNew(t *testing.T, r *receiver, alter func(*Options)) *Sink {
	t.Helper()
	o := Options{URL: strings.Replace(r.URL, "https://", "https://user:sEcReT@", 1) + "/hook?token=sEcReT", Clock: func() time.Time { return now }}
	o.TLS.CAFile = r.authority(t)
	if alter != nil {
		alter(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestChangesArriveSigned(t *testing.T) {
	r := newReceiver(t, nil)
	s := mustNew(t, r, func(o *Options) {
		o.Secret, o.Headers = "key", map[string]string{"X-Custom": "one", "Host": "weir.example.net"}
		o.Kinds = []traffic.ChangeKind{traffic.ChangeStarted, traffic.ChangeEnded}
	})
	if err := s.Tell(t.Context(), []traffic.Change{change("a", traffic.ChangeStarted), change("a", traffic.ChangeBanned), change("a", traffic.ChangeEnded)}); err != nil {
		t.Fatal(err)
	}
	got := r.all()
	if len(got) != 2 || got[0].key == got[1].key || len(got[0].key) != 32 {
		t.Fatalf("%d requests arrived, want 2 with keys of their own: %v", len(got), got)
	}
	for i, event := range []string{"started", "ended"} {
		h := got[i]
		if err := Verify("key", h.signature, []byte(h.body), now.Add(time.Minute), 5*time.Minute); err != nil {
			t.Error(err)
		}
		c := change("a", map[string]traffic.ChangeKind{"started": traffic.ChangeStarted, "ended": traffic.ChangeEnded}[event])
		body, err := eventjson.Change(&c)
		if err != nil {
			t.Fatal(err)
		}
		want := hit{event, h.key, h.signature, "application/json", "one", "weir.example.net", "user", string(body)}
		if diff := cmp.Diff(want, h, cmp.AllowUnexported(hit{})); diff != "" {
			t.Errorf("request (-want +got):\n%s", diff)
		}
	}
}

func TestSignature(t *testing.T) {
	// Computed by: printf '1767323045.{}' | openssl dgst -sha256 -hmac key
	const want = "t=1767323045,v1=1d533de0941004dfdb6d222b1e197476ea94db2c6b6bca39a2ed148ff4b23910"
	got := Sign("key", []byte("{}"), now)
	if got != want {
		t.Errorf("Sign gives %s, want %s", got, want)
	}
	for name, c := range map[string]struct {
		secret, signature, body string
		at                      time.Time
	}{
		"other secret": {"kez", want, "{}", now}, "other body": {"key", want, "{ }", now}, "old": {"key", want, "{}", now.Add(time.Hour)},
		"future": {"key", want, "{}", now.Add(-time.Hour)}, "none": {"key", "", "{}", now}, "other time": {"key", strings.Replace(want, "3045", "3046", 1), "{}", now},
		"garbage": {"key", "t=1,v1=zz", "{}", now},
	} {
		if Verify(c.secret, c.signature, []byte(c.body), c.at, time.Minute) == nil {
			t.Errorf("%s is fine", name)
		}
	}
}

func TestTemplate(t *testing.T) {
	r := newReceiver(t, nil)
	s := mustNew(t, r, func(o *Options) {
		o.Template = `{"text": {{json .ban.reason}}, "packets": {{.volume.total.packets}}, "none": {{json .missing}}}`
	})
	if err := s.Tell(t.Context(), []traffic.Change{change("a", traffic.ChangeStarted)}); err != nil {
		t.Fatal(err)
	}
	if got, want := r.all()[0].body, `{"text": "\"quoted\"", "packets": 9223372036854775809, "none": null}`; got != want {
		t.Errorf("body is %s, want %s", got, want)
	}
	for text, want := range map[string]string{
		"{\n{{.kind}}}":             "its result is not JSON: invalid character 'b'",
		"{{nofunction}}":            `read webhook template: body:1: function "nofunction" not defined`,
		"\n{{.kind.deeper}}":        "use webhook template: body:2:7: ",
		"{{range}}":                 "read webhook template: body:1: missing value for range",
		`{{printf "%01999999d" 1}}`: "longer than 1 MiB",
		`{{index .target 500000}}`:  "use webhook template: body:1:2: ",
	} {
		if err := ParseTemplate(text, "application/json; charset=utf-8"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseTemplate(%q) gives %v, want %q in it", text, err, want)
		}
	}
	if err := ParseTemplate("{{.kind}} text", "text/plain"); err != nil {
		t.Errorf("a text need not be JSON: %v", err)
	}
}

func TestBadServers(t *testing.T) {
	status := func(code int, body string) func(int, http.ResponseWriter, *http.Request) {
		return func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				w.WriteHeader(code)
				_, _ = io.WriteString(w, body)
			}
		}
	}
	// A connection that was in use before and ends without an answer is tried once more by the HTTP client, for the key says that it may be.
	hijacked := func(bytes string) func(int, http.ResponseWriter, *http.Request) {
		return func(n int, w http.ResponseWriter, _ *http.Request) {
			if n != 1 && (n != 2 || bytes != "") {
				return
			}
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, bytes)
			_ = c.Close()
		}
	}
	for name, c := range map[string]struct {
		answer    func(int, http.ResponseWriter, *http.Request)
		want      string
		permanent bool
	}{
		"400":     {status(400, "no \x00 such\nfield "+strings.Repeat("x", 100_000)), `answers 400: "no`, true},
		"413":     {status(413, ""), "answers 413", true},
		"401":     {status(401, ""), "answers 401; check the headers", false},
		"403":     {status(403, ""), "answers 403; check the headers", false},
		"404":     {status(404, ""), "answers 404; check the URL", false},
		"408":     {status(408, ""), "answers 408", false},
		"429":     {status(429, "slower"), `answers 429: "slower"`, false},
		"500":     {status(500, "oops"), `answers 500: "oops"`, false},
		"302":     {status(302, ""), "answers 302, a redirection, which is not followed", false},
		"closes":  {hijacked(""), "EOF", false},
		"garbage": {hijacked("\x00\x01\x02\r\n\r\n"), "malformed HTTP response", false},
		"half":    {hijacked("HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nhalf"), `answers 500: "half"`, false},
		"headers": {hijacked("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 200_000) + "\r\n\r\n"), "exceeded", false},
		"hangs": {func(n int, _ http.ResponseWriter, q *http.Request) {
			if n == 1 {
				<-q.Context().Done()
			}
		}, "deadline exceeded", false},
		"trickles": {func(n int, w http.ResponseWriter, q *http.Request) {
			if n == 1 {
				w.WriteHeader(500)
				_ = http.NewResponseController(w).Flush()
				<-q.Context().Done()
			}
		}, "answers 500", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, c.answer)
			s := mustNew(t, r, func(o *Options) { o.Headers = map[string]string{"Authorization": "Bearer sEcReT"} })
			timeout := 10 * time.Second
			if name == "hangs" || name == "trickles" {
				timeout = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			changes := []traffic.Change{change("a", traffic.ChangeStarted), change("b", traffic.ChangeStarted), change("c", traffic.ChangeStarted)}
			err := s.Tell(ctx, changes)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "post change started of attack b to https://127.0.0.1:") || strings.Contains(err.Error(), "sEcReT") || len(err.Error()) > 1000 {
				t.Fatalf("Tell gives %v, want %q in it", err, c.want)
			}
			var unsent interface{ Unsent() int }
			if !errors.As(err, &unsent) || unsent.Unsent() != 2 {
				t.Errorf("%v does not say that 2 are left", err)
			}
			if errors.Is(err, traffic.ErrPermanent) != c.permanent {
				t.Errorf("%v: permanent is %v, want %v", err, !c.permanent, c.permanent)
			}
			if err := s.Tell(t.Context(), changes[2:]); err != nil {
				t.Errorf("the next call does not start clean: %v", err)
			}
			hits := r.all()
			if last := hits[len(hits)-1].body; !strings.Contains(last, `"id":"c"`) {
				t.Errorf("the last request is %s", last)
			}
		})
	}
}

func TestAwayAndStrangers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	s, err := New(Options{URL: "http://" + address + "/sEcReT"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Tell(t.Context(), []traffic.Change{change("a", traffic.ChangeStarted)}); err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "sEcReT") {
		t.Errorf("Tell gives %v", err)
	}
	r := newReceiver(t, nil)
	for want, alter := range map[string]func(*Options){
		"certificate signed by unknown authority": func(o *Options) { o.TLS = TLS{} },
		"not other.example.net":                   func(o *Options) { o.TLS.ServerName = "other.example.net" },
	} {
		if err := mustNew(t, r, alter).Tell(t.Context(), []traffic.Change{change("a", traffic.ChangeStarted)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Tell gives %v, want %q in it", err, want)
		}
	}
	if err := mustNew(t, r, func(o *Options) { o.TLS = TLS{Insecure: true} }).Tell(t.Context(), []traffic.Change{change("a", traffic.ChangeStarted)}); err != nil {
		t.Error(err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{URL: "https://example.net/"}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, alter := range map[string]func(*Options){
		"use webhook's URL: it is none":             func(o *Options) { o.URL = "ftp://sEcReT@example.net" },
		"use webhook's URL: it is none;":            func(o *Options) { o.URL = "https://sEcReT\x7f/" },
		`use webhook header "X A"`:                  func(o *Options) { o.Headers = map[string]string{"X A": "sEcReT"} },
		`use webhook header "X-A"`:                  func(o *Options) { o.Headers = map[string]string{"X-A": "sEcReT\r\nB: c"} },
		`use webhook header "x-weir-signature"`:     func(o *Options) { o.Headers = map[string]string{"x-weir-signature": "sEcReT"} },
		"use webhook template":                      func(o *Options) { o.Template = "{" },
		"use webhook content type":                  func(o *Options) { o.Template, o.ContentType = "{}", "a b" },
		"holds no certificate in PEM":               func(o *Options) { o.TLS.CAFile = file },
		"read authorities: open":                    func(o *Options) { o.TLS.CAFile = file + "x" },
		"one of them is missing; give both or none": func(o *Options) { o.TLS.CertFile = file },
		"read certificate " + file + " with key":    func(o *Options) { o.TLS.CertFile, o.TLS.KeyFile = file, file },
	} {
		o := good
		alter(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sEcReT") {
			t.Errorf("New gives %v, want %q in it", err, want)
		}
	}
}
