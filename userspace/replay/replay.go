// Package replay runs a capture through parser, host cells and detector at the capture's own clock, and tells what would have been detected.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"weir/userspace/analyze"
	"weir/userspace/capture/pcapfile"
	"weir/userspace/detect"
	"weir/userspace/hosts"
	"weir/userspace/investigate"
	"weir/userspace/networks"
	"weir/userspace/packet"
	"weir/userspace/traffic"
)

// The thresholds of a replay that is given none: FastNetMon's shipped ones, per host and direction.
const (
	DefaultPPS   = 20000
	DefaultMbps  = 1000
	DefaultFlows = 3500
)

// Options says what is replayed against which thresholds.
type Options struct {
	File       string   // pcap or pcapng, also compressed by gzip or zstd
	ConfigPath string   // empty: no configuration
	Networks   []string // our networks as CIDR, instead of the configuration's
	PPS        float64  // thresholds per host in both directions, instead of those of all hostgroups; 0: not given
	Mbps       float64  // 10^6 bit/s
	Flows      float64  // per second
	Pace       float64  // 0: as fast as it can be read; 1: as it was captured, 2: twice as fast
	AsFlows    bool     // the capture is of what exporters sent: sFlow, NetFlow, IPFIX. Then networks may be left out
	JSON       bool     // one JSON object a line
	Progress   func(done, size int64)
	// Progress, if set, is called now and then with the bytes of the file that are read and how many there are (0: unknown).
}

// How time passes. A capture's pauses are gone through in small steps as long as anything can happen in them, and are then skipped.
const (
	tick       = 10 * time.Millisecond
	finely     = 2 * time.Second // of a pause, in steps of a tick
	coarseTick = time.Second
	pause      = 15 * time.Minute // the part of a pause that is gone through at all
	disorder   = time.Second      // frames that are older than others before them by this much are taken as later ones; beyond, the clock was set back
	flowSpan   = time.Second      // a flow is counted once in it
	spreadSpan = 100 * time.Millisecond
	settleSpan = 1500 * time.Millisecond
)

// How many hosts have counters of their own: those of small IPv4 networks in advance, others as they are seen.
const (
	denseSlots   = 1 << 18
	dynamicSlots = 1 << 17
)

// Summary is what a whole capture held. Packets are IPv4, IPv6 and Unparsed together.
type Summary struct {
	Packets  uint64 `json:"packets"`
	Bytes    uint64 `json:"bytes"` // on the wire without FCS
	IPv4     uint64 `json:"ipv4"`
	IPv6     uint64 `json:"ipv6"`
	Unparsed uint64 `json:"unparsed"` // not IP, or broken before the addresses
	Attacks  int    `json:"attacks"`
}

// replay is one run.
type replay struct {
	table     *networks.Table
	directory *networks.Directory
	writer    *hosts.Writer
	meter     *hosts.Meter
	detector  *detect.Detector
	parser    *packet.Parser // looks into the tunnels of the configuration
	print     *printer
	book      *investigate.Book
	open      []inquiry // attacks that are looked into

	first, now, flipped time.Time // the capture's clock: its beginning, the last tick, the last flow interval's beginning
	spread              time.Time // when flow records were last spread
	begun               bool
	summary             Summary
}

// Run replays a capture and prints one line an attack and a summary to out. A capture that breaks off is told as far as it goes,
// summary included, and then is an error. So is ctx ending.
func Run(ctx context.Context, o Options, out io.Writer) error {
	if o.AsFlows {
		return runFlows(ctx, o, out)
	}
	policy, members, err := o.policy()
	if err != nil {
		return err
	}
	r, err := newReplay(policy, members, &printer{out: out, json: o.JSON})
	if err != nil {
		return err
	}
	if r.parser, err = o.frames(); err != nil {
		return err
	}
	capture, err := pcapfile.Open(o.File)
	if err != nil {
		return err
	}
	err = r.frames(ctx, capture, pcapfile.NewClock(o.Pace), o.Progress)
	if ctx.Err() == nil {
		err = errors.Join(err, r.finish())
	}
	return errors.Join(err, capture.Close())
}

func newReplay(policy detect.Policy, members []networks.Network, print *printer) (*replay, error) {
	prefixes := make([]netip.Prefix, len(members))
	for i, m := range members {
		prefixes[i] = m.Prefix
	}
	layout, err := networks.NewLayout(prefixes, networks.Budget{Dense: denseSlots, Dynamic: dynamicSlots})
	if err == nil && len(layout.DynamicNetworks()) == 0 { // nobody to hand slots out to: the fewer there are, the faster they are read
		layout, err = networks.NewLayout(prefixes, networks.Budget{Dense: denseSlots})
	}
	if err != nil {
		return nil, fmt.Errorf("lay out networks: %w", err)
	}
	r := &replay{table: networks.NewTable(members, nil), directory: networks.NewDirectory(layout), print: print}
	policy.Group, policy.Contains = r.table.Group, r.table.Contains
	r.book = investigate.New(func(a netip.Addr) bool {
		_, ours := r.table.Group(a)
		return ours
	})
	r.detector = detect.New(policy)
	r.writer = hosts.NewWriter(r.directory, layout.Slots())
	r.meter = hosts.NewMeter(r.directory.Owner, layout.Slots(), []hosts.Shard{r.writer.Shard()})
	return r, nil
}

