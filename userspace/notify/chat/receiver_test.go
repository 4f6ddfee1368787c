package chat

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"weir/userspace/traffic"
)

// received is a request as the service would see it.
type received struct {
	Method, URL, Authorization string
	Body                       map[string]any
}

// receiver is an HTTPS server that stands for every host there is.
type receiver struct {
	transport *http.Transport
	mu        sync.Mutex
	got       []received
	answer    func(n int, r received) (status int, body string)
}

func newReceiver(t *testing.T, answer func(n int, r received) (int, string)) *receiver {
	t.Helper()
	v := &receiver{answer: answer}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, err := io.ReadAll(q.Body)
		if err != nil {
			t.Errorf("read request: %v", err)
		}
		r := received{Method: q.Method, URL: "https://" + q.Host + q.URL.RequestURI(), Authorization: q.Header.Get("Authorization")}
		if err := json.Unmarshal(b, &r.Body); err != nil || q.Header.Get("Content-Type") != "application/json" {
			t.Errorf("request to %s has %q as %q: %v", r.URL, b, q.Header.Get("Content-Type"), err)
		}
		v.mu.Lock()
		n := len(v.got)
		v.got = append(v.got, r)
		v.mu.Unlock()
		status, body := v.answer(n, r)
		if status == 0 { // never answered
			<-q.Context().Done()
			panic(http.ErrAbortHandler) // to return would be to answer 200
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	v.transport = &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the certificate is for none of the hosts
	}
	t.Cleanup(v.transport.CloseIdleConnections)
	return v
}

func (v *receiver) all() []received {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.got
}

var start = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

func change(kind traffic.ChangeKind, id string, seconds int) traffic.Change {
	count := traffic.Count{Packets: 5000, Bytes: 500_000}
	c := traffic.Change{Kind: kind, At: start.Add(time.Duration(seconds) * time.Second), Group: "servers"}
	a := &c.Record.Attack
	a.ID, a.Target = id, traffic.Target{Prefix: netip.MustParsePrefix("192.0.2.7/32")}
	a.Started, a.Rate.Incoming.Total, a.Peak.Total = start, count, count
	a.Analysis = &traffic.Analysis{Class: "dns_amplification"}
	c.Record.Ban = traffic.Ban{Since: start, Drop: true}
	if kind == traffic.ChangeEnded {
		a.Ended = c.At
	}
	return c
}

func mustNew(t *testing.T, v *receiver, url string) *Sink {
	t.Helper()
	now := start
	s, err := New(Options{URL: url, Transport: v.transport, Text: "{{.Title}}\n\n<@all> & {{.Strongest.Target}}", Clock: func() time.Time { now = now.Add(time.Minute); return now }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tell gives changes and lets pass what they wait for.
func tell(t *testing.T, s *Sink, changes ...traffic.Change) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Tell(ctx, changes); err != nil {
		t.Fatal(err)
	}
	return s.Tell(ctx, nil)
}
