// Package afxdp captures through AF_XDP on Linux: a small XDP program takes frames off an interface before the network stack sees them
// and puts them into memory that Weir shares with the kernel or, where its driver can, with the NIC itself.
package afxdp

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
)

// Options say what is captured. Only Interface must be set.
//
// What is captured reaches the network stack of this machine no more: a port for mirrored traffic only. VLAN tags that the NIC takes
// off are gone: switch that off, by `ethtool -K INTERFACE rxvlan off`.
type Options struct {
	Interface   string
	Queues      []int  // receive queues that are captured; the stack keeps the others. Empty: all, those that come later too
	Workers     int    // goroutines that the queues are shared out to, never more than there are queues at the start; 0: one for each
	ZeroCopy    string // auto (the default): where the driver can; on: or fail; off
	Mode        string // auto (the default): in the driver, else in the network stack; native: in the driver or fail; generic
	Frames      int    // buffers of each queue, a power of two; 0: 4096. Each is of 4096 bytes
	Promiscuous bool
	Namespace   *os.File // the network namespace of the interface; nil: the process's own
	Log         *slog.Logger
}

const (
	auto    = "auto"
	on      = "on"
	off     = "off"
	native  = "native"
	generic = "generic"

	defaultFrames = 4096
	leastFrames   = 64
	mostFrames    = 1 << 20
)

// complete puts the defaults in and says what cannot be.
func (o *Options) complete() error {
	if o.Interface == "" {
		return errors.New("open capture: no interface; name one")
	}
	if o.ZeroCopy == "" {
		o.ZeroCopy = auto
	}
	if o.Mode == "" {
		o.Mode = auto
	}
	if o.Frames == 0 {
		o.Frames = defaultFrames
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case !slices.Contains([]string{auto, on, off}, o.ZeroCopy):
		return o.wrong("zero copy %q; take auto, on or off", o.ZeroCopy)
	case !slices.Contains([]string{auto, native, generic}, o.Mode):
		return o.wrong("mode %q; take auto, native or generic", o.Mode)
	case o.Mode == generic && o.ZeroCopy == on:
		return o.wrong("mode generic has no zero copy; take mode native, or zero copy off")
	case o.Workers < 0:
		return o.wrong("%d workers; take 0 for one for each queue, or how many", o.Workers)
	case o.Frames < leastFrames || o.Frames > mostFrames || o.Frames&(o.Frames-1) != 0:
		return o.wrong("%d frames; take a power of two from %d to %d", o.Frames, leastFrames, mostFrames)
	}
	o.Queues = slices.Sorted(slices.Values(o.Queues))
	for i, q := range o.Queues {
		if q < 0 {
			return o.wrong("queue %d; take numbers from 0", q)
		}
		if i > 0 && o.Queues[i-1] == q {
			return o.wrong("queue %d twice; name it once", q)
		}
	}
	return nil
}

func (o *Options) wrong(format string, args ...any) error {
	return fmt.Errorf("capture from %s: %s", o.Interface, fmt.Sprintf(format, args...))
}
