//go:build !linux

package netsource

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
)

func notHere() error {
	return fmt.Errorf("follow local addresses on %s: %w; list them under networks.prefixes", runtime.GOOS, errors.ErrUnsupported)
}

func (l *Local) run(context.Context) error { return notHere() }

func readLocal(LocalOptions) ([]netip.Prefix, error) { return nil, notHere() }
