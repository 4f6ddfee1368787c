package afxdp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// mostQueues bounds what a driver says that its device may have.
const mostQueues = 1 << 16

// attachment is the XDP program of an interface, its map of sockets, and promiscuous mode. It exists while one of the workers has a
// socket: when an interface went away, it is made anew for the one that came in its place.
type attachment struct {
	opts *Options

	mu      sync.Mutex
	users   int
	ifindex int
	mode    string // native or generic
	sockets *ebpf.Map
	program *ebpf.Program
	link    link.Link
	member  int // packet socket whose membership is promiscuous mode; -1: none
}

// acquire attaches the program if nobody has, and returns how. It runs in the interface's namespace.
func (a *attachment) acquire(device *net.Interface) (mode string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.users > 0 && a.ifindex != device.Index {
		return "", errors.New("the interface has been replaced, and not all queues of the old one are closed")
	}
	if a.users == 0 {
		a.ifindex, a.member = device.Index, -1
		if err := a.attach(device.Name); err != nil {
			return "", errors.Join(err, a.detach())
		}
	}
	a.users++
	return a.mode, nil
}

// release detaches the program when nobody needs it any more.
func (a *attachment) release() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.users--; a.users > 0 {
		return nil
	}
	return a.detach()
}

func (a *attachment) attach(name string) (err error) {
	// Room for as many queues as the device may ever have: they can become more while we run.
	n, most, err := queues(name)
	if err != nil {
		return err
	}
	if len(a.opts.Queues) > 0 {
		n = a.opts.Queues[len(a.opts.Queues)-1] + 1
	}
	if a.sockets, err = ebpf.NewMap(&ebpf.MapSpec{Name: "weir_sockets", Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: uint32(max(n, most))}); err != nil {
		return fmt.Errorf("make map of sockets: %w", err)
	}
	if a.program, err = loadBest(a.sockets); err != nil {
		return err
	}
	if a.opts.Mode != generic {
		a.mode = native
		a.link, err = link.AttachXDP(link.XDPOptions{Program: a.program, Interface: a.ifindex, Flags: link.XDPDriverMode})
	}
	if a.opts.Mode == generic || a.opts.Mode == auto && err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EEXIST) {
		a.mode = generic
		a.link, err = link.AttachXDP(link.XDPOptions{Program: a.program, Interface: a.ifindex, Flags: link.XDPGenericMode})
	}
	if err != nil {
		return fmt.Errorf("attach program in mode %s: %w", a.mode, err)
	}
	if a.opts.Promiscuous {
		return a.promiscuous()
	}
	return nil
}

// renew puts the program in place once more, when the interface has more queues than before: drivers may have left the new ones without
// (veth does). It must be another one, since the kernel makes nothing of the one that is there.
func (a *attachment) renew() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.users == 0 {
		return nil
	}
	program, err := loadBest(a.sockets)
	if err != nil {
		return err
	}
	if err := a.link.Update(program); err != nil {
		return errors.Join(fmt.Errorf("renew program: %w", err), program.Close())
	}
	old := a.program
	a.program = program
	return old.Close()
}

// promiscuous has the interface take frames for other stations too. The mode is a membership of a socket: it ends with the process
// in any case.
func (a *attachment) promiscuous() (err error) {
	if a.member, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return os.NewSyscallError("set promiscuous mode", err)
	}
	member := unix.PacketMreq{Ifindex: int32(a.ifindex), Type: unix.PACKET_MR_PROMISC}
	return os.NewSyscallError("set promiscuous mode", unix.SetsockoptPacketMreq(a.member, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &member))
}

func (a *attachment) detach() error {
	var errs []error
	if a.link != nil {
		errs = append(errs, a.link.Close())
	}
	if a.program != nil {
		errs = append(errs, a.program.Close())
	}
	if a.sockets != nil {
		errs = append(errs, a.sockets.Close())
	}
	if a.member >= 0 {
		errs = append(errs, os.NewSyscallError("close", unix.Close(a.member)))
	}
	a.link, a.program, a.sockets, a.member = nil, nil, nil, -1
	return errors.Join(errs...)
}

// loadBest makes the program. Frames in several buffers need one that says it can have them; kernels before 5.18 do not know of that.
func loadBest(sockets *ebpf.Map) (*ebpf.Program, error) {
	program, err := load(sockets, unix.BPF_F_XDP_HAS_FRAGS)
	if err != nil {
		program, err = load(sockets, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("load program: %w", err)
	}
	return program, nil
}

// load makes the program: what arrives on a queue that has a socket goes there, all else to the network stack.
func load(sockets *ebpf.Map, flags uint32) (*ebpf.Program, error) {
	const (
		queueIndex = 16 // rx_queue_index in struct xdp_md of linux/bpf.h
		pass       = 2  // XDP_PASS
	)
	return ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "weir_afxdp", Type: ebpf.XDP, License: "Dual BSD/GPL", Flags: flags,
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, queueIndex, asm.Word),
			asm.LoadMapPtr(asm.R1, sockets.FD()),
			asm.Mov.Imm(asm.R3, pass),
			asm.FnRedirectMap.Call(),
			asm.Return(),
		},
	})
}

// queues counts the receive queues of a device of the calling thread's namespace, and those that it may have at most: as its driver says
// or, where it does not, one.
func queues(name string) (n, most int, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, 0, os.NewSyscallError("socket", err)
	}
	defer func() { err = errors.Join(err, os.NewSyscallError("close", unix.Close(fd))) }()
	c, err := channels(fd, name)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return 1, 1, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("count queues: %w", err)
	}
	return int(max(c.receive+c.combined, 1)), int(min(c.mostReceive+c.mostCombined, mostQueues)), nil
}
