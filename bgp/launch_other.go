//go:build !linux

package bgp

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// socketPair returns two ends of a socket that no other process inherits.
func socketPair() (parent, child *os.File, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	for _, fd := range fds {
		syscall.CloseOnExec(fd)
	}
	return os.NewFile(uintptr(fds[0]), "speaker"), os.NewFile(uintptr(fds[1]), "daemon"), nil
}

// launch starts the child in a process group of its own. It has the daemon's privileges: dropping them needs Linux.
func launch(cmd *exec.Cmd, namespace string) error {
	if namespace != "" {
		return errors.New("enter network namespace: not available on this system; it needs Linux")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd.Start()
}

func confine() error { return nil }
