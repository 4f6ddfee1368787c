package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/tests/need"
	"weir/userspace/lab"
)

// TestPlugins: programs that are not in Go are started with the daemon, one is told of an attack, another of the ban, and both end with it.
func TestPlugins(t *testing.T) {
	python := need.Tool(t, "python3", "python3")
	examples, err := filepath.Abs(filepath.Join("..", "..", "examples", "plugins"))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	attacks, bans := filepath.Join(folder, "attacks"), filepath.Join(folder, "bans")
	b := newBed(t)
	startDaemon(t, b.router, "", routerConfig("native", false, hostThreshold)+fmt.Sprintf(`
plugins:
  - {name: attacks, command: [%[1]s, -B, %[2]s/attacks_to_file.py], kinds: [sink], settings: '{"file": "%[3]s"}'}
  - {name: bans, command: [%[1]s, -B, %[2]s/ban_list.py], kinds: [mitigator], settings: '{"file": "%[4]s"}'}
  - {name: broken, command: [/bin/false], kinds: [sink]}
`, python, examples, attacks, bans))
	f := flood(t, floodPPS, lab.FloodOptions{
		Host: b.world, Frame: frame(t, b.world, b.router, "out", worldAddr, victimAddr), Sources: lab.Addresses{Spread: lab.Random, Prefix: prefixes(spoofed)[0]},
	})
	t.Cleanup(func() {
		for _, path := range []string{attacks, bans} {
			if content, err := os.ReadFile(path); t.Failed() {
				t.Logf("%s: %s %v", filepath.Base(path), content, err)
			}
		}
	})
	holds := func(path, text string) func() bool {
		return func() bool {
			content, err := os.ReadFile(path)
			return err == nil && strings.Contains(string(content), text)
		}
	}
	until(t, "the sink to be told of the ban", holds(attacks, `"banned"`))
	until(t, "the mitigator to be told of it", holds(bans, victimAddr))
	f.blocked(t, "the flood, with a plug-in that always fails", b.victim)
	f.stop(t)
	until(t, "the sink to be told of the end", holds(attacks, `"ended"`))
}
