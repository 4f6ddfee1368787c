package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"weir/tests/need"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wireSet redirects what arrives by a map from an interface to its pair; what has no pair is dropped.
func wireSet(t *testing.T) (ProgramSet, *ebpf.Map) {
	t.Helper()
	need.Root(t)
	pairs, err := ebpf.NewMap(&ebpf.MapSpec{Name: "weirt_pairs", Type: ebpf.DevMapHash, KeySize: 4, ValueSize: 4, MaxEntries: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pairs.Close() })
	const ingress = 12 // offset of ingress_ifindex in struct xdp_md
	program := load(t, "weir_wire", ebpf.XDP, asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, ingress, asm.Word),
		asm.LoadMapPtr(asm.R1, pairs.FD()),
		asm.Mov.Imm(asm.R3, xdpDrop),
		asm.FnRedirectMap.Call(),
		asm.Return(),
	})
	set := tinySet(t, "")
	set.XDP = func(Role) (*ebpf.Program, error) { return program, nil }
	set.SetPair = func(index, pair int) error { return pairs.Put(uint32(index), uint32(pair)) }
	set.ClearPair = func(index int) error {
		if err := pairs.Delete(uint32(index)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		return nil
	}
	return set, pairs
}

func entries(t *testing.T, m *ebpf.Map) map[uint32]uint32 {
	t.Helper()
	all := make(map[uint32]uint32)
	var key, value uint32
	for i := m.Iterate(); i.Next(&key, &value); {
		all[key] = value
	}
	return all
}

// tap is a packet socket on one interface.
type tap struct {
	t  *testing.T
	fd int
}

func (n *namespace) tap(name string) *tap {
	n.t.Helper()
	index := n.link(name).Attrs().Index
	p := &tap{t: n.t}
	n.do(func() (err error) {
		all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
		if p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		n.t.Cleanup(func() { unix.Close(p.fd) })
		patienceLeft := unix.NsecToTimeval(patience.Nanoseconds())
		if err := unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patienceLeft); err != nil {
			return err
		}
		return unix.Bind(p.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index})
	})
	return p
}

func (p *tap) send(frame []byte) {
	p.t.Helper()
	if _, err := unix.Write(p.fd, frame); err != nil {
		p.t.Fatal("send frame:", err)
	}
}

// receive waits for the frame, past others: a kernel talks of its own accord on a new interface.
func (p *tap) receive(frame []byte) {
	p.t.Helper()
	buffer := make([]byte, 2048)
	for {
		n, from, err := unix.Recvfrom(p.fd, buffer, 0)
		if err != nil {
			p.t.Fatalf("receive frame %q: %v", frame[14:30], err)
		}
		if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype != unix.PACKET_OUTGOING && bytes.Equal(buffer[:n], frame) {
			return
		}
	}
}

// frame is an Ethernet frame of the first experimental type (IEEE 802) between stations that nobody here is.
func frame(text string) []byte {
	f := append([]byte("\x02weirt\x02other\x88\xb5"), make([]byte, 46)...)
	copy(f[14:], fmt.Sprintf("%-46s", text))
	return f
}

func TestWire(t *testing.T) {
	for _, mode := range []Mode{Auto, Native, Generic} {
		t.Run(mode.String(), func(t *testing.T) {
			ns := newNamespace(t)
			ns.veth("weirt-l0", "weirt-l1")
			ns.veth("weirt-r0", "weirt-r1")
			ns.pass("weirt-l1")
			ns.pass("weirt-r1")
			set, pairs := wireSet(t)
			r := ns.attacher(set, AttachOptions{},
				Interface{Name: "weirt-l0", Role: Wire, Pair: "weirt-r0", Mode: mode},
				Interface{Name: "weirt-r0", Role: Wire, Pair: "weirt-l0", Mode: mode}).start()
			for _, s := range r.Status() {
				if len(s.Warnings) > 0 || s.Error != "" {
					t.Errorf("status %+v, want no complaint", s)
				}
			}
			left, right := ns.tap("weirt-l1"), ns.tap("weirt-r1")
			left.send(frame("to the right"))
			right.receive(frame("to the right"))
			right.send(frame("to the left"))
			left.receive(frame("to the left"))

			// One side goes: the pair is cleared both ways. It comes back: frames flow again.
			ns.remove("weirt-r0")
			r.wait("the loss", missing)
			if got := entries(t, pairs); len(got) > 0 {
				t.Errorf("pairs %v with one side missing", got)
			}
			ns.veth("weirt-r0", "weirt-r1")
			ns.pass("weirt-r1")
			r.wait("the return", func(s InterfaceStatus) bool { return s.Name == "weirt-r0" && s.Attaches == 2 })
			r.Status() // waits until the change is complete
			l, o := uint32(ns.link("weirt-l0").Attrs().Index), uint32(ns.link("weirt-r0").Attrs().Index)
			if diff := cmp.Diff(entries(t, pairs), map[uint32]uint32{l: o, o: l}); diff != "" {
				t.Errorf("pairs (-got +want):\n%s", diff)
			}
			right = ns.tap("weirt-r1")
			left.send(frame("to the right again"))
			right.receive(frame("to the right again"))
			right.send(frame("to the left again"))
			left.receive(frame("to the left again"))

			r.mustStop()
			if got := entries(t, pairs); len(got) > 0 {
				t.Errorf("pairs %v after the stop", got)
			}
		})
	}
}

