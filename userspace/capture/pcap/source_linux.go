//go:build !libpcap

package pcap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/userspace/traffic"
)

const permissionRemedy = "run as root or give the capability CAP_NET_RAW"

// batch is how many frames one system call may take.
const batch = 64

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	length uint32
}

// packetSocket is a packet socket without a ring (packet(7)), read in batches: pcap's way where nothing better can be had.
type packetSocket struct {
	fd      int
	index   int32
	snap    int
	buffers []byte
	control []byte
	slices  [batch]unix.Iovec
	names   [batch]unix.RawSockaddrLinklayer
	headers [batch]mmsghdr
	at, got int
	dropped uint64
}

// controlBytes is room for one auxiliary record (PACKET_AUXDATA) and one time stamp.
const controlBytes = 128

// openSource opens a packet socket in the namespace that is asked for.
func openSource(o *Options) (s source, err error) {
	if o.Namespace == nil {
		return openPacketSocket(o)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and with it its namespace
		if err = unix.Setns(int(o.Namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter network namespace: %w", err)
			return
		}
		s, err = openPacketSocket(o)
	}()
	<-done
	return s, err
}

func openPacketSocket(o *Options) (source, error) {
	device := &net.Interface{} // all of them
	if o.Interface != anyInterface {
		var err error
		if device, err = net.InterfaceByName(o.Interface); err != nil {
			return nil, err
		}
		if isDown(o.Interface) {
			return nil, errDown
		}
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &packetSocket{fd: fd, index: int32(device.Index), snap: o.SnapLength}
	if err := s.prepare(o); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// anyInterface is libpcap's name for all interfaces at once.
const anyInterface = "any"

// linkOf is what frames of a device begin with: all but Ethernet and lo, which looks like it, are tunnels, whose frames are packets.
func linkOf(address *unix.RawSockaddrLinklayer) traffic.Link {
	if address.Hatype == unix.ARPHRD_ETHER || address.Hatype == unix.ARPHRD_LOOPBACK {
		return traffic.LinkEthernet
	}
	return traffic.LinkIP
}

func (s *packetSocket) prepare(o *Options) error {
	buffer := min(o.Buffer, math.MaxInt32)
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer); err != nil {
			return os.NewSyscallError("set receive buffer", err)
		}
	}
	for _, option := range [][2]int{{unix.SOL_PACKET, unix.PACKET_AUXDATA}, {unix.SOL_SOCKET, unix.SO_TIMESTAMPNS}} {
		if err := unix.SetsockoptInt(s.fd, option[0], option[1], 1); err != nil {
			return os.NewSyscallError("set socket option", err)
		}
	}
	if o.Promiscuous && s.index != 0 {
		member := unix.PacketMreq{Ifindex: s.index, Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(s.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &member); err != nil {
			return os.NewSyscallError("set promiscuous mode", err)
		}
	}
	s.buffers, s.control = make([]byte, batch*s.snap), make([]byte, batch*controlBytes)
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	return os.NewSyscallError("bind", unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: int(s.index)}))
}

func (s *packetSocket) mode() string { return "packet socket" }

func (s *packetSocket) next(f *traffic.Frame) (bool, error) {
	for s.at == s.got {
		ready, err := s.receive()
		if err != nil || !ready {
			return false, err
		}
	}
	i := s.at
	s.at++
	if s.names[i].Pkttype == unix.PACKET_OUTGOING {
		return false, nil // what this machine sends is not what arrives; on lo, it does that too
	}
	s.fill(f, i)
	return true, nil
}

// receive waits for frames and takes as many as there are.
func (s *packetSocket) receive() (bool, error) {
	poll := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, int(wait.Milliseconds()))
	if errors.Is(err, unix.EINTR) || err == nil && n == 0 {
		return false, nil
	}
	if err != nil {
		return false, os.NewSyscallError("poll", err)
	}
	for i := range batch {
		s.slices[i].Base = &s.buffers[i*s.snap]
		s.slices[i].SetLen(s.snap)
		h := &s.headers[i].header
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&s.names[i])), unix.SizeofSockaddrLinklayer
		h.Iov = &s.slices[i]
		h.SetIovlen(1)
		h.Control = &s.control[i*controlBytes]
		h.SetControllen(controlBytes)
	}
	taken, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.headers[0])), batch, unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	switch errno {
	case 0:
		s.at, s.got = 0, int(taken)
		return taken > 0, nil
	case unix.EAGAIN, unix.EINTR:
		return false, nil
	}
	return false, os.NewSyscallError("recvmmsg", errno)
}

// fill describes frame i of the batch.
func (s *packetSocket) fill(f *traffic.Frame, i int) {
	length := s.headers[i].length // with MSG_TRUNC, that of the whole frame
	*f = traffic.Frame{Data: s.buffers[i*s.snap:][:min(int(length), s.snap)], Length: length, Interface: s.names[i].Ifindex, Link: linkOf(&s.names[i])}
	control := s.control[i*controlBytes:][:s.headers[i].header.Controllen]
	for len(control) >= unix.CmsgLen(0) {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		size := int(h.Len)
		if size < unix.CmsgLen(0) || size > len(control) {
			return
		}
		body := control[unix.CmsgLen(0):size]
		switch {
		case h.Level == unix.SOL_PACKET && h.Type == unix.PACKET_AUXDATA && len(body) >= int(unsafe.Sizeof(unix.TpacketAuxdata{})):
			aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&body[0]))
			if aux.Status&unix.TP_STATUS_VLAN_VALID != 0 {
				f.VLAN, f.HasVLAN = aux.Vlan_tci, true
				f.Length += 4
			}
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS && len(body) >= int(unsafe.Sizeof(unix.Timespec{})):
			f.Time = (*unix.Timespec)(unsafe.Pointer(&body[0])).Nano()
		}
		control = control[min(unix.CmsgSpace(len(body)), len(control)):]
	}
}

// drops adds up what the kernel clears at each look.
func (s *packetSocket) drops() (uint64, error) {
	stats, err := unix.GetsockoptTpacketStats(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return s.dropped, os.NewSyscallError("read statistics", err)
	}
	s.dropped += uint64(stats.Drops)
	return s.dropped, nil
}

func (s *packetSocket) close() error { return os.NewSyscallError("close", unix.Close(s.fd)) }

// Probe says whether this user may capture.
func Probe() (available bool, why, remedy string) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, "packet sockets cannot be opened: " + err.Error(), permissionRemedy
	}
	if err := unix.Close(fd); err != nil {
		return false, err.Error(), permissionRemedy
	}
	return true, "packet sockets can be opened", ""
}
