package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	lockFolder      = "/run/weir-lab"
	openingLock     = ".opening" // held while locks are taken or leftovers removed; no prefix begins with a dot
	namespaceFolder = "/run/netns"
)

// openLock removes what dead processes have left and locks the prefix's file. The lock goes with the process, however that ends.
func openLock(prefix string) (lock *os.File, err error) {
	if err := os.MkdirAll(lockFolder, 0o755); err != nil {
		return nil, fmt.Errorf("make lock folder (run as root): %w", err)
	}
	err = alone(func() error {
		if err := removeLeftovers(); err != nil {
			return fmt.Errorf("remove leftovers: %w", err)
		}
		lock, err = os.OpenFile(filepath.Join(lockFolder, prefix), os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		held, err := tryLock(lock)
		if err == nil && !held {
			err = ErrBusy
		}
		if err != nil {
			return errors.Join(err, lock.Close())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return lock, nil
}

// closeLock removes the prefix's file unless something named in it is still there, and gives the lock up.
func closeLock(lock *os.File, keep bool) error {
	return alone(func() error {
		var err error
		if !keep {
			err = os.Remove(lock.Name())
		}
		return errors.Join(err, lock.Close())
	})
}

// alone keeps all other processes from opening and removing lock files while f runs.
func alone(f func() error) error {
	opening, err := os.OpenFile(filepath.Join(lockFolder, openingLock), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(opening.Fd()), unix.LOCK_EX); err != nil {
		return errors.Join(fmt.Errorf("lock %s: %w", opening.Name(), err), opening.Close())
	}
	return errors.Join(f(), opening.Close())
}

func tryLock(f *os.File) (bool, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return true, nil
}

// removeLeftovers removes the namespaces named in every lock file that no living process holds, and the file.
func removeLeftovers() error {
	entries, err := os.ReadDir(lockFolder)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.Name() != openingLock {
			errs = append(errs, removeLeftover(filepath.Join(lockFolder, e.Name())))
		}
	}
	return errors.Join(errs...)
}

func removeLeftover(path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	free, err := tryLock(f)
	if err != nil || !free {
		return err
	}
	names, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range strings.Fields(string(names)) {
		errs = append(errs, removeNamespace(name))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return os.Remove(path)
}

// removeNamespace takes a name off a namespace; the namespace itself goes when nothing uses it any more. An unknown name is no error.
func removeNamespace(name string) error {
	path := filepath.Join(namespaceFolder, name)
	// EINVAL: a file that nothing is mounted on, left by a process that died half way.
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount namespace %s: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove namespace %s: %w", name, err)
	}
	return nil
}
