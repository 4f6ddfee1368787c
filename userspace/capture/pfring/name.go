package pfring

import (
	"fmt"
	"strconv"
	"strings"
)

// device is what an operator names: interfaces of one ring, and which of their receive queues.
type device struct {
	interfaces []string
	channels   uint64 // a bit per queue
	library    string // a name that only libpfring understands: zc:eth1, nt:0; else empty
}

// parseDevice reads PF_RING's syntax: eth1, eth1@0, eth1@0-3,5, eth1,eth2, or PREFIX:... for what only its library can do.
func parseDevice(text string) (device, error) {
	if prefix, _, ok := strings.Cut(text, ":"); ok && prefix != "" && !strings.ContainsAny(prefix, "@,.") {
		return device{library: text}, nil
	}
	names, queues, some := strings.Cut(text, "@")
	d := device{interfaces: strings.Split(names, ","), channels: allChannels}
	for _, name := range d.interfaces {
		if name == "" || len(name) > 15 {
			return device{}, fmt.Errorf("PF_RING device %q: expected interfaces separated by commas, as in eth1 or eth1,eth2", text)
		}
	}
	if !some {
		return d, nil
	}
	d.channels = 0
	for _, part := range strings.Split(queues, ",") {
		first, last, ranged := strings.Cut(part, "-")
		if !ranged {
			last = first
		}
		low, err := strconv.ParseUint(first, 10, 6)
		high, err2 := strconv.ParseUint(last, 10, 6)
		if err != nil || err2 != nil || high < low {
			return device{}, fmt.Errorf("PF_RING device %q: %q is no queue; expected queues from 0 to 63, as in eth1@0-3,5", text, part)
		}
		for q := low; q <= high; q++ {
			d.channels |= 1 << q
		}
	}
	return d, nil
}
