package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"connectrpc.com/connect"

	"weir/userspace/api"
	"weir/userspace/api/weirpb"
	"weir/userspace/api/weirpb/weirpbconnect"
	"weir/userspace/lab"
)

const sessionUp = 20 * time.Second // within which the router must have its session

// BGP floods one host after the other as Detect does, with a BIRD router in a namespace of its own that the daemon has a session
// with, and prints how long each blackhole takes from the detection into the router's tables, the kernel's after BIRD's: as a
// table, or as one line of JSON. It needs root, Linux 5.18 and BIRD 2 (lab.ErrNoBird).
func BGP(ctx context.Context, o BGPOptions, out io.Writer) error {
	if err := o.complete(); err != nil {
		return err
	}
	if !o.JSON {
		if err := printf(out, "floods of %d packets a second against a threshold of %d; blackholes announced to BIRD\n\n%4s  %-14s %12s\n",
			attackPPS, thresholdPPS, "run", "victim", "route after"); err != nil {
			return err
		}
	}
	var latencies []time.Duration
	err := measureBGP(ctx, o.Runs, func(victim netip.Addr, latency time.Duration) error {
		latencies = append(latencies, latency)
		if o.Progress != nil {
			o.Progress(int64(len(latencies)), int64(o.Runs))
		}
		if o.JSON {
			return nil
		}
		return printf(out, "%4d  %-14s %9.1f ms\n", len(latencies), victim, float64(latency.Microseconds())/1000)
	})
	if err != nil {
		return fmt.Errorf("bench bgp: %w", err)
	}
	a := summarizeBGP(latencies)
	if o.JSON {
		return printLine(out, a)
	}
	return printf(out, "\ndetection to the route in the router's tables: median %.1f ms, 99th percentile %.1f ms\n", a.P50, a.P99)
}

func measureBGP(ctx context.Context, count int, emit func(netip.Addr, time.Duration) error) (err error) {
	// The context's end must not take the namespaces away under the daemon: it detaches first.
	l, err := lab.New(context.WithoutCancel(ctx), fmt.Sprintf("weir-bench-%d", os.Getpid()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	r, err := newRouted(watching, l, count)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	victim := victims().Addr()
	for range count {
		victim = victim.Next()
		latency, err := r.run(ctx, victim)
		if err != nil {
			return fmt.Errorf("flood %s: %w", victim, err)
		}
		if err := emit(victim, latency); err != nil {
			return err
		}
	}
	return nil
}

// routed is the ground that floods are tried on, with a router that the guard has a session with.
type routed struct {
	*proving
	bird    *lab.Bird
	changes <-chan lab.RouteChange // of the router's kernel
	client  weirpbconnect.WeirClient
}

func newRouted(ctx context.Context, l *lab.Lab, count int) (_ *routed, err error) {
	p, err := newGround(l)
	if err != nil {
		return nil, err
	}
	r := &routed{proving: p}
	router, err := l.Host("router")
	if err != nil {
		return nil, err
	}
	s := newSession()
	if err := l.Link(p.target, "bgp0", router, "eth0", lab.LinkOptions{
		A: lab.End{Addresses: []netip.Prefix{s.guard}}, B: lab.End{Addresses: []netip.Prefix{s.router}},
	}); err != nil {
		return nil, err
	}
	r.bird, err = lab.StartBird(router, lab.BirdPeer{
		Address: s.router.Addr(), AS: s.routerAS, Neighbour: s.guard.Addr(), NeighbourAS: s.guardAS, Blackhole: s.community,
	}.Config())
	if err != nil {
		return nil, err
	}
	if r.changes, err = router.WatchRoutes(ctx); err != nil {
		return nil, err
	}
	if r.guard, err = startGuard(ctx, p.target, "eth0", count, s.configuration()); err != nil {
		return nil, err
	}
	if err := r.meet(ctx); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// meet waits for the session.
func (r *routed) meet(ctx context.Context) (err error) {
	if r.client, err = api.Dial(ctx, filepath.Join(r.guard.folder, "weir.sock")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sessionUp)
	defer cancel()
	return r.bird.Await(ctx, "weir: State changed to up")
}

// run floods a victim until its blackhole is in the router's tables, takes it back, and returns how long it took from the detection.
func (r *routed) run(ctx context.Context, victim netip.Addr) (_ time.Duration, err error) {
	options, err := r.options(victim)
	if err != nil {
		return 0, err
	}
	flood, err := lab.NewFlood(options)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, flood.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	flooding, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		_, err := flood.Run(flooding, attackPPS, 0)
		ended <- err
	}()
	there, err := r.await(ctx, victim, false)
	stop()
	if err := errors.Join(err, <-ended); err != nil {
		return 0, err
	}
	detected, err := r.detected(ctx, victim)
	if err != nil {
		return 0, err
	}
	if _, err := r.client.Unban(ctx, connect.NewRequest(&weirpb.UnbanRequest{Target: victim.String()})); err != nil {
		return 0, fmt.Errorf("unban: %w", err)
	}
	if _, err := r.await(ctx, victim, true); err != nil {
		return 0, err
	}
	if latency := there.Sub(detected); latency > 0 {
		return latency, nil
	}
	return 0, fmt.Errorf("the route was there %s before the detection", detected.Sub(there))
}

// await returns when the victim's route came or, removed, went.
func (r *routed) await(ctx context.Context, victim netip.Addr, removed bool) (time.Time, error) {
	what := "no route in the router's tables in time"
	if removed {
		what = "the route has not gone from the router's tables in time"
	}
	for {
		select {
		case change, open := <-r.changes:
			if !open {
				return time.Time{}, errors.New("the router's kernel tells of routes no more")
			}
			if change.Prefix == netip.PrefixFrom(victim, victim.BitLen()) && change.Removed == removed {
				return change.At, nil
			}
		case err := <-r.guard.ended:
			return time.Time{}, fmt.Errorf("the daemon has ended: %w", err)
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("%s: %w", what, ctx.Err())
		}
	}
}

// detected is when the daemon saw the attack on a victim.
func (r *routed) detected(ctx context.Context, victim netip.Addr) (time.Time, error) {
	known, err := r.client.Attacks(ctx, connect.NewRequest(&weirpb.AttacksRequest{}))
	if err != nil {
		return time.Time{}, fmt.Errorf("ask daemon for attacks: %w", err)
	}
	for _, a := range known.Msg.GetAttacks() {
		if a.GetTarget() == victim.String() {
			return a.GetDetected().AsTime(), nil
		}
	}
	return time.Time{}, errors.New("the daemon knows no attack")
}
