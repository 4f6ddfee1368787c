// Package gobgpd keeps an external GoBGP's global table equal to a wanted set of announcements through its gRPC API, of version 3 or 4.
package gobgpd

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"weir/userspace/traffic"
)

// What Options leaves at zero.
const (
	DefaultAddress = "localhost:50051" // where gobgpd listens
	DefaultName    = "gobgp"
	DefaultRetry   = time.Second
	DefaultCheck   = 10 * time.Second
)

// Options says which gobgpd to talk to, and how.
type Options struct {
	// Address is HOST:PORT, or unix:///PATH; empty is DefaultAddress.
	Address string
	// Name is what Announcement.Peers calls this GoBGP, which decides by its own policy which neighbors are told; empty is DefaultName.
	Name string
	TLS  *tls.Config // nil: no TLS, as gobgpd has it by default
	// Dial opens connections to Address; nil: as net.Dialer does.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Retry is the longest wait between attempts to connect; 0 is DefaultRetry.
	Retry time.Duration
	// Check is how often gobgpd is asked whether it still has everything; 0 is DefaultCheck. What is missing is announced again.
	Check time.Duration
	// WithdrawAtStop takes every announcement back when Run ends. Otherwise gobgpd keeps them.
	WithdrawAtStop bool
	Log            *slog.Logger // nil: none
}

// Refused is an announcement that gobgpd cannot be told or does not take, and why.
type Refused struct {
	Key    string // as Announcement.Key
	Reason string
}

// Peer is a neighbor of the external GoBGP.
type Peer struct {
	Address string
	AS      uint32
	Session string // by its name in RFC 4271 section 8.2.2, in lower case
}

// State is what is known about gobgpd, and what was done there.
type State struct {
	Connected   bool       // and BGP has been started there
	Since       time.Time  // of Connected; zero before Run
	Error       string     // why not connected; empty otherwise
	API         int        // version of the API while connected: 3 or 4
	AS          uint32     // of this GoBGP while connected, as what follows
	RouterID    netip.Addr //
	Peers       []Peer     // in the order of their addresses
	Connections uint64     // how often a connection came about
	Announced   uint64     // what gobgpd has acknowledged
	Withdrawn   uint64     //
	Restored    uint64     // announcements that had been lost or changed there
	Routes      int        // what is wanted: prefixes and rules
	Pending     int        // of these and of what is to be withdrawn, how many have not been acknowledged
	Refused     []Refused
}

// Client serves one gobgpd. Its methods are safe for concurrent use, and only Run waits for anything.
type Client struct {
	options Options
	log     *slog.Logger
	conn    *grpc.ClientConn // connects by itself, once Run has begun
	wake    chan struct{}    // has room for one: the book has changed

	mu       sync.Mutex
	desired  []traffic.Announcement // as last applied: with gobgpd's AS they become paths
	previous []traffic.Announcement // adopted, until the next plan
	applied  bool
	book     book
	state    State     // all but what the book knows
	unfit    []Refused // by path
}

// New returns a Client that connects in Run.
func New(options Options) (*Client, error) {
	options.Address = cmp.Or(options.Address, DefaultAddress)
	options.Name = cmp.Or(options.Name, DefaultName)
	options.Retry = cmp.Or(options.Retry, DefaultRetry)
	options.Check = cmp.Or(options.Check, DefaultCheck)
	log := options.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	secure := insecure.NewCredentials()
	if options.TLS != nil {
		secure = credentials.NewTLS(options.TLS)
	}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(secure),
		grpc.WithNoProxy(),
		grpc.WithIdleTimeout(0), // an idle connection tells when gobgpd ends
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: options.Retry / 4, Multiplier: 1.6, Jitter: 0.2, MaxDelay: options.Retry},
			MinConnectTimeout: callTime,
		}),
	}
	if options.Dial != nil {
		dial = append(dial, grpc.WithContextDialer(options.Dial))
	}
	conn, err := grpc.NewClient(options.Address, dial...)
	if err != nil {
		return nil, fmt.Errorf("prepare connection to GoBGP at %s: %w", options.Address, err)
	}
	return &Client{
		options: options,
		log:     log.With("component", "gobgp", "address", options.Address),
		conn:    conn,
		wake:    make(chan struct{}, 1),
		book:    newBook(),
	}, nil
}

// Adopt tells of announcements that an earlier process may have left in gobgpd: what the first Apply does not want of them is
// withdrawn. It is for before that Apply.
func (c *Client) Adopt(previous []traffic.Announcement) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.previous = append(c.previous, previous...)
}

// Apply makes desired the whole set of announcements. What is for others by its Peers is left out; of two of the same prefix or
// rule the later one holds.
func (c *Client) Apply(desired []traffic.Announcement) {
	c.mu.Lock()
	c.desired, c.applied = slices.Clone(desired), true
	c.plan()
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default: // Run has not seen the last one yet, and will find both
	}
}

// plan brings what is desired into the book. It is called with the lock held.
func (c *Client) plan() {
	if !c.applied {
		return
	}
	adopted, _ := c.paths(c.previous)
	c.previous = nil
	c.book.adopt(adopted)
	wishes, unfit := c.paths(c.desired)
	c.book.apply(wishes)
	for _, r := range unfit {
		if !slices.Contains(c.unfit, r) {
			c.log.Error("announcement refused", "announcement", r.Key, "reason", r.Reason)
		}
	}
	c.unfit = unfit
}

// paths turns announcements for this GoBGP into wishes, in their order.
func (c *Client) paths(announcements []traffic.Announcement) (wishes []wish, unfit []Refused) {
	at := map[string]int{}
	for _, a := range announcements {
		if len(a.Peers) > 0 && !slices.Contains(a.Peers, c.options.Name) {
			continue
		}
		key, p, err := path(a, c.state.AS)
		if err != nil {
			unfit = append(unfit, Refused{Key: a.Key(), Reason: err.Error()})
			continue
		}
		w := wish{key: key, name: a.Key(), path: p}
		if a.Rule == nil {
			w.prefix = a.Prefix
		}
		if i, known := at[key]; known {
			wishes[i] = w
			continue
		}
		at[key] = len(wishes)
		wishes = append(wishes, w)
	}
	return wishes, unfit
}

// State returns what is known now.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state
	s.Peers = slices.Clone(s.Peers)
	s.Routes, s.Pending = len(c.book.wanted), c.book.pending()
	s.Refused = append(slices.Clone(c.unfit), c.book.refusals()...)
	return s
}
