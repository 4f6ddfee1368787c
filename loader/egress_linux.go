package loader

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// egressHook is a program at tc egress of one interface.
type egressHook interface {
	kind() string
	update(*ebpf.Program) error
	alive() bool
	// release takes the program off, or with keep leaves it to the next daemon where that is possible.
	release(keep bool) error
}

// attachEgress puts the egress program before all others: one that ends the chain would hide packets from us.
func (a *Attacher) attachEgress(name string, device netlink.Link) (egressHook, error) {
	program, err := a.set.Egress()
	if err != nil {
		return nil, fmt.Errorf("get the egress program: %w", err)
	}
	if !a.opts.Clsact {
		hook, err := a.attachTCX(name, device, program)
		if err == nil {
			// An earlier daemon may have had to do without tcx, or been told to.
			if err := a.removeFilter(name, device); err != nil {
				return nil, errors.Join(err, hook.release(false))
			}
			return hook, nil
		}
		if !errors.Is(err, ebpf.ErrNotSupported) {
			return nil, err
		}
	}
	return a.attachFilter(name, device, program)
}

type tcxHook struct {
	link  link.Link
	pin   string
	index int
}

func (*tcxHook) kind() string { return EgressTCX }

func (h *tcxHook) update(program *ebpf.Program) error { return h.link.Update(program) }

func (h *tcxHook) alive() bool {
	info, err := h.link.Info()
	return err == nil && info.TCX() != nil && int(info.TCX().Ifindex) == h.index
}

func (h *tcxHook) release(keep bool) error {
	if keep {
		return h.link.Close()
	}
	return endLink(h.link, h.pin)
}

func (a *Attacher) attachTCX(name string, device netlink.Link, program *ebpf.Program) (*tcxHook, error) {
	index := device.Attrs().Index
	hook := &tcxHook{index: index}
	if a.opts.PinPath != "" {
		hook.pin = a.opts.PinPath + "/" + pinName("egress_", name)
		l, err := adoptTCX(hook.pin, index, program)
		if err != nil {
			return nil, fmt.Errorf("adopt egress link of %q: %w%s", name, err, remedyOf(err))
		}
		if l != nil {
			hook.link = l
			return hook, nil
		}
	}
	l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: program, Attach: ebpf.AttachTCXEgress, Anchor: link.Head()})
	if err != nil {
		return nil, fmt.Errorf("attach egress to %q by tcx: %w%s", name, err, remedyOf(err))
	}
	hook.link = l
	if hook.pin == "" {
		return hook, nil
	}
	if err := l.Pin(hook.pin); err != nil {
		return nil, errors.Join(fmt.Errorf("pin egress link of %q: %w%s", name, err, remedyOf(err)), endLink(l, ""))
	}
	return hook, nil
}

// adoptTCX takes over a pinned link that is in place on the interface; any other is removed. nil: there is none to adopt.
func adoptTCX(pin string, index int, program *ebpf.Program) (link.Link, error) {
	l, err := link.LoadPinnedLink(pin, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// The kernel's list for the interface tells it from a link to the same index of another namespace.
	info, err := l.Info()
	if err == nil {
		var list *link.QueryResult
		list, err = link.QueryPrograms(link.QueryOptions{Target: index, Attach: ebpf.AttachTCXEgress})
		if err == nil && holds(list, info.ID) && l.Update(program) == nil {
			return l, nil
		}
	}
	if errors.Is(err, ebpf.ErrNotSupported) {
		err = nil
	}
	return nil, errors.Join(err, endLink(l, pin))
}

func holds(list *link.QueryResult, id link.ID) bool {
	for _, p := range list.Programs {
		if other, known := p.LinkID(); known && other == id {
			return true
		}
	}
	return false
}

// filterName tells our filter from those of others, and survives a restart.
const (
	filterName   = "weir_egress"
	filterHandle = 0x77656972 // "weir"
)

// filterHook is a direct-action filter of the clsact qdisc. It belongs to the interface, not to us: it outlives us unless
// it is removed.
type filterHook struct {
	attacher *Attacher
	name     string
	device   netlink.Link
	filter   *netlink.BpfFilter
}

func (*filterHook) kind() string { return EgressClsact }

func (h *filterHook) update(program *ebpf.Program) error {
	next := *h.filter
	next.Fd = program.FD()
	if err := h.attacher.netlink.FilterReplace(&next); err != nil {
		return fmt.Errorf("replace tc filter: %w", err)
	}
	return nil
}

func (h *filterHook) alive() bool {
	ours, _, err := h.attacher.filters(h.device)
	return err != nil || ours != nil
}

func (h *filterHook) release(keep bool) error {
	if keep {
		return nil
	}
	return h.attacher.removeFilter(h.name, h.device)
}

func (a *Attacher) attachFilter(name string, device netlink.Link, program *ebpf.Program) (*filterHook, error) {
	if a.opts.PinPath != "" {
		// A link of an earlier daemon would count everything a second time.
		pin := a.opts.PinPath + "/" + pinName("egress_", name)
		l, err := link.LoadPinnedLink(pin, nil)
		if err == nil {
			err = endLink(l, pin)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("remove an earlier egress link of %q: %w", name, err)
		}
	}
	if err := a.addClsact(name, device); err != nil {
		return nil, err
	}
	ours, priorities, err := a.filters(device)
	if err != nil {
		return nil, fmt.Errorf("list egress filters of %q: %w", name, err)
	}
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: device.Attrs().Index,
			Parent:    netlink.HANDLE_MIN_EGRESS,
			Handle:    filterHandle,
			Protocol:  unix.ETH_P_ALL,
			Priority:  1,
		},
		Fd:           program.FD(),
		Name:         filterName,
		DirectAction: true,
	}
	hook := &filterHook{attacher: a, name: name, device: device, filter: filter}
	if ours != nil {
		filter.Handle, filter.Priority = ours.Handle, ours.Priority
		err = a.netlink.FilterReplace(filter)
	} else {
		for priorities[filter.Priority] {
			filter.Priority++
		}
		err = a.netlink.FilterAdd(filter)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("attach egress to %q by a tc filter: %w%s", name, err, remedyOf(err)), a.removeFilter(name, device))
	}
	return hook, nil
}

