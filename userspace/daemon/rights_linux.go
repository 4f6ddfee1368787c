package daemon

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/userspace/config"
)

// needed is which capabilities the daemon needs while it runs: to open again what has gone away, and to load anew after a reload. What
// only its start took is not among them. nil: all that it has, because Snabb drives devices itself.
func needed(cfg *config.Config) map[uint]bool {
	keep := map[uint]bool{}
	for _, i := range cfg.Interfaces {
		switch i.Engine {
		case config.EngineXDP:
			keep[unix.CAP_BPF], keep[unix.CAP_PERFMON], keep[unix.CAP_NET_ADMIN] = true, true, true
			keep[unix.CAP_SYS_RESOURCE] = true // to lock memory, before Linux 5.11
		case config.EngineAFXDP:
			keep[unix.CAP_BPF], keep[unix.CAP_NET_RAW], keep[unix.CAP_NET_ADMIN] = true, true, true
			keep[unix.CAP_SYS_RESOURCE] = true
		case config.EngineAFPacket, config.EnginePcap, config.EnginePFRing:
			keep[unix.CAP_NET_RAW], keep[unix.CAP_NET_ADMIN] = true, true
		case config.EngineNetmap:
			keep[unix.CAP_NET_RAW] = true
		case config.EngineSnabb:
			return nil
		}
	}
	if len(cfg.BGP.Listen) > 0 {
		keep[unix.CAP_NET_BIND_SERVICE] = true
	}
	return keep
}

// dropRights gives up, in all threads and for all programs that are started from now on, the capabilities that are not needed any more.
// Root keeps its own: its notify script may count on them.
func dropRights(cfg *config.Config) error {
	keep := needed(cfg)
	if os.Geteuid() == 0 || keep == nil {
		return nil
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err != nil {
		return fmt.Errorf("read own capabilities: %w", err)
	}
	var mask [2]uint32
	for c := range keep {
		mask[c/32] |= 1 << (c % 32)
	}
	for i := range have {
		have[i].Permitted &= mask[i]
		have[i].Effective &= mask[i]
		have[i].Inheritable = 0 // and with it what programs that are started would get
	}
	const bind = unix.CAP_NET_BIND_SERVICE
	have[bind/32].Inheritable = have[bind/32].Permitted & (1 << (bind % 32)) // the BGP speaker is a program of its own
	return setCapabilities(&header, &have)
}

func setCapabilities(header *unix.CapUserHeader, to *[2]unix.CapUserData) error {
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(&to[0])), 0)
	if errors.Is(errno, syscall.ENOTSUP) {
		return errors.New("give up capabilities: not in a binary that was built with cgo; take the static one, or give it no more than it needs")
	}
	if errno != 0 {
		return fmt.Errorf("give up capabilities: %w", errno)
	}
	return nil
}
