package daemon

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lockPins makes sure that no other daemon uses the directory for pins: two would take each other's programs over. The directory
// goes with the daemon unless it is to leave its pins.
func lockPins(path string, leave bool, undo *closers) error {
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("create pin directory: %w; mount a BPF file system there (mount -t bpf bpf /sys/fs/bpf), or set pin.path to \"\" to do without", err)
	}
	if !leave {
		undo.add(func() error { return removeEmpty(path) })
	}
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open pin directory: %w", err)
	}
	undo.add(dir.Close)
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("lock %s: another weir uses it; give each daemon a pin.path of its own", path)
	} else if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	return nil
}

// removeEmpty removes a directory unless something is in it.
func removeEmpty(path string) error {
	if err := unix.Rmdir(path); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove pin directory: %w", err)
	}
	return nil
}
