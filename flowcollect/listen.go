package flowcollect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// explainListen names the address and the remedy.
func explainListen(kind string, address netip.AddrPort, err error) error {
	err = fmt.Errorf("listen on %s %s: %w", kind, address, err)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another program has the port; end it or choose another one", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w: this machine does not have the address", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: ports below 1024 need CAP_NET_BIND_SERVICE", err)
	case errors.Is(err, syscall.EAFNOSUPPORT):
		return fmt.Errorf("%w: this machine has no IPv6", err)
	}
	return err
}

// network is the name of a kind of socket on an address, for package net: one on all addresses of IPv6 takes IPv4 as well, unless that has
// a socket of its own.
func network(kind string, list []netip.AddrPort, at int) string {
	switch a := list[at].Addr(); {
	case a.Is4():
		return kind + "4"
	case a.IsUnspecified() && dual(list, at):
		return kind
	}
	return kind + "6"
}

// openTCP opens what the queue's worker listens on.
func (c *Collector) openTCP(ctx context.Context) error {
	for at, address := range c.opts.TCP {
		l, err := (&net.ListenConfig{}).Listen(ctx, network("tcp", c.opts.TCP, at), address.String())
		if err != nil {
			return explainListen("tcp", address, err)
		}
		c.queue.tcp = append(c.queue.tcp, l)
		c.addrs = append(c.addrs, "tcp "+l.Addr().String())
	}
	return nil
}
