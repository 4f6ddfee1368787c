package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"weir/userspace/api"
	"weir/userspace/api/weirpb"
	"weir/userspace/api/weirpb/weirpbconnect"
	"weir/userspace/daemon"
	"weir/userspace/lab"
	"weir/userspace/traffic"
)

const (
	pins          = "/sys/fs/bpf/" + labPrefix
	turnsHeld     = 16 // more than a story has
	answerTimeout = 5 * time.Second
)

// scrubber is the daemon as `weir run` runs it, with two interfaces in another namespace joined in XDP, and what its API tells of it.
type scrubber struct {
	victim    netip.Addr
	folder    string // configuration, socket, store
	namespace *os.File
	client    weirpbconnect.WeirClient
	turns     chan turning // of the victim
	cancel    context.CancelFunc
	group     *errgroup.Group
}

// startScrubber returns once the daemon has attached and its attacks are watched. The context that it returns ends with the daemon.
func startScrubber(ctx context.Context, s scene, host *lab.Host, router bool, log *slog.Logger) (_ *scrubber, _ context.Context, err error) {
	b := &scrubber{victim: s.victim, turns: make(chan turning, turnsHeld)}
	ctx, b.cancel = context.WithCancel(ctx)
	group, running := errgroup.WithContext(ctx)
	b.group = group
	defer func() {
		if err != nil {
			err = b.close(err)
		}
	}()
	// Only one demo can have the namespaces, so what is pinned there is of one that was killed.
	if err := os.RemoveAll(pins); err != nil {
		return nil, nil, fmt.Errorf("remove pins of an earlier demo: %w", err)
	}
	if b.folder, err = os.MkdirTemp("", labPrefix+"-"); err != nil {
		return nil, nil, fmt.Errorf("make folder for the daemon: %w", err)
	}
	config := filepath.Join(b.folder, "weir.yaml")
	if err := os.WriteFile(config, []byte(configuration(s, b.folder, router)), 0o600); err != nil {
		return nil, nil, fmt.Errorf("write configuration: %w", err)
	}
	if b.namespace, err = host.Open(); err != nil {
		return nil, nil, err
	}
	ready := make(chan struct{})
	b.group.Go(func() error {
		return daemon.Run(running, daemon.Options{
			ConfigPath: config, Log: log, Namespace: b.namespace, Ready: func() { close(ready) }, InForce: b.inForce,
		})
	})
	select {
	case <-ready:
	case <-running.Done():
		return nil, nil, running.Err()
	}
	if b.client, err = api.Dial(running, socket(b.folder)); err != nil {
		return nil, nil, err
	}
	if err := b.watch(running); err != nil {
		return nil, nil, err
	}
	return b, running, nil
}

func socket(folder string) string { return filepath.Join(folder, "weir.sock") }

// configuration is that of a daemon that nobody else meets, and otherwise the defaults.
func configuration(s scene, folder string, router bool) string {
	actions, bgp := "drop", ""
	if router {
		actions, bgp = "drop, rtbh", bgpConfiguration()
	}
	return fmt.Sprintf(`interfaces:
  - {name: outside, role: wire, pair: inside}
  - {name: inside, role: wire, pair: outside}
networks:
  prefixes: [%s]
hostgroups:
  default:
    thresholds:
      incoming: {pps: %d}
    window: %s
    quiet: %s
    actions: [%s]
    ban_time: %s
detection: {warm_up: %s}
api: {socket: %q, group: ""}
prometheus: {listen: off}
store: {path: %q}
pin: {path: %s, on_stop: detach}
%s`, s.network, thresholdPPS, window, quiet, actions, banTime, window, socket(folder), filepath.Join(folder, "weir.db"), pins, bgp)
}

// inForce is called by the daemon's main loop, so it must not wait. A full queue has nothing to lose but renewals of the drop.
func (b *scrubber) inForce(target traffic.Target, at, until time.Time) {
	if target.Scope != traffic.ScopeHost || target.Prefix.Addr() != b.victim || target.Direction != traffic.Incoming {
		return
	}
	t := turning{turn: turnDropped, at: at}
	if until.IsZero() {
		t.turn = turnReleased
	}
	select {
	case b.turns <- t:
	default:
	}
}

// watch begins to follow the daemon's attacks; it is in place when it returns.
func (b *scrubber) watch(ctx context.Context) error {
	stream, err := b.open(ctx)
	if err != nil {
		return err
	}
	b.group.Go(func() error {
		err := b.follow(ctx, stream)
		if ctx.Err() != nil {
			return nil // the daemon ends its streams when it stops
		}
		return err
	})
	return nil
}

