package afpacket

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"weir/userspace/traffic"
)

const permissionRemedy = "run as root or give the capability CAP_NET_RAW"

// device is the interface, and a socket in its namespace that gets no frames. Promiscuous mode is a membership of that socket:
// the kernel counts members, and switches back when the last one goes, however it goes.
type device struct {
	fd    int
	name  string
	index int
	link  traffic.Link
}

// openGroup opens all rings in the namespace that is asked for.
func openGroup(o *Options) (g *group, err error) {
	if o.Namespace == nil {
		return openGroupHere(o)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and with it its namespace
		if err = unix.Setns(int(o.Namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter network namespace: %w", err)
			return
		}
		g, err = openGroupHere(o)
	}()
	<-done
	return g, err
}

func openGroupHere(o *Options) (*group, error) {
	d, err := openDevice(o)
	if err != nil {
		return nil, explain(err)
	}
	g := newGroup()
	g.watched = d
	if err := g.fill(o, d); err != nil {
		for _, s := range g.sources {
			err = errors.Join(err, s.close())
		}
		return nil, explain(errors.Join(err, d.close()))
	}
	return g, nil
}

// fill opens the rings, joins them, and only then lets frames in: until then, each would see all of them.
func (g *group) fill(o *Options, d *device) error {
	var id uint16
	for i := range o.Workers {
		s, err := openSocket(o, d)
		if err != nil {
			return err
		}
		g.sources = append(g.sources, s)
		if o.Workers == 1 {
			break
		}
		if id, err = s.join(o.Fanout, id, i == 0); err != nil {
			return err
		}
	}
	for _, s := range g.sources {
		if err := s.(*socket).filter(program(o)); err != nil {
			return err
		}
	}
	return d.check() // one that went down meanwhile might have kept a ring out of the group
}

func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w; %s", err, permissionRemedy)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w; `ip link` lists the interfaces", err)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("%w; give the rings fewer or smaller blocks, or take fewer workers", err)
	}
	return err
}

func openDevice(o *Options) (*device, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	d := &device{fd: fd, name: o.Interface}
	if err := d.prepare(o.Promiscuous); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *device) prepare(promiscuous bool) error {
	index, err := d.ask(unix.SIOCGIFINDEX)
	if err != nil {
		return err
	}
	d.index = int(index.Uint32())
	kind, err := d.ask(unix.SIOCGIFHWADDR)
	if err != nil {
		return err
	}
	d.link = traffic.LinkIP // all but Ethernet and lo, which looks like it, are tunnels, whose frames are packets
	if k := kind.Uint16(); k == unix.ARPHRD_ETHER || k == unix.ARPHRD_LOOPBACK {
		d.link = traffic.LinkEthernet
	}
	if err := unix.Bind(d.fd, &unix.SockaddrLinklayer{Ifindex: d.index}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if promiscuous {
		member := unix.PacketMreq{Ifindex: int32(d.index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(d.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &member); err != nil {
			return os.NewSyscallError("set promiscuous mode", err)
		}
	}
	return d.check()
}

// ask asks the kernel for one property of the interface.
func (d *device) ask(request uint) (*unix.Ifreq, error) {
	r, err := unix.NewIfreq(d.name)
	if err != nil {
		return nil, fmt.Errorf("%w: an interface's name has 1 to 15 bytes", err)
	}
	if err := unix.IoctlIfreq(d.fd, request, r); err != nil {
		return nil, os.NewSyscallError("look up interface", err)
	}
	return r, nil
}

// check says whether frames can come: the interface is there, is the same one, and is up.
func (d *device) check() error {
	address, err := unix.Getsockname(d.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	if a, ok := address.(*unix.SockaddrLinklayer); !ok || a.Ifindex != d.index {
		return errors.New("the interface is gone")
	}
	flags, err := d.ask(unix.SIOCGIFFLAGS)
	if err != nil {
		return err
	}
	if flags.Uint16()&unix.IFF_UP == 0 {
		return fmt.Errorf("%w; bring it up: ip link set dev %s up", errDown, d.name)
	}
	return nil
}

func (d *device) close() error { return os.NewSyscallError("close", unix.Close(d.fd)) }

// Probe says whether this user may capture, and this kernel has the rings.
func Probe() (available bool, why, remedy string) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, "packet sockets cannot be opened: " + err.Error(), permissionRemedy
	}
	err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3)
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return false, "packet sockets have no rings: " + err.Error(), "take a kernel with CONFIG_PACKET and TPACKET_V3, Linux 3.2 and later"
	}
	return true, "packet sockets with rings (TPACKET_V3) can be opened", ""
}
