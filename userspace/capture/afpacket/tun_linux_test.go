package afpacket

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/tests/need"
	"weir/userspace/traffic"
)

// tun makes an interface of the receiver whose frames are packets: what is written to the file arrives there.
func (w *wire) tun(name string) (f *os.File, index int) {
	w.t.Helper()
	w.in(w.receiver, func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) {
			need.Missing(w.t, "this test needs /dev/net/tun: load it by modprobe tun")
		}
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), "tun")
		w.t.Cleanup(func() { f.Close() })
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			return err
		}
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		index = link.Attrs().Index
		return netlink.LinkSetUp(link)
	})
	return f, index
}

// A device without Ethernet headers hands over packets.
func TestPackets(t *testing.T) {
	w := newWire(t, 0)
	device, index := w.tun("tun7")
	e, err := Open(Options{Interface: "tun7", Namespace: w.namespace(), Workers: 2, Fanout: FanoutLB, Blocks: 2, SnapLength: 40})
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, e)
	for version, sent := range map[int][]byte{4: ethernet(4, traffic.ProtoUDP, 100)[14:], 6: ethernet(6, traffic.ProtoUDP, 100)[14:]} {
		if _, err := device.Write(sent); err != nil {
			t.Fatal(err)
		}
		want := traffic.Frame{Data: sent[:40], Length: uint32(len(sent)), Interface: int32(index), Link: traffic.LinkIP}
		ours := func(f seen) bool { return f.Length == want.Length }
		got := r.await("the packet", func(frames []seen, _ traffic.CaptureStats) bool { return slices.ContainsFunc(frames, ours) })
		if diff := cmp.Diff(got[slices.IndexFunc(got, ours)].Frame, want, cmpopts.IgnoreFields(traffic.Frame{}, "Time")); diff != "" {
			t.Errorf("IPv%d (-got +want)\n%s", version, diff)
		}
	}
}
