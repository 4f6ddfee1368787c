package lab

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// anchor keeps a program attached to an interface that has no traffic.
//
// The kernel calls XDP programs by a table of direct jumps (its XDP dispatcher). A test run of a program that is not in the table
// puts it there and takes it out again, and each change waits for an RCU grace period, some 10 ms. An attached program is in
// the table already, so that a run costs what its packets cost.
type anchor struct {
	host     *Host
	ifname   string
	attached link.Link
}

// anchor attaches prog to a veth pair of its own, down, both ends in this namespace.
func (h *Host) anchor(prog *ebpf.Program) (*anchor, error) {
	number := h.anchors.Add(1)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = fmt.Sprintf("anchor%da", number)
	pair := netlink.NewVeth(attrs)
	pair.PeerName = fmt.Sprintf("anchor%db", number)
	if err := h.netlink.LinkAdd(pair); err != nil {
		return nil, fmt.Errorf("make veth pair %s: %w", attrs.Name, err)
	}
	a := &anchor{host: h, ifname: attrs.Name}
	err := h.Do(func() error {
		index, err := h.index(a.ifname)
		if err != nil {
			return err
		}
		a.attached, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: index, Flags: link.XDPGenericMode})
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("attach to %s: %w", a.ifname, err), a.close())
	}
	return a, nil
}

// close detaches the program and removes the pair, unless the lab has been closed and it is gone with its namespace.
func (a *anchor) close() error {
	var err error
	if a.attached != nil {
		err = a.attached.Close()
	}
	a.host.lab.mu.Lock()
	defer a.host.lab.mu.Unlock()
	if a.host.lab.closed {
		return err
	}
	pair, findErr := a.host.link(a.ifname)
	if findErr != nil {
		return errors.Join(err, findErr)
	}
	if delErr := a.host.netlink.LinkDel(pair); delErr != nil && !errors.Is(delErr, unix.ENODEV) {
		err = errors.Join(err, fmt.Errorf("remove veth pair %s: %w", a.ifname, delErr))
	}
	return err
}
