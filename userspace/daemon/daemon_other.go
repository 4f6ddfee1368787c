//go:build !linux

package daemon

import (
	"context"
	"errors"
)

// Run refuses: what it measures by needs Linux.
func Run(context.Context, Options) error {
	return errors.New("run daemon: XDP needs Linux; `weir replay` and `weir check` work on this system")
}
