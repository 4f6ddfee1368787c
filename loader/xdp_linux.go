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

// How the kernel says where a program runs: XDP_ATTACHED_* in linux/if_link.h.
const (
	attachedNative  = 1
	attachedGeneric = 2
)

// attachXDP puts the program of the role on the interface: by the link that an earlier daemon left, else by a new one.
func (a *Attacher) attachXDP(t *attachment, device netlink.Link) error {
	program, err := a.set.XDP(t.conf.Role)
	if err != nil {
		return fmt.Errorf("get the XDP program of role %v: %w", t.conf.Role, err)
	}
	t.status.Driver = driverOf(device)
	adopted, err := a.adopt(t, device, program)
	if adopted || err != nil {
		return err
	}
	// What adoption let go is gone by now, so what the kernel still shows is somebody else's.
	if device, err = a.device(t.conf.Name); err != nil {
		return err
	}
	if other := carriedBy(device); other != nil {
		return fmt.Errorf("attach XDP to %q: %w", t.conf.Name, other)
	}
	if err := a.attachNew(t, device, program); err != nil {
		return err
	}
	return a.pinLink(t)
}

// pinLink makes the link of t outlive this process, when that is wanted.
func (a *Attacher) pinLink(t *attachment) error {
	if a.opts.PinPath == "" {
		return nil
	}
	path := a.opts.PinPath + "/" + pinName("link_", t.conf.Name)
	if err := t.link.Pin(path); err != nil {
		return fmt.Errorf("pin link of %q: %w%s", t.conf.Name, err, remedyOf(err))
	}
	t.pin = path
	return nil
}

// attachNew tries the modes that the configuration allows, and notes which it became and why.
func (a *Attacher) attachNew(t *attachment, device netlink.Link, program *ebpf.Program) error {
	name, driver := t.conf.Name, t.status.Driver
	if t.conf.Mode == Generic {
		return t.try(device, program, Generic, "generic: as configured")
	}
	native := t.try(device, program, Native, "native: "+driver)
	if native == nil {
		return nil
	}
	if t.conf.Mode == Native || !worthGeneric(native) {
		return native
	}
	why := fmt.Sprintf("generic: driver %s has no native XDP: operation not supported", driver)
	if r := (*refusal)(nil); errors.As(native, &r) && !r.unsupported() {
		why = fmt.Sprintf("generic: driver %s refused native mode: %s", driver, r.Error())
	}
	if err := t.try(device, program, Generic, why); err != nil {
		return errors.Join(native, err)
	}
	a.log.Warn("native mode not to be had", "interface", name, "reason", why)
	return nil
}

// worthGeneric tells whether generic mode could work where native mode failed with err.
func worthGeneric(err error) bool {
	for _, hopeless := range []error{unix.EPERM, unix.EACCES, unix.EBUSY, unix.EEXIST, unix.ENODEV, ebpf.ErrNotSupported} {
		if errors.Is(err, hopeless) {
			return false
		}
	}
	return true
}

// try attaches in one mode.
func (t *attachment) try(device netlink.Link, program *ebpf.Program, mode Mode, why string) error {
	flags := link.XDPDriverMode
	if mode == Generic {
		flags = link.XDPGenericMode
	}
	index := device.Attrs().Index
	l, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: index, Flags: flags})
	if err == nil {
		t.link, t.status.Mode, t.status.Why = l, mode, why
		return nil
	}
	r := &refusal{device: t.conf.Name, driver: t.status.Driver, mtu: device.Attrs().MTU, mode: mode, cause: err}
	if worthGeneric(err) {
		r.said = explain(index, program, flags)
	}
	r.offloads = offloadsOf(t.conf.Name)
	return fmt.Errorf("attach XDP to %q in %v mode: %w", t.conf.Name, mode, r)
}

