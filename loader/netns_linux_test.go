package loader

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
	"weir/tests/need"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace without a name: nothing but the open file holds it, so that it goes with this process
// however that ends, and all interfaces with it.
type namespace struct {
	t      *testing.T
	file   *os.File
	handle *netlink.Handle
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	need.Root(t)
	type made struct {
		file *os.File
		err  error
	}
	result := make(chan made)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- made{err: err}
			return
		}
		file, err := os.Open("/proc/thread-self/ns/net")
		result <- made{file, err}
	}()
	m := <-result
	if m.err != nil {
		t.Fatal("make network namespace:", m.err)
	}
	t.Cleanup(func() { m.file.Close() })
	h, err := netlink.NewHandleAt(netns.NsHandle(m.file.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal("open netlink in network namespace:", err)
	}
	t.Cleanup(h.Close)
	return &namespace{t, m.file, h}
}

// do runs f on a thread inside the namespace.
func (n *namespace) do(f func() error) {
	n.t.Helper()
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- err
			return
		}
		result <- f()
	}()
	if err := <-result; err != nil {
		n.t.Fatal(err)
	}
}

// veth makes a pair of interfaces, both up. One queue each way, whatever the number of CPUs.
func (n *namespace) veth(name, peer string, change ...func(*netlink.Veth)) {
	n.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.NumRxQueues, attrs.NumTxQueues = name, 1, 1
	v := netlink.NewVeth(attrs)
	v.PeerName, v.PeerNumRxQueues, v.PeerNumTxQueues = peer, 1, 1
	for _, c := range change {
		c(v)
	}
	if err := n.handle.LinkAdd(v); err != nil {
		n.t.Fatalf("make veth %s: %v", name, err)
	}
	for _, side := range []string{name, peer} {
		if err := n.handle.LinkSetUp(n.link(side)); err != nil {
			n.t.Fatalf("bring up %s: %v", side, err)
		}
	}
}

func (n *namespace) link(name string) netlink.Link {
	n.t.Helper()
	l, err := n.handle.LinkByName(name)
	if err != nil {
		n.t.Fatalf("look up %s: %v", name, err)
	}
	return l
}

func (n *namespace) remove(name string) {
	n.t.Helper()
	if err := n.handle.LinkDel(n.link(name)); err != nil {
		n.t.Fatalf("remove %s: %v", name, err)
	}
}

func (n *namespace) xdp(name string) netlink.LinkXdp {
	n.t.Helper()
	if x := n.link(name).Attrs().Xdp; x != nil {
		return *x
	}
	return netlink.LinkXdp{}
}

// pins makes a BPF file system that is mounted nowhere and reached by its open file: it leaves no trace either.
func pins(t *testing.T) string {
	t.Helper()
	need.Root(t)
	context, err := unix.Fsopen("bpf", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Fatal("open BPF file system:", err)
	}
	defer unix.Close(context)
	if err := unix.FsconfigCreate(context); err != nil {
		t.Fatal("make BPF file system:", err)
	}
	fd, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatal("mount BPF file system:", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return "/proc/self/fd/" + strconv.Itoa(fd) + "/weir"
}

// tiny is a program that only returns a verdict.
func tiny(t *testing.T, name string, kind ebpf.ProgramType, verdict int32) *ebpf.Program {
	t.Helper()
	return load(t, name, kind, asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()})
}

func load(t *testing.T, name string, kind ebpf.ProgramType, code asm.Instructions) *ebpf.Program {
	t.Helper()
	need.Root(t)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: name, Type: kind, License: "Dual BSD/GPL", Instructions: code})
	if err != nil {
		t.Fatalf("load program %s: %v", name, err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

const (
	xdpDrop = 1
	xdpPass = 2
	tcNext  = -1
)

// tinySet is a set of programs that do nothing: role host and wire pass, mirror drops.
func tinySet(t *testing.T, suffix string) ProgramSet {
	t.Helper()
	pass, drop := tiny(t, "weir_pass"+suffix, ebpf.XDP, xdpPass), tiny(t, "weir_drop"+suffix, ebpf.XDP, xdpDrop)
	egress := tiny(t, "weir_out"+suffix, ebpf.SchedCLS, tcNext)
	return ProgramSet{
		XDP: func(r Role) (*ebpf.Program, error) {
			if r == Mirror {
				return drop, nil
			}
			return pass, nil
		},
		Egress:    func() (*ebpf.Program, error) { return egress, nil },
		SetPair:   func(int, int) error { return nil },
		ClearPair: func(int) error { return nil },
	}
}

func idOf(t *testing.T, p *ebpf.Program, err error) ebpf.ProgramID {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	return id
}

// running is an attacher at work, with the changes that it tells of.
type running struct {
	*Attacher
	t       *testing.T
	changes chan InterfaceStatus
	end     context.CancelFunc
	result  chan error
	once    sync.Once
	err     error
}

// patience bounds the wait for an event that does not come.
const patience = 20 * time.Second

func (n *namespace) attacher(set ProgramSet, opts AttachOptions, list ...Interface) *running {
	n.t.Helper()
	r := &running{t: n.t, changes: make(chan InterfaceStatus, 1024), result: make(chan error, 1)}
	opts.Namespace = n.file
	opts.Notify = func(s InterfaceStatus) { r.changes <- s }
	a, err := NewAttacher(set, opts, list)
	if err != nil {
		n.t.Fatal(err)
	}
	r.Attacher = a
	ctx, cancel := context.WithCancel(context.Background())
	r.end = cancel
	go func() { r.result <- a.Run(ctx) }()
	n.t.Cleanup(func() { r.stop() })
	return r
}

// start waits for the first attachment of all.
func (r *running) start() *running {
	r.t.Helper()
	select {
	case <-r.Started():
	case <-r.stopped:
		r.t.Fatal("run attacher:", r.stop())
	case <-time.After(patience):
		r.t.Fatal("the attacher does not start")
	}
	return r
}

// stop ends the attacher and returns Run's error.
func (r *running) stop() error {
	r.once.Do(func() {
		r.end()
		r.err = <-r.result
	})
	return r.err
}

func (r *running) mustStop() {
	r.t.Helper()
	if err := r.stop(); err != nil {
		r.t.Fatal("stop attacher:", err)
	}
}

// wait returns the first change that fits.
func (r *running) wait(what string, fits func(InterfaceStatus) bool) InterfaceStatus {
	r.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case s := <-r.changes:
			if fits(s) {
				return s
			}
		case <-timeout:
			r.t.Fatalf("waited for %s; status %+v", what, r.Status())
		}
	}
}

func (r *running) one() InterfaceStatus {
	r.t.Helper()
	list := r.Status()
	if len(list) != 1 {
		r.t.Fatalf("got %d interfaces, want 1: %+v", len(list), list)
	}
	return list[0]
}

func names(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}
