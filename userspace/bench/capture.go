package bench

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"time"

	"weir/userspace/hosts"
	"weir/userspace/networks"
	"weir/userspace/packet"
	"weir/userspace/traffic"
)

// CaptureOptions says what Capture measures.
type CaptureOptions struct {
	Seconds  float64 // of flood for each engine, at most MaxCaptureSeconds; 0: 1
	JSON     bool
	Progress func(done, size int64) // of the engines; nil: not shown
}

// MaxCaptureSeconds and the rate bound the flood of each engine.
const (
	MaxCaptureSeconds = 60
	maxCaptureRate    = 4_000_000 // packets a second; what a veth takes is less
)

func (o *CaptureOptions) complete() error {
	if o.Seconds == 0 {
		o.Seconds = 1
	}
	if !(o.Seconds > 0 && o.Seconds <= MaxCaptureSeconds) { // NaN too
		return fmt.Errorf("bench capture: %v seconds; expected more than 0 and at most %d", o.Seconds, MaxCaptureSeconds)
	}
	return nil
}

func (o *CaptureOptions) duration() time.Duration {
	return time.Duration(o.Seconds * float64(time.Second))
}

// CaptureCost is what one engine takes for the packets of a flood, until they are counted in host cells.
type CaptureCost struct {
	Name        string  `json:"name"`
	Mode        string  `json:"mode"` // what the engine chose
	Packets     uint64  `json:"packets"`
	Dropped     uint64  `json:"dropped"` // found no room in the engine's ring, as it says itself
	Sent        uint64  `json:"sent"`    // by the generator; what is neither received nor dropped was lost on the veth before the engine
	Nanoseconds float64 `json:"cpu_ns_per_packet"`
	PerSecond   float64 `json:"packets_per_second"` // that were counted, by the one worker
	Floor       float64 `json:"floor_ns"`           // parsing and counting the same packets from memory, measured just before
	Ratio       float64 `json:"ratio_to_floor"`
}

// LeftOut is an engine that was not measured.
type LeftOut struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Capture floods a veth with the smallest UDP packets to random hosts of a /16, as fast as it takes them, once for each engine that this
// machine has, and prints what they cost: as a table, or as one line of JSON. It needs root and Linux 5.18. Last comes the ring in memory
// that Snabb writes (snabb_ring), written by the generator itself.
//
// Each engine has one worker, which parses and counts as the daemon's do. Its cost is the CPU time of the worker's own thread
// (CLOCK_THREAD_CPUTIME_ID, which is RUSAGE_THREAD in nanoseconds): the generator and the veth's receiving half run on another thread
// of this process, so the process's time would be theirs for the most part. What the kernel does before a frame is in the engine's ring
// is therefore in no figure; what it does when the worker calls it (pcap's copies, wake-ups) is. Where another thread of the machine
// keeps the worker's CPU busy, fewer packets are received, and the cost of each is still its own.
func Capture(ctx context.Context, o CaptureOptions, out io.Writer) error {
	if err := o.complete(); err != nil {
		return err
	}
	if !o.JSON {
		if err := printf(out, "one worker, smallest UDP packets to 65536 random hosts, %v s each; CPU time is the worker's own\n\n%-12s %-20s %10s %10s %10s %10s %12s %9s %6s\n", o.Seconds,
			"engine", "mode", "sent", "received", "dropped", "ns/packet", "packets/s", "floor ns", "ratio"); err != nil {
			return err
		}
	}
	results, leftOut := []CaptureCost{}, []LeftOut{}
	err := measureCaptures(ctx, &o, func(c CaptureCost) error {
		results = append(results, c)
		if o.JSON {
			return nil
		}
		return printf(out, "%-12s %-20s %10d %10d %10d %10.1f %12.0f %9.1f %6.1f\n", c.Name, c.Mode, c.Sent, c.Packets, c.Dropped, c.Nanoseconds, c.PerSecond, c.Floor, c.Ratio)
	}, func(l LeftOut) error {
		leftOut = append(leftOut, l)
		if o.JSON {
			return nil
		}
		return printf(out, "%-12s %s\n", l.Name, l.Why)
	})
	if err != nil {
		return fmt.Errorf("bench capture: %w", err)
	}
	if o.JSON {
		return printLine(out, struct {
			Results []CaptureCost `json:"results"`
			LeftOut []LeftOut     `json:"left_out"`
		}{results, leftOut})
	}
	return printf(out, "\nfloor: parsing and counting the same packets from memory. What the kernel does before a frame is in the engine's ring is in no row.\n")
}

// captureNetwork is the network that the flood goes to, captureSource where it comes from: both are for benchmarks (RFC 2544).
func captureNetwork() netip.Prefix { return netip.MustParsePrefix("198.18.0.0/16") }
func captureSource() netip.Addr    { return netip.MustParseAddr("198.19.0.1") }

// counter parses and counts frames as a worker of the daemon does.
type counter struct {
	writer  *hosts.Writer
	packet  traffic.Packet
	counted uint64 // to the flood's network; nothing else is
	flipAt  time.Time
}

func newCounter() (*counter, error) {
	layout, err := networks.NewLayout([]netip.Prefix{captureNetwork()}, networks.Budget{Dense: 1 << 16})
	if err != nil {
		return nil, fmt.Errorf("lay out networks: %w", err)
	}
	return &counter{writer: hosts.NewWriter(networks.NewDirectory(layout), layout.Slots())}, nil
}

func (c *counter) frame(f *traffic.Frame) {
	if packet.ParseLink(f.Link, f.Data, f.Length, &c.packet) != traffic.ReasonOK {
		return
	}
	if dir, _ := c.writer.Count(&c.packet, 1); dir == traffic.Incoming {
		c.counted++
	}
}

// tick does what a worker of the daemon does many times a second.
func (c *counter) tick(now time.Time) {
	if !now.Before(c.flipAt) {
		c.flipAt = now.Add(time.Second)
		c.writer.Flip()
	}
	c.writer.Spread(now)
}
