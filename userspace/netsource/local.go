package netsource

import (
	"context"
	"log/slog"
	"net/netip"
)

// Local follows the addresses of this machine's interfaces.
type Local struct {
	options LocalOptions
	update  func([]netip.Prefix)
	log     *slog.Logger
}

// LocalOptions says which of the machine's addresses count.
type LocalOptions struct {
	// WithoutLoopback leaves out addresses with global scope on loopback interfaces, which are often service addresses (anycast).
	// 127.0.0.0/8 and ::1 never count: their scope is the host.
	WithoutLoopback bool
}

// NewLocal returns a Local that does nothing before Run. Run calls update, from its own goroutine, with all addresses as /32 and /128,
// sorted, each once: first as they are, then whenever they have changed. update may keep the slice.
func NewLocal(options LocalOptions, log *slog.Logger, update func([]netip.Prefix)) *Local {
	return &Local{options, update, log.With("component", "netsource")}
}

// Run follows the addresses in the network namespace of its goroutine until ctx ends, which is no error. It fails where the kernel
// gives no addresses: on systems other than Linux, or without netlink.
func (l *Local) Run(ctx context.Context) error { return l.run(ctx) }

// ReadLocal returns the addresses as they are now, as Run would.
func ReadLocal(options LocalOptions) ([]netip.Prefix, error) { return readLocal(options) }
