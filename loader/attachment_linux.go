package loader

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// attachment is one configured interface and what is attached to it.
type attachment struct {
	conf    Interface
	status  InterfaceStatus
	link    link.Link // nil: no XDP program of ours
	pin     string    // where link is pinned; "" nowhere
	egress  egressHook
	promisc bool        // we made the interface promiscuous
	refused deviceState // the interface as it was when it refused
	taken   bool        // somebody detached our program
}

// deviceState is what an interface's readiness for a program depends on.
type deviceState struct {
	index, mtu int
	flags      uint32
	program    uint32
}

func stateOf(device netlink.Link) deviceState {
	attrs := device.Attrs()
	s := deviceState{index: attrs.Index, mtu: attrs.MTU, flags: attrs.RawFlags}
	if attrs.Xdp != nil {
		s.program = attrs.Xdp.ProgId
	}
	return s
}

func newAttachment(conf Interface) *attachment {
	t := &attachment{conf: conf}
	t.describe()
	return t
}

// describe copies the configuration into the status.
func (t *attachment) describe() {
	t.status.Name, t.status.Requested = t.conf.Name, t.conf.Mode
	t.status.Role, t.status.Pair = t.conf.Role, t.conf.Pair
	t.status.Egress = EgressNone
	if t.egress != nil {
		t.status.Egress = t.egress.kind()
	}
}

func (t *attachment) snapshot() InterfaceStatus {
	s := t.status
	s.Warnings = slices.Clone(s.Warnings)
	return s
}

// observe takes over what the kernel says of the interface, and tells whether that is news.
func (t *attachment) observe(device netlink.Link) bool {
	attrs := device.Attrs()
	before := [3]any{t.status.Index, t.status.Up, t.status.MTU}
	t.status.Index, t.status.MTU = attrs.Index, attrs.MTU
	t.status.Up = attrs.RawFlags&unix.IFF_UP != 0
	return before != [3]any{t.status.Index, t.status.Up, t.status.MTU}
}

func (a *Attacher) report(t *attachment) {
	a.changed = append(a.changed, t.snapshot())
}

// linked tells whether the kernel still has our link on the interface.
func (t *attachment) linked() bool {
	if t.link == nil {
		return false
	}
	info, err := t.link.Info()
	return err == nil && info.XDP() != nil && int(info.XDP().Ifindex) == t.status.Index
}

// attach brings everything that the configuration asks for onto the interface, but for pairs. What is there already stays.
// An interface that was attached before stays so on an error; else nothing is left on it.
func (a *Attacher) attach(t *attachment, device netlink.Link) error {
	t.observe(device)
	running := t.status.Attached
	err := a.attachParts(t, device)
	if err != nil {
		t.refused = stateOf(device)
		if !running {
			err = errors.Join(err, a.release(t, t.status.Adopted && a.opts.OnStop == StopKeep))
			t.observe(device)
		}
		t.status.Error = err.Error()
		a.report(t)
		return err
	}
	t.refused, t.taken, t.status.Error = deviceState{}, false, ""
	t.describe()
	a.report(t)
	return nil
}

func (a *Attacher) attachParts(t *attachment, device netlink.Link) error {
	if t.link == nil {
		if err := a.attachXDP(t, device); err != nil {
			return err
		}
		t.status.Attached, t.status.Since = true, time.Now()
		t.status.Attaches++
		a.log.Info("interface attached", "interface", t.conf.Name, "index", t.status.Index, "role", t.conf.Role.String(),
			"mode", t.status.Mode.String(), "why", t.status.Why, "adopted", t.status.Adopted)
	}
	if t.conf.Egress && t.egress == nil {
		hook, err := a.attachEgress(t.conf.Name, device)
		if err != nil {
			return err
		}
		t.egress = hook
		a.log.Info("egress attached", "interface", t.conf.Name, "kind", hook.kind())
	}
	if !t.conf.Egress && t.egress != nil {
		if err := t.egress.release(false); err != nil {
			return fmt.Errorf("detach egress from %q: %w", t.conf.Name, err)
		}
		t.egress = nil
	}
	if err := a.setPromiscuous(t, device); err != nil {
		return err
	}
	t.warn(a.log)
	return nil
}

// setPromiscuous makes wires and mirrors receive frames for other stations too. An interface that was promiscuous before
// stays as it is when we leave; a marker beside the pins tells the next daemon that it was us.
func (a *Attacher) setPromiscuous(t *attachment, device netlink.Link) error {
	marker := a.marker("promisc_", t.conf.Name)
	if t.conf.Role == Host {
		return a.endPromiscuous(t)
	}
	if device.Attrs().RawFlags&unix.IFF_PROMISC != 0 {
		t.promisc = t.promisc || marker.exists()
		return nil
	}
	if err := a.netlink.SetPromiscOn(device); err != nil {
		return fmt.Errorf("make interface %q promiscuous: %w%s", t.conf.Name, err, remedyOf(err))
	}
	t.promisc = true
	return marker.set()
}

