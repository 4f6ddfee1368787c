package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weir/userspace/daemon"
	"weir/userspace/lab"
	"weir/userspace/traffic"
)

// guard is the daemon as `weir run` runs it, with a configuration of its own and its interface inside the target's namespace.
type guard struct {
	folder    string // configuration, socket, store
	pins      string
	namespace *os.File
	drops     chan drop
	cancel    context.CancelFunc
	ended     chan error // closed, after the error, when the daemon has returned
}

// drop is a verdict that the kernel has begun to enforce.
type drop struct {
	target traffic.Target
	at     time.Time
}

// startGuard returns once the daemon has attached and would see an attack. With a configuration of BGP, attacks are blackholed by
// its action "rtbh", too.
func startGuard(ctx context.Context, target *lab.Host, ifname string, bans int, bgp string) (_ *guard, err error) {
	g := &guard{pins: fmt.Sprintf("/sys/fs/bpf/weir-bench-%d", os.Getpid()), drops: make(chan drop, 2*bans), ended: make(chan error, 1)}
	close(g.ended)
	ctx, g.cancel = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	if g.folder, err = os.MkdirTemp("", "weir-bench-"); err != nil {
		return nil, fmt.Errorf("make folder for the daemon: %w", err)
	}
	path := filepath.Join(g.folder, "weir.yaml")
	if err := os.WriteFile(path, []byte(g.configuration(ifname, bans, bgp)), 0o600); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	if g.namespace, err = target.Open(); err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	g.ended = make(chan error, 1)
	go func() {
		defer close(g.ended)
		g.ended <- daemon.Run(ctx, daemon.Options{
			ConfigPath: path, Namespace: g.namespace, Ready: func() { close(ready) }, InForce: g.inForce,
		})
	}()
	select {
	case <-ready:
	case err := <-g.ended:
		return nil, fmt.Errorf("start daemon: %w", err)
	}
	select {
	case <-time.After(settle):
		return g, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

const (
	warmUp = 500 * time.Millisecond // in which the daemon sees no attacks
	settle = warmUp + 500*time.Millisecond
)

// configuration is that of a daemon that nobody else meets, with the threshold that is measured and otherwise the defaults.
func (g *guard) configuration(ifname string, bans int, bgp string) string {
	actions := "drop"
	if bgp != "" {
		actions = "drop, rtbh"
	}
	return strings.NewReplacer(
		"IFNAME", ifname, "NETWORK", victims().String(), "PPS", fmt.Sprint(thresholdPPS), "FOLDER", g.folder,
		"PINS", g.pins, "WARMUP", warmUp.String(), "BANS", fmt.Sprint(bans+1), "ACTIONS", actions,
	).Replace(`interfaces:
  - {name: IFNAME, mode: native, role: host}
networks:
  prefixes: [NETWORK]
hostgroups:
  default:
    actions: [ACTIONS]
    window: 1s
    thresholds:
      incoming: {pps: PPS}
detection: {warm_up: WARMUP}
mitigation: {max_active: BANS, max_per_minute: BANS}
api: {socket: FOLDER/weir.sock, group: ""}
prometheus: {listen: off}
store: {path: FOLDER/weir.db}
pin: {path: PINS, on_stop: detach}
`) + bgp
}

// inForce is called by the daemon's main loop, so it must not wait. Each victim is reported once or, when its verdict is
// renewed, again: then a full channel has nothing to lose.
func (g *guard) inForce(target traffic.Target, at, until time.Time) {
	if until.IsZero() {
		return
	}
	select {
	case g.drops <- drop{target, at}:
	default:
	}
}

// wait returns when the packets to victim began to be dropped.
func (g *guard) wait(ctx context.Context, victim netip.Addr) (time.Time, error) {
	for {
		select {
		case d := <-g.drops:
			if d.target.Prefix.IsSingleIP() && d.target.Prefix.Addr() == victim && d.target.Direction == traffic.Incoming {
				return d.at, nil
			}
		case err := <-g.ended:
			return time.Time{}, fmt.Errorf("the daemon has ended: %w", err)
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("no drop in time: %w", ctx.Err())
		}
	}
}

// close ends the daemon and removes what was its own.
func (g *guard) close() error {
	g.cancel()
	var errs []error
	for err := range g.ended {
		if !errors.Is(err, context.Canceled) {
			errs = append(errs, err)
		}
	}
	if g.namespace != nil {
		errs = append(errs, g.namespace.Close())
	}
	if g.folder != "" {
		errs = append(errs, os.RemoveAll(g.folder))
	}
	if err := os.Remove(g.pins); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
