package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/userspace/lab"
	"weir/userspace/traffic"
)

const (
	labPrefix     = "weir-demo"
	measureEveryT = 250 * time.Millisecond
)

// whyUserSpace says why the kernel's story cannot be told; empty when it can be tried.
func whyUserSpace(opts Options) string {
	switch {
	case opts.UserSpace:
		return "as asked for"
	case os.Geteuid() != 0:
		return "network namespaces and XDP need root"
	}
	return ""
}

// town is the lab of the kernel's story: attacker and customers outside, the protected hosts inside, a scrubber on the wire between.
type town struct {
	scene                       scene
	lab                         *lab.Lab
	outside, scrubber, inside   *lab.Host
	server, neighbour           *lab.Server
	serverProbe, neighbourProbe *lab.Prober
	flood                       *lab.Flood
	noPorts                     uint64 // the victim's counter before the attack
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

	// The scrubber ends before its namespaces do.
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	b, err := startScrubber(ctx, group, s, w.scrubber, log)
	if err != nil {
		cancel()
		err = errors.Join(err, ignoreCancel(group.Wait()))
		return Summary{}, fmt.Errorf("%w: %w", errNoNamespaces, err)
	}
	defer func() {
		cancel()
		err = errors.Join(err, ignoreCancel(group.Wait()), b.close())
	}()
	t.say("setup", "the scrubber is a bump in the wire: %s", b.describe())
	if err := w.startTraffic(); err != nil {
		return Summary{}, fmt.Errorf("start traffic: %w", err)
	}
	t.say("setup", "customers are using %s and %s; a host is dropped above %s within %s", s.victim, s.neighbour, rate(thresholdPPS), window)
	d := &director{town: w, bump: b, teller: t, story: story{teller: t, scene: s}, engine: newEngine(s, b.plane(), time.Now)}
	return d.play(ctx)
}

func ignoreCancel(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
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
	err = l.Link(w.outside, "eth0", w.scrubber, "outside", lab.LinkOptions{A: lab.End{MAC: outsideMAC, Addresses: []netip.Prefix{outsideNet}}})
	if err != nil {
		return nil, err
	}
	err = l.Link(w.scrubber, "inside", w.inside, "eth0", lab.LinkOptions{B: lab.End{MAC: insideMAC, Addresses: []netip.Prefix{
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

// director plays the story's parts in their order.
type director struct {
	town   *town
	bump   *bump
	teller *teller
	story  story
	engine *engine

	lastCounts   traffic.Counts
	lastMeasured time.Time
}

func (d *director) play(ctx context.Context) (Summary, error) {
	w := d.town
	if err := d.run(ctx, calmTime, func() bool { return false }); err != nil {
		return Summary{}, err
	}
	if w.serverProbe.Stats().OK == 0 || w.neighbourProbe.Stats().OK == 0 {
		return Summary{}, fmt.Errorf("no ordinary request was answered before the attack: %w", errors.Join(w.serverProbe.Stats().Last, w.neighbourProbe.Stats().Last))
	}
	before := w.neighbourProbe.Stats()
	d.teller.say("attack", "the flood begins: UDP from spoofed addresses to %s, as fast as this machine can", w.scene.victim)
	began, took, err := d.attack(ctx)
	if err != nil {
		return Summary{}, err
	}
	sent, err := w.flood.Sent()
	if err != nil {
		return Summary{}, err
	}
	during := w.neighbourProbe.Stats()
	d.teller.say("attack_stopped", "the flood of %d packets stops after %.1f s", sent, time.Since(began).Seconds())
	if err := d.run(ctx, patience, func() bool { return !d.story.released.IsZero() }); err != nil {
		return Summary{}, err
	}
	released := w.serverProbe.Stats()
	if err := d.run(ctx, afterTime, func() bool { return false }); err != nil {
		return Summary{}, err
	}
	leaked, err := w.leaked()
	if err != nil {
		return Summary{}, err
	}
	ok := share(during.OK-before.OK, during.Failed-before.Failed) >= servedShare && w.serverProbe.Stats().OK > released.OK
	return d.story.summary(sent, leaked, float64(sent)/took.Seconds(), ok), nil
}

// attack floods for its time, reading and judging meanwhile.
func (d *director) attack(ctx context.Context) (began time.Time, took time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began = time.Now()
	done := make(chan error, 1)
	go func() {
		flooding, stop := context.WithTimeout(ctx, attackTime)
		defer stop()
		_, err := d.town.flood.Run(flooding, 0, 0)
		took = time.Since(began)
		done <- err
	}()
	var floodErr error
	over := false
	err = d.run(ctx, attackTime+patience, func() bool {
		if !over {
			select {
			case floodErr = <-done:
				over = true
			default:
			}
		}
		return over
	})
	if !over {
		cancel()
		floodErr = <-done
	}
	return began, took, errors.Join(err, floodErr)
}

// run reads and judges for the given time, or until done.
func (d *director) run(ctx context.Context, duration time.Duration, done func() bool) error {
	tick := time.NewTicker(readInterval)
	defer tick.Stop()
	for end := time.Now().Add(duration); time.Now().Before(end) && !done(); {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		turns, err := d.engine.step()
		if err != nil {
			return err
		}
		if d.story.first.IsZero() {
			if d.story.first, err = d.town.flood.FirstPacket(); err != nil {
				return err
			}
		}
		d.story.take(turns)
		if time.Since(d.lastMeasured) >= measureEveryT {
			if err := d.measure(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *director) measure() error {
	now := time.Now()
	span := now.Sub(d.lastMeasured).Seconds()
	slot, _ := d.engine.plane.locate(d.story.scene.victim)
	counts := d.engine.meter.Total(slot, traffic.Incoming)
	change := counts
	change.Sub(&d.lastCounts)
	first := d.lastMeasured.IsZero()
	d.lastCounts, d.lastMeasured = counts, now
	if first {
		return nil
	}
	leaked, err := d.town.leaked()
	if err != nil {
		return err
	}
	victim, neighbour := d.town.serverProbe.Stats(), d.town.neighbourProbe.Stats()
	d.teller.measured(measurement{
		IncomingPPS: float64(change.Total.Packets) / span, DroppedPPS: float64(change.Dropped.Packets) / span, Leaked: leaked,
		VictimOK: victim.OK, VictimFailed: victim.Failed, NeighbourOK: neighbour.OK, NeighbourFailed: neighbour.Failed,
	})
	return nil
}

// leaked is how many packets of the flood have reached the victim: nothing else sends datagrams to a port that nobody listens at.
func (w *town) leaked() (uint64, error) {
	n, err := w.refusedDatagrams()
	return n - w.noPorts, err
}
