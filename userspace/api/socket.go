package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// DefaultSocket is where the daemon listens and its command line connects unless told otherwise.
const DefaultSocket = "/run/weir/weir.sock"

// How long a probe for a listening daemon may take.
const probeTimeout = time.Second

// socket is a listening Unix socket and the lock that keeps other daemons off it.
type socket struct {
	net.Listener
	path string
	lock *os.File
}

// listen creates the socket for root and the group. The lock, held while the daemon lives, settles which of two daemons that start at once
// may remove a stale socket; the probe finds a listener that knows nothing of the lock.
func listen(path, group string, log *slog.Logger) (_ *socket, err error) {
	gid := lookupGroup(group, log)
	if err := makeDirectory(filepath.Dir(path), gid, log); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	lock, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	s := &socket{path: path, lock: lock}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	if s.Listener, err = bind(path); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	mode := fs.FileMode(0o600)
	if gid >= 0 {
		if err := os.Chown(path, -1, gid); err != nil {
			log.Warn("socket stays with its owner only", "socket", path, "group", group, "error", err)
		} else {
			mode = 0o660
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return s, nil
}

// Close stops listening, removes the socket and lets go of the lock. The lock's file stays: removing it would let two daemons lock two files of one name.
func (s *socket) Close() error {
	var err error
	if s.Listener != nil {
		if err = s.Listener.Close(); errors.Is(err, net.ErrClosed) {
			err = nil
		}
	}
	return errors.Join(err, s.lock.Close())
}

// bind creates the socket closed to all but its owner from its first moment: Linux gives the file the mode of the unbound socket.
// Elsewhere that call is refused, and the process's umask decides until the mode is set.
func bind(path string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			_ = syscall.Fchmod(int(fd), 0o600)
		})
	}}
	return config.Listen(context.Background(), "unix", path)
}

// lookupGroup returns the group's id, or -1 when only the owner is to have access.
func lookupGroup(group string, log *slog.Logger) int {
	if group == "" {
		return -1
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		log.Warn("group does not exist: only root may use the socket", "group", group, "remedy", "groupadd --system "+group)
		return -1
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		log.Warn("group has no number: only root may use the socket", "group", group, "gid", g.Gid)
		return -1
	}
	return gid
}

// makeDirectory creates the socket's directory if it is not there; one that is there stays as its owner made it.
func makeDirectory(dir string, gid int, log *slog.Logger) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	if gid < 0 {
		return nil
	}
	if err := os.Chown(dir, -1, gid); err != nil {
		log.Warn("socket's directory stays with its owner only", "directory", dir, "error", err)
	}
	return nil
}

// lockFile takes the lock beside the socket.
func lockFile(path string) (*os.File, error) {
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errInUse
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), lock.Close())
	}
	return lock, nil
}

var errInUse = errors.New("another daemon listens there; stop it first, or give this one another socket")

// removeStale removes a socket that nobody listens on, and refuses anything else that is in the way.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listen on %s: %w", path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("listen on %s: the file there is not a socket; remove it or choose another path", path)
	}
	conn, err := net.DialTimeout("unix", path, probeTimeout)
	switch {
	case err == nil:
		return fmt.Errorf("listen on %s: %w", path, errors.Join(errInUse, conn.Close()))
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove stale socket: %w", err)
		}
		return nil
	}
	return fmt.Errorf("listen on %s: ask whether another daemon listens: %w", path, err)
}
