// Package clickhouse writes traffic, attacks and flow records to ClickHouse, over its HTTP interface.
//
// Rows go in the format RowBinary, at most 50,000 or 8 MiB at once. Servers from 18.16 on take them; those before 20.8 have tables with simpler types
// and no TTL, where old days are dropped once an hour instead. The two kinds of tables take the same rows: a server can be upgraded at any time.
package clickhouse

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"weir/userspace/traffic"
)

const (
	mostRows    = 50_000  // of one INSERT
	mostBytes   = 8 << 20 // of one INSERT, and what one row is more
	firstBuffer = 64 << 10
)

// Sink writes to ClickHouse. Its methods are called by one goroutine at a time.
type Sink struct {
	options Options
	url     string
	client  *http.Client
	now     func() time.Time

	snapshot   snapshotTables
	fastnetmon fastnetmonTables
	attacks    *table
	flows      *table

	known    bool // the server's version is, and that the database is there
	modern   bool // it has TTL, LowCardinality and IPv6
	buffer   []byte
	rows     int // in buffer
	instance []byte

	packer *gzip.Writer
	packed bytes.Buffer
}

// New returns a Sink that connects when it is first given something.
func New(o Options) (*Sink, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Sink{options: o, url: "http://" + o.Address + "/", client: newClient(&o), now: time.Now, instance: appendText(nil, o.Instance)}
	if o.TLS != nil {
		s.url = "https://" + o.Address + "/"
	}
	if o.Gzip {
		var err error
		if s.packer, err = gzip.NewWriterLevel(&s.packed, gzip.BestSpeed); err != nil {
			return nil, fmt.Errorf("make a compressor: %w", err)
		}
	}
	s.snapshot, s.fastnetmon = o.snapshot(), o.fastnetmon()
	s.attacks, s.flows = o.attacks(), o.flows()
	return s, nil
}

// Unsent is the error of Flows when some records have been written, and of Tell and Flows when all have but old rows could not be dropped.
type Unsent struct {
	err  error
	last int
}

// Error and Unwrap are those of the cause.
func (u *Unsent) Error() string { return u.err.Error() }
func (u *Unsent) Unwrap() error { return u.err }

// Unsent is how many of the last records have not been written.
func (u *Unsent) Unsent() int { return u.last }

// Tell writes a row for each change. After an error it has written all, where the error is an *Unsent, or none that could be there twice for long:
// rows of the same attack, kind and time become one.
func (s *Sink) Tell(ctx context.Context, changes []traffic.Change) error {
	if len(changes) == 0 {
		return nil
	}
	if err := s.tell(ctx, changes); err != nil {
		return s.failed(s.attacks, err)
	}
	if err := s.keep(ctx, s.attacks); err != nil {
		return &Unsent{err: err}
	}
	return nil
}

func (s *Sink) tell(ctx context.Context, changes []traffic.Change) error {
	if err := s.begin(ctx, s.attacks); err != nil {
		return err
	}
	for i := range changes {
		if err := s.appendChange(&changes[i]); err != nil {
			return err
		}
		if err := s.row(ctx, s.attacks); err != nil {
			return err
		}
	}
	return s.flush(ctx, s.attacks)
}

// Flows writes a row for each record. Its error is an *Unsent; records whose INSERT was not answered may be there although it counts them as unsent.
func (s *Sink) Flows(ctx context.Context, flows []traffic.Flow) error {
	if len(flows) == 0 {
		return nil
	}
	written, err := s.writeFlows(ctx, flows)
	if err != nil {
		return &Unsent{err: s.failed(s.flows, err), last: len(flows) - written}
	}
	if err := s.keep(ctx, s.flows); err != nil {
		return &Unsent{err: err}
	}
	return nil
}

func (s *Sink) writeFlows(ctx context.Context, flows []traffic.Flow) (written int, err error) {
	if err := s.begin(ctx, s.flows); err != nil {
		return 0, err
	}
	now := s.now()
	for i := range flows {
		s.appendFlow(&flows[i], now)
		if err := s.row(ctx, s.flows); err != nil {
			return written, err
		}
		if s.rows == 0 { // the batch has just gone
			written = i + 1
		}
	}
	return written, s.flush(ctx, s.flows)
}

// begin starts rows of a table, which it creates where needed.
func (s *Sink) begin(ctx context.Context, t *table) error {
	if s.buffer == nil {
		s.buffer = make([]byte, 0, firstBuffer)
	}
	s.buffer, s.rows = s.buffer[:0], 0
	return s.create(ctx, t)
}

// row ends a row and sends those that there are, when they are enough.
func (s *Sink) row(ctx context.Context, t *table) error {
	s.rows++
	if s.rows < mostRows && len(s.buffer) < mostBytes {
		return nil
	}
	return s.flush(ctx, t)
}

// flush sends the rows that there are.
func (s *Sink) flush(ctx context.Context, t *table) error {
	if s.rows == 0 {
		return nil
	}
	if err := s.insert(ctx, t.insert, s.buffer); err != nil {
		return err
	}
	s.buffer, s.rows = s.buffer[:0], 0
	return nil
}

// failed names server and table, and has everything looked at anew: the server may be another one when it is back.
func (s *Sink) failed(t *table, err error) error {
	s.known = false
	for _, other := range s.tables() {
		other.ready = false
	}
	return fmt.Errorf("write to ClickHouse at %s, table %s.%s: %w", s.options.Address, s.options.Database, t.name, err)
}

// tables are all that may be written to.
func (s *Sink) tables() []*table {
	return append(append(s.snapshot.all(), s.fastnetmon.all()...), s.attacks, s.flows)
}

// create has the table there.
func (s *Sink) create(ctx context.Context, t *table) error {
	if s.options.NoCreate || t.ready {
		return nil
	}
	if err := s.meet(ctx); err != nil {
		return err
	}
	if err := s.do(ctx, t.create(s.options.Database, s.modern)); err != nil {
		return fmt.Errorf("create the table: %w", err)
	}
	t.ready = true
	return nil
}

// meet asks the server what it is, and has the database there.
func (s *Sink) meet(ctx context.Context) error {
	if s.known {
		return nil
	}
	rows, err := s.ask(ctx, "SELECT version()")
	if err != nil {
		return err
	}
	version := strings.Join(rows, " ")
	major, minor, ok := parseVersion(version)
	if !ok {
		return s.strange(version)
	}
	s.modern = major > 20 || major == 20 && minor >= 8
	// To create one that is there already takes a right that a user of one database need not have.
	name := s.options.Database
	rows, err = s.ask(ctx, fmt.Sprintf("SELECT name FROM system.databases WHERE name = '%s'", name))
	if err == nil && len(rows) == 0 {
		err = s.do(ctx, fmt.Sprintf("CREATE DATABASE IF NOT EXISTS `%s`", name))
	}
	if err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	s.known = true
	return nil
}

// parseVersion reads "18.16.1" or "24.8.4.13".
func parseVersion(text string) (major, minor int, ok bool) {
	first, rest, _ := strings.Cut(text, ".")
	second, _, _ := strings.Cut(rest, ".")
	major, err := strconv.Atoi(first)
	if err != nil {
		return 0, 0, false
	}
	minor, err = strconv.Atoi(second)
	return major, minor, err == nil
}

// Close closes the connection.
func (s *Sink) Close() error {
	s.client.CloseIdleConnections()
	return nil
}
