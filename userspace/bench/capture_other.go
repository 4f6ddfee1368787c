//go:build !linux

package bench

import (
	"context"
	"errors"
)

// measureCaptures refuses: network namespaces and the flood generator are Linux's.
func measureCaptures(context.Context, *CaptureOptions, func(CaptureCost) error, func(LeftOut) error) error {
	return errors.New("network namespaces need Linux; `go test -bench . ./userspace/packet` measures the parser of this system")
}
