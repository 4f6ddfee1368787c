package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is one network namespace of a Lab. Its methods are safe for concurrent use.
type Host struct {
	lab       *Lab
	name      string
	namespace string
	ns        netns.NsHandle
	netlink   *netlink.Handle // of this namespace
	links     []string        // interfaces that Link made here first
	anchors   atomic.Uint32   // made so far, for their names
}

// Name is the host's name within the lab.
func (h *Host) Name() string { return h.name }

// Namespace is the name that `ip netns` shows.
func (h *Host) Namespace() string { return h.namespace }

// Open returns the namespace as a file, for whoever takes one; the caller closes it.
func (h *Host) Open() (*os.File, error) {
	f, err := os.Open(filepath.Join(namespaceFolder, h.namespace))
	if err != nil {
		return nil, fmt.Errorf("open namespace %s: %w", h.namespace, err)
	}
	return f, nil
}

// create makes the namespace and comes back out of it.
func (h *Host) create() error { return onThread(h.createHere) }

func (h *Host) createHere() error {
	if err := os.MkdirAll(namespaceFolder, 0o755); err != nil {
		return err
	}
	ns, err := netns.NewNamed(h.namespace)
	if err != nil {
		return fmt.Errorf("make namespace (needs root, or CAP_SYS_ADMIN): %w", err)
	}
	h.ns = ns
	// No duplicate address detection and no router solicitations: addresses work at once, and only our own packets are on the wire.
	for _, setting := range []string{"accept_dad", "router_solicitations"} {
		for _, scope := range []string{"all", "default"} {
			if err := setSysctl("net/ipv6/conf/"+scope+"/"+setting, "0"); err != nil {
				return err
			}
		}
	}
	if h.netlink, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	loopback, err := h.netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := h.netlink.LinkSetUp(loopback); err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	return nil
}

// setSysctl writes a setting of the calling thread's namespace.
func setSysctl(name, value string) error {
	if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644); err != nil {
		return fmt.Errorf("set sysctl %s: %w", name, err)
	}
	return nil
}

// remove takes links and namespace away. It is called once, with the lab's lock held.
func (h *Host) remove() error {
	var errs []error
	if h.netlink != nil {
		for _, name := range h.links {
			link, err := h.netlink.LinkByName(name)
			if errors.As(err, new(netlink.LinkNotFoundError)) {
				continue // the other end is gone, and this one with it
			}
			if err == nil {
				err = h.netlink.LinkDel(link)
			}
			if err != nil && !errors.Is(err, unix.ENODEV) { // gone in between: the other end's namespace is going
				errs = append(errs, fmt.Errorf("remove link %s of %s: %w", name, h.name, err))
			}
		}
		h.netlink.Close()
	}
	if h.ns.IsOpen() {
		errs = append(errs, h.ns.Close())
	}
	return errors.Join(append(errs, removeNamespace(h.namespace))...)
}

// Do runs f on an operating system thread inside the namespace and waits for it. Sockets, netlink handles and XDP attachments
// that f makes belong to the namespace, wherever they are used later; goroutines that f starts run outside of it.
func (h *Host) Do(f func() error) error {
	err := onThread(func() error {
		if err := netns.Set(h.ns); err != nil {
			return fmt.Errorf("enter: %w", err)
		}
		return f()
	})
	if err != nil {
		return fmt.Errorf("in namespace %s: %w", h.namespace, err)
	}
	return nil
}

// onThread runs f, which may change its thread's network namespace, in a goroutine of its own. A thread that cannot be brought
// back stays locked to that goroutine, so that the runtime ends it instead of lending it to others.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errors.New("the function has ended its goroutine")
		defer func() { done <- err }()
		runtime.LockOSThread()
		home, openErr := netns.Get()
		if openErr != nil {
			runtime.UnlockOSThread()
			err = fmt.Errorf("open own namespace: %w", openErr)
			return
		}
		err = f()
		if back := netns.Set(home); back != nil {
			err = errors.Join(err, fmt.Errorf("go back to own namespace: %w", back))
		} else {
			runtime.UnlockOSThread()
		}
		err = errors.Join(err, home.Close())
	}()
	return <-done
}

func (h *Host) index(name string) (int, error) {
	link, err := h.link(name)
	if err != nil {
		return 0, err
	}
	return link.Attrs().Index, nil
}

func (h *Host) link(name string) (netlink.Link, error) {
	link, err := h.netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find interface %s of %s: %w", name, h.name, err)
	}
	return link, nil
}

// MAC is the hardware address of one of the host's interfaces.
func (h *Host) MAC(ifname string) (net.HardwareAddr, error) {
	link, err := h.link(ifname)
	if err != nil {
		return nil, err
	}
	return link.Attrs().HardwareAddr, nil
}

// Stats returns the link statistics of one of the host's interfaces.
func (h *Host) Stats(ifname string) (Stats, error) {
	link, err := h.link(ifname)
	if err != nil {
		return Stats{}, err
	}
	s := link.Attrs().Statistics
	if s == nil {
		return Stats{}, fmt.Errorf("read statistics of %s of %s: the kernel gave none", ifname, h.name)
	}
	return Stats{
		RxPackets: s.RxPackets, RxBytes: s.RxBytes, RxDropped: s.RxDropped,
		TxPackets: s.TxPackets, TxBytes: s.TxBytes, TxDropped: s.TxDropped,
	}, nil
}

// Neighbour sets the hardware address behind addr for good, so that no packet waits for ARP or neighbour discovery.
func (h *Host) Neighbour(ifname string, addr netip.Addr, mac net.HardwareAddr) error {
	link, err := h.link(ifname)
	if err != nil {
		return err
	}
	n := &netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: addr.AsSlice(), HardwareAddr: mac}
	if err := h.netlink.NeighSet(n); err != nil {
		return fmt.Errorf("set neighbour %s of %s: %w", addr, h.name, err)
	}
	return nil
}

// Route sends dst by ifname, directly or, when via is valid, by that router.
func (h *Host) Route(ifname string, dst netip.Prefix, via netip.Addr) error {
	link, err := h.link(ifname)
	if err != nil {
		return err
	}
	r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: network(dst.Masked())}
	if via.IsValid() {
		r.Gw = via.AsSlice()
	} else {
		r.Scope = netlink.SCOPE_LINK
	}
	if err := h.netlink.RouteReplace(r); err != nil {
		return fmt.Errorf("set route %s of %s: %w", dst, h.name, err)
	}
	return nil
}

// Forward makes the host a router of both families.
func (h *Host) Forward() error {
	return h.Do(func() error {
		if err := setSysctl("net/ipv4/ip_forward", "1"); err != nil {
			return err
		}
		return setSysctl("net/ipv6/conf/all/forwarding", "1")
	})
}

// SetUp brings an interface of the host up or down.
func (h *Host) SetUp(ifname string, up bool) error {
	link, err := h.link(ifname)
	if err != nil {
		return err
	}
	set, verb := h.netlink.LinkSetDown, "down"
	if up {
		set, verb = h.netlink.LinkSetUp, "up"
	}
	if err := set(link); err != nil {
		return fmt.Errorf("bring interface %s of %s %s: %w", ifname, h.name, verb, err)
	}
	return nil
}

func network(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
