package loader

import (
	"strings"
	"testing"
	"weir/tests/need"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// kindOfEgress is what this kernel makes of egress when it is not told.
func kindOfEgress(t *testing.T) string {
	t.Helper()
	need.Root(t)
	for _, f := range probeAttach() {
		if f.Name == "tcx" && f.OK {
			return EgressTCX
		}
	}
	return EgressClsact
}

func needTCX(t *testing.T) {
	t.Helper()
	if kindOfEgress(t) != EgressTCX {
		t.Skip("this kernel has no tcx")
	}
}

// egress returns the programs that look at what leaves by the interface, in whichever way.
func (n *namespace) egress(name string) []ebpf.ProgramID {
	n.t.Helper()
	var ids []ebpf.ProgramID
	if kindOfEgress(n.t) == EgressTCX {
		ids = n.tcx(name)
	}
	filters, err := n.handle.FilterList(n.link(name), netlink.HANDLE_MIN_EGRESS)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range filters {
		if b, ok := f.(*netlink.BpfFilter); ok && b.Handle != 0 {
			ids = append(ids, ebpf.ProgramID(b.Id))
		}
	}
	return ids
}

// tcx returns the programs that tcx runs for what leaves by the interface.
func (n *namespace) tcx(name string) []ebpf.ProgramID {
	n.t.Helper()
	var ids []ebpf.ProgramID
	index := n.link(name).Attrs().Index
	n.do(func() error {
		list, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: ebpf.AttachTCXEgress})
		if err != nil {
			return err
		}
		for _, p := range list.Programs {
			ids = append(ids, p.ID)
		}
		return nil
	})
	return ids
}

// filters describes the filters at egress of the interface as NAME@PRIORITY, and whether it has a clsact qdisc.
func (n *namespace) filters(name string) (list []string, clsact bool) {
	n.t.Helper()
	filters, err := n.handle.FilterList(n.link(name), netlink.HANDLE_MIN_EGRESS)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range filters {
		if b, ok := f.(*netlink.BpfFilter); ok && b.Handle != 0 {
			list = append(list, b.Name)
		}
	}
	qdiscs, err := n.handle.QdiscList(n.link(name))
	if err != nil {
		n.t.Fatal(err)
	}
	for _, q := range qdiscs {
		clsact = clsact || q.Type() == "clsact"
	}
	return list, clsact
}

func TestEgressByFilter(t *testing.T) {
	theirs := func(ns *namespace, program *ebpf.Program) {
		attrs := netlink.QdiscAttrs{LinkIndex: ns.link("weirt-a0").Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
		if err := ns.handle.QdiscAdd(&netlink.Clsact{QdiscAttrs: attrs}); err != nil {
			t.Fatal(err)
		}
		err := ns.handle.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: attrs.LinkIndex, Parent: netlink.HANDLE_MIN_EGRESS, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1},
			Fd:          program.FD(), Name: "theirs", DirectAction: true,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name         string
		before       func(*namespace, *ebpf.Program)
		during       []string
		after        []string
		clsactBehind bool
	}{
		{name: "alone", during: []string{filterName}},
		{name: "beside another's", before: theirs, during: []string{"theirs", filterName}, after: []string{"theirs"}, clsactBehind: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := newNamespace(t)
			ns.veth("weirt-a0", "weirt-a1")
			if test.before != nil {
				test.before(ns, tiny(t, "theirs", ebpf.SchedCLS, tcNext))
			}
			r := ns.attacher(tinySet(t, ""), AttachOptions{Clsact: true}, Interface{Name: "weirt-a0", Egress: true}).start()
			if s := r.one(); s.Egress != EgressClsact || s.Error != "" {
				t.Errorf("status %+v, want egress by clsact", s)
			}
			got, clsact := ns.filters("weirt-a0")
			if diff := cmp.Diff(got, test.during); diff != "" || !clsact {
				t.Errorf("clsact %v, filters (-got +want):\n%s", clsact, diff)
			}
			r.mustStop()
			got, clsact = ns.filters("weirt-a0")
			if diff := cmp.Diff(got, test.after); diff != "" || clsact != test.clsactBehind {
				t.Errorf("after the stop: clsact %v, filters (-got +want):\n%s", clsact, diff)
			}
		})
	}
}

