//go:build libpfring && linux

package pfring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"

	"weir/userspace/traffic"
)

// library is a ring by libpfring, which the operator has installed: it is looked for at run time, and nothing of it is in Weir.
type library struct {
	calls  *calls
	handle uintptr
	header [256]byte // struct pfring_pkthdr, with room for what versions add
	packet uintptr
}

// calls are the functions of libpfring that are used.
type calls struct {
	open       func(device string, caplen, flags uint32) uintptr
	enable     func(uintptr) int32
	close      func(uintptr)
	receive    func(handle uintptr, buffer *uintptr, length uint32, header *byte, wait uint8) int32
	poll       func(uintptr, uint32) int32
	stats      func(uintptr, *[3]uint64) int32
	direction  func(uintptr, int32) int32
	socketMode func(uintptr, int32) int32
	watermark  func(uintptr, uint16) int32
	cluster    func(uintptr, uint32, int32) int32
	sampling   func(uintptr, uint32) int32
}

const openPromiscuous = 8 // PF_RING_PROMISC

func loadLibrary() (*calls, error) {
	var errs []error
	for _, name := range []string{"libpfring.so.8", "libpfring.so"} {
		so, err := purego.Dlopen(name, purego.RTLD_LAZY|purego.RTLD_GLOBAL)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c := &calls{}
		for name, f := range map[string]any{
			"pfring_open": &c.open, "pfring_enable_ring": &c.enable, "pfring_close": &c.close, "pfring_recv": &c.receive, "pfring_poll": &c.poll,
			"pfring_stats": &c.stats, "pfring_set_direction": &c.direction, "pfring_set_socket_mode": &c.socketMode,
			"pfring_set_poll_watermark": &c.watermark, "pfring_set_cluster": &c.cluster, "pfring_set_sampling_rate": &c.sampling,
		} {
			at, err := purego.Dlsym(so, name)
			if err != nil {
				return nil, fmt.Errorf("open PF_RING: libpfring lacks %s: %w", name, err)
			}
			purego.RegisterFunc(f, at)
		}
		return c, nil
	}
	return nil, fmt.Errorf("open PF_RING: libpfring cannot be loaded; install ntop's pfring package: %w", errors.Join(errs...))
}

// openLibrary opens a device that only the library knows: zc:eth1, zc:99@0, nt:0.
func openLibrary(o *Options) (source, error) {
	c, err := loadLibrary()
	if err != nil {
		return nil, err
	}
	flags := uint32(0)
	if o.Promiscuous {
		flags |= openPromiscuous
	}
	l := &library{calls: c, handle: c.open(o.Interface, uint32(o.SnapLength), flags)}
	if l.handle == 0 {
		return nil, fmt.Errorf("open PF_RING device %s: refused by libpfring; see dmesg and `pf_ringcfg --list-interfaces`", o.Interface)
	}
	// A ZC device refuses what its driver does not do; only what changes the numbers must be done.
	c.direction(l.handle, directionRx)
	c.socketMode(l.handle, modeReceive)
	c.watermark(l.handle, uint16(min(o.Watermark, 1<<16-1)))
	if o.Cluster > 0 {
		if r := c.cluster(l.handle, uint32(o.Cluster), int32(o.ClusterType)); r != 0 {
			return nil, errors.Join(fmt.Errorf("open PF_RING device %s: join cluster %d: error %d", o.Interface, o.Cluster, r), l.close())
		}
	}
	if o.KernelSampling > 1 {
		if r := c.sampling(l.handle, o.KernelSampling); r != 0 {
			return nil, errors.Join(fmt.Errorf("open PF_RING device %s: set sampling: error %d", o.Interface, r), l.close())
		}
	}
	if r := c.enable(l.handle); r != 0 {
		return nil, errors.Join(fmt.Errorf("open PF_RING device %s: enable: error %d", o.Interface, r), l.close())
	}
	return l, nil
}

func (l *library) mode() string { return "libpfring" }

func (l *library) take(f *traffic.Frame, see func(*traffic.Frame)) (frames, broken uint64) {
	for frames < batch {
		if l.calls.receive(l.handle, &l.packet, 0, &l.header[0], 0) != 1 {
			return frames, broken
		}
		captured := binary.NativeEndian.Uint32(l.header[headCaptured:])
		if captured > longestCapture {
			broken++
			continue
		}
		// The library's own memory, valid until the next call.
		at := *(*unsafe.Pointer)(unsafe.Pointer(&l.packet))
		*f = traffic.Frame{
			Data: unsafe.Slice((*byte)(at), captured), Length: max(binary.NativeEndian.Uint32(l.header[headLength:]), captured),
			Time: int64(binary.NativeEndian.Uint64(l.header[headTime:])), Interface: int32(binary.NativeEndian.Uint32(l.header[headInterface:])),
		}
		if f.Time == 0 {
			f.Time = time.Now().UnixNano()
		}
		see(f)
		frames++
	}
	return frames, broken
}

func (l *library) wait(d time.Duration) error {
	// Devices without poll answer at once with an error: then the loop is a busy one, as it has to be with them.
	if l.calls.poll(l.handle, uint32(d.Milliseconds())) < 0 {
		runtime.Gosched()
	}
	return nil
}

func (l *library) counts() (packets, lost uint64) {
	var s [3]uint64
	if l.calls.stats(l.handle, &s) < 0 {
		return 0, 0
	}
	return s[0], s[1]
}

func (l *library) close() error {
	l.calls.close(l.handle)
	return nil
}
