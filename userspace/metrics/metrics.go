package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// What a scrape may cost.
const (
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = 2 * time.Minute
	stopTimeout    = time.Second
	scrapeTimeout  = 10 * time.Second
	maxScrapes     = 4 // at a time
	maxHeaderBytes = 1 << 14
)

// Options says what is served and where.
type Options struct {
	Listen   string // host:port
	Build    Build
	Snapshot func() Snapshot // called once a scrape, by several goroutines at once
	Log      *slog.Logger
}

// Server answers GET /metrics.
type Server struct {
	address  string
	log      *slog.Logger
	tick     prometheus.Histogram
	handler  http.Handler
	listener net.Listener
}

// New checks the options and builds a registry of its own. Nothing happens before Listen or Run.
func New(o Options) (*Server, error) {
	if o.Snapshot == nil || o.Log == nil {
		return nil, errors.New("serve metrics: a snapshot function and a logger are needed")
	}
	s := &Server{
		address: o.Listen,
		log:     o.Log.With("component", "metrics"),
		tick:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: tickName, Help: tickHelp, Buckets: tickBuckets()}),
	}
	registry := prometheus.NewPedanticRegistry()
	for _, c := range []prometheus.Collector{
		newCollector(o.Build, o.Snapshot), s.tick, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout,
	}))
	s.handler = mux
	return s, nil
}

// ObserveTick records how long one turn of the main loop took. It never waits.
func (s *Server) ObserveTick(d time.Duration) { s.tick.Observe(d.Seconds()) }

// Listen takes the address, so that a daemon learns early that it is in use. Run must follow, or Close.
func (s *Server) Listen(ctx context.Context) error {
	if s.listener != nil {
		return nil
	}
	var err error
	if s.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", s.address); err != nil {
		s.listener = nil
		return fmt.Errorf("serve metrics on %s: %w; choose another address in prometheus.listen, or an empty one for none", s.address, err)
	}
	return nil
}

// Addr is the address in use after Listen: with port 0 the system has chosen one.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close gives up the address of a Listen that no Run followed.
func (s *Server) Close() error {
	if s.listener == nil {
		return nil
	}
	return s.listener.Close()
}

// Run serves until ctx ends. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(ctx); err != nil {
		return err
	}
	server := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(s.listener) }()
	s.log.Info("serving metrics", "address", s.listener.Addr().String())
	select {
	case err := <-failed:
		return fmt.Errorf("serve metrics on %s: %w", s.address, err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	var err error
	if server.Shutdown(stop) != nil {
		err = server.Close() // whoever is still there has had its time
	}
	if serveErr := <-failed; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}
