package clickhouse_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/export/clickhouse"
	"weir/userspace/traffic"
)

func (s *server) testWrongTable(t *testing.T) {
	s.rows(t, "CREATE DATABASE wrong")
	s.rows(t, "CREATE TABLE wrong.attacks (time DateTime) ENGINE = Log")
	sink := newSink(t, s.options("wrong"))
	err := sink.Tell(in(t), []traffic.Change{change("01", traffic.ChangeStarted, today())})
	if !errors.Is(err, traffic.ErrPermanent) || !strings.Contains(err.Error(), "table wrong.attacks") || !strings.Contains(err.Error(), "rename it") {
		t.Errorf("a table of other columns: %v, expected that it is refused for good", err)
	}
	must(t, sink.Push(in(t), snapshot(today())))
}

func (s *server) testCredentials(t *testing.T) {
	for _, tt := range []struct{ name, password, want string }{
		{user, "not-it", "check username and password"},
		{"stranger", "not-it", "check username and password"},
		{"", "", "check username and password"},
		{"reader", "read", "grant the user INSERT"},
	} {
		o := s.options("locked")
		o.Username, o.Password = tt.name, tt.password
		err := newSink(t, o).Push(in(t), snapshot(today()))
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, traffic.ErrPermanent) || strings.Contains(err.Error(), "not-it") {
			t.Errorf("user %q: %v, expected an error that may pass, with %q and no password", tt.name, err, tt.want)
		}
	}
}

func (s *server) testTLS(t *testing.T) {
	o := s.options("secure")
	o.Address, o.TLS = s.secure, s.trust()
	must(t, newSink(t, o).Push(in(t), snapshot(today())))
	s.check(t, "secure.traffic_total", "version = 4 AND direction = 'other'", "", expected(10_300, ""))
	o.TLS = &tls.Config{}
	err := newSink(t, o).Push(in(t), snapshot(today()))
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody known: %v", err)
	}
}

// fake is a server that notes what it is asked, and answers as it is told.
type fake struct {
	*httptest.Server
	mu         sync.Mutex
	statements []string
}

