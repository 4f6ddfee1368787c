package loader

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func attached(s InterfaceStatus) bool { return s.Attached }
func missing(s InterfaceStatus) bool  { return !s.Attached && s.Index == 0 }

func TestFlap(t *testing.T) {
	ns, folder := newNamespace(t), pins(t)
	ns.veth("weirt-a0", "weirt-a1")
	r := ns.attacher(tinySet(t, ""), AttachOptions{PinPath: folder}, Interface{Name: "weirt-a0", Egress: true}).start()
	r.wait("the first attachment", attached)
	before, kind := r.one().Index, kindOfEgress(t)
	for round := uint64(2); round < 5; round++ {
		ns.remove("weirt-a0")
		if s := r.wait("the loss", missing); !strings.Contains(s.Error, "vanished") {
			t.Errorf("status %+v, want the loss in words", s)
		}
		if len(names(t, folder)) > 0 {
			t.Errorf("pins of a lost interface: %v", names(t, folder))
		}
		ns.veth("weirt-a0", "weirt-a1")
		s := r.wait("the next attachment", attached)
		if s.Index == before || s.Attaches != round || s.Error != "" || s.Egress != kind || !ns.xdp("weirt-a0").Attached {
			t.Errorf("round %d: status %+v, XDP %+v; before it had index %d", round, s, ns.xdp("weirt-a0"), before)
		}
		before = s.Index
	}
	r.mustStop()
	if ns.xdp("weirt-a0").Attached {
		t.Error("still attached after the stop")
	}
}

func TestRename(t *testing.T) {
	ns := newNamespace(t)
	ns.veth("weirt-a0", "weirt-a1")
	r := ns.attacher(tinySet(t, ""), AttachOptions{}, Interface{Name: "weirt-a0"}).start()
	device := ns.link("weirt-a0")
	rename := func(name string) {
		t.Helper()
		if err := ns.handle.LinkSetDown(device); err != nil {
			t.Fatal(err)
		}
		if err := ns.handle.LinkSetName(device, name); err != nil {
			t.Fatal(err)
		}
	}
	rename("weirt-z0")
	r.wait("the loss", missing)
	if ns.xdp("weirt-z0").Attached {
		t.Error("an interface that is not ours any more carries our program")
	}
	rename("weirt-a0")
	r.wait("the return", attached)
}

func TestBridgePortIsNotLost(t *testing.T) {
	ns := newNamespace(t)
	ns.veth("weirt-a0", "weirt-a1")
	bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	bridge.Name = "weirt-br"
	if err := ns.handle.LinkAdd(bridge); err != nil {
		t.Fatal(err)
	}
	r := ns.attacher(tinySet(t, ""), AttachOptions{}, Interface{Name: "weirt-a0", Mode: Generic}).start()
	if err := ns.handle.LinkSetMaster(ns.link("weirt-a0"), ns.link("weirt-br")); err != nil {
		t.Fatal(err)
	}
	// Its end as a port is told as an RTM_DELLINK with the interface's index.
	if err := ns.handle.LinkSetNoMaster(ns.link("weirt-a0")); err != nil {
		t.Fatal(err)
	}
	if err := ns.handle.LinkSetMTU(ns.link("weirt-a0"), 1400); err != nil {
		t.Fatal(err)
	}
	if s := r.wait("the MTU", func(s InterfaceStatus) bool { return s.MTU == 1400 }); !s.Attached || s.Attaches != 1 {
		t.Errorf("status %+v, want the first attachment", s)
	}
}

