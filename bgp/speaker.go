package bgp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"weir/userspace/traffic"
)

// Options is what a Speaker needs beside its configuration.
type Options struct {
	Log        *slog.Logger
	Executable string   // of the child; empty: this process's own
	Arguments  []string // that make it call Child with file descriptor 3; nil: "bgp-speaker"
	Namespace  string   // path of the network namespace that the child is to be in, Linux only; empty: this process's own
}

const (
	silenceTimeout = 5 * time.Second       // a child that reports nothing for so long is ended
	writeTimeout   = 5 * time.Second       // and one that takes nothing
	exitTimeout    = 3 * time.Second       // for the child to stop by itself
	shortestPause  = 25 * time.Millisecond // before the next child; twice as long each time that one did not live for steadyTime
	longestPause   = 800 * time.Millisecond
	steadyTime     = 10 * time.Second
)

// Speaker announces routes by a child process. Its methods are safe for concurrent use, and none but Run waits for anything.
type Speaker struct {
	config  Config
	options Options
	log     *slog.Logger
	wake    chan struct{} // holds one: there is something new to announce

	wishes  sync.Mutex
	wanted  []traffic.Announcement
	applied bool // Apply has been called

	mu       sync.Mutex
	table    *table
	peers    []PeerState
	up       bool
	pid      int
	starts   int
	fault    string // of the child as it runs
	lastExit string
}

// New checks the configuration and returns a speaker that does nothing yet.
func New(c Config, o Options) (*Speaker, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("set up BGP: %w", err)
	}
	if o.Log == nil {
		return nil, errors.New("set up BGP: no logger given")
	}
	if o.Executable == "" {
		own, err := ownExecutable()
		if err != nil {
			return nil, fmt.Errorf("set up BGP: %w", err)
		}
		o.Executable = own
	}
	if o.Arguments == nil {
		o.Arguments = []string{"bgp-speaker"}
	}
	c = c.withDefaults()
	s := &Speaker{config: c, options: o, log: o.Log.With("component", "bgp"), wake: make(chan struct{}, 1), table: newTable(c.Peers)}
	s.forget()
	return s, nil
}

// Apply makes the announcements all that is announced, in place of what was before. The caller must not change them any more.
// Sessions begin with the first call, so that peers are told at once what they are to know; with nothing to announce yet it is Apply(nil).
func (s *Speaker) Apply(wanted []traffic.Announcement) {
	s.wishes.Lock()
	s.wanted, s.applied = wanted, true
	s.wishes.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// State is how things are.
func (s *Speaker) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{Up: s.up, PID: s.pid, Restarts: max(s.starts-1, 0), Error: s.fault, Peers: slices.Clone(s.peers)}
	if st.Error == "" && !s.up {
		st.Error = s.lastExit
	}
	for i := range st.Peers {
		p := &st.Peers[i]
		p.Families = slices.Clone(p.Families)
		p.Routes, p.Refused = s.table.counts(i), map[Family]int{}
		for f, n := range s.table.refused[i] {
			p.Refused[f] = n
		}
	}
	st.Routes = s.table.routes(st.Peers)
	return st
}

