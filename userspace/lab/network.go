package lab

import (
	"errors"
	"net"
	"net/netip"
)

// ErrBusy is wrapped by New's error when a living process holds the prefix.
var ErrBusy = errors.New("another process is using this prefix; wait for it to end or take another prefix")

// End is one end of a Link.
type End struct {
	Addresses []netip.Prefix   // with their prefix lengths; usable at once, without duplicate address detection
	MAC       net.HardwareAddr // nil: the kernel makes one up
}

// LinkOptions describes a veth pair.
type LinkOptions struct {
	A, B   End
	MTU    int // bytes; 0 is 1500
	Queues int // receive and transmit queues of each end; 0 is 1
}

// Stats is what an interface has counted since it was made, as the kernel's link statistics have it.
type Stats struct {
	RxPackets, RxBytes, RxDropped uint64
	TxPackets, TxBytes, TxDropped uint64
}
