package bgp

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// onSocket runs a setsockopt call on a connection or listener.
func onSocket(c syscall.RawConn, what string, set func(fd int) error) error {
	var failed error
	if err := c.Control(func(fd uintptr) { failed = set(int(fd)) }); err != nil {
		return fmt.Errorf("set %s: %w", what, err)
	}
	if failed != nil {
		return fmt.Errorf("set %s: %w", what, os.NewSyscallError("setsockopt", failed))
	}
	return nil
}

// setTTL sets what outgoing packets start with.
func setTTL(c syscall.RawConn, v4 bool, ttl int) error {
	return onSocket(c, "TTL", func(fd int) error {
		if v4 {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, ttl)
		}
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ttl)
	})
}

// setPeerOptions sets what packets to and from a peer are to be like, as soon as there is a socket.
func setPeerOptions(c syscall.RawConn, p *Peer, own uint32) error {
	v4 := p.Address.Is4()
	switch {
	case p.TTLSecurity > 0:
		if err := setTTL(c, v4, 255); err != nil {
			return err
		}
		return setLeastTTL(c, v4, 256-int(p.TTLSecurity))
	case p.Multihop > 0:
		return setTTL(c, v4, int(p.Multihop))
	case p.AS != own:
		return setTTL(c, v4, 1) // a neighbour, or nobody
	}
	return nil
}

// dialer makes connections to a peer.
func (p *Peer) dialer(own uint32) *net.Dialer {
	d := &net.Dialer{
		KeepAlive: -1, // BGP has its own
		Control: func(_, _ string, c syscall.RawConn) error {
			if p.Password != "" {
				if err := setMD5(c, p.Address, p.Password); err != nil {
					return err
				}
			}
			return setPeerOptions(c, p, own)
		},
	}
	if p.LocalAddress.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.LocalAddress, 0))
	}
	return d
}

// network is the Go name of TCP over the address's family alone.
func network(a netip.Addr) string {
	if a.Is4() {
		return "tcp4"
	}
	return "tcp6"
}