// frames reads the capture to its end, each frame when the clock says.
func (r *replay) frames(ctx context.Context, capture *pcapfile.Reader, clock *pcapfile.Clock, progress func(done, size int64)) error {
	const often = 4096 // frames between two looks at what is not the capture
	var f traffic.Frame
	var failed error
	idle := func(now time.Time) { failed = errors.Join(failed, r.advance(now)) }
	for n := 0; ; n++ {
		if n%often == 0 {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("replay %s: %w", capture.Name(), err)
			}
			if progress != nil {
				progress(capture.Progress())
			}
		}
		err := capture.Next(&f)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		at := time.Unix(0, f.Time).UTC()
		if err := clock.Wait(ctx, at, idle); err != nil {
			return fmt.Errorf("replay %s: %w", capture.Name(), err)
		}
		if failed != nil {
			return failed
		}
		if err := r.frame(&f, at); err != nil {
			return err
		}
	}
}

func (r *replay) frame(f *traffic.Frame, at time.Time) error {
	if err := r.advance(at); err != nil {
		return err
	}
	r.summary.Packets++
	r.summary.Bytes += uint64(f.Length)
	var p traffic.Packet
	switch {
	case r.parser.ParseLink(f.Link, f.Data, f.Length, &p) != traffic.ReasonOK:
		r.summary.Unparsed++
		return nil
	case p.Dst.Is4():
		r.summary.IPv4++
	default:
		r.summary.IPv6++
	}
	r.writer.Count(&p, 1)
	if seen, ok := analyze.Look(f.Data, f.Link, f.Length, at, 1); ok {
		r.book.Add(&seen)
	}
	return nil
}

// advance lets the capture's clock run up to t, before a frame of that time is counted.
func (r *replay) advance(t time.Time) error {
	if !r.begun {
		r.begun, r.first = true, t
		return r.restart(t)
	}
	if t.Before(r.now.Add(-disorder)) {
		if err := r.step(r.now.Add(tick)); err != nil {
			return err
		}
		return r.restart(t)
	}
	if t.Sub(r.now) < tick {
		return nil
	}
	start := r.now
	for t.Sub(r.now) >= tick {
		length := tick
		switch gone := r.now.Sub(start); {
		case gone >= pause:
			return r.restart(t)
		case gone >= finely && t.Sub(r.now) >= coarseTick:
			length = coarseTick
		}
		if err := r.step(r.now.Add(length)); err != nil {
			return err
		}
	}
	return nil
}

// restart sets the clock where it cannot run to: at the first frame, behind a long pause, and where the capture's clock was set back.
func (r *replay) restart(t time.Time) error {
	r.now, r.flipped = t, t
	r.meter.Baseline(t)
	r.detector.Reset(t)
	return r.tell(r.detector.Tick(t))
}

// step reads the cells and judges, as the daemon does every 10 ms.
func (r *replay) step(now time.Time) error {
	r.now = now
	r.meter.Read(now, func(d hosts.Delta) {
		group, ours := r.table.Group(d.Owner.Addr())
		if !ours {
			return
		}
		r.detector.Observe(&detect.Observation{Host: d.Owner, Group: group, Direction: d.Direction, From: d.From, To: d.To, Counts: d.Counts})
	})
	if now.Sub(r.spread) >= spreadSpan {
		r.writer.Spread(now)
		r.spread = now
	}
	if now.Sub(r.flipped) >= flowSpan {
		r.writer.Flip()
		r.flipped = now
	}
	if err := r.tell(r.detector.Tick(now)); err != nil {
		return err
	}
	return r.inquire(now)
}

func (r *replay) tell(events []traffic.Event) error {
	for i := range events {
		if events[i].Kind != traffic.EventStarted {
			continue
		}
		r.summary.Attacks++
		if err := r.print.attack(&events[i]); err != nil {
			return err
		}
		r.book.Follow(events[i].Target, events[i].Started)
		r.open = append(r.open, inquiry{events[i].Target, events[i].At.Add(inquirySpan)})
	}
	return nil
}

// finish gives what was counted last the time to be read, and sums up.
func (r *replay) finish() error {
	if err := r.settle(); err != nil {
		return err
	}
	if err := r.inquire(r.now.Add(inquirySpan)); err != nil {
		return err
	}
	return r.print.summary(&r.summary, r.directory.Folded())
}

// settle lets the clock run on until all that was counted has been read.
func (r *replay) settle() error {
	if !r.begun {
		return nil
	}
	for end := r.now.Add(settleSpan); r.now.Before(end); {
		if err := r.step(r.now.Add(tick)); err != nil {
			return err
		}
	}
	return nil
}
