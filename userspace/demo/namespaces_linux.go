package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"weir/userspace/lab"
)

const (
	labPrefix = "weir-demo"

	// The flood is sent by one CPU, which keeps to the queue of its number and overfills it. Customers are spread over all of them,
	// as on real network cards: what they lose to that queue on the way to the scrubber is little, and nothing that a scrubber could save.
	wireQueues = 16
)

// whyUserSpace says why the kernel's story cannot be told; empty when it can be tried.
func whyUserSpace(opts Options) string {
	switch {
	case opts.UserSpace:
		return "as asked for"
	case os.Geteuid() != 0:
		return "network namespaces and XDP need root"
	}
	return whyNoFlood(liveFrames())
}

// whyNoFlood says what a probe for live frames means for the demo; empty when they can be sent.
func whyNoFlood(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ebpf.ErrNotSupported):
		return "this kernel is too old to send a flood in XDP live frames, which need Linux 5.18"
	}
	return fmt.Sprintf("XDP cannot be tried here (%v)", err)
}

// Values of linux/bpf.h.
const (
	xdpDrop        = 1      // XDP_DROP
	testLiveFrames = 1 << 1 // BPF_F_TEST_XDP_LIVE_FRAMES
)

// liveFrames reports why the kernel cannot send packets from an XDP program (ebpf.ErrNotSupported: it is too old); nil when it can.
func liveFrames() error {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "Dual BSD/GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpDrop), asm.Return()},
	})
	if err != nil {
		return fmt.Errorf("load XDP program: %w", err)
	}
	verdict, err := program.Run(&ebpf.RunOptions{Data: make([]byte, 64), Repeat: 1, Flags: testLiveFrames})
	switch {
	case errors.Is(err, unix.EINVAL):
		err = ebpf.ErrNotSupported
	case err == nil && verdict == xdpDrop: // a run in live frames has no verdict: the kernel has not looked at the flag
		err = ebpf.ErrNotSupported
	}
	return errors.Join(err, program.Close())
}

// town is the lab of the kernel's story: attacker and customers outside, the protected hosts inside, a scrubber on the wire between.
type town struct {
	scene                       scene
	lab                         *lab.Lab
	outside, scrubber, inside   *lab.Host
	server, neighbour           *lab.Server
	serverProbe, neighbourProbe *lab.Prober
	flood                       *lab.Flood
	router                      *router // nil: none
	noPorts                     uint64  // the victim's counter before the attack
}

// playNamespaces tells the story with real packets. Nothing of it is left when it returns.
func playNamespaces(ctx context.Context, t *teller, log *slog.Logger) (summary Summary, err error) {
	s := newScene()
	t.say("setup", "building namespaces %s-attacker, %s-scrubber and %s-victim", labPrefix, labPrefix, labPrefix)
	w, err := buildTown(ctx, s)
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, lab.ErrBusy) {
			return Summary{}, fmt.Errorf("set up demo: %w", err)
		}
		return Summary{}, fmt.Errorf("%w: %w", errNoNamespaces, err)
	}
	defer func() { err = errors.Join(err, w.close()) }()

	if w.router, err = openRouter(w); err != nil {
		t.say("setup", "without a router that is told of the attack: %v", err)
	}

	// The daemon ends before the namespaces do.
	b, running, err := startScrubber(ctx, s, w.scrubber, w.router != nil, log)
	if err != nil {
		return Summary{}, fmt.Errorf("%w: %w", errNoNamespaces, err)
	}
	defer func() { err = b.close(err) }()
	wire, err := b.describe(running)
	if err != nil {
		return Summary{}, err
	}
	t.say("setup", "the scrubber is a bump in the wire: %s", wire)
	if w.router != nil {
		if err := w.router.meet(running, b); err != nil {
			return Summary{}, err
		}
		t.say("setup", "a BIRD router in namespace %s-router, AS %d, has a BGP session with the daemon", labPrefix, routerAS)
	}
	if err := w.startTraffic(); err != nil {
		return Summary{}, fmt.Errorf("start traffic: %w", err)
	}
	t.say("setup", "customers are using %s and %s; a host is dropped above %s within %s", s.victim, s.neighbour, rate(thresholdPPS), window)
	return newDirector(w, b, t).play(running)
}

