package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"weir/tests/need"
	"weir/userspace/lab"
	"weir/userspace/traffic"
)

// bed is the usual network: a world, a router that Weir runs on, and two customers behind it, in a namespace each.
type bed struct {
	lab    *lab.Lab
	world  *lab.Host // eth0 to the router's "out"
	router *lab.Host // "out", "in1" to the victim, "in2" to the other
	victim *lab.Host // eth0
	other  *lab.Host // eth0
}

// Addresses of the bed. Ours are 192.0.2.0/24 and 2001:db8::/48; carpet, crowd and crowd6 lead to the victim's namespace too.
const (
	worldAddr  = "198.51.100.1"
	worldAddr6 = "2001:db8:f::1"
	routerAddr = "192.0.2.1"
	victimAddr = "192.0.2.10"
	otherAddr  = "192.0.2.140"
	victim6    = "2001:db8:0:1::10"
	other6     = "2001:db8:0:2::10"
	carpet     = "203.0.113.0/24"
	crowd      = "100.64.0.0/16"
	crowd6     = "2001:db8:0:9::/64"
	spoofed    = "198.18.0.0/15" // where floods come from
	spoofed6   = "2001:db8:bad::/48"

	servicePort = 8080
)

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func openLab(t *testing.T) *lab.Lab {
	t.Helper()
	need.Root(t)
	l, err := lab.New(context.Background(), fmt.Sprintf("weire2e%d-%s", os.Getpid(), strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func openHost(t *testing.T, l *lab.Lab, name string) *lab.Host {
	t.Helper()
	h, err := l.Host(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func newBed(t *testing.T) *bed {
	t.Helper()
	l := openLab(t)
	b := &bed{lab: l, world: openHost(t, l, "world"), router: openHost(t, l, "router"), victim: openHost(t, l, "victim"), other: openHost(t, l, "other")}
	if err := b.router.Forward(); err != nil {
		t.Fatal(err)
	}
	b.joinWorld(t)
	for _, c := range []struct {
		ifname            string
		host              *lab.Host
		near, far         string
		near6, far6       string
		routed            []string // networks that lead here besides
		gateway, gateway6 netip.Addr
	}{
		{ifname: "in1", host: b.victim, near: "192.0.2.1/25", far: victimAddr + "/25", near6: "2001:db8:0:1::1/64", far6: victim6 + "/64", routed: []string{carpet, crowd, crowd6}},
		{ifname: "in2", host: b.other, near: "192.0.2.129/25", far: otherAddr + "/25", near6: "2001:db8:0:2::1/64", far6: other6 + "/64"},
	} {
		near, far := prefixes(c.near, c.near6), prefixes(c.far, c.far6)
		err := l.Link(b.router, c.ifname, c.host, "eth0", lab.LinkOptions{A: lab.End{Addresses: near}, B: lab.End{Addresses: far}})
		for i, all := range prefixes("0.0.0.0/0", "::/0") {
			err = errors.Join(err, c.host.Route("eth0", all, near[i].Addr()))
		}
		for _, p := range prefixes(c.routed...) {
			via := far[0].Addr()
			if p.Addr().Is6() {
				via = far[1].Addr()
			}
			err = errors.Join(err, b.router.Route(c.ifname, p, via))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// joinWorld makes the link that Weir is attached to, and the routes over it.
func (b *bed) joinWorld(t *testing.T) {
	t.Helper()
	near, far := prefixes("198.51.100.2/24", "2001:db8:f::2/64"), prefixes(worldAddr+"/24", worldAddr6+"/64")
	err := b.lab.Link(b.router, "out", b.world, "eth0", lab.LinkOptions{A: lab.End{Addresses: near}, B: lab.End{Addresses: far}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range prefixes("192.0.2.0/24", "2001:db8::/48", carpet, crowd) {
		err = errors.Join(err, b.world.Route("eth0", p, gateway(near, p)))
	}
	for _, p := range prefixes(spoofed, spoofed6) {
		err = errors.Join(err, b.router.Route("out", p, gateway(far, p)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// gateway is the address of p's family.
func gateway(ends []netip.Prefix, p netip.Prefix) netip.Addr {
	if p.Addr().Is6() {
		return ends[1].Addr()
	}
	return ends[0].Addr()
}

// received is how many packets have come to a host by its link.
func received(t *testing.T, h *lab.Host) uint64 {
	t.Helper()
	s, err := h.Stats("eth0")
	if err != nil {
		t.Fatal(err)
	}
	return s.RxPackets
}

// use has a server on host at address used by the world all the time.
func (b *bed) use(t *testing.T, host *lab.Host, address string) *lab.Prober {
	t.Helper()
	at := netip.AddrPortFrom(addr(address), servicePort)
	if _, err := lab.Serve(host, at); err != nil {
		t.Fatal(err)
	}
	p, err := lab.Probe(b.world, at, lab.ProbeOptions{Timeout: 900 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	served(t, "the first requests to "+address, p)
	return p
}

// served waits until a few more requests have been answered.
func served(t *testing.T, what string, p *lab.Prober) {
	t.Helper()
	before := p.Stats().OK
	until(t, what, func() bool { return p.Stats().OK >= before+3 })
}

// undisturbed checks that no request has ever gone unanswered.
func undisturbed(t *testing.T, what string, p *lab.Prober) {
	t.Helper()
	served(t, what, p)
	if s := p.Stats(); s.Failed > 0 {
		t.Errorf("%s: %d of %d requests failed, the last by %v", what, s.Failed, s.Failed+s.OK, s.Last)
	}
}

// stream is a flood that goes on in the background.
type stream struct {
	*lab.Flood
	cancel context.CancelFunc
	done   chan error
}

// frame is a UDP packet to a port where nobody listens.
func frame(t *testing.T, from *lab.Host, router *lab.Host, ifname, src, dst string) lab.Frame {
	t.Helper()
	srcMAC, err := from.MAC("eth0")
	if err != nil {
		t.Fatal(err)
	}
	dstMAC, err := router.MAC(ifname)
	if err != nil {
		t.Fatal(err)
	}
	return lab.Frame{SrcMAC: srcMAC, DstMAC: dstMAC, Src: addr(src), Dst: addr(dst), Protocol: traffic.ProtoUDP, SrcPort: 53, DstPort: 9, Length: 200}
}

// flood sends packets from a host's eth0 at a rate (packets per second; 0: all that goes) until stopped.
func flood(t *testing.T, rate float64, o lab.FloodOptions) *stream {
	t.Helper()
	o.Interface = "eth0"
	f, err := lab.NewFlood(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{Flood: f, cancel: cancel, done: make(chan error, 1)}
	go func() {
		_, err := f.Run(ctx, rate, 0)
		s.done <- err
	}()
	t.Cleanup(func() {
		s.stop(t)
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// stop ends the flood and returns when its last packet is out; it may be called again.
func (s *stream) stop(t *testing.T) {
	t.Helper()
	s.cancel()
	if err := <-s.done; err != nil {
		t.Error(err)
	}
	s.done <- nil
}

// more waits until n more packets are out.
func (s *stream) more(t *testing.T, n uint64) {
	t.Helper()
	sent := func() uint64 {
		sent, err := s.Sent()
		if err != nil {
			t.Fatal(err)
		}
		return sent
	}
	goal := sent() + n
	until(t, fmt.Sprintf("%d more packets of the flood", n), func() bool { return sent() >= goal })
}

// blocked checks that a flood of which nothing may pass does not come through to a host: a few frames are other traffic of the link's.
func (s *stream) blocked(t *testing.T, what string, h *lab.Host) {
	t.Helper()
	s.more(t, 1000) // those on the way, and the moment between the decision and its effect
	before := received(t, h)
	s.more(t, 10_000)
	if passed := received(t, h) - before; passed > 20 {
		t.Errorf("%s: %d of 10000 packets passed", what, passed)
	}
}

// passes waits until a flood comes through to a host.
func (s *stream) passes(t *testing.T, what string, h *lab.Host) {
	t.Helper()
	before := received(t, h)
	until(t, what, func() bool { return received(t, h) > before+500 })
}
