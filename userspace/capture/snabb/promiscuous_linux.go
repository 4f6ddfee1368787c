package snabb

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// promiscuous has an interface of Linux take frames for other stations too, which Snabb's raw sockets do not see to, until the file is
// closed. The mode is a membership of a socket: it ends with the process in any case.
func promiscuous(device string) (*os.File, error) {
	i, err := net.InterfaceByName(device)
	if err != nil {
		return nil, fmt.Errorf("set promiscuous mode: %w", err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("set promiscuous mode of %s: %w", device, err)
	}
	file := os.NewFile(uintptr(fd), device)
	member := unix.PacketMreq{Ifindex: int32(i.Index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &member); err != nil {
		return nil, errors.Join(fmt.Errorf("set promiscuous mode of %s: %w", device, err), file.Close())
	}
	return file, nil
}
