package afxdp

import (
	"errors"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// Probe says whether this user may capture: it opens a socket, and loads the program without attaching it.
func Probe() (available bool, why, remedy string) {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return false, "the kernel has no AF_XDP sockets", "take a kernel with CONFIG_XDP_SOCKETS, or the engine afpacket"
	}
	if err != nil {
		return false, "AF_XDP sockets cannot be opened: " + err.Error(), permissionRemedy
	}
	if err := errors.Join(tryProgram(), os.NewSyscallError("close", unix.Close(fd))); err != nil {
		return false, "AF_XDP sockets can be opened, and their XDP program cannot be loaded: " + err.Error(), permissionRemedy
	}
	return true, "AF_XDP sockets can be opened", ""
}

func tryProgram() error {
	if err := rlimit.RemoveMemlock(); err != nil {
		return err
	}
	sockets, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return err
	}
	program, err := load(sockets, 0)
	if err != nil {
		return errors.Join(err, sockets.Close())
	}
	return errors.Join(program.Close(), sockets.Close())
}
