package netmap

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

const moduleRemedy = "build and load it (https://github.com/luigirizzo/netmap), or choose the engine afpacket"

// promiscuous has an interface take frames for other stations too, until what it returns is called. The mode is a membership of a
// socket: it ends with the process in any case.
func promiscuous(device string) (func() error, error) {
	i, err := net.InterfaceByName(device)
	if err != nil {
		return nil, fmt.Errorf("set promiscuous mode: %w", err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("set promiscuous mode of %s: %w", device, err)
	}
	member := unix.PacketMreq{Ifindex: int32(i.Index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &member); err != nil {
		return nil, fmt.Errorf("set promiscuous mode of %s: %w (close: %w)", device, err, os.NewSyscallError("close", unix.Close(fd)))
	}
	return func() error { return os.NewSyscallError("close", unix.Close(fd)) }, nil
}
