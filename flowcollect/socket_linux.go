package flowcollect

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

func socketWorkers(o *Options) int { return o.Workers }

func needsQueue(o *Options) bool { return len(o.TCP) > 0 }

// open opens all sockets, in the namespace that is asked for.
func (c *Collector) open(ctx context.Context) error {
	if c.opts.Namespace == nil {
		return c.openHere(ctx)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and with it its namespace
		if err := unix.Setns(int(c.opts.Namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the network namespace %s: %w", c.opts.Namespace.Name(), err)
			return
		}
		done <- c.openHere(ctx)
	}()
	return <-done
}

func (c *Collector) openHere(ctx context.Context) error {
	if len(c.opts.Listen) > 0 {
		for i := range socketWorkers(&c.opts) {
			c.sockets = append(c.sockets, newWorker(&c.opts, i, c.decoders[i]))
		}
	}
	for at, address := range c.opts.Listen {
		if err := c.openUDP(address, dual(c.opts.Listen, at)); err != nil {
			return explainListen("udp", address, err)
		}
	}
	if !needsQueue(&c.opts) {
		return nil
	}
	number := len(c.decoders) - 1
	c.queue = newQueue(&c.opts, number, c.decoders[number])
	return c.openTCP(ctx)
}

// openUDP opens each worker's socket on an address.
func (c *Collector) openUDP(address netip.AddrPort, dual bool) error {
	for i, w := range c.sockets {
		if i == 0 {
			// Who has the port with SO_REUSEPORT, another daemon of ours for one, would get a part of the datagrams: the first socket
			// without it is told.
			alone, bound, err := listenUDP(address, dual, false, c.opts.ReceiveBuffer)
			if err != nil {
				return err
			}
			if err := os.NewSyscallError("close", unix.Close(alone)); err != nil {
				return err
			}
			address = bound // port 0 is any, but the same one for all workers
		}
		fd, _, err := listenUDP(address, dual, true, c.opts.ReceiveBuffer)
		if err != nil {
			return err
		}
		w.add(fd)
	}
	first := int(c.sockets[0].polls[len(c.sockets[0].polls)-1].Fd)
	c.addrs = append(c.addrs, "udp "+address.String())
	n, err := unix.GetsockoptInt(first, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	c.buffer = int64(n) / 2 // the kernel doubles what is asked for, and says so (socket(7))
	if len(c.sockets) == 1 {
		return nil
	}
	return balance(first, len(c.sockets))
}

// listenUDP opens a socket on an address, and returns what address it has.
func listenUDP(address netip.AddrPort, dual, shared bool, buffer int) (fd int, bound netip.AddrPort, err error) {
	family := unix.AF_INET
	if address.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, bound, os.NewSyscallError("socket", err)
	}
	if err = prepareUDP(fd, address, dual, shared, buffer); err == nil {
		bound, err = boundTo(fd)
	}
	if err != nil {
		return -1, bound, errors.Join(err, os.NewSyscallError("close", unix.Close(fd)))
	}
	return fd, bound, nil
}

func prepareUDP(fd int, address netip.AddrPort, dual, shared bool, buffer int) error {
	set := func(level, name, value int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, name, value))
	}
	flag := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	if err := set(unix.SOL_SOCKET, unix.SO_REUSEPORT, flag(shared)); err != nil {
		return err
	}
	if set(unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil { // needs CAP_NET_ADMIN; else what net.core.rmem_max allows
		if err := set(unix.SOL_SOCKET, unix.SO_RCVBUF, buffer); err != nil {
			return err
		}
	}
	if address.Addr().Is4() {
		return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}))
	}
	if err := set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, flag(!dual)); err != nil {
		return err
	}
	return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrInet6{Port: int(address.Port()), Addr: address.Addr().As16()}))
}

func boundTo(fd int) (netip.AddrPort, error) {
	a, err := unix.Getsockname(fd)
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), nil
	}
	return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
}