// newFake returns a server that ends with the test.
func newFake(t testing.TB, answer func(w http.ResponseWriter, r *http.Request, statement string)) *fake {
	t.Helper()
	f := &fake{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		statement := r.URL.Query().Get("query")
		if statement == "" {
			statement = string(body)
		}
		if err == nil {
			f.mu.Lock()
			f.statements = append(f.statements, statement)
			f.mu.Unlock()
			answer(w, r, statement)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) options() clickhouse.Options {
	return clickhouse.Options{Address: f.Listener.Addr().String(), Username: user, Password: password}
}

// modern answers like a server of 2024.
func modern(w http.ResponseWriter, _ *http.Request, statement string) {
	switch {
	case statement == "SELECT version()":
		_, _ = io.WriteString(w, "24.8.4.13\n")
	case strings.HasPrefix(statement, "SELECT engine_full"):
		_, _ = io.WriteString(w, "MergeTree PARTITION BY toYYYYMMDD(time) ORDER BY (time, dst) TTL time + toIntervalDay(70) SETTINGS index_granularity = 8192\n")
	}
}

func TestModern(t *testing.T) {
	f := newFake(t, modern)
	o := f.options()
	sink := newSink(t, o)
	must(t, sink.Flows(in(t), []traffic.Flow{flow(time.Now())}))
	must(t, sink.Flows(in(t), []traffic.Flow{flow(time.Now())}))
	insert := "INSERT INTO `weir`.flows (time,instance,start_ms,end_ms,exporter,source,domain,src,dst,next_hop,src_port,dst_port,protocol,tcp_flags,ttl,tos,fragment," +
		"packets,bytes,rate,rate_origin,length,input,output,src_as,dst_as,src_mask,dst_mask,vlan,side,end_reason,dropped,notice) FORMAT RowBinary"
	want := []string{
		"SELECT version()",
		"SELECT name FROM system.databases WHERE name = 'weir'",
		"CREATE DATABASE IF NOT EXISTS `weir`",
		"CREATE TABLE IF NOT EXISTS `weir`.flows (time DateTime('UTC'), instance LowCardinality(String), start_ms Int64, end_ms Int64, exporter IPv6, " +
			"source LowCardinality(String), domain UInt32, src IPv6, dst IPv6, next_hop IPv6, src_port UInt16, dst_port UInt16, protocol UInt8, tcp_flags UInt8, " +
			"ttl UInt8, tos UInt8, fragment UInt8, packets UInt64, bytes UInt64, rate UInt32, rate_origin LowCardinality(String), length UInt32, input UInt32, " +
			"output UInt32, src_as UInt32, dst_as UInt32, src_mask UInt8, dst_mask UInt8, vlan UInt16, side LowCardinality(String), end_reason UInt8, dropped UInt8, " +
			"notice UInt8) ENGINE = MergeTree PARTITION BY toYYYYMMDD(time) ORDER BY (time, dst) TTL time + toIntervalDay(7) SETTINGS ttl_only_drop_parts = 1",
		insert,
		"SELECT engine_full FROM system.tables WHERE database = 'weir' AND name = 'flows'",
		"ALTER TABLE `weir`.flows MODIFY TTL time + toIntervalDay(7)",
		insert,
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if diff := cmp.Diff(want, f.statements); diff != "" {
		t.Errorf("statements (-want +got):\n%s", diff)
	}
}

// TestRefusals has an INSERT answered with errors.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		status     int
		header     string
		permanent  bool
		want       string
	}{
		{"type", "Code: 53. DB::Exception: Type mismatch. (TYPE_MISMATCH) (version 24.8.4.13)", 500, "53", true, "rename it"},
		{"content", "Code: 33, e.displayText() = DB::Exception: Cannot read all data, e.what() = DB::Exception", 500, "", true, "answers 500: Code: 33, e.displayText() = DB::Exception: Cannot read all data"},
		{"memory", "Code: 241. DB::Exception: Memory limit (total) exceeded", 500, "241", false, "Memory limit"},
		{"parts", "Code: 252. DB::Exception: Too many parts (300)", 500, "252", false, "push less often"},
		{"busy", "Code: 202. DB::Exception: Too many simultaneous queries", 500, "202", false, "Too many simultaneous"},
		{"after the status", "Code: 33. DB::Exception: Cannot read all data", 200, "", true, "answers 200: Code: 33"},
		{"login", "Code: 516. DB::Exception: weir: Authentication failed: se&cret'1", 403, "516", false, "Authentication failed: ***; check username and password"},
		{"proxy", "<html>Forbidden</html>", 403, "", false, "check username and password"},
		{"large", "", 413, "", false, "Request Entity Too Large; let what stands in front"},
		{"overload", "", 503, "", false, "answers 503: Service Unavailable"},
		{"elsewhere", "", 302, "", false, "answers 302"},
		{"chatter", "hello\n", 200, "", false, `unexpected answer "hello"`},
		{"long", strings.Repeat("é\x00", 100_000), 500, "", false, "é ..."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, func(w http.ResponseWriter, r *http.Request, statement string) {
				if !strings.HasPrefix(statement, "INSERT") {
					modern(w, r, statement)
					return
				}
				if tt.header != "" {
					w.Header().Set("X-ClickHouse-Exception-Code", tt.header)
				}
				w.Header().Set("Location", "http://192.0.2.1/")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.text)
			})
			sink := newSink(t, f.options())
			err := sink.Flows(in(t), make([]traffic.Flow, 2))
			var partial *clickhouse.Unsent
			if !errors.As(err, &partial) || partial.Unsent() != 2 {
				t.Fatalf("got %v, expected that neither record was written", err)
			}
			text := err.Error()
			if !strings.Contains(text, tt.want) || errors.Is(err, traffic.ErrPermanent) != tt.permanent {
				t.Errorf("got %s; expected %q, permanent %t", text, tt.want, tt.permanent)
			}
			if strings.Contains(text, password) || len(text) > 500 || strings.ContainsAny(text, "\n\x00") {
				t.Errorf("%d bytes with a password, control characters or too many words: %s", len(text), text)
			}
		})
	}
}

