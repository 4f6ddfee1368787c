//go:build !linux && !freebsd

package netmap

import (
	"errors"
	"fmt"
	"time"
)

const moduleRemedy = "netmap is for Linux and FreeBSD; choose the engine pcap"

// binding is for Linux and FreeBSD: here there is none.
type binding struct {
	mem    memory
	offset int64
}

func countRings(_, name string) (rings, hostRings int, err error) {
	return 0, 0, fmt.Errorf("netmap port %s: %w: %s", name, errors.ErrUnsupported, moduleRemedy)
}

func bind(_, name string, _ int, _ bool) (*binding, error) {
	return nil, fmt.Errorf("netmap port %s: %w: %s", name, errors.ErrUnsupported, moduleRemedy)
}

func promiscuous(string) (func() error, error) { return nil, errors.ErrUnsupported }

func (*binding) wait(time.Duration) (bool, error) { return false, errors.ErrUnsupported }
func (*binding) close() error                     { return nil }
