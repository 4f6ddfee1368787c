package netsource

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// receiveBuffer, in bytes, holds the news of thousands of addresses that come at once; the kernel cuts it to net.core.rmem_max.
	receiveBuffer = 1 << 20
	// maxBreaks is how often in a row, without any news between, the stream of news may break.
	maxBreaks = 10
	// maxInterrupted is how often in a row reading the addresses may be interrupted by changes.
	maxInterrupted = 100
)

// run reads the whole set again after each burst of news instead of applying it piece by piece: a lost message then costs nothing,
// and nothing has to be known about what the kernel says of addresses that replace others.
func (l *Local) run(ctx context.Context) error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	defer handle.Close()
	set := known{update: l.update}
	for breaks := 0; ; breaks++ {
		news, err := subscribe()
		if err != nil {
			return fmt.Errorf("subscribe to address changes: %w", err)
		}
		heard, err := l.follow(ctx, handle, news, &set)
		broken := news.stop()
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return nil
		case heard:
			breaks = 0
		case breaks == maxBreaks:
			return fmt.Errorf("receive address changes: %w", broken)
		}
		l.log.Warn("address changes may be lost, reading all addresses again", "error", broken)
	}
}

// follow reports the addresses now and after each burst of news, until ctx ends or the stream breaks; heard: there was news.
func (l *Local) follow(ctx context.Context, handle *netlink.Handle, news *subscription, set *known) (heard bool, err error) {
	for open := true; open; {
		now, err := addresses(handle, l.options)
		if err != nil {
			return heard, err
		}
		set.is(now)
		select {
		case <-ctx.Done():
			return heard, nil
		case _, open = <-news.updates:
			heard = heard || open
		}
		for more := true; more && open; {
			select {
			case _, open = <-news.updates:
			default:
				more = false
			}
		}
	}
	return heard, nil
}

// subscription is a stream of address changes. The updates are closed when it breaks.
type subscription struct {
	updates chan netlink.AddrUpdate
	done    chan struct{}
	broken  error // written by the library's goroutine, to be read when updates is closed
}

func subscribe() (*subscription, error) {
	s := &subscription{updates: make(chan netlink.AddrUpdate, 64), done: make(chan struct{})}
	err := netlink.AddrSubscribeWithOptions(s.updates, s.done, netlink.AddrSubscribeOptions{
		ErrorCallback:     func(err error) { s.broken = err },
		ReceiveBufferSize: receiveBuffer,
	})
	return s, err
}

// stop ends the subscription, waits for its goroutine, and returns why it broke if it did.
func (s *subscription) stop() error {
	close(s.done)
	for range s.updates {
	}
	return s.broken
}

func readLocal(options LocalOptions) ([]netip.Prefix, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	defer handle.Close()
	return addresses(handle, options)
}

// addresses returns all global addresses that work: one that another machine already has (RFC 4862 section 5.4) is not ours.
func addresses(handle *netlink.Handle, options LocalOptions) ([]netip.Prefix, error) {
	var without []int
	if options.WithoutLoopback {
		links, err := whole(handle.LinkList)
		if err != nil {
			return nil, fmt.Errorf("read network interfaces: %w", err)
		}
		for _, link := range links {
			if link.Attrs().Flags&net.FlagLoopback != 0 {
				without = append(without, link.Attrs().Index)
			}
		}
	}
	list, err := whole(func() ([]netlink.Addr, error) { return handle.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("read local addresses: %w", err)
	}
	var addrs []netip.Addr
	for _, a := range list {
		if a.Scope != unix.RT_SCOPE_UNIVERSE || a.Flags&unix.IFA_F_DADFAILED != 0 || slices.Contains(without, a.LinkIndex) || a.IPNet == nil {
			continue
		}
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			addrs = append(addrs, addr)
		}
	}
	return singles(addrs), nil
}

// whole repeats a dump until no change has interrupted it.
func whole[T any](dump func() ([]T, error)) ([]T, error) {
	for try := 1; ; try++ {
		list, err := dump()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == maxInterrupted {
			return list, err
		}
	}
}
