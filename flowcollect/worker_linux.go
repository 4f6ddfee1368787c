package flowcollect

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batch        = 32      // datagrams that one system call may take
	batchesMost  = 16      // of one socket before another has its turn
	datagramMost = 1 << 16 // bytes: what IP can carry
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	length uint32
}

// udpWorker is one worker with a socket of its own for each address.
type udpWorker struct {
	number  int
	opts    *Options
	decoder *Decoder
	polls   []unix.PollFd
	before  []uint32      // by socket: how many datagrams the kernel had dropped at the last look, modulo 2^32
	dropped atomic.Uint64 // over all sockets

	buffers []byte
	slices  [batch]unix.Iovec
	names   [batch]unix.RawSockaddrInet6
	headers [batch]mmsghdr
}

func newWorker(o *Options, number int, d *Decoder) *udpWorker {
	w := &udpWorker{number: number, opts: o, decoder: d, buffers: make([]byte, batch*datagramMost)}
	for i := range batch {
		w.slices[i].Base = &w.buffers[i*datagramMost]
		w.slices[i].SetLen(datagramMost)
		h := &w.headers[i].header
		h.Name, h.Iov = (*byte)(unsafe.Pointer(&w.names[i])), &w.slices[i]
		h.SetIovlen(1)
	}
	return w
}

// add gives the worker another socket.
func (w *udpWorker) add(fd int) {
	w.polls = append(w.polls, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	w.before = append(w.before, 0)
}

func (w *udpWorker) close() error {
	var errs []error
	for _, p := range w.polls {
		errs = append(errs, os.NewSyscallError("close", unix.Close(int(p.Fd))))
	}
	w.polls = nil
	return errors.Join(errs...)
}

// run decodes what comes until ctx ends.
func (w *udpWorker) run(ctx context.Context) error {
	var last time.Time
	for ctx.Err() == nil {
		_, err := unix.Poll(w.polls, int(tickEvery.Milliseconds())/2)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("receive flows: %w", os.NewSyscallError("poll", err))
		}
		for i := range w.polls {
			if err != nil || w.polls[i].Revents == 0 {
				continue
			}
			if err := w.drain(i); err != nil {
				return fmt.Errorf("receive flows: %w", err)
			}
		}
		if now := time.Now(); now.Sub(last) >= tickEvery/2 {
			last = now
			w.opts.Tick(w.number, now)
			w.decoder.tick(now)
			if err := w.countDrops(); err != nil {
				return fmt.Errorf("receive flows: %w", err)
			}
		}
	}
	return nil
}

// drain takes what has come to a socket, but not for ever.
func (w *udpWorker) drain(socket int) error {
	for range batchesMost {
		n, err := w.receive(socket)
		if err != nil {
			return err
		}
		if n < batch {
			return nil
		}
	}
	return nil
}

// receive takes one batch from a socket. What a single datagram is wrong in is counted for its exporter.
func (w *udpWorker) receive(socket int) (int, error) {
	for i := range batch {
		w.headers[i].header.Namelen = unix.SizeofSockaddrInet6 // the kernel says there how long a name was
	}
	taken, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(w.polls[socket].Fd), uintptr(unsafe.Pointer(&w.headers[0])), batch, unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
	case unix.EBADF, unix.EINVAL, unix.EFAULT, unix.ENOTSOCK, unix.ENOSYS:
		return 0, os.NewSyscallError("recvmmsg", errno)
	default: // EAGAIN, or an error of the network that is over with having been told
		return 0, nil
	}
	n, now := int(taken), time.Now()
	w.decoder.mu.Lock()
	defer w.decoder.mu.Unlock()
	for i := range n {
		// The error is of this datagram alone: it is counted for its exporter.
		_ = w.decoder.datagram(w.sender(i), w.buffers[i*datagramMost:][:w.headers[i].length], now)
	}
	return n, nil
}

// sender is who sent datagram i of the batch.
func (w *udpWorker) sender(i int) netip.Addr {
	if w.names[i].Family == unix.AF_INET {
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&w.names[i])).Addr)
	}
	return netip.AddrFrom16(w.names[i].Addr).Unmap()
}

// countDrops asks the kernel how many datagrams it has dropped on each socket: the last word of SO_MEMINFO (linux/sock_diag.h).
func (w *udpWorker) countDrops() error {
	const words, drops = 9, 8 // SK_MEMINFO_VARS, SK_MEMINFO_DROPS
	for i := range w.polls {
		var info [words]uint32
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(w.polls[i].Fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return os.NewSyscallError("getsockopt SO_MEMINFO", errno)
		}
		w.dropped.Add(uint64(info[drops] - w.before[i]))
		w.before[i] = info[drops]
	}
	return nil
}
