package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"weir/tests/need"
	"weir/userspace/lab"
)

// nobody is a user who owns nothing.
const nobody = 65534

// TestUnprivileged runs the daemon as another user than root, with no more than the capabilities that docs/CAPTURE.md lists and one that
// is of no use: it measures, and has given up by then what it does not need.
func TestUnprivileged(t *testing.T) {
	const netAdmin, netRaw, useless = 1 << 12, 1 << 13, "chown"
	for _, tt := range []struct {
		name, body, caps string
		left             uint64
	}{
		{"flows", "flows: {listen: [\"127.0.0.1:2055\"]}", "", 0},
		{"afpacket", "interfaces: [{name: out, engine: afpacket, role: mirror}]", "net_raw,net_admin", netRaw | netAdmin},
		{"pcap", "interfaces: [{name: out, engine: pcap, role: mirror}]", "net_raw", netRaw},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := openLab(t)
			b := &bed{lab: l, world: openHost(t, l, "world"), router: openHost(t, l, "router")}
			b.joinWorld(t)
			d := newDaemon(t, b.router, "")
			d.as = as(t, tt.caps, useless)
			d.configure(t, tt.body+"\nnetworks: {prefixes: [192.0.2.0/24]}\nmemory: {cells: 16MB}\nhostgroups: {default: {thresholds: {}}}\n")
			for path, mode := range map[string]os.FileMode{d.folder: 0o700, d.config(): 0o600, filepath.Dir(d.folder): 0} {
				if mode == 0 { // the test's own, which others may pass
					if err := os.Chmod(path, 0o711); err != nil {
						t.Fatal(err)
					}
				} else if err := os.Chown(path, nobody, nobody); err != nil {
					t.Fatal(err)
				}
			}
			d.start(t)
			for _, status := range threads(t, d.process.Pid) {
				for _, set := range []string{"CapPrm", "CapEff"} {
					if got := field(t, status, set); got != tt.left {
						t.Errorf("%s: %#x, want %#x", set, got, tt.left)
					}
				}
				for _, set := range []string{"CapInh", "CapAmb"} {
					if got := field(t, status, set); got != 0 {
						t.Errorf("%s: %#x, want none", set, got)
					}
				}
			}
			if tt.left == 0 {
				return
			}
			f := flood(t, 1000, lab.FloodOptions{Host: b.world, Frame: frame(t, b.world, b.router, "out", worldAddr, victimAddr)})
			until(t, "the flood to be counted", func() bool { return d.incoming(t, victimAddr) >= 100 })
			f.stop(t)
		})
	}
}

// as is a command that starts another as nobody, with capabilities and one more.
func as(t *testing.T, caps ...string) []string {
	t.Helper()
	all := "-all"
	for _, c := range strings.Split(strings.Join(caps, ","), ",") {
		if c != "" {
			all += ",+" + c
		}
	}
	return []string{need.Tool(t, "setpriv", "util-linux"), fmt.Sprintf("--reuid=%d", nobody), fmt.Sprintf("--regid=%d", nobody), "--clear-groups", "--inh-caps=" + all, "--ambient-caps=" + all}
}

// threads is what the kernel says of each of a process' threads.
func threads(t *testing.T, pid int) []string {
	t.Helper()
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(paths) == 0 {
		t.Fatalf("threads of %d: %v, %v", pid, paths, err)
	}
	var all []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) { // it has ended since
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(text))
	}
	return all
}

// field reads a hexadecimal field of a status.
func field(t *testing.T, status, name string) uint64 {
	t.Helper()
	_, text, ok := strings.Cut(status, name+":\t")
	text, _, _ = strings.Cut(text, "\n")
	value, err := strconv.ParseUint(text, 16, 64)
	if !ok || err != nil {
		t.Fatalf("%s in %q: %v", name, status, err)
	}
	return value
}
