package loader

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestAttachModes(t *testing.T) {
	for _, test := range []struct {
		name   string
		device string // weirt-a0: veth; weirt-br: a bridge, which has no native mode
		mode   Mode
		want   InterfaceStatus
		xdp    uint32
	}{
		{"auto on veth", "weirt-a0", Auto, InterfaceStatus{Mode: Native, Why: "native: veth", Driver: "veth"}, attachedNative},
		{"native on veth", "weirt-a0", Native, InterfaceStatus{Mode: Native, Why: "native: veth", Driver: "veth"}, attachedNative},
		{"generic on veth", "weirt-a0", Generic, InterfaceStatus{Mode: Generic, Why: "generic: as configured", Driver: "veth"}, attachedGeneric},
		{
			"auto on a bridge", "weirt-br", Auto,
			InterfaceStatus{Mode: Generic, Why: "generic: driver bridge has no native XDP: operation not supported", Driver: "bridge"}, attachedGeneric,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := newNamespace(t)
			ns.veth("weirt-a0", "weirt-a1")
			bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
			bridge.Name = "weirt-br"
			if err := ns.handle.LinkAdd(bridge); err != nil {
				t.Fatal(err)
			}
			if err := ns.handle.LinkSetUp(ns.link("weirt-br")); err != nil {
				t.Fatal(err)
			}
			set := tinySet(t, "")
			r := ns.attacher(set, AttachOptions{}, Interface{Name: test.device, Mode: test.mode}).start()

			want := test.want
			want.Name, want.Requested, want.Egress, want.Up, want.Attached = test.device, test.mode, EgressNone, true, true
			want.MTU, want.Index, want.Attaches = 1500, ns.link(test.device).Attrs().Index, 1
			if diff := cmp.Diff(r.one(), want, cmpopts.IgnoreFields(InterfaceStatus{}, "Since", "Warnings")); diff != "" {
				t.Errorf("status (-got +want):\n%s", diff)
			}
			if r.one().Since.IsZero() {
				t.Error("attached since the year 1")
			}
			program, err := set.XDP(Host)
			if x := ns.xdp(test.device); x.AttachMode != test.xdp || ebpf.ProgramID(x.ProgId) != idOf(t, program, err) {
				t.Errorf("the kernel shows mode %d, program %d", x.AttachMode, x.ProgId)
			}
			r.mustStop()
			if x := ns.xdp(test.device); x.Attached {
				t.Errorf("still attached after the stop: %+v", x)
			}
			if s := r.one(); s.Attached {
				t.Errorf("status says attached after the stop: %+v", s)
			}
		})
	}
}

func TestRunRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		list []Interface
		want []string
	}{
		{"unknown interface", []Interface{{Name: "weirt-x"}}, []string{`find interface "weirt-x": there is none; there are lo, weirt-a0, weirt-a1`}},
		{"native on a bridge", []Interface{{Name: "weirt-a0"}, {Name: "weirt-br", Mode: Native}}, []string{"driver bridge has no native XDP", "use mode auto or generic"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := newNamespace(t)
			ns.veth("weirt-a0", "weirt-a1")
			bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
			bridge.Name = "weirt-br"
			if err := ns.handle.LinkAdd(bridge); err != nil {
				t.Fatal(err)
			}
			r := ns.attacher(tinySet(t, ""), AttachOptions{}, test.list...)
			err := <-r.result
			r.result <- err
			for _, part := range test.want {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("got error %v, want one with %q", err, part)
				}
			}
			if x := ns.xdp("weirt-a0"); x.Attached {
				t.Errorf("what was attached before the failure is still there: %+v", x)
			}
			select {
			case <-r.Started():
				t.Error("started in spite of the error")
			default:
			}
		})
	}
}

