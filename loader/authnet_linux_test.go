package loader_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"

	"weir/loader"
	"weir/tests/need"
	"weir/userspace/lab"
	"weir/userspace/networks"
	"weir/userspace/traffic"
)

const (
	connectTime = 3 * time.Second // within which a client gets through: SYNs are sent again after one
	synPPS      = 20_000
	backlog     = "64"
)

// segment is a client, who is the flooder as well, and a server that Weir guards: in the server's namespace, or in a wire between.
type segment struct {
	plane
	client, server *lab.Host
	mac            [2]net.HardwareAddr // of client and server
}

func newSegment(t *testing.T, role loader.Role, mode loader.Mode) *segment {
	t.Helper()
	need.Root(t)
	if err := features.HaveProgramHelper(ebpf.XDP, asm.FnXdpGetBuffLen); err != nil { // as old as live frames are
		t.Skipf("the flood needs live frames, which this kernel has not: %v", err)
	}
	l, err := lab.New(t.Context(), fmt.Sprintf("weirauth%d-%s-%s", os.Getpid(), role, mode))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	host := func(name string) *lab.Host {
		h, err := l.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	s := &segment{client: host("client"), server: host("server")}
	near := lab.End{Addresses: prefixes("192.0.2.1/24", "2001:db8::1/64", "192.0.2.3/24", "192.0.2.4/24", "2001:db8:0:3::1/64", "2001:db8:0:4::1/64")}
	far := lab.End{Addresses: prefixes("192.0.2.2/24", "2001:db8::2/64")}
	guard, list := s.server, []loader.Interface{{Name: "eth0", Mode: mode, Role: role, Egress: true}}
	if role == loader.Wire {
		guard = host("box")
		list = []loader.Interface{{Name: "a", Mode: mode, Role: role, Pair: "b"}, {Name: "b", Mode: mode, Role: role, Pair: "a"}}
		err = errors.Join(
			l.Link(s.client, "eth0", guard, "a", lab.LinkOptions{A: near}),
			l.Link(s.server, "eth0", guard, "b", lab.LinkOptions{A: far}))
	} else {
		err = l.Link(s.client, "eth0", s.server, "eth0", lab.LinkOptions{A: near, B: far})
	}
	for i, all := range prefixes("0.0.0.0/0", "::/0") { // whom the server answers is somewhere behind the client
		err = errors.Join(err, s.server.Route("eth0", all, near.Addresses[i].Addr()))
	}
	for i, h := range []*lab.Host{s.client, s.server} {
		mac, macErr := h.MAC("eth0")
		s.mac[i] = mac
		err = errors.Join(err, macErr)
	}
	if err != nil {
		t.Fatal(err)
	}
	ours := prefixes("192.0.2.2/32", "2001:db8::2/128")
	plan, layout := testPlan(t, ours, networks.Budget{Dense: 256, Dynamic: 64, FoldHosts: 16})
	plan.Authenticate = 1 << 16
	d, err := loader.Load(plan)
	if err != nil {
		t.Fatal(err)
	}
	s.plane = plane{d, layout}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	s.attach(t, guard, list)
	s.listen(t)
	return s
}

// listen puts a program on the client's end that lets everything pass: a veth hands over what its other end sends back by XDP_TX
// only to one that has some.
func (s *segment) listen(t *testing.T) {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { prog.Close() })
	if err := s.client.Do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		l, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: eth0.Index, Flags: link.XDPDriverMode})
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func (s *segment) attach(t *testing.T, at *lab.Host, list []loader.Interface) {
	t.Helper()
	namespace, err := at.Open()
	if err != nil {
		t.Fatal(err)
	}
	a, err := loader.NewAttacher(s.ProgramSet(), loader.AttachOptions{Namespace: namespace}, list)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, namespace.Close()); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-a.Started():
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
}

