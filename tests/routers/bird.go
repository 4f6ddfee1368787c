package routers

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weir/tests/need"
	"weir/userspace/lab"
)

// Bird is a running BIRD 2.
type Bird struct {
	*Process
	socket string
}

// StartBird runs BIRD with a configuration, which need not say where to log.
func StartBird(t testing.TB, host *lab.Host, config string) *Bird {
	t.Helper()
	program := need.Tool(t, "bird", "bird2")
	dir := folder(t, "bird")
	socket := filepath.Join(dir, "ctl")
	path := write(t, filepath.Join(dir, "bird.conf"), "log stderr all;\nprotocol device {}\n"+config)
	b := &Bird{Start(t, host, nil, program, "-f", "-c", path, "-s", socket, "-P", filepath.Join(dir, "pid")), socket}
	Until(t, "BIRD's start", func() (bool, string) {
		if b.Ended() {
			t.Fatalf("BIRD has ended at once:\n%s", b.Output())
		}
		out, err := exec.Command("birdc", "-s", socket, "show", "status").CombinedOutput()
		return err == nil, string(out)
	})
	return b
}

// Show returns what birdc prints for "show" and the words given, without the greeting.
func (b *Bird) Show(t testing.TB, words ...string) string {
	t.Helper()
	out, err := exec.Command("birdc", append([]string{"-s", b.socket, "show"}, words...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("birdc show %s: %v\n%s", strings.Join(words, " "), err, out)
	}
	_, text, _ := strings.Cut(string(out), "\n")
	return text
}

// Routes returns the BGP attributes of the routes of a table, by their prefixes or flow conditions as BIRD writes them. Attributes
// are lines without indentation, such as "BGP.community: (65001,666)", sorted.
func (b *Bird) Routes(t testing.TB, table string) map[string][]string {
	t.Helper()
	routes := map[string][]string{}
	network := ""
	// "203.0.113.7/32  unicast [name 23:24:21.123] * (100) [AS65001i]", "flow4 { dst 203.0.113.7/32; }  unknown [..."
	head := regexp.MustCompile(`^(\S.*?)\s+(?:unicast|unreachable|unknown|blackhole|prohibit)?\s*\[`)
	for line := range strings.Lines(b.Show(t, "route", "table", table, "all")) {
		line = strings.TrimRight(line, "\r\n")
		if m := head.FindStringSubmatch(line); m != nil {
			network = m[1]
			routes[network] = []string{}
		} else if text := strings.TrimSpace(line); strings.HasPrefix(text, "BGP.") && network != "" {
			routes[network] = append(routes[network], text)
		}
	}
	for _, attributes := range routes {
		slices.Sort(attributes)
	}
	return routes
}
