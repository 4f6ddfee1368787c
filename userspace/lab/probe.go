package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	probeInterval  = 20 * time.Millisecond
	probeTimeout   = 200 * time.Millisecond
	keptLatencies  = 1024
	requestText    = "GET / HTTP/1.0\r\n\r\n"
	answerBytesMax = 4096
)

// ProbeOptions describes a client of a Server.
type ProbeOptions struct {
	Network  string        // "tcp": HTTP requests with a connection each; "udp": datagrams to be echoed; "" is "tcp"
	Interval time.Duration // between the starts of requests; 0 is 20 ms
	Timeout  time.Duration // after which a request has failed; 0 is 200 ms
}

// ProbeStats is what a Prober has seen.
type ProbeStats struct {
	OK, Failed uint64
	Median     time.Duration // of the last 1024 requests that were answered
	Last       error         // of the last request; nil when it was answered
}

// Prober sends one request after the other to a Server and counts the answers.
type Prober struct {
	host   *Host
	addr   string
	opts   ProbeOptions
	cancel context.CancelFunc
	done   chan struct{}

	mu        sync.Mutex
	stats     ProbeStats
	latencies []time.Duration // a ring once it is full
	next      int
}

// Probe begins to send requests from host to addr. It ends with Close, of its own or of the lab.
func Probe(host *Host, addr netip.AddrPort, opts ProbeOptions) (*Prober, error) {
	switch opts.Network {
	case "":
		opts.Network = "tcp"
	case "tcp", "udp":
	default:
		return nil, fmt.Errorf("probe %s: unknown network %q; expected tcp or udp", addr, opts.Network)
	}
	if opts.Interval == 0 {
		opts.Interval = probeInterval
	}
	if opts.Timeout == 0 {
		opts.Timeout = probeTimeout
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Prober{host: host, addr: addr.String(), opts: opts, cancel: cancel, done: make(chan struct{})}
	if host.lab == nil || !host.lab.atEnd(p.Close) {
		cancel()
		return nil, fmt.Errorf("probe %s: the lab is closed", addr)
	}
	go p.run(ctx)
	return p, nil
}

func (p *Prober) run(ctx context.Context) {
	defer close(p.done)
	ticker := time.NewTicker(p.opts.Interval)
	defer ticker.Stop()
	for {
		started := time.Now()
		err := p.request(ctx)
		if ctx.Err() != nil {
			return // cut off, which says nothing about the server
		}
		p.count(err, time.Since(started))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (p *Prober) count(err error, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Last = err
	if err != nil {
		p.stats.Failed++
		return
	}
	p.stats.OK++
	if len(p.latencies) < keptLatencies {
		p.latencies = append(p.latencies, took)
		return
	}
	p.latencies[p.next] = took
	p.next = (p.next + 1) % keptLatencies
}

// Stats returns what has been counted so far.
func (p *Prober) Stats() ProbeStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	if len(p.latencies) > 0 {
		sorted := slices.Sorted(slices.Values(p.latencies))
		s.Median = sorted[len(sorted)/2]
	}
	return s
}

// Close ends the requests; it may be called more than once.
func (p *Prober) Close() error {
	p.cancel()
	<-p.done
	return nil
}

func (p *Prober) request(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
	defer cancel()
	var conn net.Conn
	err = p.host.Do(func() (err error) { // an address needs no resolver, so the socket is made right here
		var dialer net.Dialer
		conn, err = dialer.DialContext(ctx, p.opts.Network, p.addr)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // wakes the reader
	defer stop()
	if p.opts.Network == "udp" {
		return askUDP(conn)
	}
	return askHTTP(conn)
}

func askUDP(conn net.Conn) error {
	if _, err := conn.Write([]byte(requestText)); err != nil {
		return err
	}
	buffer := make([]byte, datagramBytes)
	n, err := conn.Read(buffer)
	if err != nil {
		return err
	}
	if !bytes.Equal(buffer[:n], []byte(requestText)) {
		return fmt.Errorf("the echo is %d bytes of something else", n)
	}
	return nil
}

func askHTTP(conn net.Conn) (err error) {
	if _, err := conn.Write([]byte(requestText)); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	body, err := io.ReadAll(io.LimitReader(response.Body, answerBytesMax))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || string(body) != answerText {
		return fmt.Errorf("answered %s with %d bytes", response.Status, len(body))
	}
	return nil
}