// flood sends SYNs to the server until the test ends.
func (s *segment) flood(t *testing.T, from, to, sources string, flags uint8) *lab.Flood {
	t.Helper()
	f, err := lab.NewFlood(lab.FloodOptions{
		Frame: lab.Frame{SrcMAC: s.mac[0], DstMAC: s.mac[1], Src: netip.MustParseAddr(from), Dst: netip.MustParseAddr(to),
			Protocol: traffic.ProtoTCP, TCPFlags: flags, SrcPort: 1024, DstPort: 8080},
		Sources: lab.Addresses{Spread: lab.Random, Prefix: netip.MustParsePrefix(sources)}, SrcPorts: 0xffff,
		Host: s.client, Interface: "eth0",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := f.Run(ctx, synPPS, 0)
		done <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, f.Close()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// weaken leaves the server nothing of the kernel's own defence; what is half open it forgets after a second.
func (s *segment) weaken(t *testing.T) {
	t.Helper()
	err := s.server.Do(func() error {
		var all error
		for name, value := range map[string]string{"ipv4/tcp_syncookies": "0", "ipv4/tcp_max_syn_backlog": backlog, "core/somaxconn": backlog, "ipv4/tcp_synack_retries": "0"} {
			all = errors.Join(all, os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0o600))
		}
		return all
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ends are the addresses of one family: the client's, of which two are only known by their connections, and the server's.
type ends struct{ client, old, called, server, sources string }

// Clients of a real server get through a flood from random sources when it is under authentication, and do not when it is not;
// what was connected before stays so, and the server itself reaches others.
func TestClientsConnectDuringFlood(t *testing.T) {
	for _, tt := range []struct {
		role loader.Role
		mode loader.Mode
	}{{loader.Host, loader.Native}, {loader.Wire, loader.Native}, {loader.Host, loader.Generic}} {
		for family, a := range map[string]ends{
			"IPv4": {"192.0.2.1", "192.0.2.3", "192.0.2.4", "192.0.2.2", "198.18.0.0/15"},
			"IPv6": {"2001:db8::1", "2001:db8:0:3::1", "2001:db8:0:4::1", "2001:db8::2", "2001:db8:bad::/48"},
		} {
			t.Run(fmt.Sprintf("%s, %s, %s", tt.role, tt.mode, family), func(t *testing.T) {
				s := newSegment(t, tt.role, tt.mode)
				s.weaken(t)
				s.through(t, a)
			})
		}
	}
}

func (s *segment) through(t *testing.T, a ends) {
	t.Helper()
	at, called := net.JoinHostPort(a.server, "8080"), net.JoinHostPort(a.called, "9090")
	echo(t, s.server, at)
	echo(t, s.client, called)
	old, err := talk(t, s.client, a.old, at)
	if err != nil {
		t.Fatal("before the flood:", err)
	}
	flood := s.flood(t, a.client, a.server, a.sources, traffic.FlagSYN)
	eventually(t, "the flood to reach the server", func() bool {
		sent, err := flood.Sent()
		return err != nil || sent > synPPS/5
	})
	if _, err := talk(t, s.client, a.client, at); err == nil {
		t.Error("a client connects to the flooded server, so this test says nothing")
	}
	host := netip.MustParseAddr(a.server)
	target := netip.PrefixFrom(host, host.BitLen())
	s.arm(t, target.String(), loader.Authentication{Mode: loader.AuthAll, Grace: time.Second})
	if err := old.say("still there?"); err != nil {
		t.Error("what was connected before the flood, within the grace:", err)
	}
	eventually(t, "the grace to end", func() bool {
		now, err := s.AuthenticationOf(target)
		return err != nil || now.Grace == 0
	})
	if err := old.say("still there?"); err != nil {
		t.Error("what was connected before the flood, after the grace:", err)
	}
	back, err := talk(t, s.server, a.server, called)
	if err == nil {
		err = back.say("and here?")
	}
	if err != nil {
		t.Error("what the server itself connects to:", err)
	}
	if stats := s.authStats(t); stats.Learned != 2 || stats.Proofs != 0 {
		t.Errorf("statistics %+v, want two learned", stats)
	}
	s.connects(t, a.client, at)
	s.quiet(t, flood)
}

// connects has clients of several kinds connect to the server while it is being flooded.
func (s *segment) connects(t *testing.T, by, at string) {
	t.Helper()
	for i := range 3 {
		s.ForgetProofs()
		start := time.Now()
		c, err := talk(t, s.client, by, at)
		if err == nil {
			err = c.say("anybody there?")
		}
		if err != nil {
			t.Errorf("client %d: %v", i, err)
		}
		t.Logf("client %d: connected and served after %s", i, time.Since(start).Round(time.Millisecond))
	}
}

// quiet checks that the server gets none of the flood, and that no forged source is proven.
func (s *segment) quiet(t *testing.T, f *lab.Flood) {
	t.Helper()
	before, err := s.server.Counter("Tcp", "InSegs")
	if err != nil {
		t.Fatal(err)
	}
	first, last := s.authStats(t), loader.AuthStats{}
	eventually(t, "more of the flood", func() bool {
		last = s.authStats(t)
		return last.Challenged+last.Dropped > first.Challenged+first.Dropped+synPPS
	})
	after, err := s.server.Counter("Tcp", "InSegs")
	if err != nil {
		t.Fatal(err)
	}
	if after-before > 100 {
		t.Errorf("%d TCP segments have come to the server during %d packets of the flood", after-before, last.Challenged-first.Challenged)
	}
	if last.Sources > 2 {
		t.Errorf("statistics %+v, want the client proven and nobody else", last)
	}
	t.Logf("statistics %+v", last)
}

// curl fetches a page from a server under authentication that it has never been at.
func TestCurlDuringFlood(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		need.Missing(t, "curl: %v", err)
	}
	s := newSegment(t, loader.Wire, loader.Native)
	if _, err := lab.Serve(s.server, netip.MustParseAddrPort("192.0.2.2:8080")); err != nil {
		t.Fatal(err)
	}
	s.arm(t, "192.0.2.2/32", loader.Authentication{Mode: loader.AuthAll})
	f := s.flood(t, "192.0.2.1", "192.0.2.2", "198.18.0.0/15", traffic.FlagSYN)
	for range 3 {
		s.ForgetProofs()
		var out []byte
		if err := s.client.Do(func() (err error) {
			out, err = exec.Command(curl, "-sS", "--max-time", "3", "http://192.0.2.2:8080/").CombinedOutput()
			return err
		}); err != nil || string(out) != "served\n" {
			t.Errorf("curl: %q, %v", out, err)
		}
	}
	s.quiet(t, f)
}
