package bgp_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/bgp"
	"weir/tests/need"
	"weir/userspace/lab"
	"weir/userspace/traffic"
)

// The addresses of every test: ours are .1 and ::1, each router has the next.
const (
	ourAS    = 65000
	patience = 30 * time.Second
)

func v4(n int) netip.Addr   { return netip.AddrFrom4([4]byte{10, 0, byte(n), 2}) }
func v6(n int) netip.Addr   { return netip.MustParseAddr(fmt.Sprintf("fd00:%d::2", n)) }
func our4(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(n), 1}) }
func our6(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd00:%d::1", n)) }

// scene is a network of namespaces: ours in the middle, and routers around it.
type scene struct {
	t   *testing.T
	lab *lab.Lab
	us  *lab.Host
}

func newScene(t *testing.T) *scene {
	t.Helper()
	need.Root(t)
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	l, err := lab.New(context.Background(), fmt.Sprintf("weirbgp%d-%s", os.Getpid(), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &scene{t: t, lab: l}
	s.us = s.host("us")
	return s
}

func (s *scene) host(name string) *lab.Host {
	s.t.Helper()
	h, err := s.lab.Host(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

// router makes the namespace of the nth router, joined with ours.
func (s *scene) router(n int) *lab.Host {
	s.t.Helper()
	h := s.host(fmt.Sprintf("router%d", n))
	err := s.lab.Link(s.us, fmt.Sprintf("eth%d", n), h, "eth0", lab.LinkOptions{
		A: lab.End{Addresses: []netip.Prefix{netip.PrefixFrom(our4(n), 24), netip.PrefixFrom(our6(n), 64)}},
		B: lab.End{Addresses: []netip.Prefix{netip.PrefixFrom(v4(n), 24), netip.PrefixFrom(v6(n), 64)}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

// output collects what a program writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// program is a router's daemon.
type program struct {
	t       *testing.T
	host    *lab.Host
	command []string
	cmd     *exec.Cmd
	out     *output
}

// start runs a program in a namespace until the test ends.
func start(t *testing.T, h *lab.Host, command ...string) *program {
	t.Helper()
	p := &program{t: t, host: h, command: command, out: &output{}}
	p.start()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			text := p.out.String()
			t.Logf("%s said:\n%s", command[0], text[max(0, len(text)-2000):])
		}
	})
	return p
}

func (p *program) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.command[0], p.command[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.host.Do(p.cmd.Start); err != nil {
		p.t.Fatal(err)
	}
}

func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// run runs a command in a namespace and returns what it writes.
func run(h *lab.Host, command ...string) (string, error) {
	cmd := exec.Command(command[0], command[1:]...)
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := h.Do(cmd.Start); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return out.String(), err
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// bird is a BIRD.
type bird struct {
	*program
	socket string
}

func startBIRD(t *testing.T, h *lab.Host, config string) *bird {
	t.Helper()
	daemon := need.Tool(t, "bird", "bird2")
	need.Tool(t, "birdc", "bird2")
	path := write(t, "bird.conf", "router id 192.0.2.200;\nlog stderr all;\nprotocol device {}\nipv4 table master4;\nipv6 table master6;\n"+config)
	socket := filepath.Join(filepath.Dir(path), "ctl")
	b := &bird{start(t, h, daemon, "-f", "-c", path, "-s", socket, "-P", filepath.Join(filepath.Dir(path), "pid")), socket}
	b.waitUp()
	return b
}

func (b *bird) waitUp() {
	b.t.Helper()
	eventually(b.t, "BIRD answers", func() bool {
		text, err := run(b.host, "birdc", "-s", b.socket, "show status")
		return err == nil && strings.Contains(text, "up and running")
	})
}

func (b *bird) show(what string) string {
	b.t.Helper()
	text, err := run(b.host, "birdc", "-s", b.socket, "show "+what)
	if err != nil && !strings.Contains(text, "Network not found") {
		b.t.Fatalf("birdc show %s: %v\n%s", what, err, text)
	}
	return text
}

// birdPeer is BIRD's side of a session with us; extra goes into the protocol.
func birdPeer(name string, n, as int, v6Transport bool, extra string) string {
	own, us := v4(n), our4(n)
	if v6Transport {
		own, us = v6(n), our6(n)
	}
	return fmt.Sprintf(`protocol bgp %s {
	local %s as %d;
	neighbor %s as %d;
	multihop 2;
	graceful restart aware;
	connect retry time 1; connect delay time 1; error wait time 1, 2;
	ipv4 { import all; export none; import table on; };
	ipv6 { import all; export none; import table on; };
	%s
}
`, name, own, as, us, ourAS, extra)
}

// speaker runs a Speaker in our namespace until the test ends or stop is called.
type speaker struct {
	*bgp.Speaker
	t    *testing.T
	stop func()
	log  *output
}

func (s *scene) speak(c bgp.Config) *speaker {
	s.t.Helper()
	out := &output{}
	sp, stop := s.run(c, bgp.Options{}, out)
	s.t.Cleanup(func() {
		stop()
		for _, bad := range []string{"panic:", "DATA RACE"} {
			if strings.Contains(out.String(), bad) {
				s.t.Errorf("the speaker's log has %q", bad)
			}
		}
		if s.t.Failed() {
			text := out.String()
			s.t.Logf("the speaker's log:\n%s", text[max(0, len(text)-6000):])
		}
	})
	return &speaker{sp, s.t, stop, out}
}

// run runs a Speaker in our namespace until stop is called.
func (s *scene) run(c bgp.Config, o bgp.Options, out *output) (sp *bgp.Speaker, stop func()) {
	s.t.Helper()
	c.RouterID, c.AS = netip.MustParseAddr("192.0.2.1"), ourAS
	o.Log = slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o.Namespace = filepath.Join("/run/netns", s.us.Namespace())
	sp, err := bgp.New(c, o)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sp.Run(ctx) }()
	return sp, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
}

func (s *speaker) peer(name string) bgp.PeerState {
	s.t.Helper()
	for _, p := range s.State().Peers {
		if p.Name == name {
			return p
		}
	}
	s.t.Fatalf("no peer %s", name)
	return bgp.PeerState{}
}

func (s *speaker) waitEstablished(names ...string) {
	s.t.Helper()
	for _, name := range names {
		eventually(s.t, name+" is established", func() bool { return s.peer(name).Session == bgp.Established })
	}
}

// eventually waits for what other programs do, about which they send no events.
func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !check() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not after %s: %s", patience, what)
		}
	}
}

func blackhole(prefix string, communities ...uint32) traffic.Announcement {
	p := netip.MustParsePrefix(prefix)
	a := traffic.Announcement{Prefix: p, NextHop: netip.MustParseAddr("192.0.2.1"), Communities: communities, Owner: "manual"}
	if p.Addr().Is6() {
		a.NextHop = netip.MustParseAddr("100::1")
	}
	return a
}
