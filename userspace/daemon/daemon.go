// Package daemon wires Weir together: it starts the parts in order, passes each what it needs of the others, and stops them in reverse.
package daemon

import (
	"log/slog"
	"os"
	"time"

	"weir/userspace/traffic"
)

// Options say what to run. Only ConfigPath must be set.
type Options struct {
	ConfigPath string
	Version    string
	Log        *slog.Logger    // nil discards
	Reload     <-chan struct{} // each value reads the configuration anew, as SIGHUP does
	Namespace  *os.File        // the network namespace of the interfaces; nil: the process's own
	Ready      func()          // called once everything is attached and measured

	// InForce is called when the kernel has begun to drop the packets of a target, or has ceased to (until is zero); the
	// time is taken when it was done. It must be quick. For measuring.
	InForce func(target traffic.Target, at, until time.Time)

	Speaker []string // the program and arguments that the BGP speaker runs by; nil: this program itself
}

const (
	tickEvery   = 10 * time.Millisecond // how often busy hosts are read and judged
	secondEvery = time.Second           // the flow interval, and how often everything slower is done
	// How many samples are looked at in a turn: what is more waits in the ring buffer, and what finds it full is counted as lost.
	samplesPerTick = 256
	idleAfter      = time.Minute // a host on demand that is silent for so long may lose its cell
)