// seize detaches the attacher's link by force, as bpftool link detach does.
func seize(t *testing.T, id ebpf.ProgramID) {
	t.Helper()
	links := new(link.Iterator)
	defer links.Close()
	for links.Next() {
		info, err := links.Link.Info()
		if err != nil || info.Program != id {
			continue
		}
		if err := links.Link.Detach(); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("no link of program", id)
}

func TestTakenAway(t *testing.T) {
	for _, test := range []struct {
		name string
		seen func(*running, *namespace) // brings the attacher to look
	}{
		{"seen by a message", func(r *running, ns *namespace) {
			if err := ns.handle.LinkSetMTU(ns.link("weirt-a0"), 1400); err != nil {
				t.Fatal(err)
			}
		}},
		{"seen by a question", func(r *running, _ *namespace) { r.Status() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := newNamespace(t)
			ns.veth("weirt-a0", "weirt-a1")
			list := []Interface{{Name: "weirt-a0"}}
			r := ns.attacher(tinySet(t, ""), AttachOptions{PinPath: pins(t)}, list...).start()
			r.wait("the attachment", attached)
			seize(t, ebpf.ProgramID(ns.xdp("weirt-a0").ProgId))
			test.seen(r, ns)
			s := r.wait("the report", func(s InterfaceStatus) bool { return !s.Attached })
			if !strings.Contains(s.Error, "detached by somebody else") || s.Index == 0 {
				t.Errorf("status %+v, want the theft in words", s)
			}
			if err := r.Update(t.Context(), list); err != nil {
				t.Fatal(err)
			}
			if s := r.one(); !s.Attached || s.Error != "" || !ns.xdp("weirt-a0").Attached {
				t.Errorf("status %+v after an update, want attached", s)
			}
		})
	}
}

func TestEgressTakenAway(t *testing.T) {
	for _, clsact := range []bool{false, true} {
		name := EgressTCX
		if clsact {
			name = EgressClsact
		}
		t.Run(name, func(t *testing.T) {
			if !clsact {
				needTCX(t)
			}
			ns := newNamespace(t)
			ns.veth("weirt-a0", "weirt-a1")
			list := []Interface{{Name: "weirt-a0", Egress: true}}
			r := ns.attacher(tinySet(t, ""), AttachOptions{PinPath: pins(t), Clsact: clsact}, list...).start()
			if clsact {
				attrs := netlink.QdiscAttrs{LinkIndex: r.one().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
				if err := ns.handle.QdiscDel(&netlink.Clsact{QdiscAttrs: attrs}); err != nil {
					t.Fatal(err)
				}
			} else {
				seize(t, ns.egress("weirt-a0")[0])
			}
			if s := r.one(); s.Egress != EgressNone || !s.Attached || !strings.Contains(s.Error, "egress program was detached") {
				t.Errorf("status %+v, want the theft in words and XDP in place", s)
			}
			if err := r.Update(t.Context(), list); err != nil {
				t.Fatal(err)
			}
			if s := r.one(); s.Egress != name || s.Error != "" || s.Attaches != 1 {
				t.Errorf("status %+v after an update, want egress back", s)
			}
		})
	}
}

func TestLostMessages(t *testing.T) {
	ns := newNamespace(t)
	ns.veth("weirt-a0", "weirt-a1")
	r := ns.attacher(tinySet(t, ""), AttachOptions{}, Interface{Name: "weirt-a0"}).start()
	first := r.wait("the attachment", attached)
	// The interface changes while nothing is subscribed: what ENOBUFS does, without its thousands of messages.
	err := r.request(t.Context(), "lose messages", func() error {
		close(r.watch.done)
		for range r.watch.updates {
		}
		ns.remove("weirt-a0")
		ns.veth("weirt-a0", "weirt-a1")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := r.wait("the new interface", func(s InterfaceStatus) bool { return s.Attached && s.Index != first.Index }); s.Attaches != 2 {
		t.Errorf("status %+v, want the second attachment", s)
	}
	ns.remove("weirt-a0")
	r.wait("the loss by the new subscription", missing)
}

// A refused interface is tried again when something about it changes, and only then.
func TestRefusedInterfaceIsTriedAgain(t *testing.T) {
	ns := newNamespace(t)
	ns.veth("weirt-a0", "weirt-a1")
	r := ns.attacher(tinySet(t, ""), AttachOptions{}, Interface{Name: "weirt-a0"}).start()
	r.wait("the attachment", attached)
	ns.remove("weirt-a0")
	r.wait("the loss", missing)

	// The interface comes back under another name, gets a program of somebody else, and then its old name.
	ns.veth("weirt-z0", "weirt-a1")
	foreign := tiny(t, "their_firewall", ebpf.XDP, xdpPass)
	device := ns.link("weirt-z0")
	ns.do(func() error { return netlink.LinkSetXdpFdWithFlags(device, foreign.FD(), unix.XDP_FLAGS_DRV_MODE) })
	if err := ns.handle.LinkSetDown(device); err != nil {
		t.Fatal(err)
	}
	if err := ns.handle.LinkSetName(device, "weirt-a0"); err != nil {
		t.Fatal(err)
	}
	// The kernel tells of a program's end only while the interface is up.
	if err := ns.handle.LinkSetUp(device); err != nil {
		t.Fatal(err)
	}
	r.wait("the refusal", func(s InterfaceStatus) bool { return strings.Contains(s.Error, "their_firewall") })
	ns.do(func() error { return netlink.LinkSetXdpFdWithFlags(device, -1, unix.XDP_FLAGS_DRV_MODE) })
	r.wait("the attachment after their program has gone", attached)
}
