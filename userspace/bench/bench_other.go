//go:build !linux

package bench

import (
	"context"
	"errors"
	"io"
)

// XDP refuses: what it measures is in the Linux kernel.
func XDP(context.Context, XDPOptions, io.Writer) error {
	return errors.New("bench xdp: XDP needs Linux; `go test -bench . ./userspace/packet` measures the parser of this system")
}

// Detect refuses: what it measures is in the Linux kernel.
func Detect(context.Context, DetectOptions, io.Writer) error {
	return errors.New("bench detect: XDP and network namespaces need Linux")
}

// BGP refuses: what it measures begins in the Linux kernel.
func BGP(context.Context, BGPOptions, io.Writer) error {
	return errors.New("bench bgp: XDP and network namespaces need Linux")
}
