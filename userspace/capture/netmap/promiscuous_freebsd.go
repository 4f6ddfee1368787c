package netmap

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const moduleRemedy = "load it: kldload netmap"

// promiscuous has an interface take frames for other stations too, until what it returns is called. The mode belongs to an open BPF
// device: it ends with the process in any case.
func promiscuous(device string) (func() error, error) {
	fd, err := unix.Open("/dev/bpf", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("set promiscuous mode of %s: %w", device, err)
	}
	closing := func() error { return os.NewSyscallError("close", unix.Close(fd)) }
	if err := syscall.SetBpfInterface(fd, device); err != nil {
		return nil, errors.Join(fmt.Errorf("set promiscuous mode of %s: %w", device, err), closing())
	}
	if err := syscall.SetBpfPromisc(fd, 1); err != nil {
		return nil, errors.Join(fmt.Errorf("set promiscuous mode of %s: %w", device, err), closing())
	}
	return closing, nil
}
