package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/userspace/traffic"
)

// frameSize is what the kernel wants to be told and uses for nothing with these rings: frames lie in a block one behind the other.
const frameSize = 2048

// socket is a packet socket and its ring.
type socket struct {
	fd        int
	file      *os.File        // of fd: it has the runtime's poller wait, not a thread
	conn      syscall.RawConn // of file
	seen      func(uintptr) bool
	events    int16 // what seen saw
	memory    []byte
	blockSize int
	at        int // the block that comes next
	reader    reader
}

// openSocket opens a socket that is bound to the interface, and lets nothing in yet.
func openSocket(o *Options, d *device) (*socket, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &socket{fd: fd, file: os.NewFile(uintptr(fd), "packet socket"), blockSize: o.BlockSize}
	s.seen = func(uintptr) bool { return s.look() }
	s.reader.f.Interface, s.reader.f.Link, s.reader.link = int32(d.index), d.link, d.link
	if err := s.prepare(o, d); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *socket) prepare(o *Options, d *device) (err error) {
	if s.conn, err = s.file.SyscallConn(); err != nil {
		return err
	}
	if err := s.filter([]Instruction{{Op: opReturn}}); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return os.NewSyscallError("set ring version", err)
	}
	// Two that can be done without: without the first, what the kernel has put together counts as one frame; without the second,
	// the reader leaves out what this machine sends, after it has gone through the ring.
	s.reader.offloads = unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1) == nil
	_ = unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1) // Linux 4.20
	size := o.Blocks * o.BlockSize
	if size/o.BlockSize != o.Blocks || size > math.MaxInt32 && math.MaxInt == math.MaxInt32 {
		return fmt.Errorf("%d blocks of %d bytes are more than this machine can address", o.Blocks, o.BlockSize)
	}
	request := unix.TpacketReq3{
		Block_size: uint32(o.BlockSize), Block_nr: uint32(o.Blocks), Frame_size: frameSize, Frame_nr: uint32(size / frameSize),
		Retire_blk_tov: uint32(blockTime.Milliseconds()),
	}
	if err := unix.SetsockoptTpacketReq3(s.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &request); err != nil {
		return fmt.Errorf("make ring of %d bytes: %w", size, err)
	}
	memory, err := unix.Mmap(s.fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map ring of %d bytes: %w", size, err)
	}
	s.memory = memory
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	return os.NewSyscallError("bind", unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: d.index}))
}

// filter puts a program before the ring, in place of the one that is there.
func (s *socket) filter(program []Instruction) error {
	raw := make([]unix.SockFilter, len(program))
	for i, p := range program {
		raw[i] = unix.SockFilter{Code: p.Op, Jt: p.JT, Jf: p.JF, K: p.K}
	}
	if len(raw) > maxInstruction {
		return fmt.Errorf("set filter: %d instructions; the kernel takes %d", len(raw), maxInstruction)
	}
	if err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(raw)), Filter: &raw[0]}); err != nil {
		return fmt.Errorf("set filter: %w", err)
	}
	return nil
}

// join puts the socket into a fanout group: the first makes one with a number that is free, and returns it.
func (s *socket) join(mode Fanout, id uint16, first bool) (uint16, error) {
	flags := unix.PACKET_FANOUT_FLAG_IGNORE_OUTGOING
	if first {
		flags |= unix.PACKET_FANOUT_FLAG_UNIQUEID
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_FANOUT, int(id)|(int(mode)|flags)<<16); err != nil {
		return 0, fmt.Errorf("join fanout group, mode %s: %w", mode, err)
	}
	all, err := unix.GetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
	if err != nil {
		return 0, fmt.Errorf("read fanout group: %w", err)
	}
	return uint16(all), nil
}

func (s *socket) take(see func(*traffic.Frame)) (frames, broken uint64, ok bool) {
	block := s.memory[s.at : s.at+s.blockSize]
	// Who sees the status also sees what was written before it.
	status := (*uint32)(unsafe.Pointer(&block[blockStatus]))
	if atomic.LoadUint32(status)&statusUser == 0 {
		return 0, 0, false
	}
	frames, broken = s.reader.block(block, see)
	atomic.StoreUint32(status, 0)
	if s.at += s.blockSize; s.at == len(s.memory) {
		s.at = 0
	}
	return frames, broken, true
}

// wait has the goroutine wait, not a thread in a system call: the runtime would look out for such a thread every 20 us, to let another
// run in its place, which was a fifth of all that a busy daemon did.
func (s *socket) wait(d time.Duration) error {
	if err := s.file.SetReadDeadline(time.Now().Add(d)); err != nil {
		return fmt.Errorf("wait for frames: %w", err)
	}
	switch err := s.conn.Read(s.seen); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case err != nil:
		return fmt.Errorf("wait for frames: %w", err)
	case s.events&unix.POLLERR == 0:
		return nil
	}
	cause, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR) // clears it too
	switch {
	case err != nil:
		return os.NewSyscallError("read socket error", err)
	case cause == int(unix.ENETDOWN):
		return errDown
	case cause != 0:
		return os.NewSyscallError("receive", unix.Errno(cause))
	}
	return nil
}

// look says whether there is a block or an error.
func (s *socket) look() bool {
	files := [...]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(files[:], 0)
	s.events = files[0].Revents
	return err == nil && n > 0
}

// drops asks for statistics, which the kernel clears at each look.
func (s *socket) drops() (uint64, error) {
	stats, err := unix.GetsockoptTpacketStatsV3(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0, os.NewSyscallError("read statistics", err)
	}
	return uint64(stats.Drops), nil
}

func (s *socket) close() error {
	var err error
	if s.memory != nil {
		err = os.NewSyscallError("munmap", unix.Munmap(s.memory))
	}
	return errors.Join(err, s.file.Close())
}
