//go:build !linux

package afpacket

import (
	"errors"
	"fmt"
)

const otherRemedy = "packet sockets are Linux's; choose the engine pcap"

// openGroup fails: only Linux has packet sockets.
func openGroup(*Options) (*group, error) {
	return nil, fmt.Errorf("%w: %s", errors.ErrUnsupported, otherRemedy)
}

// Probe says that only Linux has packet sockets.
func Probe() (available bool, why, remedy string) {
	return false, "packet sockets are Linux's", "choose the engine pcap"
}
