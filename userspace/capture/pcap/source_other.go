//go:build !linux && !darwin && !freebsd && !libpcap

package pcap

import (
	"errors"
	"fmt"
)

const permissionRemedy = "build Weir with the tag libpcap"

// openSource returns an error.
func openSource(*Options) (source, error) {
	return nil, fmt.Errorf("%w on this system; build Weir with the tag libpcap", errors.ErrUnsupported)
}

// Probe says that there is nothing to capture with.
func Probe() (available bool, why, remedy string) {
	return false, "captures on this system need libpcap", permissionRemedy
}