// buildTown makes hosts and links. The wire is one Ethernet segment: each side reaches the other's addresses directly.
func buildTown(ctx context.Context, s scene) (_ *town, err error) {
	// The context's end must not take the namespaces away under the scrubber: it detaches first, then town.close removes them.
	l, err := lab.New(context.WithoutCancel(ctx), labPrefix)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	w := &town{scene: s, lab: l}
	for _, h := range []struct {
		name string
		host **lab.Host
	}{{"attacker", &w.outside}, {"scrubber", &w.scrubber}, {"victim", &w.inside}} {
		if *h.host, err = l.Host(h.name); err != nil {
			return nil, err
		}
	}
	outsideMAC, insideMAC := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	outsideNet := netip.PrefixFrom(s.outside, 24)
	err = l.Link(w.outside, "eth0", w.scrubber, "outside", lab.LinkOptions{Queues: wireQueues, A: lab.End{MAC: outsideMAC, Addresses: []netip.Prefix{outsideNet}}})
	if err != nil {
		return nil, err
	}
	err = l.Link(w.scrubber, "inside", w.inside, "eth0", lab.LinkOptions{Queues: wireQueues, B: lab.End{MAC: insideMAC, Addresses: []netip.Prefix{
		netip.PrefixFrom(s.victim, s.network.Bits()), netip.PrefixFrom(s.neighbour, s.network.Bits()),
	}}})
	if err != nil {
		return nil, err
	}
	everything := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	err = errors.Join(
		w.outside.Route("eth0", s.network, netip.Addr{}),
		w.outside.Neighbour("eth0", s.victim, insideMAC),
		w.outside.Neighbour("eth0", s.neighbour, insideMAC),
		w.inside.Route("eth0", outsideNet, netip.Addr{}),
		w.inside.Neighbour("eth0", s.outside, outsideMAC),
	)
	if err != nil {
		return nil, err
	}
	if err = w.inside.Route("eth0", everything, s.outside); err != nil {
		return nil, err
	}
	template := s.floodFrame(0)
	template.SrcMAC, template.DstMAC = outsideMAC, insideMAC
	w.flood, err = lab.NewFlood(lab.FloodOptions{
		Frame: *template, Host: w.outside, Interface: "eth0", SrcPorts: 0xffff, Sources: lab.Addresses{Spread: lab.Random, Prefix: s.spoofed},
	})
	return w, err
}

func (w *town) startTraffic() (err error) {
	for _, p := range []struct {
		addr   netip.Addr
		server **lab.Server
		prober **lab.Prober
	}{{w.scene.victim, &w.server, &w.serverProbe}, {w.scene.neighbour, &w.neighbour, &w.neighbourProbe}} {
		addr := netip.AddrPortFrom(p.addr, servicePort)
		if *p.server, err = lab.Serve(w.inside, addr); err != nil {
			return err
		}
		if *p.prober, err = lab.Probe(w.outside, addr, lab.ProbeOptions{}); err != nil {
			return err
		}
	}
	w.noPorts, err = w.refusedDatagrams()
	return err
}

func (w *town) close() error {
	return errors.Join(w.lab.Close(), w.flood.Close())
}

// leaked is how many packets of the flood have reached the victim: nothing else sends datagrams to a port that nobody listens at.
func (w *town) leaked() (uint64, error) {
	n, err := w.refusedDatagrams()
	return n - w.noPorts, err
}

// refusedDatagrams is the victim's count of datagrams to ports that nobody listens at (Udp NoPorts of RFC 4113, udpNoPorts).
func (w *town) refusedDatagrams() (uint64, error) {
	return w.inside.Counter("Udp", "NoPorts")
}
