package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"weir/userspace/lab"
)

const (
	daemonAS, routerAS = 64512, 64513 // private (RFC 6996)
	blackhole          = 65535<<16 | 666
	meetTimeout        = 15 * time.Second // for the BGP session
)

// Both ends of the link between daemon and router (RFC 5737).
func daemonEnd() netip.Prefix { return netip.MustParsePrefix("192.0.2.1/30") }
func routerEnd() netip.Prefix { return netip.MustParsePrefix("192.0.2.2/30") }

// router is a BIRD on a link of its own to the scrubber. No packet of the story goes through it: what counts is its table.
type router struct {
	host *lab.Host
	bird *lab.Bird
}

// openRouter makes the router's host and starts BIRD in it. It ends with the lab.
func openRouter(w *town) (_ *router, err error) {
	r := &router{}
	if r.host, err = w.lab.Host("router"); err != nil {
		return nil, err
	}
	if err := w.lab.Link(w.scrubber, "bgp", r.host, "eth0", lab.LinkOptions{
		A: lab.End{Addresses: []netip.Prefix{daemonEnd()}}, B: lab.End{Addresses: []netip.Prefix{routerEnd()}},
	}); err != nil {
		return nil, err
	}
	r.bird, err = lab.StartBird(r.host, lab.BirdPeer{
		Address: routerEnd().Addr(), AS: routerAS, Neighbour: daemonEnd().Addr(), NeighbourAS: daemonAS, Blackhole: blackhole,
	}.Config())
	if err != nil {
		return nil, err
	}
	return r, nil
}

// bgpConfiguration is the daemon's side of the session.
func bgpConfiguration() string {
	return fmt.Sprintf(`bgp:
  router_id: %[1]s
  as: %[2]d
  peers: [{name: router, address: %[3]s, as: %[4]d, local_address: %[1]s, families: [ipv4-unicast]}]
  actions: {rtbh: {kind: blackhole, next_hop: {ipv4: %[1]s, ipv6: off}, communities: [blackhole, no-export]}}
`, daemonEnd().Addr(), daemonAS, routerEnd().Addr(), routerAS)
}

// meet waits for the session, and takes what becomes of the victim's route in the router's kernel, which has it from BIRD, to the
// story from then on.
func (r *router) meet(ctx context.Context, b *scrubber) error {
	changes, err := r.host.WatchRoutes(ctx)
	if err != nil {
		return err
	}
	b.group.Go(func() error {
		for change := range changes {
			turn, ok := turnOf(change, b.victim)
			if !ok {
				continue
			}
			select {
			case b.turns <- turn:
			case <-ctx.Done():
				return nil
			}
		}
		if ctx.Err() == nil {
			return errors.New("watch the router's routes: the kernel tells of them no more")
		}
		return nil
	})
	waiting, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	return r.bird.Await(waiting, "weir: State changed to up")
}

func turnOf(change lab.RouteChange, victim netip.Addr) (turning, bool) {
	if change.Prefix != netip.PrefixFrom(victim, victim.BitLen()) {
		return turning{}, false
	}
	if change.Removed {
		return turning{turn: turnWithdrawn, at: change.At}, true
	}
	return turning{turn: turnAnnounced, at: change.At}, true
}
