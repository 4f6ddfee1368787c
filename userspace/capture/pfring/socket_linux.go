package pfring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/userspace/traffic"
)

// socket is a ring of the kernel module, by its own interface.
type socket struct {
	*ring
	fd int
}

// openRing opens a ring over all interfaces of a device.
func openRing(o *Options, d *device) (source, error) {
	if strconv.IntSize != 64 {
		return nil, errors.New("open PF_RING: its layout is known for systems of 64 bits only; choose the engine afpacket")
	}
	fd, err := newSocket()
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT):
		return nil, fmt.Errorf("open PF_RING: %w: %s", err, moduleRemedy)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("open PF_RING: %w; run as root or give the capabilities CAP_NET_ADMIN and CAP_NET_RAW", err)
	case err != nil:
		return nil, fmt.Errorf("open PF_RING: %w", err)
	}
	s := &socket{fd: fd}
	if err := s.prepare(o, d); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// newSocket opens a socket of the module, which refuses every protocol but this one.
func newSocket() (int, error) {
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	return unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all))
}

const moduleRemedy = "the module is not loaded; install pfring-dkms and load it (modprobe pf_ring), or choose the engine afpacket"

func (s *socket) prepare(o *Options, d *device) error {
	if err := s.set("capture length", optBucketLength, u32(min(o.SnapLength, longestCapture))); err != nil {
		return err
	}
	if err := s.set("short header", optShortHeader, []byte{1}); err != nil {
		return err
	}
	for _, name := range d.interfaces {
		if err := s.bind(name); err != nil {
			return err
		}
	}
	if err := s.set("channels", optChannels, binary.NativeEndian.AppendUint64(nil, d.channels)); err != nil {
		return err
	}
	if err := s.share(); err != nil {
		return err
	}
	for _, option := range []struct {
		what  string
		name  int
		value []byte
		wants bool
	}{
		{"direction", optDirection, u32(directionRx), true},
		{"mode", optSocketMode, u32(modeReceive), true},
		{"watermark", optWatermark, u16(o.Watermark), true},
		{"watermark time", optWatermarkMs, u16(int(watermarkTime.Milliseconds())), true},
		{"sampling", optSampling, u32(int(o.KernelSampling)), o.KernelSampling > 1},
		{"name", optName, []byte("weir\x00"), true},
		{"promiscuous mode", optPromiscuous, u32(1), o.Promiscuous},
		{"cluster", optCluster, clusterOf(o), o.Cluster > 0 || o.Workers > 1},
	} {
		if option.wants {
			if err := s.set(option.what, option.name, option.value); err != nil {
				return err
			}
		}
	}
	return s.set("activate", optActivate, []byte{1})
}

func u32(v int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(v)) }
func u16(v int) []byte { return binary.NativeEndian.AppendUint16(nil, uint16(min(v, 1<<16-1))) }

// clusterOf is struct add_to_cluster: number, queue, options, type. A cluster of our own has the process' number.
func clusterOf(o *Options) []byte {
	number := o.Cluster
	if number == 0 {
		number = os.Getpid()&0x7fff | 0x4000
	}
	b := append(u16(number), u16(anyQueue)...)
	return append(append(b, u32(0)...), u32(int(o.ClusterType))...)
}

func (s *socket) set(what string, name int, value []byte) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(s.fd), 0, uintptr(name), uintptr(unsafe.Pointer(&value[0])), uintptr(len(value)), 0)
	if errno != 0 {
		return fmt.Errorf("open PF_RING: set %s: %w", what, errno)
	}
	return nil
}

func (s *socket) get(what string, name int, value []byte) error {
	length := uint32(len(value))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), 0, uintptr(name), uintptr(unsafe.Pointer(&value[0])), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return fmt.Errorf("open PF_RING: read %s: %w", what, errno)
	}
	return nil
}

// bind adds an interface to the ring. The module wants the protocol in host byte order here.
func (s *socket) bind(name string) error {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return fmt.Errorf("open PF_RING: interface %s: %w", name, err)
	}
	address := unix.RawSockaddrLinklayer{Family: family, Protocol: unix.ETH_P_ALL, Ifindex: int32(i.Index)}
	_, _, errno := unix.Syscall(unix.SYS_BIND, uintptr(s.fd), uintptr(unsafe.Pointer(&address)), unix.SizeofSockaddrLinklayer)
	if errno != 0 {
		return fmt.Errorf("open PF_RING: bind to %s: %w", name, errno)
	}
	return nil
}

// share maps the ring: first its description, which says how large it is, then all of it.
func (s *socket) share() error {
	page, err := unix.Mmap(s.fd, 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("open PF_RING: map: %w", err)
	}
	total := binary.NativeEndian.Uint64(page[infoTotal:])
	if err := unix.Munmap(page); err != nil {
		return fmt.Errorf("open PF_RING: unmap: %w", err)
	}
	mem, err := unix.Mmap(s.fd, 0, int(total), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("open PF_RING: map %d bytes: %w", total, err)
	}
	s.ring = &ring{mem: mem} // so that it is unmapped, whatever it says
	header := make([]byte, 2)
	if err := s.get("header length", optHeaderLength, header); err != nil {
		return err
	}
	r, err := newRing(mem, int(binary.NativeEndian.Uint16(header)))
	if err != nil {
		return err
	}
	s.ring = r
	return nil
}

func (s *socket) mode() string { return "kernel module" }

func (s *socket) wait(d time.Duration) error {
	if s.lost {
		return errors.New("the ring holds what cannot be; where several CPUs receive for one queue, load the module with force_ring_lock=1")
	}
	files := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
	_, err := unix.Poll(files, int(d.Milliseconds()))
	switch {
	case errors.Is(err, unix.EINTR):
	case err != nil:
		return os.NewSyscallError("poll", err)
	case files[0].Revents&(unix.POLLERR|unix.POLLNVAL|unix.POLLHUP) != 0:
		return errors.New("the ring's interface is gone")
	}
	return nil
}

func (s *socket) take(f *traffic.Frame, see func(*traffic.Frame)) (frames, broken uint64) {
	return s.ring.take(f, see)
}

func (s *socket) close() error {
	var errs []error
	if s.ring != nil && s.mem != nil {
		errs = append(errs, os.NewSyscallError("munmap", unix.Munmap(s.mem)))
		s.mem = nil
	}
	return errors.Join(append(errs, os.NewSyscallError("close", unix.Close(s.fd)))...)
}

// Probe says whether the module is there.
func Probe() (available bool, why, remedy string) {
	fd, err := newSocket()
	switch {
	case err == nil:
		if err := unix.Close(fd); err != nil {
			return false, err.Error(), ""
		}
		return true, "the pf_ring module is loaded", ""
	case errors.Is(err, unix.EAFNOSUPPORT):
		return false, "the kernel does not know PF_RING sockets", moduleRemedy
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return false, "PF_RING sockets may not be opened", "run as root or give the capabilities CAP_NET_ADMIN and CAP_NET_RAW"
	}
	return false, err.Error(), moduleRemedy
}
