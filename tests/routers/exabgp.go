package routers

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"weir/tests/need"
	"weir/userspace/lab"
)

// BGPPort is where the routers of a test listen.
const BGPPort = "1790"

// Pipe makes a named pipe.
func Pipe(t testing.TB) string {
	t.Helper()
	return fifo(t, filepath.Join(folder(t, "pipe"), "exabgp.cmd"))
}

func fifo(t testing.TB, path string) string {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ExaBGP is where an ExaBGP runs, again and again if wanted.
type ExaBGP struct {
	Pipe string // that it reads commands from

	host       *lab.Host
	dir, name  string
	config     string
	ownCommand bool
}

// NewExaBGP prepares an ExaBGP with neighbors, which are sections of its configuration. It reads commands by its own process for
// them, from NAME.in, or, if copied is set, by a process that copies the pipe to it, as FastNetMon's documentation has it; the neighbors'
// api sections then name that process "weir".
func NewExaBGP(t testing.TB, host *lab.Host, neighbors string, copied bool) *ExaBGP {
	t.Helper()
	dir := folder(t, "exabgp")
	e := &ExaBGP{host: host, dir: dir, name: filepath.Base(dir), config: filepath.Join(dir, "exabgp.conf"), ownCommand: !copied}
	run := filepath.Join(dir, "run", "exabgp") // where it looks for its pipes, below what it takes for its installation
	if err := os.MkdirAll(run, 0o755); err != nil {
		t.Fatal(err)
	}
	fifo(t, filepath.Join(run, e.name+".out"))
	e.Pipe = fifo(t, filepath.Join(run, e.name+".in"))
	if copied {
		neighbors = fmt.Sprintf("process weir {\n run /bin/cat %s;\n encoder text;\n}\n%s", e.Pipe, neighbors)
	}
	write(t, e.config, neighbors)
	return e
}

// Start runs it.
func (e *ExaBGP) Start(t testing.TB) *Process {
	t.Helper()
	return Start(t, e.host, []string{
		"exabgp.daemon.user=root", "exabgp.daemon.drop=false", "exabgp.tcp.port=" + BGPPort,
		fmt.Sprintf("exabgp.api.cli=%t", e.ownCommand), "exabgp.api.pipename=" + e.name,
		"exabgp.api.ack=false", // nobody reads the answers, and ExaBGP would wait for that once their pipe is full
	}, need.Tool(t, "exabgp", "exabgp"), "--root", e.dir, e.config)
}
