package lab

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const linkUpTimeout = 10 * time.Second

// Link joins two hosts by a veth pair, made inside the namespaces, and returns when both ends are up.
// Both ends run NAPI, so that XDP can redirect packets into either, and send whole checksums, as on a real wire.
func (l *Lab) Link(a *Host, ifA string, b *Host, ifB string, opts LinkOptions) error {
	if err := l.link(a, ifA, b, ifB, opts); err != nil {
		return fmt.Errorf("link %s of %s with %s of %s: %w", ifA, a.name, ifB, b.name, err)
	}
	return nil
}

func (l *Lab) link(a *Host, ifA string, b *Host, ifB string, opts LinkOptions) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = ifA, opts.MTU, opts.A.MAC
	attrs.NumRxQueues, attrs.NumTxQueues = opts.Queues, opts.Queues
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerHardwareAddr, pair.PeerNamespace = ifB, opts.B.MAC, netlink.NsFd(b.ns)
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return errors.New("the lab is closed")
	}
	err := a.netlink.LinkAdd(pair)
	if err == nil {
		a.links = append(a.links, ifA)
	}
	l.mu.Unlock()
	if err != nil {
		return fmt.Errorf("make veth pair: %w", err)
	}
	if err := errors.Join(a.prepare(ifA, opts.A), b.prepare(ifB, opts.B)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), linkUpTimeout)
	defer cancel()
	if err := errors.Join(a.waitUp(ctx, ifA), b.waitUp(ctx, ifB)); err != nil {
		return err
	}
	// Only on an end that is up: then the kernel also notes that the other end has become a redirect target.
	return errors.Join(a.Do(func() error { return setOffloads(ifA) }), b.Do(func() error { return setOffloads(ifB) }))
}

// prepare sets one end's addresses and brings it up.
func (h *Host) prepare(ifname string, end End) error {
	link, err := h.link(ifname)
	if err != nil {
		return err
	}
	for _, p := range end.Addresses {
		address := &netlink.Addr{IPNet: network(p), Flags: unix.IFA_F_NODAD}
		if p.Addr().Is4() {
			address.Flags = 0
		}
		if err := h.netlink.AddrAdd(link, address); err != nil {
			return fmt.Errorf("add address %s: %w", p, err)
		}
	}
	return h.SetUp(ifname, true)
}

// waitUp waits for the kernel to say that the interface is up and has a carrier.
func (h *Host) waitUp(ctx context.Context, ifname string) error {
	updates, done := make(chan netlink.LinkUpdate, 16), make(chan struct{})
	defer func() {
		close(done)
		for range updates { // until the subscription has seen it
		}
	}()
	err := h.Do(func() error {
		// Existing links are listed after the subscription has begun: no change is missed in between. The subscription's
		// errors end it, which closes the channel.
		return netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{ListExisting: true})
	})
	if err != nil {
		close(updates)
		return fmt.Errorf("watch links: %w", err)
	}
	for {
		select {
		case u, open := <-updates:
			if !open {
				return fmt.Errorf("wait for %s: the kernel ended the subscription", ifname)
			}
			if u.Attrs().Name == ifname && u.IfInfomsg.Flags&(unix.IFF_UP|unix.IFF_RUNNING) == unix.IFF_UP|unix.IFF_RUNNING {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to come up: %w", ifname, ctx.Err())
		}
	}
}

// ethtoolValue is struct ethtool_value of linux/ethtool.h.
type ethtoolValue struct {
	command uint32
	data    uint32
}

// ifreq is struct ifreq of linux/if.h with a pointer in its union.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// setOffloads switches receive offload on, which makes a veth run NAPI (Linux 5.13) without an XDP program of its own, and
// transmit checksum offload off: a checksum left to hardware that is not there would never be written to frames that XDP
// redirects. It must run inside the interface's namespace.
func setOffloads(ifname string) error {
	if err := ethtool(ifname, unix.ETHTOOL_SGRO, 1); err != nil {
		return fmt.Errorf("switch generic receive offload of %s on: %w", ifname, err)
	}
	if err := ethtool(ifname, unix.ETHTOOL_STXCSUM, 0); err != nil {
		return fmt.Errorf("switch transmit checksum offload of %s off: %w", ifname, err)
	}
	return nil
}

// ethtool sets one value of an interface of the calling thread's namespace.
func ethtool(ifname string, command, data uint32) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	value := ethtoolValue{command: command, data: data}
	request := ifreq{data: unsafe.Pointer(&value)}
	copy(request.name[:unix.IFNAMSIZ-1], ifname)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(&value)
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close socket: %w", err)
	}
	if errno != 0 {
		return errno
	}
	return nil
}