// adopt takes over the link that an earlier daemon pinned for the interface, and puts our program into it. A pin that is
// of no use any more is removed.
func (a *Attacher) adopt(t *attachment, device netlink.Link, program *ebpf.Program) (bool, error) {
	if a.opts.PinPath == "" {
		return false, nil
	}
	path := a.opts.PinPath + "/" + pinName("link_", t.conf.Name)
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("adopt link of %q: %w%s", t.conf.Name, err, remedyOf(err))
	}
	info, err := l.Info()
	if err != nil {
		return false, errors.Join(fmt.Errorf("adopt link of %q: %w", t.conf.Name, err), l.Close())
	}
	xdp, mode := device.Attrs().Xdp, Native
	if xdp != nil && xdp.AttachMode == attachedGeneric {
		mode = Generic
	}
	// The same index may exist in another namespace: the program tells for sure.
	useful := info.XDP() != nil && int(info.XDP().Ifindex) == device.Attrs().Index &&
		xdp != nil && xdp.Attached && ebpf.ProgramID(xdp.ProgId) == info.Program &&
		(t.conf.Mode == Auto || t.conf.Mode == mode)
	if useful {
		if err = l.Update(program); err == nil {
			t.link, t.pin = l, path
			t.status.Mode, t.status.Adopted = mode, true
			t.status.Why = fmt.Sprintf("%v: adopted from an earlier daemon, driver %s", mode, t.status.Driver)
			return true, nil
		}
	}
	a.log.Warn("pinned link not adopted", "interface", t.conf.Name, "path", path, "error", err)
	return false, endLink(l, path)
}

// otherProgram is an XDP program that an interface carries and that is not ours.
type otherProgram struct {
	device string
	name   string
	id     ebpf.ProgramID
	tag    string
	mode   uint32
	link   link.ID // 0: none, or not to be seen
}

func (p *otherProgram) Error() string {
	what := fmt.Sprintf("it carries another XDP program: %q (id %d, tag %s, %s", p.name, p.id, p.tag, attachedName(p.mode))
	remedy := fmt.Sprintf("ip link set dev %s xdp off", p.device)
	if p.mode == attachedGeneric {
		remedy = fmt.Sprintf("ip link set dev %s xdpgeneric off", p.device)
	}
	if p.link != 0 {
		what += fmt.Sprintf(", BPF link %d", p.link)
		remedy = fmt.Sprintf("bpftool link detach id %d", p.link)
	}
	if p.name == "xdp_dispatcher" {
		what += "; libxdp's dispatcher, which holds the programs of others"
		remedy = "xdp-loader unload -a " + p.device
	}
	return what + "), and Weir replaces nobody's: stop its owner, or take it off with " + remedy
}

// Is lets a caller find this case as the error number that the kernel would have given.
func (*otherProgram) Is(target error) bool { return target == unix.EBUSY }

func attachedName(mode uint32) string {
	switch mode {
	case attachedNative:
		return "native"
	case attachedGeneric:
		return "generic"
	case 3:
		return "offloaded"
	}
	return "in several modes"
}

// carriedBy returns the program that the interface carries, or nil.
func carriedBy(device netlink.Link) *otherProgram {
	xdp := device.Attrs().Xdp
	if xdp == nil || !xdp.Attached {
		return nil
	}
	p := &otherProgram{device: device.Attrs().Name, name: "unknown", id: ebpf.ProgramID(xdp.ProgId), tag: "unknown", mode: xdp.AttachMode}
	if program, err := ebpf.NewProgramFromID(p.id); err == nil {
		if info, err := program.Info(); err == nil {
			p.name, p.tag = info.Name, info.Tag
		}
		program.Close()
	}
	links := new(link.Iterator)
	defer links.Close()
	for links.Next() {
		info, err := links.Link.Info()
		if err == nil && info.XDP() != nil && int(info.XDP().Ifindex) == device.Attrs().Index && info.Program == p.id {
			p.link = links.ID
			break
		}
	}
	return p
}