func TestForeignProgramIsRefused(t *testing.T) {
	for _, byLink := range []bool{true, false} {
		name := "by netlink"
		if byLink {
			name = "by link"
		}
		t.Run(name, func(t *testing.T) {
			ns := newNamespace(t)
			ns.veth("weirt-a0", "weirt-a1")
			foreign := tiny(t, "their_firewall", ebpf.XDP, xdpPass)
			device := ns.link("weirt-a0")
			want := `carries another XDP program: "their_firewall"`
			if byLink {
				ns.do(func() error {
					l, err := link.AttachXDP(link.XDPOptions{Program: foreign, Interface: device.Attrs().Index, Flags: link.XDPDriverMode})
					if err == nil {
						t.Cleanup(func() { l.Close() })
					}
					return err
				})
			} else {
				ns.do(func() error { return netlink.LinkSetXdpFdWithFlags(device, foreign.FD(), unix.XDP_FLAGS_DRV_MODE) })
			}
			r := ns.attacher(tinySet(t, ""), AttachOptions{PinPath: pins(t)}, Interface{Name: "weirt-a0"})
			err := <-r.result
			r.result <- err
			if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "BPF link") != byLink {
				t.Errorf("got error %v, want one with %q", err, want)
			}
			if got := ebpf.ProgramID(ns.xdp("weirt-a0").ProgId); got != idOf(t, foreign, nil) {
				t.Errorf("program %d runs, want theirs", got)
			}
		})
	}
}

func TestPinnedLinkIsAdopted(t *testing.T) {
	ns, folder := newNamespace(t), pins(t)
	ns.veth("weirt-a0", "weirt-a1")
	first, second := tinySet(t, "1"), tinySet(t, "2")
	list := []Interface{{Name: "weirt-a0", Egress: true}}
	r := ns.attacher(first, AttachOptions{PinPath: folder, OnStop: StopKeep}, list...).start()
	r.mustStop()
	program, err := first.XDP(Host)
	if got := ebpf.ProgramID(ns.xdp("weirt-a0").ProgId); got != idOf(t, program, err) {
		t.Fatalf("program %d runs after a stop that keeps, want the first daemon's", got)
	}
	// A filter needs no pin, but a note that its qdisc is ours.
	kind := kindOfEgress(t)
	left := map[string]string{EgressTCX: "egress_weirt-a0", EgressClsact: "clsact_weirt-a0"}[kind]
	if diff := cmp.Diff(names(t, folder), []string{left, "link_weirt-a0"}); diff != "" {
		t.Fatalf("pins (-got +want):\n%s", diff)
	}

	r = ns.attacher(second, AttachOptions{PinPath: folder}, list...).start()
	if s := r.one(); !s.Adopted || s.Mode != Native || s.Egress != kind || !strings.Contains(s.Why, "adopted") {
		t.Errorf("status %+v, want an adopted one", s)
	}
	program, err = second.XDP(Host)
	if got := ebpf.ProgramID(ns.xdp("weirt-a0").ProgId); got != idOf(t, program, err) {
		t.Errorf("program %d runs, want the second daemon's", got)
	}
	program, err = second.Egress()
	if diff := cmp.Diff(ns.egress("weirt-a0"), []ebpf.ProgramID{idOf(t, program, err)}); diff != "" {
		t.Errorf("egress programs (-got +want):\n%s", diff)
	}
	r.mustStop()
	if x := ns.xdp("weirt-a0"); x.Attached || len(ns.egress("weirt-a0")) > 0 {
		t.Errorf("still attached after the stop: %+v, egress %v", x, ns.egress("weirt-a0"))
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) && len(names(t, folder)) > 0 {
		t.Errorf("pins are left: %v", names(t, folder))
	}
}

func TestPinnedLinkOfAnotherModeIsReplaced(t *testing.T) {
	ns, folder := newNamespace(t), pins(t)
	ns.veth("weirt-a0", "weirt-a1")
	r := ns.attacher(tinySet(t, ""), AttachOptions{PinPath: folder, OnStop: StopKeep}, Interface{Name: "weirt-a0", Mode: Generic}).start()
	r.mustStop()
	r = ns.attacher(tinySet(t, ""), AttachOptions{PinPath: folder}, Interface{Name: "weirt-a0", Mode: Native}).start()
	if s := r.one(); s.Adopted || s.Mode != Native || ns.xdp("weirt-a0").AttachMode != attachedNative {
		t.Errorf("status %+v, want a new native link", s)
	}
}

func TestPinFolderNeedsBPFFileSystem(t *testing.T) {
	ns := newNamespace(t)
	ns.veth("weirt-a0", "weirt-a1")
	r := ns.attacher(tinySet(t, ""), AttachOptions{PinPath: t.TempDir() + "/weir"}, Interface{Name: "weirt-a0"})
	err := <-r.result
	r.result <- err
	if err == nil || !strings.Contains(err.Error(), "mount -t bpf") {
		t.Errorf("got error %v, want one with the mount command", err)
	}
}