// Run keeps a child running until ctx ends, and then takes the routes back or leaves them, as configured. It returns nil unless the
// speaker cannot be run at all.
func (s *Speaker) Run(ctx context.Context) error {
	for pause := shortestPause; ; pause = min(2*pause, longestPause) {
		started := time.Now()
		err := s.live(ctx)
		if ctx.Err() != nil {
			return nil
		}
		s.log.Error("the speaker has ended and is started again", "error", err)
		if time.Since(started) > steadyTime {
			pause = shortestPause
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// live is one child from its start to its end.
func (s *Speaker) live(ctx context.Context) error {
	p, err := s.start()
	if err != nil {
		s.ended(err)
		return err
	}
	err = s.serve(ctx, p)
	if ctx.Err() != nil {
		p.stop(s.config.KeepOnStop)
	}
	if why := p.end(); err == nil || why != nil {
		err = errors.Join(why, err)
	}
	s.ended(err)
	return err
}

// serve talks to a child until it or ctx ends.
func (s *Speaker) serve(ctx context.Context, p *process) error {
	config := s.config
	if err := p.send(order{Config: &config}); err != nil {
		return err
	}
	s.mu.Lock()
	s.forget()
	s.mu.Unlock()
	s.applyLast()
	heard, failed := make(chan struct{}, 1), make(chan error, 1)
	go func() { failed <- s.listen(p, heard) }()
	silence := time.NewTimer(silenceTimeout)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-heard:
			silence.Reset(silenceTimeout)
		case <-silence.C:
			return fmt.Errorf("the speaker has not reported for %s", silenceTimeout)
		case <-s.wake:
			if err := s.push(p); err != nil {
				return err
			}
		}
	}
}

// applyLast has the last wish sent, if there was one.
func (s *Speaker) applyLast() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// push sends what has changed.
func (s *Speaker) push(p *process) error {
	s.wishes.Lock()
	wanted, applied := s.wanted, s.applied
	s.wishes.Unlock()
	if !applied {
		return nil
	}
	s.mu.Lock()
	operations := s.table.update(wanted)
	s.mu.Unlock()
	for _, b := range batches(operations) {
		if err := p.send(order{Batch: &b}); err != nil {
			return err
		}
	}
	return nil
}

// listen takes reports until the child has no more.
func (s *Speaker) listen(p *process, heard chan<- struct{}) error {
	in := bufio.NewReaderSize(p.conn, relayBuffer)
	for {
		var r report
		if err := readFrame(in, &r); err != nil {
			return fmt.Errorf("listen to the speaker: %w", err)
		}
		if len(r.Peers) != len(s.config.Peers) {
			return fmt.Errorf("listen to the speaker: it reports %d peers of %d", len(r.Peers), len(s.config.Peers))
		}
		s.note(&r)
		select {
		case heard <- struct{}{}:
		default:
		}
	}
}

func (s *Speaker) note(r *report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = r.Error
	now := time.Now()
	for i := range r.Peers {
		p := r.Peers[i].State
		p.Name, p.Address, p.AS = s.config.Peers[i].Name, s.config.Peers[i].Address, s.config.Peers[i].AS
		s.peers[i] = p
		s.table.confirm(now, i, r.Peers[i].Done, r.Peers[i].Rejected)
	}
}

// forget is for a child that is gone: no session is up, and nothing is announced. Its errors are kept, for they may be the reason. The lock is held.
func (s *Speaker) forget() {
	s.table.forget()
	old := s.peers
	s.peers = make([]PeerState, len(s.config.Peers))
	for i, p := range s.config.Peers {
		s.peers[i] = PeerState{Name: p.Name, Address: p.Address, AS: p.AS, Session: Idle, Since: time.Now()}
		if old != nil {
			s.peers[i].Error, s.peers[i].ErrorAt = old[i].Error, old[i].ErrorAt
		}
	}
}

func (s *Speaker) started(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up, s.pid, s.fault = true, pid, ""
	s.starts++
}

func (s *Speaker) ended(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up, s.pid, s.fault = false, 0, ""
	if err != nil {
		s.lastExit = err.Error()
	}
	s.forget()
}

// start makes a child with one end of a socket.
func (s *Speaker) start() (*process, error) {
	parent, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("start speaker: make control socket: %w", err)
	}
	conn, err := net.FileConn(parent)
	err = errors.Join(err, parent.Close())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start speaker: open control socket: %w", err), theirs.Close())
	}
	p, err := startProcess(s.options, theirs, s.log)
	if err := errors.Join(err, theirs.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("start speaker %s: %w", s.options.Executable, err), conn.Close())
	}
	p.conn = conn
	s.started(p.cmd.Process.Pid)
	return p, nil
}

// ownExecutable is what this process was started from, also when the file has been replaced since.
func ownExecutable() (string, error) {
	const linux = "/proc/self/exe"
	if _, err := os.Readlink(linux); err == nil {
		return linux, nil
	}
	return os.Executable()
}
