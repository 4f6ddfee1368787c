package loader

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// A daemon that is killed leaves its programs on interfaces that its successor's configuration may no longer have.
func TestLeftoversAreRemoved(t *testing.T) {
	ns, folder := newNamespace(t), pins(t)
	ns.veth("weirt-a0", "weirt-a1")
	ns.veth("weirt-b.5", "weirt-b1")
	r := ns.attacher(tinySet(t, "1"), AttachOptions{PinPath: folder, OnStop: StopKeep, Clsact: true},
		Interface{Name: "weirt-a0"}, Interface{Name: "weirt-b.5", Role: Mirror}, Interface{Name: "weirt-b1", Egress: true}).start()
	r.mustStop()
	want := []string{"clsact_weirt-b1", "link_weirt-a0", "link_weirt-b%2e5", "link_weirt-b1", "promisc_weirt-b%2e5"}
	if diff := cmp.Diff(names(t, folder), want); diff != "" {
		t.Fatalf("pins (-got +want):\n%s", diff)
	}

	ns.attacher(tinySet(t, "2"), AttachOptions{PinPath: folder}, Interface{Name: "weirt-a0"}).start()
	if diff := cmp.Diff(names(t, folder), []string{"link_weirt-a0"}); diff != "" {
		t.Errorf("pins (-got +want):\n%s", diff)
	}
	if !ns.xdp("weirt-a0").Attached || ns.xdp("weirt-b.5").Attached || ns.xdp("weirt-b1").Attached {
		t.Errorf("XDP: %+v, %+v, %+v; want the first alone", ns.xdp("weirt-a0"), ns.xdp("weirt-b.5"), ns.xdp("weirt-b1"))
	}
	if ns.link("weirt-b.5").Attrs().RawFlags&unix.IFF_PROMISC != 0 {
		t.Error("the earlier mirror is still promiscuous")
	}
	if filters, clsact := ns.filters("weirt-b1"); len(filters) > 0 || clsact {
		t.Errorf("clsact %v, filters %v are left", clsact, filters)
	}
}