func (a *Attacher) endPromiscuous(t *attachment) error {
	if !t.promisc {
		return nil
	}
	t.promisc = false
	device, err := a.netlink.LinkByIndex(t.status.Index)
	if err == nil {
		err = a.netlink.SetPromiscOff(device)
	}
	if isNotFound(err) {
		err = nil
	}
	return errors.Join(err, a.marker("promisc_", t.conf.Name).clear())
}

// release takes everything of ours from the interface; with keep the pinned programs go on working without us.
func (a *Attacher) release(t *attachment, keep bool) error {
	var failed []error
	if !keep {
		failed = append(failed, a.endPromiscuous(t))
	}
	if t.egress != nil {
		failed = append(failed, t.egress.release(keep))
		t.egress = nil
	}
	if keep && t.link != nil {
		failed = append(failed, t.link.Close())
		t.link = nil
	} else {
		failed = append(failed, t.unlink())
	}
	t.detached("")
	t.describe()
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("detach from interface %q: %w", t.conf.Name, err)
	}
	return nil
}

// detached notes in the status that the XDP program is off.
func (t *attachment) detached(why string) {
	if t.status.Attached {
		t.status.Since = time.Now()
	}
	t.status.Attached, t.status.Adopted, t.status.Mode, t.status.Why = false, false, Auto, ""
	t.status.Warnings = nil
	t.status.Error = why
}

// unlink detaches the XDP program, pinned or not.
func (t *attachment) unlink() error {
	if t.link == nil {
		return nil
	}
	l, pin := t.link, t.pin
	t.link, t.pin = nil, ""
	return endLink(l, pin)
}

// endLink detaches a link at once, whoever else holds it: what only loses its last pin is detached later, by a worker of
// the kernel, and a new link would meet it in its place.
func endLink(l link.Link, pin string) error {
	err := l.Detach()
	if errors.Is(err, link.ErrNotSupported) {
		err = nil // closing does it
	}
	if pin != "" {
		if gone := os.Remove(pin); !errors.Is(gone, os.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return errors.Join(err, l.Close())
}

// change brings another configuration of the same interface into force, with as little interruption as it allows.
func (a *Attacher) change(t *attachment, conf Interface) error {
	if t.conf == conf && t.status.Attached && conf.Egress == (t.egress != nil) {
		return nil
	}
	device, err := a.device(conf.Name)
	if err != nil {
		// Waited for anyway: the new configuration holds when it comes.
		if t.status.Index == 0 {
			t.conf = conf
			t.describe()
			return nil
		}
		return err
	}
	before := t.conf
	t.conf = conf
	t.describe()
	// Auto wants native; what is generic under auto has tried that already.
	suits := conf.Mode == t.status.Mode || conf.Mode == before.Mode || (conf.Mode == Auto && t.status.Mode == Native)
	if t.status.Attached && !suits {
		if err := t.unlink(); err != nil {
			return fmt.Errorf("detach from interface %q: %w", conf.Name, err)
		}
		t.detached("")
	}
	if t.status.Attached && before.Role != conf.Role {
		if err := t.swap(a.set); err != nil {
			return err
		}
	}
	return a.attach(t, device)
}

// swap puts the programs of another set in the place of the present ones.
func (t *attachment) swap(set ProgramSet) error {
	if t.link != nil {
		program, err := set.XDP(t.conf.Role)
		if err != nil {
			return fmt.Errorf("get the XDP program of role %v: %w", t.conf.Role, err)
		}
		if err := t.link.Update(program); err != nil {
			return fmt.Errorf("replace XDP program of %q: %w%s", t.conf.Name, err, remedyOf(err))
		}
	}
	if t.egress != nil {
		program, err := set.Egress()
		if err != nil {
			return fmt.Errorf("get the egress program: %w", err)
		}
		if err := t.egress.update(program); err != nil {
			return fmt.Errorf("replace egress program of %q: %w", t.conf.Name, err)
		}
	}
	return nil
}

// marker is a note beside the pins that outlives the daemon. The BPF file system holds no files, but it holds folders.
type marker string

func (a *Attacher) marker(prefix, name string) marker {
	if a.opts.PinPath == "" {
		return ""
	}
	return marker(a.opts.PinPath + "/" + pinName(prefix, name))
}

func (m marker) exists() bool {
	if m == "" {
		return false
	}
	_, err := os.Stat(string(m))
	return err == nil
}

func (m marker) set() error {
	if m == "" {
		return nil
	}
	if err := os.Mkdir(string(m), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("leave a note for the next daemon: %w", err)
	}
	return nil
}

func (m marker) clear() error {
	if m == "" {
		return nil
	}
	if err := os.Remove(string(m)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove a note: %w", err)
	}
	return nil
}
