package afxdp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// completions is the size of a ring that only senders use, and that every socket must have.
const completions = 64

// largest is how long a frame may be that fits one buffer, with the room that the kernel keeps before and behind it.
const largest = chunk - 256 - 320

// socket is an AF_XDP socket of one receive queue with its memory.
type socket struct {
	fd         int
	buffers    []byte
	rings      [][]byte // mapped
	reader     reader
	attachment *attachment
	attached   bool
	mode       string
}

// openHere opens a socket in the calling thread's namespace. A queue that is still in use is tried again for a while: the kernel
// lets go of a closed socket's queue somewhat later.
func openHere(o *Options, a *attachment, number int, patience time.Duration) (*socket, error) {
	device, err := net.InterfaceByName(o.Interface)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMissing, err)
	}
	if device.Flags&net.FlagUp == 0 {
		return nil, errDown
	}
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &socket{fd: fd, attachment: a}
	err = s.makeRings(o.Frames)
	if err == nil {
		err = s.bind(o, device, number, patience)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// makeRings makes the memory that is shared with the kernel.
func (s *socket) makeRings(frames int) (err error) {
	if s.buffers, err = unix.Mmap(-1, 0, frames*chunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE); err != nil {
		return fmt.Errorf("map %d buffers: %w", frames, err)
	}
	region := unix.XDPUmemReg{Addr: uint64(uintptr(unsafe.Pointer(&s.buffers[0]))), Len: uint64(len(s.buffers)), Size: chunk}
	if err := setsockopt(s.fd, unix.XDP_UMEM_REG, &region); err != nil {
		return fmt.Errorf("register %d buffers: %w", frames, err)
	}
	for _, ring := range []struct{ option, entries int }{
		{unix.XDP_UMEM_FILL_RING, frames}, {unix.XDP_UMEM_COMPLETION_RING, completions}, {unix.XDP_RX_RING, frames},
	} {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_XDP, ring.option, ring.entries); err != nil {
			return fmt.Errorf("make ring %d: %w", ring.option, err)
		}
	}
	var at unix.XDPMmapOffsets
	if err := getsockopt(s.fd, unix.XDP_MMAP_OFFSETS, &at); err != nil {
		return fmt.Errorf("find rings: %w", err)
	}
	fill, err := s.mapRing(unix.XDP_UMEM_PGOFF_FILL_RING, at.Fr.Desc+uint64(frames)*8)
	if err != nil {
		return err
	}
	receive, err := s.mapRing(unix.XDP_PGOFF_RX_RING, at.Rx.Desc+uint64(frames)*uint64(unsafe.Sizeof(unix.XDPDesc{})))
	if err != nil {
		return err
	}
	s.reader = reader{buffers: s.buffers, fill: mapQueue[uint64](fill, &at.Fr, frames), receive: mapQueue[unix.XDPDesc](receive, &at.Rx, frames)}
	s.reader.supply()
	return nil
}

func (s *socket) mapRing(offset int64, size uint64) ([]byte, error) {
	memory, err := unix.Mmap(s.fd, offset, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map ring: %w", err)
	}
	s.rings = append(s.rings, memory)
	return memory, nil
}

// bind attaches the program where none is, binds the socket to its queue, and lets the program know.
func (s *socket) bind(o *Options, device *net.Interface, number int, patience time.Duration) error {
	attached, err := s.attachment.acquire(device)
	if err != nil {
		return err
	}
	s.attached = true
	flags := uint16(unix.XDP_USE_NEED_WAKEUP)
	switch {
	case o.ZeroCopy == on:
		flags |= unix.XDP_ZEROCOPY
	case o.ZeroCopy == off || attached == generic:
		flags |= unix.XDP_COPY
	}
	if device.MTU > largest {
		flags |= unix.XDP_USE_SG // only where it is needed: it costs zero copy with drivers that have either
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err = s.bindQueue(device.Index, number, flags)
		if errors.Is(err, unix.EINVAL) && flags&unix.XDP_USE_SG != 0 {
			err = s.bindQueue(device.Index, number, flags&^unix.XDP_USE_SG) // Linux before 6.6
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("bind to queue %d: %w", number, err)
	}
	var options uint32
	if err := getsockopt(s.fd, unix.XDP_OPTIONS, &options); err != nil {
		return fmt.Errorf("read options: %w", err)
	}
	s.mode = "copy, " + attached
	if options&unix.XDP_OPTIONS_ZEROCOPY != 0 {
		s.mode = "zero copy, " + attached
	}
	s.reader.frame.Interface = int32(device.Index)
	if err := s.attachment.sockets.Put(uint32(number), uint32(s.fd)); err != nil {
		return fmt.Errorf("put socket of queue %d into map: %w", number, err)
	}
	return nil
}

func (s *socket) bindQueue(ifindex, number int, flags uint16) error {
	return os.NewSyscallError("bind", unix.Bind(s.fd, &unix.SockaddrXDP{Flags: flags, Ifindex: uint32(ifindex), QueueID: uint32(number)}))
}

// wake has the kernel look at the fill ring, if it wants to be told.
func (s *socket) wake() error {
	if !s.reader.hungry() {
		return nil
	}
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}, 0)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	return os.NewSyscallError("poll", err)
}

// check says what has happened to the interface: poll does not tell.
func (s *socket) check() error {
	_, _, err := unix.Recvfrom(s.fd, nil, unix.MSG_DONTWAIT)
	switch {
	case err == nil, errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case errors.Is(err, unix.ENXIO):
		return errMissing
	case errors.Is(err, unix.ENETDOWN):
		return errDown
	}
	return os.NewSyscallError("recvfrom", err)
}

// drops is how many frames found no room since the socket was opened, and how many buffers the kernel would not take.
func (s *socket) drops() (lost, refused uint64, err error) {
	var st unix.XDPStatistics
	if err := getsockopt(s.fd, unix.XDP_STATISTICS, &st); err != nil {
		return 0, 0, fmt.Errorf("read statistics: %w", err)
	}
	return st.Rx_dropped + st.Rx_ring_full, st.Rx_invalid_descs, nil
}

// close gives everything back. The kernel takes a closed socket out of the program's map.
func (s *socket) close() error {
	errs := []error{os.NewSyscallError("close", unix.Close(s.fd))}
	for _, memory := range s.rings {
		errs = append(errs, os.NewSyscallError("unmap ring", unix.Munmap(memory)))
	}
	if s.buffers != nil {
		errs = append(errs, os.NewSyscallError("unmap buffers", unix.Munmap(s.buffers)))
	}
	if s.attached {
		errs = append(errs, s.attachment.release())
	}
	return errors.Join(errs...)
}

func setsockopt[T any](fd, option int, value *T) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option), uintptr(unsafe.Pointer(value)), unsafe.Sizeof(*value), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func getsockopt[T any](fd, option int, value *T) error {
	length := uint32(unsafe.Sizeof(*value))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option), uintptr(unsafe.Pointer(value)), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
