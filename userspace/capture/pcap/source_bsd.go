//go:build (darwin || freebsd) && !libpcap

package pcap

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/userspace/traffic"
)

const permissionRemedy = "run as root, or let the group that Weir runs in read /dev/bpf*"

// device is a BPF device of a BSD (bpf(4)).
type device struct {
	fd     int
	buffer []byte
	rest   []byte // of the buffer, what is not handed over yet
	link   traffic.Link
}

// openSource takes the first BPF device that nobody uses.
func openSource(o *Options) (source, error) {
	if o.Namespace != nil {
		return nil, errors.New("network namespaces need Linux")
	}
	if isDown(o.Interface) {
		return nil, errDown
	}
	fd, err := openDevice()
	if err != nil {
		return nil, err
	}
	d := &device{fd: fd}
	if err := d.prepare(o); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func openDevice() (int, error) {
	const most = 256
	for i := range most {
		fd, err := unix.Open(fmt.Sprintf("/dev/bpf%d", i), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		switch {
		case err == nil:
			return fd, nil
		case errors.Is(err, unix.EBUSY):
			continue
		}
		return -1, fmt.Errorf("open /dev/bpf%d: %w", i, err)
	}
	return -1, fmt.Errorf("open /dev/bpf*: all %d devices are in use", most)
}

func (d *device) prepare(o *Options) error {
	size, err := syscall.SetBpfBuflen(d.fd, o.Buffer)
	if err != nil {
		return os.NewSyscallError("set buffer length", err)
	}
	d.buffer = make([]byte, size)
	if err := syscall.SetBpfInterface(d.fd, o.Interface); err != nil {
		return fmt.Errorf("bind to interface: %w", err)
	}
	if err := syscall.SetBpfImmediate(d.fd, 1); err != nil {
		return os.NewSyscallError("set immediate mode", err)
	}
	timeout := syscall.NsecToTimeval(wait.Nanoseconds())
	if err := syscall.SetBpfTimeout(d.fd, &timeout); err != nil {
		return os.NewSyscallError("set timeout", err)
	}
	if o.Promiscuous {
		if err := syscall.SetBpfPromisc(d.fd, 1); err != nil {
			return os.NewSyscallError("set promiscuous mode", err)
		}
	}
	// What this machine sends is not what arrives.
	if err := unix.IoctlSetPointerInt(d.fd, unix.BIOCSSEESENT, 0); err != nil {
		return os.NewSyscallError("leave sent frames out", err)
	}
	kind, err := syscall.BpfDatalink(d.fd)
	if err != nil {
		return os.NewSyscallError("read link type", err)
	}
	switch kind {
	case syscall.DLT_EN10MB:
		d.link = traffic.LinkEthernet
	case syscall.DLT_NULL:
		d.link = traffic.LinkNull
	case syscall.DLT_RAW:
		d.link = traffic.LinkIP
	case syscall.DLT_PPP:
		d.link = traffic.LinkPPP
	default:
		return fmt.Errorf("interface has link type %d, which is not understood; expected Ethernet, loopback, raw IP or PPP", kind)
	}
	return nil
}

func (d *device) mode() string { return "bpf device" }

func (d *device) next(f *traffic.Frame) (bool, error) {
	if len(d.rest) == 0 {
		n, err := unix.Read(d.fd, d.buffer)
		switch {
		case errors.Is(err, unix.EINTR) || err == nil && n == 0:
			return false, nil
		case err != nil:
			return false, os.NewSyscallError("read", err)
		}
		d.rest = d.buffer[:n]
	}
	if len(d.rest) < int(unsafe.Sizeof(unix.BpfHdr{})) {
		d.rest = nil
		return false, nil
	}
	h := (*unix.BpfHdr)(unsafe.Pointer(&d.rest[0]))
	begin, end := int(h.Hdrlen), int(h.Hdrlen)+int(h.Caplen)
	if end > len(d.rest) {
		d.rest = nil
		return false, nil
	}
	*f = traffic.Frame{
		Data: d.rest[begin:end], Length: h.Datalen, Link: d.link,
		Time: int64(h.Tstamp.Sec)*1e9 + int64(h.Tstamp.Usec)*1e3,
	}
	const word = unix.BPF_ALIGNMENT
	d.rest = d.rest[min((end+word-1)&^(word-1), len(d.rest)):]
	return true, nil
}

func (d *device) drops() (uint64, error) {
	stats, err := syscall.BpfStats(d.fd)
	if err != nil {
		return 0, os.NewSyscallError("read statistics", err)
	}
	return uint64(stats.Drop), nil
}

func (d *device) close() error { return os.NewSyscallError("close", unix.Close(d.fd)) }

// Probe says whether this user may capture.
func Probe() (available bool, why, remedy string) {
	fd, err := openDevice()
	if err != nil {
		return false, err.Error(), permissionRemedy
	}
	if err := unix.Close(fd); err != nil {
		return false, err.Error(), permissionRemedy
	}
	return true, "a bpf device can be opened", ""
}
