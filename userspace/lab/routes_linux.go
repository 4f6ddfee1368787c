package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routesHeld is how many changes of routes wait for their reader before the kernel's own queue fills.
const routesHeld = 256

// WatchRoutes tells of every change of the host's kernel routes from now on, as it happens. The channel is closed when ctx ends, or
// when the kernel has lost changes because nobody took them.
func (h *Host) WatchRoutes(ctx context.Context) (<-chan RouteChange, error) {
	updates, done := make(chan netlink.RouteUpdate), make(chan struct{})
	err := h.Do(func() error { return netlink.RouteSubscribe(updates, done) })
	if err != nil {
		close(done)
		return nil, fmt.Errorf("watch routes of %s: %w", h.name, err)
	}
	changes := make(chan RouteChange, routesHeld)
	go func() {
		defer close(changes)
		defer func() {
			close(done)
			for range updates { // until the subscription has seen it
			}
		}()
		for {
			select {
			case <-ctx.Done():
				return
			case u, open := <-updates:
				if !open {
					return
				}
				change, ok := changeOf(u)
				if !ok {
					continue
				}
				select {
				case changes <- change:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return changes, nil
}

func changeOf(u netlink.RouteUpdate) (RouteChange, bool) {
	if u.Dst == nil {
		return RouteChange{}, false // a default route
	}
	address, ok := netip.AddrFromSlice(u.Dst.IP)
	if !ok {
		return RouteChange{}, false
	}
	bits, _ := u.Dst.Mask.Size()
	return RouteChange{Prefix: netip.PrefixFrom(address.Unmap(), bits), Removed: u.Type == unix.RTM_DELROUTE, At: time.Now()}, true
}
