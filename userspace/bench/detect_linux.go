package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"weir/userspace/lab"
	"weir/userspace/traffic"
)

const (
	patience  = 10 * time.Second       // for a drop that should come within a fraction of a second
	afterDrop = 100 * time.Millisecond // the flood goes on for so long, to see that nothing passes any more
)

// Detect floods one host after the other behind a veth pair in network namespaces of its own, and prints how long the daemon
// takes from the first packet until the kernel drops them: as a table, or as one line of JSON. It needs root and Linux 5.18.
func Detect(ctx context.Context, o DetectOptions, out io.Writer) error {
	if err := o.complete(); err != nil {
		return err
	}
	if !o.JSON {
		if err := printf(out, "floods of %d packets a second against a threshold of %d over 1 s, native XDP on veth\n\n%4s  %-14s %12s %10s %10s\n",
			attackPPS, thresholdPPS, "run", "victim", "drop after", "sent", "leaked"); err != nil {
			return err
		}
	}
	var runs []Run
	err := measureDetect(ctx, o.Runs, func(victim netip.Addr, r Run) error {
		runs = append(runs, r)
		if o.Progress != nil {
			o.Progress(int64(len(runs)), int64(o.Runs))
		}
		if o.JSON {
			return nil
		}
		return printf(out, "%4d  %-14s %9.1f ms %10d %10d\n", len(runs), victim, float64(r.Latency.Microseconds())/1000, r.Sent, r.Leaked)
	})
	if err != nil {
		return fmt.Errorf("bench detect: %w", err)
	}
	d := summarize(runs)
	if o.JSON {
		return printLine(out, d)
	}
	return printf(out, "\nfirst packet to drop in force: median %.1f ms, 99th percentile %.1f ms; leaked packets: median %d, 99th percentile %d\n",
		d.P50, d.P99, d.LeakedP50, d.LeakedP99)
}

func measureDetect(ctx context.Context, count int, emit func(netip.Addr, Run) error) (err error) {
	// The context's end must not take the namespaces away under the daemon: it detaches first.
	l, err := lab.New(context.WithoutCancel(ctx), fmt.Sprintf("weir-bench-%d", os.Getpid()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	r, err := newProving(ctx, l, count)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	victim := victims().Addr()
	for range count {
		victim = victim.Next()
		run, err := r.run(ctx, victim)
		if err != nil {
			return fmt.Errorf("flood %s: %w", victim, err)
		}
		if err := emit(victim, run); err != nil {
			return err
		}
	}
	return nil
}

func victims() netip.Prefix   { return netip.MustParsePrefix("198.18.0.0/16") } // RFC 2544
func attackers() netip.Prefix { return netip.MustParsePrefix("198.19.0.0/16") }

// proving is the ground that floods are tried on: an attacker's host, and the one that the daemon guards.
type proving struct {
	attacker, target *lab.Host
	guard            *guard
}

func newProving(ctx context.Context, l *lab.Lab, count int) (*proving, error) {
	r, err := newGround(l)
	if err != nil {
		return nil, err
	}
	r.guard, err = startGuard(ctx, r.target, "eth0", count, "")
	return r, err
}

// newGround makes the hosts and the link, without a guard.
func newGround(l *lab.Lab) (_ *proving, err error) {
	r := &proving{}
	if r.attacker, err = l.Host("attacker"); err != nil {
		return nil, err
	}
	if r.target, err = l.Host("target"); err != nil {
		return nil, err
	}
	return r, l.Link(r.attacker, "eth0", r.target, "eth0", lab.LinkOptions{})
}

func (r *proving) close() error { return r.guard.close() }

// run floods a victim until it is dropped and a little longer.
func (r *proving) run(ctx context.Context, victim netip.Addr) (_ Run, err error) {
	options, err := r.options(victim)
	if err != nil {
		return Run{}, err
	}
	flood, err := lab.NewFlood(options)
	if err != nil {
		return Run{}, err
	}
	defer func() { err = errors.Join(err, flood.Close()) }()
	before, err := r.received()
	if err != nil {
		return Run{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := flood.Run(ctx, attackPPS, 0)
		ended <- err
	}()
	dropped, err := r.guard.wait(ctx, victim)
	if err == nil {
		// The flood goes on: what still came through would count as leaked.
		select {
		case <-time.After(afterDrop):
		case <-ctx.Done():
		}
	}
	cancel()
	if err := errors.Join(err, <-ended); err != nil {
		return Run{}, err
	}
	return r.result(flood, before, dropped)
}

func (r *proving) result(flood *lab.Flood, before uint64, dropped time.Time) (run Run, err error) {
	first, err := flood.FirstPacket()
	if err != nil {
		return Run{}, err
	}
	if run.Sent, err = flood.Sent(); err != nil {
		return Run{}, err
	}
	after, err := r.received()
	if err != nil {
		return Run{}, err
	}
	run.Latency, run.Leaked = dropped.Sub(first), after-before
	if run.Latency <= 0 {
		return Run{}, fmt.Errorf("the drop was in force %s before the first packet", -run.Latency)
	}
	if run.Leaked >= run.Sent {
		return Run{}, fmt.Errorf("%d packets were sent and %d passed: the drop was not in force", run.Sent, run.Leaked)
	}
	return run, nil
}

// options describes UDP packets from spoofed addresses.
func (r *proving) options(victim netip.Addr) (o lab.FloodOptions, err error) {
	var frame lab.Frame
	if frame.SrcMAC, err = r.attacker.MAC("eth0"); err != nil {
		return o, err
	}
	if frame.DstMAC, err = r.target.MAC("eth0"); err != nil {
		return o, err
	}
	frame.Src, frame.Dst = attackers().Addr().Next(), victim
	frame.Protocol, frame.SrcPort, frame.DstPort = traffic.ProtoUDP, 53, 9
	return lab.FloodOptions{
		Frame: frame, Sources: lab.Addresses{Spread: lab.Random, Prefix: attackers()}, SrcPorts: 0xffff, Host: r.attacker, Interface: "eth0",
	}, nil
}

// received is how many IPv4 packets have reached the target's stack (Ip InReceives of RFC 4293): nothing but floods is sent there.
func (r *proving) received() (uint64, error) {
	return r.target.Counter("Ip", "InReceives")
}