// open begins a watch, and takes what has come before it to the story.
func (b *scrubber) open(ctx context.Context) (*attackStream, error) {
	stream, err := b.client.WatchAttacks(ctx, connect.NewRequest(&weirpb.WatchAttacksRequest{}))
	if err != nil {
		return nil, fmt.Errorf("watch attacks: %w", err)
	}
	if !stream.Receive() { // the first message says that the watch is in place
		return nil, fmt.Errorf("watch attacks: %w", errors.Join(ended(stream.Err()), stream.Close()))
	}
	asking, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	known, err := b.client.Attacks(asking, connect.NewRequest(&weirpb.AttacksRequest{}))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ask daemon for attacks: %w", err), stream.Close())
	}
	for _, a := range known.Msg.GetAttacks() {
		if err := b.tell(ctx, a); err != nil {
			return nil, errors.Join(err, stream.Close())
		}
	}
	return stream, nil
}

type attackStream = connect.ServerStreamForClient[weirpb.WatchAttacksResponse]

// follow takes what the daemon says about the victim's attack to the story.
func (b *scrubber) follow(ctx context.Context, stream *attackStream) error {
	for stream.Receive() {
		if err := b.tell(ctx, stream.Msg().GetAttack()); err != nil {
			return errors.Join(err, stream.Close())
		}
	}
	return errors.Join(fmt.Errorf("watch attacks: %w", ended(stream.Err())), stream.Close())
}

// tell takes what an attack has come to so far to the story.
func (b *scrubber) tell(ctx context.Context, a *weirpb.Attack) error {
	for _, t := range b.turnsOf(a) {
		select {
		case b.turns <- t:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// ended says why a stream has ended.
func ended(err error) error {
	if err == nil {
		return errors.New("the daemon has ended it")
	}
	return err
}

// turnsOf is what an attack has come to so far; nothing when it is not the victim's.
func (b *scrubber) turnsOf(a *weirpb.Attack) []turning {
	if a.GetTarget() != b.victim.String() || a.GetDirection() != weirpb.Direction_DIRECTION_INCOMING {
		return nil
	}
	turns := []turning{{turn: turnDetected, at: a.GetDetected().AsTime(), trip: tripOf(a)}}
	if a.GetEnded() != nil {
		turns = append(turns, turning{turn: turnEnded, at: a.GetEnded().AsTime()})
	}
	return turns
}

// tripOf reads the threshold that was crossed.
func tripOf(a *weirpb.Attack) traffic.Trip {
	if a.GetMetric() == weirpb.Metric_METRIC_UNSPECIFIED {
		return traffic.Trip{}
	}
	metric := traffic.Metric(a.GetMetric() - 1)
	return traffic.Trip{
		Metric: metric, Count: a.GetCounted(), Window: a.GetWindow().AsDuration(),
		Value: a.GetValue() * metric.Scale(), Limit: a.GetThreshold() * metric.Scale(),
	}
}

// describe names the interfaces and how they are attached.
func (b *scrubber) describe(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	status, err := b.client.Status(ctx, connect.NewRequest(&weirpb.StatusRequest{}))
	if err != nil {
		return "", fmt.Errorf("ask daemon for its status: %w", err)
	}
	var parts []string
	for _, i := range status.Msg.GetInterfaces() {
		parts = append(parts, fmt.Sprintf("%s -> %s (%s)", i.GetName(), i.GetPair(), i.GetWhy()))
	}
	return strings.Join(parts, ", "), nil
}

// received is how many packets the victim was sent since the beginning, and how many of them were dropped.
func (b *scrubber) received(ctx context.Context) (packets, dropped uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	answer, err := b.client.Hosts(ctx, connect.NewRequest(&weirpb.HostsRequest{
		Direction: weirpb.Direction_DIRECTION_INCOMING, Prefix: b.victim.String(), Limit: 1,
	}))
	if err != nil {
		return 0, 0, fmt.Errorf("ask daemon for %s: %w", b.victim, err)
	}
	for _, h := range answer.Msg.GetHosts() {
		packets += h.GetTotal().GetTotal().GetPackets()
		dropped += h.GetTotal().GetDropped().GetPackets()
	}
	return packets, dropped, nil
}

// close ends the daemon and removes what was its own. It adds to err what goes wrong with that; a context's end that the daemon's
// own failure has caused gives way to that failure.
func (b *scrubber) close(err error) error {
	b.cancel()
	if cause := b.group.Wait(); cause != nil {
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		err = errors.Join(err, cause)
	}
	if b.namespace != nil {
		err = errors.Join(err, b.namespace.Close())
	}
	if b.folder != "" {
		err = errors.Join(err, os.RemoveAll(b.folder))
	}
	return errors.Join(err, os.RemoveAll(pins))
}
