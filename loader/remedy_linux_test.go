package loader

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"weir/tests/need"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestRefusalNamesRemedy(t *testing.T) {
	for _, test := range []struct {
		name string
		r    refusal
		want string
	}{
		{"no native mode", refusal{cause: unix.EOPNOTSUPP}, "driver e1000 has no native XDP: operation not supported; use mode auto or generic"},
		{"no native mode, kernel's own number", refusal{cause: errnoNotSupported}, "driver e1000 has no native XDP: operation not supported; use mode auto or generic"},
		{"MTU by range", refusal{cause: unix.ERANGE, mtu: 9000}, "ip link set dev eth0 mtu 3498"},
		{"MTU by size", refusal{cause: unix.EINVAL, mtu: 9000}, "ip link set dev eth0 mtu 3498"},
		{"MTU by words", refusal{cause: unix.EINVAL, mtu: 3502, said: "MTU too large to enable XDP"}, "MTU too large to enable XDP (invalid argument); native mode of driver e1000 takes frames in one piece"},
		{"MTU by words, not supported", refusal{cause: unix.EOPNOTSUPP, mtu: 9000, said: "single-buffer XDP requires MTU less than 3530"}, "ip link set dev eth0 mtu 3498"},
		{"LRO by words", refusal{cause: unix.EOPNOTSUPP, said: "can't support XDP with LRO", offloads: []string{"lro"}}, "ethtool -K eth0 lro off"},
		{"hardware GRO by words", refusal{cause: unix.EOPNOTSUPP, said: "Can't set XDP while host is implementing GRO_HW/CSUM", offloads: []string{"rx-gro-hw"}}, "ethtool -K eth0 rx-gro-hw off"},
		{"LRO by switch", refusal{cause: unix.EINVAL, mtu: 1500, offloads: []string{"lro"}}, "ethtool -K eth0 lro off"},
		{"queues by words", refusal{cause: unix.EINVAL, said: "the Rx/Tx channel count should be at most half of the maximum"}, "ethtool -L eth0 combined"},
		{"queues by number", refusal{cause: unix.ENOSPC}, "ethtool -L eth0 combined"},
		{"queues of veth", refusal{cause: unix.ENOSPC, driver: "veth"}, "ethtool -L eth0 rx N"},
		{"taken", refusal{cause: unix.EBUSY}, "ip -details link show dev eth0"},
		{"vanished", refusal{cause: unix.ENODEV}, "vanished"},
		{"old kernel", refusal{cause: fmt.Errorf("link: %w", ebpf.ErrNotSupported)}, "needs Linux 5.10 or newer"},
		{"unknown", refusal{cause: unix.EIO, mtu: 1500}, "input/output error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := test.r
			r.device = "eth0"
			if r.driver == "" {
				r.driver = "e1000"
			}
			r.mode = Native
			if got := r.Error(); !strings.Contains(got, test.want) {
				t.Errorf("got %q, want it to contain %q", got, test.want)
			}
		})
	}
}

// The kernel's words reach the operator, with what to do. A veth refuses for the sake of its other end.
func TestJumboFrames(t *testing.T) {
	jumbo := func(v *netlink.Veth) { v.MTU, v.PeerMTU = 9000, 9000 }
	ns := newNamespace(t)
	ns.veth("weirt-a0", "weirt-a1", jumbo)
	r := ns.attacher(tinySet(t, ""), AttachOptions{}, Interface{Name: "weirt-a0", Mode: Native})
	err := <-r.result
	r.result <- err
	for _, part := range []string{"too large", "3498", "mode generic"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got error %v, want one with %q", err, part)
		}
	}
	r = ns.attacher(tinySet(t, ""), AttachOptions{}, Interface{Name: "weirt-a0"}).start()
	if s := r.one(); s.Mode != Generic || !strings.Contains(s.Why, "refused native mode") || !strings.Contains(s.Why, "too large") {
		t.Errorf("status %+v, want generic and why", s)
	}
	r.mustStop()

	t.Run("in several pieces", func(t *testing.T) {
		frags, err := smallProgram(ebpf.XDP, xdpPass, unix.BPF_F_XDP_HAS_FRAGS)
		if err != nil {
			t.Skip("this kernel has no frames in several pieces:", err)
		}
		t.Cleanup(func() { frags.Close() })
		set := tinySet(t, "")
		set.XDP = func(Role) (*ebpf.Program, error) { return frags, nil }
		r := ns.attacher(set, AttachOptions{}, Interface{Name: "weirt-a0"}).start()
		if s := r.one(); s.Mode != Native {
			t.Errorf("status %+v, want native with a program for frames in several pieces", s)
		}
		r.mustStop()
	})
}

func TestTooFewQueues(t *testing.T) {
	ns := newNamespace(t)
	ns.veth("weirt-a0", "weirt-a1", func(v *netlink.Veth) { v.PeerNumTxQueues = 4 })
	r := ns.attacher(tinySet(t, ""), AttachOptions{}, Interface{Name: "weirt-a0", Mode: Native})
	err := <-r.result
	r.result <- err
	if err == nil || !strings.Contains(err.Error(), "ethtool -L weirt-a0 rx N") {
		t.Errorf("got error %v, want one with the command", err)
	}
}

func TestMissingCapabilitiesAreNamed(t *testing.T) {
	need.Root(t)
	result := make(chan string)
	go func() {
		runtime.LockOSThread() // for ever: the thread without rights ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			result <- err.Error()
			return
		}
		_, err := smallProgram(ebpf.XDP, xdpPass, 0)
		result <- remedyOf(err)
	}()
	want := "; this process lacks CAP_NET_ADMIN and CAP_BPF and CAP_PERFMON: run it as root, or grant them (AmbientCapabilities= in the systemd unit)"
	if got := <-result; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
