package recorder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"weir/userspace/traffic"
)

// What an Options' zero fields stand for.
const (
	DefaultAttacks   = 1000
	DefaultBytes     = 1 << 30
	DefaultAge       = 90 * 24 * time.Hour
	DefaultFileBytes = 16 << 20
	DefaultOpen      = 64
	DefaultQueue     = 20000
	DefaultBefore    = 10 * time.Second
)

const (
	tickPeriod  = 250 * time.Millisecond
	prunePeriod = time.Minute // at most between two looks at what is too old
	logPeriod   = time.Minute // at least between two complaints about the disk
	textBytes   = 1 << 20     // of one text of FastNetMon's kind
	maxTexts    = 256         // of them wait at most to be written
)

// Options says where a Keeper writes, and how much.
type Options struct {
	Folder    string        // absolute; made when it is needed
	Attacks   int           // whose files are kept; texts count as well, each for itself
	Bytes     int64         // of all files
	Age       time.Duration // since they were last written to
	FileBytes int64         // of one capture
	Open      int           // attacks whose frames are written at a time; of others there is but the record
	Queue     int           // attacks that are on or wait
	Before    time.Duration // how long before an attack's start its capture begins, as far as the ring goes back

	Interface func(index int) string       // names an interface, "" if it cannot; may be nil
	Hostgroup func(host netip.Addr) string // names the hostgroup of one of our addresses; nil: attacks on hostgroups have no capture
}

func (o Options) withDefaults() Options {
	orElse(&o.Attacks, DefaultAttacks)
	orElse(&o.Bytes, DefaultBytes)
	orElse(&o.Age, DefaultAge)
	orElse(&o.FileBytes, DefaultFileBytes)
	orElse(&o.Open, DefaultOpen)
	orElse(&o.Queue, DefaultQueue)
	orElse(&o.Before, DefaultBefore)
	o.FileBytes = max(o.FileBytes, leastFileBytes)
	return o
}

func orElse[N int | int64 | time.Duration](n *N, otherwise N) {
	if *n <= 0 {
		*n = otherwise
	}
}

// Keeper writes the captures and records of attacks. Put, Text, Stats and Close may be called by any goroutine; the functions of its
// Options are called by that of Run, and of Close.
type Keeper struct {
	options Options
	ring    *Ring
	log     *slog.Logger

	mu      sync.Mutex
	pending map[string]traffic.Record // by attack: only the newest record of each counts
	texts   []text
	closed  bool

	work     sync.Mutex // held by whoever writes; guards what follows
	attacks  map[string]*capture
	live     cursor    // up to here, the ring has been looked through for attacks that are on
	now      time.Time // of this tick
	used     int64     // bytes in the folder
	full     bool      // in this tick there was no room, and no more files to remove
	wrote    bool      // in this tick something was written
	grown    bool      // files have been made since the last prune
	pruned   time.Time // when that was
	broken   bool      // the disk cannot be written to, and that has been told
	told     time.Time // when
	counters counters
}

// text is one of FastNetMon's kind.
type text struct {
	name, content string
}

// New returns a Keeper that writes nothing before Run.
func New(o Options, ring *Ring, log *slog.Logger) (*Keeper, error) {
	if !filepath.IsAbs(o.Folder) {
		return nil, fmt.Errorf("use folder %q for captures: not an absolute path; give it from the root", o.Folder)
	}
	_, end := ring.bounds()
	return &Keeper{
		options: o.withDefaults(), ring: ring, log: log.With("component", "recorder", "folder", o.Folder),
		pending: map[string]traffic.Record{}, attacks: map[string]*capture{}, live: end,
	}, nil
}

// Put tells of an attack: that it is on, more that is known of it, or that it is over. It returns at once. Its capture begins with the
// first call, and the record is written after one with PhaseOver. Put reports false, and counts it, when there is no room for one
// attack more, or the attack's identifier cannot be a file's name.
func (k *Keeper) Put(r traffic.Record) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, known := k.pending[r.Attack.ID]
	if k.closed || !validID(r.Attack.ID) || !known && len(k.pending) >= k.options.Queue {
		k.counters.refused.Add(1)
		return false
	}
	k.pending[r.Attack.ID] = r
	return true
}

// Text adds a text to the file that FastNetMon writes about an attack that began at at: <subject>_<DD_MM_YY_HH:MM:SS>.txt, the subject
// being the address. It returns at once; false means that it is not written because too many wait.
func (k *Keeper) Text(subject string, at time.Time, content string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || len(k.texts) >= maxTexts {
		k.counters.refused.Add(1)
		return false
	}
	k.texts = append(k.texts, text{textName(subject, at), content[:min(len(content), textBytes)] + "\n\n"})
	return true
}

// Run writes until ctx ends. What there is then is left to Close.
func (k *Keeper) Run(ctx context.Context) error {
	ticker := time.NewTicker(tickPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			k.tick(now)
		}
	}
}

// Close writes what is left, also the records of attacks that are still on, and closes all files. Nothing is taken in any more. It
// returns what is wrong with the disk, if something is.
func (k *Keeper) Close() error {
	k.mu.Lock()
	closed := k.closed
	k.closed = true
	k.mu.Unlock()
	if closed {
		return nil
	}
	k.tick(time.Now())
	k.work.Lock()
	defer k.work.Unlock()
	var err error
	for _, c := range sorted(k.attacks) {
		err = errors.Join(err, k.finish(c))
	}
	clear(k.attacks)
	k.counters.open.Store(0)
	if err = errors.Join(err, k.prune(0)); err != nil {
		return fmt.Errorf("write captures to %s: %w; free some room there, or give Weir the right to write", k.options.Folder, first(err))
	}
	return nil
}

// tick takes in what has come since the last one and writes it.
func (k *Keeper) tick(now time.Time) {
	k.mu.Lock()
	records, texts := k.pending, k.texts
	if len(records) > 0 {
		k.pending = make(map[string]traffic.Record)
	}
	k.texts = nil
	k.mu.Unlock()

	k.work.Lock()
	defer k.work.Unlock()
	k.now, k.full, k.wrote = now, false, false
	var err error
	for _, t := range texts {
		err = errors.Join(err, k.writeText(t))
	}
	k.take(records)
	err = errors.Join(err, k.look())
	for _, c := range sorted(k.attacks) {
		err = errors.Join(err, k.write(c))
		if c.over() {
			err = errors.Join(err, k.finish(c))
			delete(k.attacks, c.record.Attack.ID)
		}
	}
	if k.grown || k.now.Sub(k.pruned) >= prunePeriod {
		err = errors.Join(err, k.prune(0))
	}
	k.counters.open.Store(int64(len(k.attacks)))
	k.tell(err)
}

// tell logs what is wrong with the disk once, and once that it is right again.
func (k *Keeper) tell(err error) {
	switch {
	case err != nil && !k.broken && k.now.Sub(k.told) >= logPeriod:
		k.broken, k.told = true, k.now
		k.log.Error("captures of attacks cannot be written: free some room, or give Weir the right to write", "error", first(err))
	case err == nil && k.broken && k.wrote:
		k.broken = false
		k.log.Info("captures of attacks are written again")
	}
}

// first is the first of several errors: a disk that is full fails for every file alike.
func first(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			return first(e)
		}
	}
	return err
}
