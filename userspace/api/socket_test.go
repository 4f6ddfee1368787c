package api

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestSocketPermissions(t *testing.T) {
	own, err := user.LookupGroupId(strconv.Itoa(os.Getgid()))
	if err != nil {
		t.Skipf("this process's group has no name: %v", err)
	}
	for _, test := range []struct {
		name, group, log string
		socket           fs.FileMode
	}{
		{"a group that exists", own.Name, "", 0o660},
		{"a group that does not", "no-such-group-here", "only root may use the socket", 0o600},
		{"no group", "", "", 0o600},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer syscall.Umask(syscall.Umask(0)) // what the mode is must not depend on it
			var log bytes.Buffer
			path := filepath.Join(shortDir(t), "run", "weir.sock")
			s, err := listen(path, test.group, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			if got := mode(t, path); got != test.socket {
				t.Errorf("socket: %o, want %o", got, test.socket)
			}
			if got := mode(t, filepath.Dir(path)); got != 0o750 {
				t.Errorf("directory: %o, want 750", got)
			}
			if !strings.Contains(log.String(), test.log) || (test.log == "" && log.Len() > 0) {
				t.Errorf("log %q, want %q", log.String(), test.log)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("socket after Close: %v", err)
			}
		})
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// stale leaves a socket behind as a killed daemon does.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestStaleSocket(t *testing.T) {
	path := filepath.Join(shortDir(t), "weir.sock")
	stale(t, path)
	if _, err := Dial(t.Context(), path); err == nil || !strings.Contains(err.Error(), "nobody listens") {
		t.Errorf("dial a stale socket: %v", err)
	}
	s, err := listen(path, "", quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("nobody listens: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestTwoDaemons(t *testing.T) {
	path := filepath.Join(shortDir(t), "weir.sock")
	first, err := listen(path, "", quiet())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listen(path, "", quiet()); !errors.Is(err, errInUse) {
		t.Errorf("second daemon: %v", err)
	}
	if conn, err := net.Dial("unix", path); err != nil {
		t.Errorf("first daemon after the second's try: %v", err)
	} else if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	third, err := listen(path, "", quiet())
	if err != nil {
		t.Fatalf("after the first has gone: %v", err)
	}
	if err := third.Close(); err != nil {
		t.Error(err)
	}
}

// Something else that listens, without the lock, is left alone too.
func TestForeignListener(t *testing.T) {
	path := filepath.Join(shortDir(t), "weir.sock")
	foreign, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	if _, err := listen(path, "", quiet()); !errors.Is(err, errInUse) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the other's socket: %v", err)
	}
}

func TestNotASocket(t *testing.T) {
	path := filepath.Join(shortDir(t), "weir.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(path, "", quiet()); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("got %v", err)
	}
	if kept, err := os.ReadFile(path); err != nil || string(kept) != "precious" {
		t.Errorf("the file holds %q, %v", kept, err)
	}
}

func TestDialErrors(t *testing.T) {
	dir := shortDir(t)
	if _, err := Dial(t.Context(), filepath.Join(dir, "none.sock")); err == nil || !strings.Contains(err.Error(), "is `weir run` running? use --socket") {
		t.Errorf("no daemon: %v", err)
	}
	if got := explain("/run/weir/weir.sock", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EACCES)}).Error(); got !=
		"connect to /run/weir/weir.sock: permission denied; run as root or as a member of group weir" {
		t.Errorf("no permission: %s", got)
	}
}
