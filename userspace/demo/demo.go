// Package demo plays a whole attack on this machine: from ordinary traffic and the flood to its detection, the drop and the release.
package demo

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"time"
)

// Options says how the demo is told.
type Options struct {
	Out       io.Writer
	JSON      bool         // one JSON object a line instead of text
	Terminal  bool         // Out is a terminal: colours and a line that is drawn again and again
	UserSpace bool         // tell the user-space story even where the kernel's could be told
	Log       *slog.Logger // nil discards
}

// Summary is the last line of the demo.
type Summary struct {
	Event         string  `json:"event"` // "summary"
	Passed        bool    `json:"passed"`
	DetectedMS    float64 `json:"detected_ms"` // from the first attack packet; -1: never
	DroppedMS     float64 `json:"dropped_ms"`  // from the first attack packet until the drop was in force; -1: never
	LeakedPackets uint64  `json:"leaked_packets"`
	AttackPPS     float64 `json:"attack_pps"`
	VictimOK      bool    `json:"victim_ok"`

	// From the detection until the blackhole was in the router's table; -1: never. nil: there is no router in the story.
	BGPMS *float64 `json:"bgp_ms,omitempty"`
}

// What both stories have in common: documentation addresses (RFC 5737, RFC 2544), thresholds and times.
const (
	thresholdPPS = 20_000
	window       = time.Second
	quiet        = 2 * time.Second // an attack that has been quiet for this long is over
	banTime      = 3 * time.Second
	readInterval = 10 * time.Millisecond
	flowInterval = time.Second

	calmTime   = 3 * time.Second // ordinary traffic before the flood
	attackTime = 8 * time.Second
	afterTime  = 2 * time.Second // ordinary traffic after the release
	patience   = 15 * time.Second

	servicePort = 8080
	floodPort   = 9 // discard: nothing listens there

	servedShare = 0.95 // of the neighbour's requests that must be answered during the attack
	leakShare   = 0.25 // of the attack's packets that may get through before the drop
)

// scene is who is who.
type scene struct {
	network   netip.Prefix // protected
	victim    netip.Addr   // under attack
	neighbour netip.Addr   // of the same network, not under attack
	outside   netip.Addr   // customers and attacker are behind it
	spoofed   netip.Prefix // where the flood pretends to come from
}

func newScene() scene {
	return scene{
		network:   netip.MustParsePrefix("203.0.113.0/24"),
		victim:    netip.MustParseAddr("203.0.113.10"),
		neighbour: netip.MustParseAddr("203.0.113.20"),
		outside:   netip.MustParseAddr("198.51.100.1"),
		spoofed:   netip.MustParsePrefix("198.18.0.0/15"),
	}
}

// errNoNamespaces is what the kernel's story returns when this machine or user cannot have it, before anything was done.
var errNoNamespaces = errors.New("no network namespaces with XDP here")

// Run plays the demo until its end or that of ctx and returns what came out. Everything that it has set up is removed when it
// returns. An attack that was not stopped as it should be is no error but a Summary that has not passed.
func Run(ctx context.Context, opts Options) (Summary, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	t := newTeller(opts)
	if why := whyUserSpace(opts); why != "" {
		t.say("mode", "%s: this is the user-space path, a generated capture at its own clock", why)
		return finish(ctx, t, playCapture)
	}
	summary, err := finish(ctx, t, func(ctx context.Context, t *teller) (Summary, error) { return playNamespaces(ctx, t, opts.Log) })
	if errors.Is(err, errNoNamespaces) && ctx.Err() == nil {
		t.say("mode", "%v: this is the user-space path, a generated capture at its own clock", err)
		return finish(ctx, t, playCapture)
	}
	return summary, err
}

func finish(ctx context.Context, t *teller, play func(context.Context, *teller) (Summary, error)) (Summary, error) {
	summary, err := play(ctx, t)
	if err != nil {
		return summary, err
	}
	if err := ctx.Err(); err != nil {
		return summary, err
	}
	summary.Event = "summary"
	t.summary(summary)
	return summary, t.err()
}

// IsTerminal reports whether f is a terminal, as far as one can tell without asking it.
func IsTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}