func TestPartly(t *testing.T) {
	var inserts atomic.Int32
	f := newFake(t, func(w http.ResponseWriter, r *http.Request, statement string) {
		if strings.HasPrefix(statement, "INSERT") {
			if inserts.Add(1) == 2 {
				http.Error(w, "Code: 241. DB::Exception: Memory limit (total) exceeded", 500)
			}
			return
		}
		modern(w, r, statement)
	})
	sink := newSink(t, f.options())
	err := sink.Flows(in(t), make([]traffic.Flow, 130_000))
	var partial *clickhouse.Unsent
	if !errors.As(err, &partial) || partial.Unsent() != 80_000 {
		t.Fatalf("got %v, expected the first 50,000 to be written", err)
	}
	must(t, sink.Flows(in(t), make([]traffic.Flow, 80_000)))
	if n := inserts.Load(); n != 4 {
		t.Errorf("%d inserts, expected 4", n)
	}
}

// TestTroubles meets servers that do not answer like one; the next call of the same Sink meets one that does.
func TestTroubles(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		answer     func(w http.ResponseWriter, hang <-chan struct{})
	}{
		{"hangs", "context deadline exceeded", func(_ http.ResponseWriter, hang <-chan struct{}) { <-hang }},
		{"hangs in the answer", "context deadline exceeded", func(w http.ResponseWriter, hang <-chan struct{}) {
			_, _ = io.WriteString(w, "24.")
			w.(http.Flusher).Flush()
			<-hang
		}},
		{"closes", "EOF", func(w http.ResponseWriter, _ <-chan struct{}) { closing(w, "") }},
		{"closes in the answer", "EOF", func(w http.ResponseWriter, _ <-chan struct{}) {
			closing(w, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n24.")
		}},
		{"garbage", "malformed HTTP", func(w http.ResponseWriter, _ <-chan struct{}) { closing(w, "\x00\xff\x15 220 welcome\r\n\r\n") }},
		{"another server", "see whether ClickHouse's HTTP interface listens there", func(w http.ResponseWriter, _ <-chan struct{}) { _, _ = io.WriteString(w, "<html>It works!</html>") }},
		{"never ends", "see whether ClickHouse's HTTP interface listens there", func(w http.ResponseWriter, _ <-chan struct{}) {
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Bool
			hang := make(chan struct{})
			f := newFake(t, func(w http.ResponseWriter, r *http.Request, statement string) {
				if asked.CompareAndSwap(false, true) {
					tt.answer(w, hang)
					return
				}
				modern(w, r, statement)
			})
			t.Cleanup(func() { close(hang) }) // before the server's end, which waits for its answers
			sink := newSink(t, f.options())
			patience := 10 * time.Second
			if strings.HasPrefix(tt.name, "hangs") {
				patience = 100 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := sink.Push(ctx, snapshot(today()))
			if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, traffic.ErrPermanent) || strings.Contains(err.Error(), password) {
				t.Errorf("got %v, expected %q", err, tt.want)
			}
			must(t, sink.Push(in(t), snapshot(today())))
		})
	}
}

// closing writes bytes in place of an answer and closes the connection.
func closing(w http.ResponseWriter, text string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	}
}

func TestAway(t *testing.T) {
	o := clickhouse.Options{Address: net.JoinHostPort("127.0.0.1", free(t)), Username: user, Password: password}
	err := newSink(t, o).Push(in(t), snapshot(today()))
	want := "write to ClickHouse at " + o.Address + ", table weir.traffic_total: dial tcp " + o.Address + ": connect: connection refused"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, expected %s", err, want)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		o    clickhouse.Options
		want string
	}{
		{clickhouse.Options{Address: "http://127.0.0.1:8123/"}, `use ClickHouse address "http://127.0.0.1:8123/": `},
		{clickhouse.Options{Address: "127.0.0.1"}, "write it as host:port"},
		{clickhouse.Options{Address: ":8123"}, "host or port is empty"},
		{clickhouse.Options{Address: "weir:hush@127.0.0.1:8123"}, "it has an @"},
		{clickhouse.Options{Database: "a`b"}, "expected letters, digits, _ and -"},
		{clickhouse.Options{Password: "hush"}, "there is a password and no username"},
		{clickhouse.Options{Username: "a", Password: "hush\n"}, "has a line break"},
		{clickhouse.Options{FlowDays: 40_000}, "keep flow records in ClickHouse for 40000 days: expected 10000 at most"},
	} {
		_, err := clickhouse.New(tt.o)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: got %v", tt.want, err)
		}
	}
}
