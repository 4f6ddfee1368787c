package loader

import (
	"context"
	"testing"
	"weir/tests/need"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestProbe(t *testing.T) {
	need.Root(t)
	byName := make(map[string]Finding)
	for _, f := range Probe(t.Context(), "weirt-none") {
		byName[f.Name] = f
		if !f.OK && f.Remedy == "" {
			t.Errorf("no remedy: %+v", f)
		}
		if f.Detail == "" {
			t.Errorf("no detail: %+v", f)
		}
	}
	// What this package's tests need is there, or they would have failed.
	for _, name := range []string{"kernel", "jit", "capabilities", "locked_memory", "xdp", "ring_buffer", "mmapable_arrays", "xdp_generic", "xdp_native"} {
		if f, found := byName[name]; !found || !f.OK {
			t.Errorf("%s: found %v: %+v", name, found, f)
		}
	}
	if f := byName["interface"]; f.OK || f.Interface != "weirt-none" {
		t.Errorf("an interface that there is not: %+v", f)
	}
}

func TestProbeEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := Probe(ctx); len(got) != 1 || got[0].Name != "probe" || got[0].OK {
		t.Errorf("got %+v, want the one finding that it ended early", got)
	}
}

func TestProbeInterface(t *testing.T) {
	ns := newNamespace(t)
	ns.veth("weirt-a0", "weirt-a1", func(v *netlink.Veth) { v.MTU, v.PeerMTU = 9000, 1500 })
	foreign := tiny(t, "their_firewall", ebpf.XDP, xdpPass)
	device := ns.link("weirt-a1")
	ns.do(func() error { return netlink.LinkSetXdpFdWithFlags(device, foreign.FD(), unix.XDP_FLAGS_SKB_MODE) })
	byName := make(map[string]map[string]Finding)
	ns.do(func() error {
		for _, f := range probeInterfaces(t.Context(), nil) {
			if byName[f.Interface] == nil {
				byName[f.Interface] = make(map[string]Finding)
			}
			byName[f.Interface][f.Name] = f
		}
		return nil
	})
	if len(byName) != 2 {
		t.Fatalf("got findings about %d interfaces, want 2: %v", len(byName), byName)
	}
	a0, a1 := byName["weirt-a0"], byName["weirt-a1"]
	if f := a0["driver"]; !f.OK || f.Detail != "veth, up" {
		t.Errorf("driver: %+v", f)
	}
	if f := a0["native_xdp"]; !f.OK {
		t.Errorf("native XDP: %+v", f)
	}
	if f := a0["mtu"]; f.Remedy == "" {
		t.Errorf("MTU of 9000 without a hint: %+v", f)
	}
	if f := a1["mtu"]; f.Remedy != "" {
		t.Errorf("MTU of 1500 with a hint: %+v", f)
	}
	if f := a0["queues"]; f.Detail == "" {
		t.Errorf("queues: %+v", f)
	}
	if f := a0["offloads"]; !f.OK {
		t.Errorf("offloads: %+v", f)
	}
	if f := a0["xdp_program"]; !f.OK {
		t.Errorf("XDP program where there is none: %+v", f)
	}
	if f := a1["xdp_program"]; f.OK || f.Remedy == "" {
		t.Errorf("XDP program of somebody else: %+v", f)
	}
}
