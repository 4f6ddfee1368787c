package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"weir/userspace/lab"
)

// The daemon's memory while it tracks a /16, by the project's own figures.
const memoryMost = 150 << 20

// TestRandomDestinations floods more addresses than have cells: memory stays what it is, and hosts are counted as before.
func TestRandomDestinations(t *testing.T) {
	for _, tt := range []struct{ name, network, world, other, spoofed string }{
		{"IPv4", crowd, worldAddr, otherAddr, spoofed},
		{"IPv6", crowd6, worldAddr6, other6, spoofed6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			d := startDaemon(t, b.router, "", routerConfig("native", false, "thresholds: {}"))
			bystander := b.use(t, b.other, tt.other)
			start, maps := d.memory(t), d.maps(t)
			target := prefixes(tt.network)[0]
			f := flood(t, 0, lab.FloodOptions{
				Host: b.world, Frame: frame(t, b.world, b.router, "out", tt.world, target.Addr().Next().String()), SrcPorts: 0xffff,
				Sources:      lab.Addresses{Spread: lab.Random, Prefix: prefixes(tt.spoofed)[0]},
				Destinations: lab.Addresses{Spread: lab.Random, Prefix: target},
			})
			f.more(t, 250_000)
			settled := d.memory(t)
			f.more(t, 500_000)
			if end := d.memory(t); end > settled+settled/4+(8<<20) || end > memoryMost {
				t.Errorf("resident memory: %d bytes at the start, %d after 250000 packets, %d after 750000; at most %d in all", start, settled, end, memoryMost)
			}
			if diff := cmp.Diff(d.maps(t), maps); diff != "" {
				t.Errorf("pinned maps have changed (-got +want):\n%s", diff)
			}
			until(t, "100 hosts of "+tt.network+" to be listed", func() bool { // within a second: when all cells have been swept
				p := ask[printed](t, d, "hosts", "--limit", "100", "--prefix", tt.network, "--direction", "incoming")
				return len(p.Hosts) == 100
			})
			if s := d.status(t); s.GetHosts() > s.GetHostCapacity() || s.GetAttacksTotal() > 0 {
				t.Errorf("%d hosts, more than %d, or attacks without a threshold: %d", s.GetHosts(), s.GetHostCapacity(), s.GetAttacksTotal())
			}
			counted := d.incoming(t, tt.other)
			served(t, "requests to another host beside the flood", bystander)
			until(t, "the other host to be counted on", func() bool { return d.incoming(t, tt.other) > counted })
		})
	}
}

// memory is what the daemon's process occupies, in bytes.
func (d *daemon) memory(t *testing.T) uint64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); fields[0] == "VmRSS:" {
			kilobytes, err := strconv.ParseUint(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	t.Fatal("the kernel does not say what the daemon occupies")
	return 0
}

// maps is the kernel's number and size of each map that the daemon has pinned.
func (d *daemon) maps(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(d.pins, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		m, err := ebpf.LoadPinnedMap(path, &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			return nil // a link or a program
		}
		info, err := m.Info()
		if err != nil {
			return err
		}
		id, _ := info.ID()
		all[entry.Name()] = fmt.Sprintf("map %d of %d entries", id, info.MaxEntries)
		return m.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatalf("no maps are pinned in %s", d.pins)
	}
	return all
}
