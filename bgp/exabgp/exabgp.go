// Package exabgp keeps ExaBGP's routes equal to a wanted set of announcements, by the lines that FastNetMon writes to its command pipe.
package exabgp

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"weir/userspace/traffic"
)

// What Options leaves at zero.
const (
	DefaultName    = "exabgp"
	DefaultRetry   = 250 * time.Millisecond
	DefaultRefresh = 10 * time.Minute
)

// Options says which pipe to feed, and for whom.
type Options struct {
	// Path is the named pipe that ExaBGP, or a process that it runs, reads its commands from. It is never created here.
	Path string
	// Name is what Announcement.Peers calls all neighbors of this ExaBGP; empty is DefaultName.
	Name string
	// Neighbors are the names that Announcement.Peers may use for single neighbors, with their addresses as in ExaBGP's configuration.
	Neighbors map[string]netip.Addr
	// AS is ExaBGP's own number, which announcements with Prepend need: ExaBGP sends a given AS path as it is.
	AS uint32
	// Retry is how often a pipe that nobody reads is tried again; 0 is DefaultRetry.
	Retry time.Duration
	// Refresh is how often the whole set is written again although nothing has changed, for lines that were lost unnoticed on
	// their way behind the pipe; 0 is DefaultRefresh, less than 0 never.
	Refresh time.Duration
	// WithdrawAtStop takes every route back when Run ends. Otherwise ExaBGP keeps them.
	WithdrawAtStop bool
	Log            *slog.Logger // nil: none
}

// Refused is an announcement that cannot be written to the pipe, and why.
type Refused struct {
	Key    string // as Announcement.Key
	Reason string
}

// Stats is what a Pipe has done and what it waits for.
type Stats struct {
	Reader    bool      // somebody reads the pipe
	Since     time.Time // of Reader; zero before Run
	Stalled   bool      // there is a reader, it does not read, and the pipe is full
	Error     string    // why there is no reader; empty when there is one
	Readers   uint64    // how many readers have appeared since the start
	Announced uint64    // lines written, by kind
	Withdrawn uint64
	Routes    int // what is wanted: prefixes and rules, whatever the number of neighbors
	Pending   int // of these and of withdrawn ones, how many have lines to be written
	Refused   []Refused
}

// Pipe feeds one command pipe. Its methods are safe for concurrent use, and only Run waits for anything.
type Pipe struct {
	options Options
	log     *slog.Logger
	wake    chan struct{} // has room for one: the book has changed
	unsent  []byte        // of Run: lines on their way

	mu    sync.Mutex
	book  book
	stats Stats // all but what the book knows
}

// New checks the options and returns a Pipe that writes nothing before Run and the first Apply.
func New(options Options) (*Pipe, error) {
	if options.Path == "" {
		return nil, errors.New("open ExaBGP pipe: no path: name the pipe that ExaBGP reads commands from, such as /run/exabgp/exabgp.in")
	}
	for name, addr := range options.Neighbors {
		if !addr.IsValid() || addr.Zone() != "" {
			return nil, fmt.Errorf("open ExaBGP pipe %s: neighbor %q has no address that ExaBGP could know it by", options.Path, name)
		}
	}
	options.Name = cmp.Or(options.Name, DefaultName)
	options.Retry = cmp.Or(options.Retry, DefaultRetry)
	options.Refresh = cmp.Or(options.Refresh, DefaultRefresh)
	log := options.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Pipe{
		options: options,
		log:     log.With("component", "exabgp", "pipe", options.Path),
		wake:    make(chan struct{}, 1),
		book:    newBook(),
	}, nil
}

// Adopt tells of announcements that an earlier process may have left in ExaBGP: what the first Apply does not want of them is
// withdrawn. It is for before that Apply.
func (p *Pipe) Adopt(previous []traffic.Announcement) {
	wanted, _ := p.options.statements(previous)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.book.adopt(wanted)
}

// Apply makes desired the whole set of announcements. What is for others by its Peers is left out; of two that are for the same
// neighbor and of the same prefix or rule the later one holds.
func (p *Pipe) Apply(desired []traffic.Announcement) {
	wanted, refused := p.options.statements(desired)
	p.mu.Lock()
	p.book.apply(wanted)
	for _, r := range refused {
		if !slices.Contains(p.stats.Refused, r) {
			p.log.Error("announcement refused", "announcement", r.Key, "reason", r.Reason)
		}
	}
	p.stats.Refused = refused
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default: // Run has not seen the last one yet, and will find both
	}
}

// Stats returns the counters as they are now.
func (p *Pipe) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Refused = slices.Clone(s.Refused)
	s.Routes, s.Pending = len(p.book.wanted), p.book.pending()
	return s
}

// take moves the next lines from the book to the pipe: whole ones, and no more than the pipe takes as one.
func (p *Pipe) take() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	lines, announced, withdrawn := p.book.next(pipeBuffer)
	p.stats.Announced += announced
	p.stats.Withdrawn += withdrawn
	return lines
}
