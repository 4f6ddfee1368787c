//go:build !linux

package afxdp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weir/userspace/traffic"
)

// Engine exists on Linux only.
type Engine struct{}

// Open returns an error.
func Open(o Options) (*Engine, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("capture from %s: %w: AF_XDP is Linux's; take the engine pcap", o.Interface, errors.ErrUnsupported)
}

// Workers is none.
func (*Engine) Workers() int { return 0 }

// Run returns an error.
func (*Engine) Run(context.Context, func(int) func(*traffic.Frame), func(int, time.Time)) error {
	return errors.ErrUnsupported
}

// Stats is empty.
func (*Engine) Stats() traffic.CaptureStats { return traffic.CaptureStats{Engine: "afxdp"} }

// Probe says that there is no AF_XDP.
func Probe() (available bool, why, remedy string) {
	return false, "AF_XDP is Linux's", "take the engine pcap"
}
