//go:build !linux

package pfring

import (
	"errors"
	"fmt"
)

const linuxRemedy = "PF_RING is for Linux; choose the engine pcap"

func openRing(*Options, *device) (source, error) {
	return nil, fmt.Errorf("open PF_RING: %w: %s", errors.ErrUnsupported, linuxRemedy)
}

// Probe says that there is no PF_RING here.
func Probe() (available bool, why, remedy string) {
	return false, "PF_RING is for Linux", "choose the engine pcap"
}