func TestFilterIsAdopted(t *testing.T) {
	ns, folder := newNamespace(t), pins(t)
	ns.veth("weirt-a0", "weirt-a1")
	list := Interface{Name: "weirt-a0", Egress: true}
	r := ns.attacher(tinySet(t, "1"), AttachOptions{PinPath: folder, OnStop: StopKeep, Clsact: true}, list).start()
	r.mustStop()
	if got, _ := ns.filters("weirt-a0"); len(got) != 1 {
		t.Fatalf("a stop that keeps left filters %v", got)
	}
	second := tinySet(t, "2")
	r = ns.attacher(second, AttachOptions{PinPath: folder, Clsact: true}, list).start()
	program, err := second.Egress()
	if diff := cmp.Diff(ns.egress("weirt-a0"), []ebpf.ProgramID{idOf(t, program, err)}); diff != "" {
		t.Errorf("filters' programs (-got +want):\n%s", diff)
	}
	r.mustStop()
	if got, clsact := ns.filters("weirt-a0"); len(got) > 0 || clsact {
		t.Errorf("after the stop: clsact %v, filters %v", clsact, got)
	}
}

func TestFilterGivesWayToTCX(t *testing.T) {
	needTCX(t)
	ns, folder := newNamespace(t), pins(t)
	ns.veth("weirt-a0", "weirt-a1")
	list := Interface{Name: "weirt-a0", Egress: true}
	r := ns.attacher(tinySet(t, "1"), AttachOptions{PinPath: folder, OnStop: StopKeep, Clsact: true}, list).start()
	r.mustStop()
	r = ns.attacher(tinySet(t, "2"), AttachOptions{PinPath: folder, OnStop: StopKeep}, list).start()
	if got, clsact := ns.filters("weirt-a0"); r.one().Egress != EgressTCX || len(got) > 0 || clsact {
		t.Errorf("status %+v, clsact %v, filters %v; want tcx alone", r.one(), clsact, got)
	}
	r.mustStop()
	r = ns.attacher(tinySet(t, "3"), AttachOptions{PinPath: folder, Clsact: true}, list).start()
	if got, _ := ns.filters("weirt-a0"); r.one().Egress != EgressClsact || len(got) != 1 || len(ns.tcx("weirt-a0")) > 0 {
		t.Errorf("status %+v, filters %v, tcx %v; want a filter alone", r.one(), got, ns.tcx("weirt-a0"))
	}
}

func TestIngressQdiscIsNamed(t *testing.T) {
	ns := newNamespace(t)
	ns.veth("weirt-a0", "weirt-a1")
	attrs := netlink.QdiscAttrs{LinkIndex: ns.link("weirt-a0").Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS}
	if err := ns.handle.QdiscAdd(&netlink.Ingress{QdiscAttrs: attrs}); err != nil {
		t.Fatal(err)
	}
	r := ns.attacher(tinySet(t, ""), AttachOptions{Clsact: true}, Interface{Name: "weirt-a0", Egress: true})
	err := <-r.result
	r.result <- err
	if err == nil || !strings.Contains(err.Error(), "tc qdisc replace dev weirt-a0 clsact") {
		t.Errorf("got error %v, want one with the command", err)
	}
	if ns.xdp("weirt-a0").Attached {
		t.Error("XDP is still attached")
	}
}

func TestTCXRunsBeforeOthers(t *testing.T) {
	needTCX(t)
	ns := newNamespace(t)
	ns.veth("weirt-a0", "weirt-a1")
	theirs := tiny(t, "theirs", ebpf.SchedCLS, 0)
	index := ns.link("weirt-a0").Attrs().Index
	ns.do(func() error {
		l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: theirs, Attach: ebpf.AttachTCXEgress})
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	})
	set := tinySet(t, "")
	r := ns.attacher(set, AttachOptions{}, Interface{Name: "weirt-a0", Egress: true}).start()
	program, err := set.Egress()
	want := []ebpf.ProgramID{idOf(t, program, err), idOf(t, theirs, nil)}
	if diff := cmp.Diff(ns.tcx("weirt-a0"), want); diff != "" {
		t.Errorf("egress programs (-got +want):\n%s", diff)
	}
	r.mustStop()
	if diff := cmp.Diff(ns.tcx("weirt-a0"), want[1:]); diff != "" {
		t.Errorf("egress programs after the stop (-got +want):\n%s", diff)
	}
}
