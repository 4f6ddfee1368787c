//go:build !linux

package snabb

import (
	"context"
	"errors"
	"fmt"
)

// shared is for Linux: here there is none.
type shared struct{ *ring }

func (*shared) close() error { return nil }

// child is for Linux: here there is none.
type child struct{}

func (*child) close() error { return nil }

func (e *Engine) prepare() error {
	return fmt.Errorf("run Snabb for %s: %w: Snabb is for Linux; choose the engine pcap", e.opts.Interface, errors.ErrUnsupported)
}

func (*Engine) supervise(context.Context) {}
func (*Engine) listen(context.Context)    {}

// Probe says that there is no Snabb here.
func Probe() (available bool, why, remedy string) {
	return false, "Snabb is for Linux", "choose the engine pcap"
}
