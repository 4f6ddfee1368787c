package afxdp

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolChannels is struct ethtool_channels of linux/ethtool.h.
type ethtoolChannels struct {
	command                                            uint32
	mostReceive, mostTransmit, mostOther, mostCombined uint32
	receive, transmit, other, combined                 uint32
}

// ifreq is struct ifreq of linux/if.h with a pointer in its union.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// channels asks a device's driver for its queues.
func channels(fd int, name string) (ethtoolChannels, error) {
	c := ethtoolChannels{command: unix.ETHTOOL_GCHANNELS}
	request := ifreq{data: unsafe.Pointer(&c)}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(&c)
	if errno != 0 {
		return c, errno
	}
	return c, nil
}
