package e2e

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"weir/userspace/lab"
)

// counter reads one of the IPv4 stack's counters of a namespace, such as "Udp", "NoPorts".
func counter(t *testing.T, h *lab.Host, protocol, name string) (value uint64) {
	t.Helper()
	var text []byte
	err := h.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/snmp")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if fields[0] != protocol+":" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, n := range names {
			if n != name {
				continue
			}
			if value, err = strconv.ParseUint(fields[i], 10, 64); err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("the kernel has no counter %s of %s", name, protocol)
	return 0
}

// refused is how many datagrams have come to a host for ports where nobody listens: floods, and nothing else.
func refused(t *testing.T, h *lab.Host) uint64 {
	t.Helper()
	return counter(t, h, "Udp", "NoPorts")
}

// refusedOrForeign counts packets to addresses that the host does not have, too: those to a network that is routed to it.
func refusedOrForeign(t *testing.T, h *lab.Host) uint64 {
	t.Helper()
	return refused(t, h) + counter(t, h, "Ip", "InAddrErrors") + counter(t, h, "Ip", "OutNoRoutes")
}
