package loader_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/loader"
	"weir/tests/need"
	pt "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// A daemon that comes back finds its counts and verdicts; one with other networks begins anew.
func TestPinnedMapsAreAdopted(t *testing.T) {
	need.Root(t)
	const bpffs = "/sys/fs/bpf"
	var fs unix.Statfs_t
	if err := unix.Statfs(bpffs, &fs); err != nil || uint32(fs.Type) != unix.BPF_FS_MAGIC {
		if err := unix.Mount("bpf", bpffs, "bpf", 0, ""); err != nil {
			need.Missing(t, "mount a BPF file system: %v", err)
		}
	}
	path := filepath.Join(bpffs, fmt.Sprintf("weirt-%d", os.Getpid()))
	t.Cleanup(func() { os.RemoveAll(path) })
	open := func(prefixes []netip.Prefix) plane {
		plan, layout := testPlan(t, prefixes, testBudget)
		plan.PinPath, plan.Authenticate = path, 1024
		d, err := loader.Load(plan)
		if err != nil {
			t.Fatal(err)
		}
		return plane{d, layout}
	}
	first := open(testNetworks)
	first.ban(t, host4, traffic.Incoming, time.Hour)
	first.xdp(t, loader.Host, pt.UDP6().Bytes())
	first.setRules(t, "destination 2001:db8:2::7/128 protocol tcp then discard")
	first.xdp(t, loader.Host, pt.TCP6().Bytes())
	first.arm(t, "198.51.100.8/32", loader.Authentication{Mode: loader.AuthSYN})
	toEight := func(f *pt.Frame) { f.Dst = netip.MustParseAddr("198.51.100.8") }
	number := first.challenged(t, pt.TCP4(toEight), 1)
	first.give(t, loader.Host, numbered(pt.TCP4(toEight, pt.Flags(traffic.FlagRST)), number))
	if first.Adopted() {
		t.Error("the first daemon adopted something")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := open(testNetworks)
	if !second.Adopted() {
		t.Fatal("the second daemon did not adopt the maps")
	}
	if got := second.moved()[host6+" incoming Packets"]; got != 2 {
		t.Errorf("%s has %d packets after adoption, want 2", host6, got)
	}
	if got := second.xdp(t, loader.Host, pt.UDP4().Bytes()); got != xdpDrop {
		t.Errorf("verdict %d after adoption, want XDP_DROP", got)
	}
	if got := second.xdp(t, loader.Host, pt.TCP6().Bytes()); got != xdpDrop {
		t.Errorf("rule %d after adoption, want XDP_DROP", got)
	}
	second.setRules(t, "destination 2001:db8:2::7/128 protocol tcp then discard")
	second.setRules(t, "destination 2001:db8:2::7/128 protocol tcp then discard")
	second.xdp(t, loader.Host, pt.TCP6().Bytes())
	if got := second.hits(t); got[1] != 1 {
		t.Errorf("hits %v of a rule that was set after adoption, want 1", got)
	}
	if got := second.authStats(t); got.Hosts != 1 || got.Sources != 1 {
		t.Errorf("authentication %+v after adoption, want one host and one source", got)
	}
	if got, _ := second.give(t, loader.Host, pt.TCP4(toEight).Bytes()); got != xdpPass {
		t.Errorf("verdict %d on a proven source after adoption, want XDP_PASS", got)
	}
	second.challenged(t, pt.TCP4(toEight, source("192.0.2.77")), 1)
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	third := open(testNetworks[:1])
	if third.Adopted() {
		t.Error("maps of other networks were adopted")
	}
	if err := third.Unpin(); err != nil {
		t.Fatal(err)
	}
	if err := third.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(path); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
