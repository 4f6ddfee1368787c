package bgp

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	nobody     = 65534   // user and group that own nothing
	childFiles = 4096    // open files: two for each session, and those that come
	childData  = 2 << 30 // bytes of memory: a leak ends the child and not the machine
)

// socketPair returns two ends of a socket that no other process inherits.
func socketPair() (parent, child *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "speaker"), os.NewFile(uintptr(fds[1]), "daemon"), nil
}

// launch starts the child as nobody, with the one capability that BGP's port needs, without a way to get more, and in a process
// group of its own, so that what a terminal sends to the daemon does not reach it.
func launch(cmd *exec.Cmd, namespace string) error {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	if mayBindLowPorts() {
		attr.AmbientCaps = []uintptr{unix.CAP_NET_BIND_SERVICE}
	}
	cmd.SysProcAttr = attr
	err := onOwnThread(func() error {
		if namespace != "" {
			if err := enter(namespace); err != nil {
				return err
			}
		}
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("forbid new privileges: %w", err)
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
			return fmt.Errorf("clear ambient capabilities: %w", err)
		}
		return cmd.Start()
	})
	if errors.Is(err, unix.EPERM) && attr.Credential != nil {
		return fmt.Errorf("start as user %d (needs CAP_SETUID and CAP_SETGID): %w", nobody, err)
	}
	return err
}

// onOwnThread runs f on a thread that ends afterwards: what f does to it cannot be undone. The process's first thread never
// ends, so f does not run on that one.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onOwnThread(f)
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return <-done
}

func enter(namespace string) error {
	f, err := os.Open(namespace)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", namespace, err)
	}
	return nil
}

// mayBindLowPorts reports whether this process has the capability to pass on.
func mayBindLowPorts() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Permitted&(1<<unix.CAP_NET_BIND_SERVICE) != 0
}

// confine bounds what the child can use up, and keeps passwords out of core files and other processes' sight.
func confine() error {
	for _, l := range []struct {
		name  string
		what  int
		bound uint64
	}{
		{"core file size", unix.RLIMIT_CORE, 0},
		{"open files", unix.RLIMIT_NOFILE, childFiles},
		{"memory", unix.RLIMIT_DATA, childData},
	} {
		var old unix.Rlimit
		if err := unix.Getrlimit(l.what, &old); err != nil {
			return fmt.Errorf("read limit of %s: %w", l.name, err)
		}
		bound := min(l.bound, old.Max)
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: bound, Max: bound}); err != nil {
			return fmt.Errorf("set limit of %s: %w", l.name, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	return nil
}
