package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"weir/userspace/traffic"
)

var (
	activeBucket  = []byte("active")
	historyBucket = []byte("history")
)

// errDamaged is what a file is that bbolt cannot read, or panics over.
var errDamaged = errors.New("damaged")

// Open opens the file at path, making it and its folder where they are missing. A file that is damaged is moved aside, to the same name
// with .damaged- and the time behind it, and a new one begun: bans that cannot be restored are no reason not to detect attacks. Nothing is written before Run.
func Open(path string, o Options, log *slog.Logger) (*Store, error) {
	o = o.withDefaults()
	log = log.With("component", "store", "path", path)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, explain(path, err)
	}
	db, kept, err := open(path, o)
	if errors.Is(err, errDamaged) {
		aside, moveErr := moveAside(path, time.Now())
		if moveErr != nil {
			return nil, fmt.Errorf("open store %s: %w, and it cannot be moved aside: %w; remove it by hand", path, err, moveErr)
		}
		log.Error("store damaged: moved aside, starting anew without former bans", "error", err, "moved_to", aside)
		db, kept, err = open(path, o)
	}
	if err != nil {
		return nil, explain(path, err)
	}
	return &Store{
		options: o, path: path, log: log, db: db, kept: kept,
		wake: make(chan struct{}, 1), pending: map[string]traffic.Record{},
	}, nil
}

// open opens the file and looks through all of it, so that damage shows now and not in the middle of an attack. It counts the records of history.
func open(path string, o Options) (db *bbolt.DB, kept int, err error) {
	err = guarded(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: o.LockTimeout})
		return err
	})
	if errors.Is(err, bbolterrors.ErrInvalid) || errors.Is(err, bbolterrors.ErrChecksum) || errors.Is(err, bbolterrors.ErrVersionMismatch) {
		return nil, 0, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err != nil {
		return nil, 0, err
	}
	err = guarded(func() error { return db.Update(makeBuckets) })
	if err == nil {
		err = guarded(func() error {
			return db.View(func(tx *bbolt.Tx) (err error) {
				kept, err = inspect(tx)
				return err
			})
		})
	}
	if err != nil {
		// After a panic bbolt may hold its own locks, and Close would wait for them for ever.
		if !errors.Is(err, errDamaged) {
			err = errors.Join(err, db.Close())
		}
		return nil, 0, err
	}
	return db, kept, nil
}

func makeBuckets(tx *bbolt.Tx) error {
	for _, name := range [][]byte{activeBucket, historyBucket} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

// inspect reads every key and value, in this goroutine where a bad page can do no harm, and then lets bbolt check its structure in a goroutine of its own.
// It returns the number of records of history.
func inspect(tx *bbolt.Tx) (kept int, err error) {
	for _, name := range [][]byte{activeBucket, historyBucket} {
		kept = 0
		// Only that the bytes are there is of interest: a record that makes no sense is skipped when it is read.
		sum := crc32.NewIEEE()
		err := tx.Bucket(name).ForEach(func(key, value []byte) error {
			kept++
			_, err := sum.Write(key)
			if err == nil {
				_, err = sum.Write(value)
			}
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	for bad := range tx.Check() {
		if err == nil {
			err = fmt.Errorf("%w: %w", errDamaged, bad)
		}
	}
	return kept, err
}

// guarded calls f, which reads a memory-mapped file: on a damaged one bbolt panics, or the processor faults on pages that are not there.
// Both become an error.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return f()
}

// moveAside renames a file to a name that is not taken.
func moveAside(path string, now time.Time) (string, error) {
	base := path + ".damaged-" + now.UTC().Format("20060102T150405Z")
	aside := base
	for i := 2; ; i++ {
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			return aside, os.Rename(path, aside)
		} else if err != nil {
			return "", err
		}
		aside = base + "-" + strconv.Itoa(i)
	}
}

// explain adds what the operator can do.
func explain(path string, err error) error {
	remedy := "check the disk and the path, or configure another one"
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return fmt.Errorf("open store %s: locked by another process; stop the other weir, or give each its own path", path)
	case errors.Is(err, fs.ErrPermission):
		remedy = "give the daemon's user the right to write to the file and its folder"
	case errors.Is(err, fs.ErrNotExist):
		remedy = "make its folder first, or configure another path"
	}
	return fmt.Errorf("open store %s: %w; %s", path, err, remedy)
}
