package netsource

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"
)

// VEIPPath is where an OpenVZ kernel lists the addresses of its containers.
const VEIPPath = "/proc/vz/veip"

// OpenVZ follows the addresses of the containers on an OpenVZ machine. The kernel sends no news of them, so the list is read again and again.
type OpenVZ struct {
	path   string
	ticks  <-chan time.Time
	reread chan struct{}
	update func([]netip.Prefix)
	log    *slog.Logger
}

// NewOpenVZ returns an OpenVZ that does nothing before Run. Run reads path (VEIPPath, but for tests) at once, at every tick (every 30 s
// is plenty) and after Reread, and calls update from its own goroutine with all addresses as /32 and /128, sorted, each once: first as
// they are, then whenever they have changed. update may keep the slice.
func NewOpenVZ(path string, ticks <-chan time.Time, log *slog.Logger, update func([]netip.Prefix)) *OpenVZ {
	return &OpenVZ{path, ticks, make(chan struct{}, 1), update, log.With("component", "netsource")}
}

// Reread makes Run read the list soon. It never blocks.
func (o *OpenVZ) Reread() {
	select {
	case o.reread <- struct{}{}:
	default: // one that has not been served yet serves for this one too
	}
}

// Run follows the list until ctx ends, which is no error. While the list cannot be read the addresses stay as they were last known; that is
// logged when it begins and when it ends. A machine without OpenVZ is seen best beforehand, by ReadOpenVZ.
func (o *OpenVZ) Run(ctx context.Context) error {
	set := known{update: o.update}
	failing := false
	for {
		switch now, err := ReadOpenVZ(o.path); {
		case err == nil:
			if failing {
				o.log.Info("container addresses can be read again", "path", o.path)
			}
			failing = false
			set.is(now)
		case !failing:
			o.log.Warn("container addresses cannot be read, keeping those last known", "error", err)
			failing = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-o.ticks:
		case <-o.reread:
		}
	}
}

// ReadOpenVZ returns the addresses in the list at path as they are now.
func ReadOpenVZ(path string) ([]netip.Prefix, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read container addresses: %w; set networks.openvz to false unless this is an OpenVZ machine", err)
	}
	addrs, err := parseVEIP(data)
	if err != nil {
		return nil, fmt.Errorf("read container addresses: %s:%w", path, err)
	}
	return singles(addrs), nil
}

// parseVEIP reads the kernel's list: a line "Version: 2.1", then one line per address with the address, right-aligned, and the number
// or identifier of the container. Errors begin with the line's number.
func parseVEIP(data []byte) ([]netip.Addr, error) {
	var addrs []netip.Addr
	number := 0
	for line := range bytes.Lines(data) {
		number++
		words := strings.Fields(string(line))
		if len(words) == 0 || words[0] == "Version:" {
			continue
		}
		if len(words) != 2 {
			return nil, fmt.Errorf("%d: expected an address and a container, got %q", number, strings.TrimSpace(string(line)))
		}
		addr, err := netip.ParseAddr(words[0])
		if err != nil {
			return nil, fmt.Errorf("%d: expected an address, got %q", number, words[0])
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}
