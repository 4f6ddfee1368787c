//go:build linux || freebsd

package netmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlRequest is NIOCCTRL, _IOWR('i', 151, struct nmreq_header): the same number on both systems.
const controlRequest = 0xc0586997

// binding is one file bound to one ring, and the memory that it shares.
type binding struct {
	fd     int
	mem    memory
	offset int64 // of the netmap_if
}

// control sends a request about a port; the answer comes in the body.
func control(fd int, request uint16, name string, body []byte) error {
	header := make([]byte, headerBytes)
	binary.NativeEndian.PutUint16(header[headerVersion:], apiVersion)
	binary.NativeEndian.PutUint16(header[headerRequest:], request)
	copy(header[headerName:headerName+nameBytes-1], name)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&body[0])
	binary.NativeEndian.PutUint64(header[headerBody:], uint64(uintptr(unsafe.Pointer(&body[0]))))
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), controlRequest, uintptr(unsafe.Pointer(&header[0])))
	runtime.KeepAlive(body)
	if errno != 0 {
		return errno
	}
	return nil
}

// open opens the device, with the remedy for what may be wrong with that.
func open(device string) (int, error) {
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return -1, fmt.Errorf("open %s: %w: the netmap module is not loaded; %s", device, err, moduleRemedy)
	case errors.Is(err, os.ErrPermission):
		return -1, fmt.Errorf("open %s: %w; run as root, or let the group that Weir runs in read and write it", device, err)
	case err != nil:
		return -1, fmt.Errorf("open %s: %w", device, err)
	}
	return fd, nil
}

// countRings asks how many receive rings a port has.
func countRings(device, name string) (rings, hostRings int, err error) {
	fd, err := open(device)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, os.NewSyscallError("close", unix.Close(fd))) }()
	body := make([]byte, infoBytes)
	if err := control(fd, requestInfo, name, body); err != nil {
		return 0, 0, explain(name, err)
	}
	return int(binary.NativeEndian.Uint16(body[infoRings:])), int(binary.NativeEndian.Uint16(body[infoHostRings:])), nil
}

// explain names the port and the remedy.
func explain(name string, err error) error {
	switch {
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return fmt.Errorf("netmap port %s: %w: no such interface", name, err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("netmap port %s: %w: another program has the port", name, err)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("netmap port %s: %w: netmap's memory is too small; raise ring_num and buf_num of the module", name, err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("netmap port %s: %w: refused; the module must have API %d, and the interface netmap support or admode 0 or 2", name, err, apiVersion)
	}
	return fmt.Errorf("netmap port %s: %w", name, err)
}

// bind registers one receive ring and maps the port's memory.
func bind(device, name string, number int, host bool) (*binding, error) {
	fd, err := open(device)
	if err != nil {
		return nil, err
	}
	b := &binding{fd: fd}
	if err := b.register(name, number, host); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *binding) register(name string, number int, host bool) error {
	body := make([]byte, registerBytes)
	mode := uint32(modeOneNIC)
	if host {
		mode = modeOneHost
	}
	binary.NativeEndian.PutUint16(body[registerRing:], uint16(number))
	binary.NativeEndian.PutUint32(body[registerMode:], mode)
	binary.NativeEndian.PutUint64(body[registerFlags:], flagReceiveOnly|flagNoTxPoll)
	if err := control(b.fd, requestReg, name, body); err != nil {
		return explain(name, err)
	}
	size := binary.NativeEndian.Uint64(body[registerSize:])
	b.offset = int64(binary.NativeEndian.Uint64(body[registerOffset:]))
	mem, err := unix.Mmap(b.fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("netmap port %s: map %d bytes: %w", name, size, err)
	}
	b.mem = mem
	return nil
}

// wait lets the kernel fill the rings, for at most d; false: nothing has come. An error means that the port is gone.
func (b *binding) wait(d time.Duration) (bool, error) {
	files := []unix.PollFd{{Fd: int32(b.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(files, int(d.Milliseconds()))
	switch {
	case errors.Is(err, unix.EINTR) || err == nil && n == 0:
		return false, nil
	case err != nil:
		return false, os.NewSyscallError("poll", err)
	case files[0].Revents&(unix.POLLERR|unix.POLLNVAL|unix.POLLHUP) != 0:
		return false, errors.New("the port was taken away, or its interface is gone")
	}
	return true, nil
}

func (b *binding) close() error {
	var errs []error
	if b.mem != nil {
		errs = append(errs, os.NewSyscallError("munmap", unix.Munmap(b.mem)))
	}
	return errors.Join(append(errs, os.NewSyscallError("close", unix.Close(b.fd)))...)
}