// pass attaches a program at the far end of a veth: redirected frames reach one only if it takes them in the native way.
func (n *namespace) pass(name string) {
	n.t.Helper()
	program := tiny(n.t, "weirt_pass", ebpf.XDP, xdpPass)
	index := n.link(name).Attrs().Index
	n.do(func() error {
		l, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: index, Flags: link.XDPDriverMode})
		if err == nil {
			n.t.Cleanup(func() { l.Close() })
		}
		return err
	})
}

func TestWireWarnsOfDeafEnd(t *testing.T) {
	ns := newNamespace(t)
	ns.veth("weirt-l0", "weirt-l1")
	ns.veth("weirt-r0", "weirt-r1")
	ns.pass("weirt-l1")
	index := ns.link("weirt-l0").Attrs().Index
	silent := false
	ns.do(func() error {
		_, err := xdpFeatures(index)
		silent = errors.Is(err, ebpf.ErrNotSupported)
		return nil
	})
	if silent {
		t.Skip("this kernel does not say what a driver can do")
	}
	set, _ := wireSet(t)
	r := ns.attacher(set, AttachOptions{},
		Interface{Name: "weirt-l0", Role: Wire, Pair: "weirt-r0"}, Interface{Name: "weirt-r0", Role: Wire, Pair: "weirt-l0"}).start()
	var got []int
	for _, s := range r.Status() {
		got = append(got, len(s.Warnings))
	}
	if diff := cmp.Diff(got, []int{0, 1}); diff != "" {
		t.Errorf("warnings by interface (-got +want):\n%s", diff)
	}
}

func TestWireIsLevelled(t *testing.T) {
	ns := newNamespace(t)
	ns.veth("weirt-l0", "weirt-l1")
	bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	bridge.Name = "weirt-br"
	if err := ns.handle.LinkAdd(bridge); err != nil {
		t.Fatal(err)
	}
	set, _ := wireSet(t)
	list := func(mode Mode) []Interface {
		return []Interface{{Name: "weirt-l0", Role: Wire, Pair: "weirt-br", Mode: mode}, {Name: "weirt-br", Role: Wire, Pair: "weirt-l0"}}
	}
	r := ns.attacher(set, AttachOptions{}, list(Auto)...).start()
	for _, s := range r.Status() {
		if s.Mode != Generic {
			t.Errorf("status %+v, want generic as its pair", s)
		}
	}
	r.mustStop()
	r = ns.attacher(set, AttachOptions{}, list(Native)...)
	err := <-r.result
	r.result <- err
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("a native side cannot transmit by a generic one")) {
		t.Errorf("got error %v, want one about the modes", err)
	}
}

func TestPromiscuous(t *testing.T) {
	promiscuous := func(ns *namespace) bool { return ns.link("weirt-a0").Attrs().RawFlags&unix.IFF_PROMISC != 0 }
	for _, test := range []struct {
		name           string
		role           Role
		before, during bool
	}{
		{"host", Host, false, false},
		{"mirror", Mirror, false, true},
		{"mirror that was so before", Mirror, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns, folder := newNamespace(t), pins(t)
			ns.veth("weirt-a0", "weirt-a1")
			if test.before {
				if err := ns.handle.SetPromiscOn(ns.link("weirt-a0")); err != nil {
					t.Fatal(err)
				}
			}
			list := Interface{Name: "weirt-a0", Role: test.role}
			r := ns.attacher(tinySet(t, ""), AttachOptions{PinPath: folder, OnStop: StopKeep}, list).start()
			if promiscuous(ns) != test.during {
				t.Errorf("promiscuous %v while attached, want %v", !test.during, test.during)
			}
			r.mustStop()
			if promiscuous(ns) != test.during {
				t.Errorf("promiscuous %v after a stop that keeps, want %v", !test.during, test.during)
			}
			// The next daemon knows whether it was us.
			r = ns.attacher(tinySet(t, ""), AttachOptions{PinPath: folder}, list).start()
			r.mustStop()
			if promiscuous(ns) != test.before {
				t.Errorf("promiscuous %v after the stop, want %v as before the start", !test.before, test.before)
			}
			if left := names(t, folder); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
