// Package store keeps attacks and bans on disk, so that a restart loses nothing.
//
// The file is a bbolt database: pure Go and half a megabyte in each of the five builds where SQLite would add five, and nothing here needs SQL.
// It has two buckets from an attack's identifier to its record, "active" for what Load returns and "history" for what is over.
// Identifiers sort by time, so the oldest history is always in front.
package store

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"weir/userspace/traffic"
)

// What an Options' zero fields stand for.
const (
	DefaultLockTimeout = 2 * time.Second
	DefaultQueue       = 20000
	DefaultKeep        = 10000
	DefaultKeepFor     = 90 * 24 * time.Hour
)

// retryDelay is how long the writer waits after a failed write, say on a full disk, before it tries again.
const retryDelay = time.Second

// logPeriod is how often failed writes are logged at most.
const logPeriod = time.Minute

// Options says how a store behaves.
type Options struct {
	LockTimeout time.Duration // how long Open waits for another process to let go of the file
	Queue       int           // attacks whose records wait to be written; a newer record of the same attack takes no further place
	Keep        int           // attacks kept after they are over
	KeepFor     time.Duration // and how long
}

func (o Options) withDefaults() Options {
	if o.LockTimeout <= 0 {
		o.LockTimeout = DefaultLockTimeout
	}
	if o.Queue <= 0 {
		o.Queue = DefaultQueue
	}
	if o.Keep <= 0 {
		o.Keep = DefaultKeep
	}
	if o.KeepFor <= 0 {
		o.KeepFor = DefaultKeepFor
	}
	return o
}

// Store is an open file. Its methods may be called by any goroutine.
type Store struct {
	options Options
	path    string
	log     *slog.Logger
	db      *bbolt.DB
	wake    chan struct{} // something is pending; holds one

	mu      sync.Mutex
	pending map[string]traffic.Record // by attack: only the newest record of each counts
	closed  bool

	writing  sync.Mutex // held by whoever writes to the file
	kept     int        // records of history; guarded by writing
	logged   time.Time  // when a failure was last logged; guarded by writing
	counters counters
}

type counters struct {
	written, batches, overflowed, failed, skipped, pruned atomic.Uint64
}

// Stats is a snapshot of the store's counters. Those of type uint64 only grow.
type Stats struct {
	Written    uint64 // records
	Batches    uint64 // transactions, each synced to the disk
	Overflowed uint64 // records not taken for want of room, or after Close
	Failed     uint64 // transactions that failed; their records are tried again
	Skipped    uint64 // records that could not be read or written: of an unknown version, or damaged
	Pruned     uint64 // records of history removed for their age or number
	Pending    int    // attacks with a record that waits to be written
}

// Stats returns the counters as they are now.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	pending := len(s.pending)
	s.mu.Unlock()
	return Stats{
		Written: s.counters.written.Load(), Batches: s.counters.batches.Load(), Overflowed: s.counters.overflowed.Load(),
		Failed: s.counters.failed.Load(), Skipped: s.counters.skipped.Load(), Pruned: s.counters.pruned.Load(), Pending: pending,
	}
}

// Put hands a record over to be written and returns at once. It reports false, and counts it, when there is no room.
func (s *Store) Put(r traffic.Record) bool {
	s.mu.Lock()
	_, known := s.pending[r.Attack.ID]
	ok := !s.closed && r.Attack.ID != "" && (known || len(s.pending) < s.options.Queue)
	if ok {
		s.pending[r.Attack.ID] = r
	}
	s.mu.Unlock()
	if !ok {
		s.counters.overflowed.Add(1)
		return false
	}
	select {
	case s.wake <- struct{}{}:
	default: // the writer is awake already
	}
	return true
}

// Run writes what is put, all that has come in meanwhile in one transaction, until ctx ends. What is left then is written by Close.
func (s *Store) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
		if s.flush() == nil {
			continue
		}
		retry := time.NewTimer(retryDelay)
		select {
		case <-ctx.Done():
			retry.Stop()
			return nil
		case <-retry.C:
			s.rouse()
		}
	}
}

// Sync writes what has been put until now and returns when it is on the disk, or cannot be: it is tried again all the same.
func (s *Store) Sync() error { return s.flush() }

