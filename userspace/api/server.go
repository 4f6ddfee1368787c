package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"weir/userspace/api/weirpb/weirpbconnect"
	"weir/userspace/traffic"
)

// What one client may cost.
const (
	headerTimeout  = 5 * time.Second
	idleTimeout    = 2 * time.Minute
	readTimeout    = 10 * time.Second // for a whole request
	writeTimeout   = 10 * time.Second // for a whole answer, or one message of a stream
	stopTimeout    = 2 * time.Second  // for answers under way when the daemon stops
	maxRequest     = 1 << 16          // bytes
	maxHeaderBytes = 1 << 15
)

// Options says where and for whom the API is served.
type Options struct {
	Socket  string // path of the Unix socket; empty: DefaultSocket
	Group   string // whose members may use it besides root; empty, or a group that does not exist: root only
	Backend Backend
	Log     *slog.Logger
}

// Server is the API on a Unix socket.
type Server struct {
	path, group string
	log         *slog.Logger
	feed        *feed
	handler     http.Handler
	patience    time.Duration // for a whole answer, or one message of a stream
	socket      *socket
}

// New checks the options. Nothing happens before Listen or Run.
func New(o Options) (*Server, error) {
	if err := o.Backend.complete(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		return nil, errors.New("serve API: no logger")
	}
	if o.Socket == "" {
		o.Socket = DefaultSocket
	}
	s := &Server{path: o.Socket, group: o.Group, log: o.Log.With("component", "api"), feed: newFeed(), patience: writeTimeout}
	mux := http.NewServeMux()
	mux.Handle(weirpbconnect.NewWeirHandler(&handlers{backend: o.Backend, feed: s.feed},
		connect.WithReadMaxBytes(maxRequest),
		connect.WithRecover(s.recovered)))
	s.handler = s.withDeadlines(mux)
	return s, nil
}

// recovered turns a handler's panic into an answer: a defect in one call must not end the daemon that holds an attack back.
func (s *Server) recovered(_ context.Context, spec connect.Spec, _ http.Header, cause any) error {
	s.log.Error("call panicked", "procedure", spec.Procedure, "panic", cause)
	return connect.NewError(connect.CodeInternal, errors.New("the call failed inside the daemon; its log says more"))
}

// Listen creates the socket, so that a daemon learns of another one before it touches any interface. Run must follow, or Close.
func (s *Server) Listen() error {
	if s.socket != nil {
		return nil
	}
	listener, err := listen(s.path, s.group, s.log)
	if err != nil {
		return err
	}
	s.socket = listener
	return nil
}

// Close gives up the socket of a Listen that no Run followed.
func (s *Server) Close() error {
	if s.socket == nil {
		return nil
	}
	return s.socket.Close()
}

// Run serves until ctx ends, then lets the answers under way finish for a moment and removes the socket. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(); err != nil {
		return err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler:           s.handler,
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(s.socket.Listener) }()
	s.log.Info("listening", "socket", s.path)
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.feed.close()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if server.Shutdown(stop) != nil {
			err = server.Close() // whoever is still there has had its time
		}
		if serveErr := <-failed; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
	}
	return errors.Join(err, s.socket.Close())
}

// Publish tells all watchers that an attack has changed. It never waits: what a slow client cannot take is counted as missed.
func (s *Server) Publish(r traffic.Record) { s.feed.publish(&r) }

// Stats is what the server knows of itself.
type Stats struct {
	Watchers int    // clients that watch attacks now
	Missed   uint64 // changes not sent because a watcher was too slow
}

// Stats may be called at any time.
func (s *Server) Stats() Stats {
	watchers, missed := s.feed.stats()
	return Stats{Watchers: watchers, Missed: missed}
}

type connectionKey struct{}

// withDeadlines bounds the reading of each request and the writing of each answer, and lets a stream extend its own.
func (s *Server) withDeadlines(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		controller := http.NewResponseController(w)
		now := time.Now()
		if err := errors.Join(controller.SetReadDeadline(now.Add(readTimeout)), controller.SetWriteDeadline(now.Add(s.patience))); err != nil {
			http.Error(w, "set deadlines: "+err.Error(), http.StatusInternalServerError)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), connectionKey{}, connection{controller, s.patience})))
	})
}

// connection is what a stream needs to know of its own.
type connection struct {
	*http.ResponseController
	patience time.Duration
}

// sending runs the sending of one message of a stream, which has the time of a whole answer; until the next there is no deadline:
// over HTTP/2 it would strike between two messages too. Nothing is read any more by then, and over HTTP/1 a read deadline would end
// the stream, so there is none.
func sending(ctx context.Context, send func() error) error {
	c, ok := ctx.Value(connectionKey{}).(connection)
	if !ok {
		return errors.New("set deadlines: no connection in the context")
	}
	if err := errors.Join(c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Now().Add(c.patience))); err != nil {
		return err
	}
	if err := send(); err != nil {
		return err
	}
	return c.SetWriteDeadline(time.Time{})
}