// addClsact makes the qdisc that holds egress filters, and notes that it was us.
func (a *Attacher) addClsact(name string, device netlink.Link) error {
	attrs := netlink.QdiscAttrs{LinkIndex: device.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
	err := a.netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: attrs})
	if err == nil {
		a.ownQdisc[device.Attrs().Index] = true
		return a.marker("clsact_", name).set()
	}
	if !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("make clsact qdisc of %q: %w%s", name, err, remedyOf(err))
	}
	if a.marker("clsact_", name).exists() {
		a.ownQdisc[device.Attrs().Index] = true
	}
	qdiscs, err := a.netlink.QdiscList(device)
	if err != nil {
		return fmt.Errorf("list qdiscs of %q: %w", name, err)
	}
	for _, q := range qdiscs {
		if q.Type() == "ingress" {
			return fmt.Errorf("make clsact qdisc of %q: an ingress qdisc is in its place, which has no egress side; "+
				"have its owner use clsact instead (tc qdisc replace dev %s clsact), or use Linux 6.6 or newer", name, name)
		}
	}
	return nil
}

// filters returns our own egress filter, or nil, and the priorities that others use.
func (a *Attacher) filters(device netlink.Link) (*netlink.BpfFilter, map[uint16]bool, error) {
	list, err := a.netlink.FilterList(device, netlink.HANDLE_MIN_EGRESS)
	if err != nil {
		return nil, nil, err
	}
	var ours *netlink.BpfFilter
	priorities := make(map[uint16]bool)
	for _, f := range list {
		// A bpf filter heads its priority with an entry that has no handle; it is none of its own.
		if b, ok := f.(*netlink.BpfFilter); ok && b.Name == filterName && b.Handle != 0 {
			ours = b
			continue
		}
		priorities[f.Attrs().Priority] = true
	}
	return ours, priorities, nil
}

// removeFilter removes our egress filter if there is one, and the qdisc if we made it and nobody else uses it.
func (a *Attacher) removeFilter(name string, device netlink.Link) error {
	index, note := device.Attrs().Index, a.marker("clsact_", name)
	ours, _, err := a.filters(device)
	if err == nil && ours != nil {
		err = a.netlink.FilterDel(ours)
	}
	made := a.ownQdisc[index] || note.exists()
	delete(a.ownQdisc, index)
	if isNotFound(err) || errors.Is(err, unix.EINVAL) && ours == nil {
		return note.clear() // no such interface any more, or no qdisc that could hold a filter
	}
	if err != nil {
		return fmt.Errorf("remove egress filter of %q: %w", name, err)
	}
	if !made {
		return nil
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		others, err := a.netlink.FilterList(device, parent)
		if err != nil {
			return fmt.Errorf("list filters of %q: %w", name, err)
		}
		if len(others) > 0 {
			return note.clear() // somebody else's qdisc from now on
		}
	}
	attrs := netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
	err = a.netlink.QdiscDel(&netlink.Clsact{QdiscAttrs: attrs})
	if err != nil && !isNotFound(err) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove clsact qdisc of %q: %w", name, err)
	}
	return note.clear()
}
