package netsource

import (
	"context"
	"log/slog"
	"net/netip"
	"runtime"
	"testing"
	"weir/tests/need"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespace makes a network namespace that goes when the test ends. It needs root: without, the test is skipped, but not in CI.
func namespace(t *testing.T) netns.NsHandle {
	t.Helper()
	need.Root(t)
	made := make(chan error)
	var ns netns.NsHandle
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its goroutine, nobody else runs in the namespace
		var err error
		ns, err = netns.New()
		made <- err
	}()
	if err := <-made; err != nil {
		t.Fatalf("make network namespace: %v", err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Errorf("close network namespace: %v", err)
		}
	})
	return ns
}

// inside runs f on a thread of its own in the namespace and returns what it returns.
func inside(ns netns.NsHandle, f func() error) <-chan error {
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(ns); err != nil {
			ended <- err
			return
		}
		ended <- f()
	}()
	return ended
}

// machine is the namespace seen as the machine whose addresses are followed.
type machine struct {
	*testing.T
	*netlink.Handle
}

func (m machine) do(what string, err error) {
	m.Helper()
	if err != nil {
		m.Fatalf("%s: %v", what, err)
	}
}

func (m machine) link(name string) netlink.Link {
	m.Helper()
	link, err := m.LinkByName(name)
	m.do("find "+name, err)
	return link
}

func (m machine) addr(text string) *netlink.Addr {
	m.Helper()
	addr, err := netlink.ParseAddr(text)
	m.do("parse "+text, err)
	addr.Flags = unix.IFA_F_NODAD // duplicate address detection would take a second
	return addr
}

func newMachine(t *testing.T, ns netns.NsHandle) machine {
	t.Helper()
	handle, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatalf("open netlink socket: %v", err)
	}
	t.Cleanup(handle.Close)
	m := machine{t, handle}
	m.do("set lo up", m.LinkSetUp(m.link("lo")))
	m.do("add veth", m.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "weir0"}, PeerName: "weir1"}))
	m.do("set weir0 up", m.LinkSetUp(m.link("weir0")))
	m.do("set weir1 up", m.LinkSetUp(m.link("weir1")))
	return m
}

// TestLocal follows addresses as they come and go; each step waits for the update that it causes.
func TestLocal(t *testing.T) {
	ns := namespace(t)
	m := newMachine(t, ns)
	m.do("add address", m.AddrAdd(m.link("weir0"), m.addr("192.0.2.1/24")))
	m.do("add address", m.AddrAdd(m.link("lo"), m.addr("198.51.100.1/32")))
	m.do("add address", m.AddrAdd(m.link("weir0"), m.addr("fe80::77/64"))) // scope link: never ours

	updates := make(chan []netip.Prefix, 64)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := inside(ns, func() error {
		return NewLocal(LocalOptions{}, slog.New(slog.DiscardHandler), func(now []netip.Prefix) { updates <- now }).Run(ctx)
	})
	// await takes updates until the wanted set; a change of several addresses may show on the way.
	await := func(texts ...string) {
		t.Helper()
		want, got := prefixes(texts...), []netip.Prefix(nil)
		for {
			select {
			case got = <-updates:
				if cmp.Equal(got, want, compareNet) {
					return
				}
			case err := <-ended:
				t.Fatalf("ended with %v after %v, want %v", err, got, want)
			}
		}
	}
	first := <-updates
	if diff := cmp.Diff(first, prefixes("192.0.2.1/32", "198.51.100.1/32"), compareNet); diff != "" {
		t.Errorf("first update (-got +want)\n%s", diff)
	}
	m.do("add address", m.AddrAdd(m.link("weir0"), m.addr("2001:db8::1/64")))
	await("192.0.2.1/32", "198.51.100.1/32", "2001:db8::1/128")
	m.do("add the same address elsewhere", m.AddrAdd(m.link("weir1"), m.addr("192.0.2.1/32")))
	m.do("remove address", m.AddrDel(m.link("lo"), m.addr("198.51.100.1/32")))
	await("192.0.2.1/32", "2001:db8::1/128")
	for i := range 200 { // a burst
		m.do("add address", m.AddrAdd(m.link("weir0"), m.addr(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}).String()+"/24")))
	}
	m.do("remove address", m.AddrDel(m.link("weir1"), m.addr("192.0.2.1/32")))
	m.do("remove interface", m.LinkDel(m.link("weir0"))) // and its peer, and all their addresses
	await()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("got %v at the end", err)
	}
}

func TestReadLocal(t *testing.T) {
	ns := namespace(t)
	m := newMachine(t, ns)
	m.do("add address", m.AddrAdd(m.link("weir0"), m.addr("192.0.2.1/24")))
	m.do("add address", m.AddrAdd(m.link("lo"), m.addr("198.51.100.1/32")))
	m.do("add address", m.AddrAdd(m.link("lo"), m.addr("2001:db8::1/128")))
	for without, want := range map[bool][]netip.Prefix{
		false: prefixes("192.0.2.1/32", "198.51.100.1/32", "2001:db8::1/128"),
		true:  prefixes("192.0.2.1/32"),
	} {
		var got []netip.Prefix
		err := <-inside(ns, func() (err error) {
			got, err = ReadLocal(LocalOptions{WithoutLoopback: without})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, want, compareNet); diff != "" {
			t.Errorf("without loopback %v (-got +want)\n%s", without, diff)
		}
	}
}