func (s *Store) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close writes what is pending and closes the file. It is called once Run has returned.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	err := s.flush()
	if closeErr := guarded(s.db.Close); err == nil && closeErr != nil {
		err = fmt.Errorf("close store %s: %w", s.path, closeErr)
	}
	return err
}

// flush writes what is pending; after a failure it is pending again.
func (s *Store) flush() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	batch := s.pending
	s.pending = make(map[string]traffic.Record)
	s.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	err := s.write(batch)
	if err == nil {
		s.counters.batches.Add(1)
		return nil
	}
	s.counters.failed.Add(1)
	s.mu.Lock()
	for id, r := range batch {
		if _, newer := s.pending[id]; !newer {
			s.pending[id] = r
		}
	}
	s.mu.Unlock()
	if now := time.Now(); now.Sub(s.logged) >= logPeriod {
		s.logged = now
		s.log.Error("store write failed", "error", err, "pending", len(batch), "remedy", "free or repair the disk; it is tried again")
	}
	return fmt.Errorf("write store %s: %w", s.path, err)
}

// write puts a batch into the file, in one transaction: attacks that are over move to the history.
func (s *Store) write(batch map[string]traffic.Record) error {
	var written, skipped, pruned uint64
	var kept int
	err := guarded(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			kept = s.kept
			active, history := tx.Bucket(activeBucket), tx.Bucket(historyBucket)
			for id, r := range batch {
				value, err := encode(&r)
				if err != nil {
					skipped++ // a record that cannot be written now never can
					continue
				}
				to, from := active, history
				if r.Attack.Phase == traffic.PhaseOver {
					to, from = history, active
				}
				if history.Get([]byte(id)) != nil {
					kept--
				}
				if r.Attack.Phase == traffic.PhaseOver {
					kept++
				}
				if err := from.Delete([]byte(id)); err != nil {
					return err
				}
				if err := to.Put([]byte(id), value); err != nil {
					return err
				}
				written++
			}
			var err error
			pruned, err = s.prune(history, kept)
			return err
		})
	})
	if err == nil {
		s.kept = kept - int(pruned)
		s.counters.written.Add(written)
		s.counters.skipped.Add(skipped)
		s.counters.pruned.Add(pruned)
	}
	return err
}

// prune removes the oldest of the history, which has kept records, that are too many or too old.
func (s *Store) prune(history *bbolt.Bucket, kept int) (pruned uint64, err error) {
	excess := kept - s.options.Keep
	oldest := time.Now().Add(-s.options.KeepFor)
	var remove [][]byte
	c := history.Cursor()
	for key, value := c.First(); key != nil; key, value = c.Next() {
		if len(remove) >= excess {
			r, err := decode(value)
			if err != nil || !r.Attack.Ended.Before(oldest) {
				break
			}
		}
		remove = append(remove, key)
	}
	for _, key := range remove {
		if err := history.Delete(key); err != nil {
			return pruned, err
		}
		pruned++
	}
	return pruned, nil
}

// Load returns the records of all attacks that are not over, oldest first. Records that this version cannot read are logged and left where they are.
func (s *Store) Load() ([]traffic.Record, error) {
	var out []traffic.Record
	err := s.read(activeBucket, func(c *bbolt.Cursor) {
		for key, value := c.First(); key != nil; key, value = c.Next() {
			if r, ok := s.decode(key, value); ok {
				out = append(out, r)
			}
		}
	})
	return out, err
}

// History returns the records of up to limit attacks that are over, newest first.
func (s *Store) History(limit int) ([]traffic.Record, error) {
	var out []traffic.Record
	err := s.read(historyBucket, func(c *bbolt.Cursor) {
		for key, value := c.Last(); key != nil && len(out) < limit; key, value = c.Prev() {
			if r, ok := s.decode(key, value); ok {
				out = append(out, r)
			}
		}
	})
	return out, err
}

func (s *Store) read(bucket []byte, each func(*bbolt.Cursor)) error {
	err := guarded(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			each(tx.Bucket(bucket).Cursor())
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("read store %s: %w", s.path, err)
	}
	return nil
}

func (s *Store) decode(key, value []byte) (traffic.Record, bool) {
	r, err := decode(value)
	if err != nil {
		s.counters.skipped.Add(1)
		s.log.Warn("stored record skipped", "attack", string(key), "error", err)
		return r, false
	}
	return r, true
}
