package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"weir/userspace/plugin/pluginpb/pluginpbconnect"
)

// What one program may cost beside its Limits.
const (
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 1 << 14
	stopTimeout    = time.Second // for answers under way when the program is gone
)

// server answers one program.
type server struct {
	plugin *Plugin
	http   *http.Server
}

func newServer(p *Plugin) *server {
	mux := http.NewServeMux()
	mux.Handle(pluginpbconnect.NewPluginHostHandler(&handlers{p},
		connect.WithReadMaxBytes(p.options.Limits.Message),
		connect.WithCodec(&binaryCodec{p}), connect.WithCodec(&jsonCodec{p, "json"}), connect.WithCodec(&jsonCodec{p, "json; charset=utf-8"}),
		connect.WithRecover(func(_ context.Context, spec connect.Spec, _ http.Header, cause any) error {
			p.log.Error("call panicked", "procedure", spec.Procedure, "panic", cause)
			return connect.NewError(connect.CodeInternal, errors.New("the call failed inside Weir; its log says more"))
		}),
		connect.WithInterceptors(counting{p})))
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &server{plugin: p, http: &http.Server{
		Handler:           p.bounded(mux),
		Protocols:         protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: p.options.Limits.Calls},
		ReadHeaderTimeout: p.options.Limits.Patience,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}}
}

// serve answers until close is called. ctx's end is no end: a program that is asked to end may still want to fetch what is left.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	s.http.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func (s *server) close() error {
	stop, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if s.http.Shutdown(stop) != nil {
		return s.http.Close()
	}
	return nil
}

type connectionKey struct{}

// connection is what a call needs to know of its own.
type connection struct {
	*http.ResponseController
	patience time.Duration
}

// bounded lets so many calls be under way, before anything of their bodies is read, and bounds the reading of each request and the writing of
// each answer.
func (p *Plugin) bounded(next http.Handler) http.Handler {
	refuse := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		controller := http.NewResponseController(w)
		patience := p.options.Limits.Patience
		now := time.Now()
		if err := errors.Join(controller.SetReadDeadline(now.Add(patience)), controller.SetWriteDeadline(now.Add(patience))); err != nil {
			http.Error(w, "set deadlines: "+err.Error(), http.StatusInternalServerError)
			return
		}
		p.sign()
		select {
		case p.calls <- struct{}{}:
			defer func() { <-p.calls }()
		default:
			err := fmt.Errorf("%d calls are under way already", p.options.Limits.Calls)
			p.count(func(s *Stats) { s.Failed++ })
			p.complain("call", err)
			if refuse.IsSupported(r) {
				// Who does not wait for the answer misses nothing.
				_ = refuse.Write(w, r, connect.NewError(connect.CodeResourceExhausted, err))
			} else {
				http.Error(w, err.Error(), http.StatusTooManyRequests)
			}
			return
		}
		r.Body = &body{ReadCloser: r.Body, left: int64(p.options.Limits.Message), plugin: p}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), connectionKey{}, connection{controller, patience})))
	})
}

// sign notes that the program is alive.
func (p *Plugin) sign() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session != nil {
		p.session.last = time.Now()
	}
}

// waiting lifts the deadlines of a call that waits: nothing is read any more by then, over HTTP/1 a read deadline would end the call, and over
// HTTP/2 a write deadline strikes even when nothing is written.
func waiting(ctx context.Context) error {
	c, ok := ctx.Value(connectionKey{}).(connection)
	if !ok {
		return errors.New("set deadlines: no connection in the context")
	}
	return errors.Join(c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{}))
}

// answering gives a call that has waited, or one message of a stream, the time of a whole answer.
func answering(ctx context.Context) error {
	c, ok := ctx.Value(connectionKey{}).(connection)
	if !ok {
		return errors.New("set deadlines: no connection in the context")
	}
	return c.SetWriteDeadline(time.Now().Add(c.patience))
}

// counting counts and logs calls that end in an error.
type counting struct{ plugin *Plugin }

// WrapUnary is what connect asks for.
func (c counting) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		response, err := next(ctx, request)
		c.look(ctx, request.Spec().Procedure, err)
		return response, err
	}
}

// WrapStreamingClient is what connect asks for; there are no clients here.
func (c counting) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler is what connect asks for.
func (c counting) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		err := next(ctx, conn)
		c.look(ctx, conn.Spec().Procedure, err)
		return err
	}
}

// look counts a call's error, unless it is only that the caller has gone or Weir stops.
func (c counting) look(ctx context.Context, procedure string, err error) {
	if err == nil || ctx.Err() != nil || connect.CodeOf(err) == connect.CodeUnavailable {
		return
	}
	c.plugin.count(func(s *Stats) { s.Failed++ })
	c.plugin.complain("call", fmt.Errorf("%s: %w", procedure, err))
}
