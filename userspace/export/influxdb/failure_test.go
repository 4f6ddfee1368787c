package influxdb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/export/influxdb"
	"weir/userspace/traffic"
)

// isPermanent checks an error: whether it is for good, and what it says.
func isPermanent(t *testing.T, err error, want bool, says ...string) {
	t.Helper()
	if err == nil || errors.Is(err, traffic.ErrPermanent) != want {
		t.Errorf("error %v; want one, and that it is for good to be %t", err, want)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
}

func TestAnswers(t *testing.T) {
	const secret = "t0ken=="
	header := http.Header{}
	var status int
	var body string
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for key, values := range header {
			w.Header()[key] = values
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	elsewhere := serve(t, stored)
	long := strings.Repeat("x", 1000)
	for _, tt := range []struct {
		name      string
		status    int
		header    http.Header
		body      string
		permanent bool
		want      string // the end of the error
	}{
		{"version 2", 400, nil, `{"code":"invalid","message":"unable to parse 'x'"}`, true, "refused for good: unable to parse 'x'"},
		{"version 3", 400, nil, `{"error":"partial write of line protocol occurred","data":[{"original_line":"` + long + `","line_number":2,"error_message":"bad"}]}`,
			true, "refused for good: partial write of line protocol occurred: line 2: bad"},
		{"type conflict", 422, nil, `{"code":"unprocessable entity","message":"field type conflict"}`, true, "refused for good: field type conflict"},
		{"too large", 413, nil, `too large`, true, "refused for good: too large; write fewer bytes in one request"},
		{"cut", 400, nil, `{"error":"` + long + `"}`, true, "refused for good: " + long[:200]},
		{"no organisation", 404, nil, `{"code":"not found","message":"bucket \"b\" not found"}`, false,
			`bucket "b" not found; check organisation "o", bucket "b" and that the token may write to it`},
		{"another server", 404, nil, "404 page <b>gone</b>\x1b[31m\n", false, "404 page <b>gone</b> [31m; check address, version and database"},
		{"unauthorised", 401, nil, `{"code":"unauthorized","message":"token ` + secret + ` unknown"}`, false,
			"the token was refused (401): token *** unknown; check the credentials, and that they may write there"},
		{"forbidden", 403, nil, "", false, "(403): it did not say why; check the credentials, and that they may write there"},
		{"busy", 429, http.Header{"Retry-After": {"7"}}, `{"message":"slow down"}`, false, "the server is busy and asks to wait for 7s: slow down"},
		{"busy until", 503, http.Header{"Retry-After": {"Sun, 06 Nov 1994 08:49:37 GMT"}, "Date": {"Sun, 06 Nov 1994 08:49:07 GMT"}}, "", false,
			"the server is busy and asks to wait for 30s: it did not say why"},
		{"busy for ever", 503, http.Header{"Retry-After": {"99999999999999999999"}}, "-", false, "the server is busy and asks to wait for 1h0m0s: -"},
		{"busy, garbage", 503, http.Header{"Retry-After": {"soon"}}, "-", false, "the server is busy: -"},
		{"internal", 500, nil, `{"error":"timeout"}`, false, "the server answered 500: timeout"},
		{"elsewhere", 307, http.Header{"Location": {elsewhere.URL}}, "", false, "the server sends us elsewhere (307), which is not followed; use the address that it means"},
		{"a web page", 200, nil, "<html>hello</html>" + strings.Repeat("y", 1<<20), false, strings.Repeat("y", 182) + "\"; check the address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body, header = tt.status, tt.body, tt.header
			sink := open(t, influxdb.Options{Version: influxdb.V2, Address: s.URL, Org: "o", Bucket: "b", Token: secret})
			err := sink.Push(limited(t), example())
			isPermanent(t, err, tt.permanent, "write traffic to influxdb at "+s.URL+": ")
			if err != nil && !strings.HasSuffix(err.Error(), tt.want) || strings.Contains(fmt.Sprint(err), secret) {
				t.Errorf("error %q; want %q at its end, and no secret", err, tt.want)
			}
			var busy *influxdb.Busy
			if is := errors.As(err, &busy); is != (tt.status == 429 || tt.status == 503) || is && tt.header.Get("Retry-After") == "7" && busy.After != 7*time.Second {
				t.Errorf("busy: %t, %+v", is, busy)
			}
			status, header, body = 204, nil, ""
			if err := sink.Push(limited(t), example()); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
	if got := elsewhere.took(); len(got) != 0 {
		t.Errorf("a redirect was followed: %v", got)
	}
}

func TestRefusedRequestDoesNotKeepTheOthersBack(t *testing.T) {
	n := 0
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if n++; n <= 2 {
			http.Error(w, `{"error":"partial write: no"}`, http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	sink := open(t, influxdb.Options{Address: s.URL, MostLines: 4})
	isPermanent(t, sink.Push(limited(t), example()), true, "2 times; the first: refused for good: partial write: no")
	var lines []int
	for _, r := range s.took() {
		lines = append(lines, strings.Count(r.Body, "\n"))
	}
	if diff := cmp.Diff([]int{4, 4, 4, 2}, lines); diff != "" {
		t.Errorf("lines of requests (-want +got):\n%s", diff)
	}
}

func TestRequestsHoldAtMostSoManyBytes(t *testing.T) {
	s := serve(t, stored)
	sink := open(t, influxdb.Options{Address: s.URL, MostBytes: 3000})
	if err := sink.Push(limited(t), example()); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, r := range s.took() {
		lines += strings.Count(r.Body, "\n")
		if len(r.Body) > 3000 || !strings.HasSuffix(r.Body, " 1763900000000000000\n") {
			t.Errorf("a request of %d bytes: %q", len(r.Body), r.Body)
		}
	}
	if lines != 14 {
		t.Errorf("%d lines; want 14", lines)
	}
}

func TestAway(t *testing.T) {
	sink := open(t, influxdb.Options{Address: fmt.Sprintf("http://127.0.0.1:%d", freePort(t)), User: "u", Password: "hidden"})
	err := sink.Tell(limited(t), []traffic.Change{change(traffic.ChangeStarted, 0)})
	isPermanent(t, err, false, "write attacks to influxdb at http://127.0.0.1:", "refused; check that InfluxDB runs and listens there")
	if strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "Post") {
		t.Errorf("error %q", err)
	}
	udp := open(t, influxdb.Options{Version: influxdb.UDP, Address: fmt.Sprintf("127.0.0.1:%d", freePort(t))})
	isPermanent(t, udp.Push(limited(t), crowd(1000)), false, "send datagram of ", "refused; check that InfluxDB's [[udp]] is enabled there")
}

// TestBadConnections ends whatever a server does by the context's end, and the next push is a whole one.
func TestBadConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, tt := range map[string]struct {
		says  string // the connection is closed afterwards
		hangs bool
		want  string
	}{
		"hangs":           {hangs: true, want: "wait for answer: context deadline exceeded"},
		"hangs in answer": {says: "HTTP/1.1 400 No\r\nContent-Length: 100\r\n\r\nhalf", hangs: true, want: "wait for answer: context deadline exceeded"},
		"closes":          {want: "check that InfluxDB runs and listens there"},
		"half an answer":  {says: "HTTP/1.1 400 No\r\nContent-Length: 100\r\n\r\nhalf", want: "read answer: unexpected EOF; check that InfluxDB runs and listens there"},
		"garbage":         {says: "SSH-2.0-OpenSSH_10.0\r\n", want: "check that InfluxDB runs and listens there"},
		"endless headers": {says: "HTTP/1.1 204 No\r\nA: " + strings.Repeat("a", 1<<20), want: "check that InfluxDB runs and listens there"},
	} {
		t.Run(name, func(t *testing.T) {
			sink := open(t, influxdb.Options{Address: "http://" + l.Addr().String()})
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				b := make([]byte, 1<<16)
				_, _ = c.Read(b)
				_, _ = io.WriteString(c, tt.says)
				for tt.hangs {
					if _, err := c.Read(b); err != nil {
						return
					}
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			isPermanent(t, sink.Tell(ctx, []traffic.Change{change(traffic.ChangeStarted, 0)}), false, tt.want)
			<-ended
		})
	}
}