func TestUpdate(t *testing.T) {
	ns := newNamespace(t)
	ns.veth("weirt-a0", "weirt-a1")
	ns.veth("weirt-b0", "weirt-b1")
	r := ns.attacher(tinySet(t, ""), AttachOptions{PinPath: pins(t)}, Interface{Name: "weirt-a0"}, Interface{Name: "weirt-a1"}).start()
	before := r.Status()[0]

	if err := r.Update(t.Context(), []Interface{{Name: "weirt-a0"}, {Name: "weirt-b0", Egress: true}}); err != nil {
		t.Fatal(err)
	}
	after := r.Status()
	if diff := cmp.Diff(after[0], before); diff != "" {
		t.Errorf("the unchanged interface was touched (-got +want):\n%s", diff)
	}
	if ns.xdp("weirt-a1").Attached || !ns.xdp("weirt-b0").Attached || after[1].Egress != kindOfEgress(t) {
		t.Errorf("after the update: removed %+v, added %+v, status %+v", ns.xdp("weirt-a1"), ns.xdp("weirt-b0"), after)
	}

	// The last one does not exist, so nothing of it holds.
	err := r.Update(t.Context(), []Interface{{Name: "weirt-a0", Mode: Generic}, {Name: "weirt-b1"}, {Name: "weirt-x"}})
	if err == nil || !strings.Contains(err.Error(), `"weirt-x"`) {
		t.Fatalf("got error %v, want one about weirt-x", err)
	}
	ignore := cmpopts.IgnoreFields(InterfaceStatus{}, "Since", "Attaches")
	if diff := cmp.Diff(r.Status(), after, ignore); diff != "" {
		t.Errorf("after the refused update (-got +want):\n%s", diff)
	}
	if ns.xdp("weirt-b1").Attached || ns.xdp("weirt-a0").AttachMode != attachedNative {
		t.Errorf("a refused update left %+v, %+v", ns.xdp("weirt-b1"), ns.xdp("weirt-a0"))
	}

	if err := r.Update(t.Context(), []Interface{{Name: "weirt-a0", Role: Mirror}, {Name: "weirt-b0"}}); err != nil {
		t.Fatal(err)
	}
	program, err := r.set.XDP(Mirror)
	if got := ebpf.ProgramID(ns.xdp("weirt-a0").ProgId); got != idOf(t, program, err) {
		t.Errorf("program %d runs, want the mirror's", got)
	}
	if s := r.Status(); s[0].Attaches != after[0].Attaches+2 || s[1].Egress != EgressNone || len(ns.egress("weirt-b0")) > 0 {
		t.Errorf("status %+v, want a mirror by the same link and no egress", s) // two attachments by the refused update and its undoing
	}
	r.mustStop()
	if err := r.Update(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "has stopped") {
		t.Errorf("update after the stop: got error %v", err)
	}
}

func TestReplace(t *testing.T) {
	ns := newNamespace(t)
	ns.veth("weirt-a0", "weirt-a1")
	r := ns.attacher(tinySet(t, "1"), AttachOptions{}, Interface{Name: "weirt-a0", Egress: true}).start()
	before := r.one()
	next := tinySet(t, "2")
	if err := r.Replace(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	program, err := next.XDP(Host)
	if got := ebpf.ProgramID(ns.xdp("weirt-a0").ProgId); got != idOf(t, program, err) {
		t.Errorf("program %d runs, want the new one", got)
	}
	program, err = next.Egress()
	if diff := cmp.Diff(ns.egress("weirt-a0"), []ebpf.ProgramID{idOf(t, program, err)}); diff != "" {
		t.Errorf("egress programs (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(r.one(), before); diff != "" {
		t.Errorf("the link is another one (-got +want):\n%s", diff)
	}

	broken := tinySet(t, "3")
	broken.Egress = func() (*ebpf.Program, error) { return nil, errors.New("no such thing") }
	if err := r.Replace(t.Context(), broken); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Fatalf("got error %v", err)
	}
	program, err = next.XDP(Host)
	if got := ebpf.ProgramID(ns.xdp("weirt-a0").ProgId); got != idOf(t, program, err) {
		t.Errorf("program %d runs after a refused replacement, want the one before", got)
	}
}
