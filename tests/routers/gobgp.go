package routers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"weir/tests/need"
	"weir/userspace/lab"
)

// GoBGPAddress is where gobgpd's API listens, in its namespace.
const GoBGPAddress = "127.0.0.1:50051"

// GoBGP is where a gobgpd runs, again and again if wanted.
type GoBGP struct {
	host            *lab.Host
	program, config string
}

// NewGoBGP prepares a gobgpd, which is a program's path, with a configuration in TOML.
func NewGoBGP(t testing.TB, host *lab.Host, program, config string) *GoBGP {
	t.Helper()
	return &GoBGP{host, program, write(t, filepath.Join(folder(t, "gobgp"), "gobgpd.toml"), config)}
}

// Start runs it.
func (g *GoBGP) Start(t testing.TB) *Process {
	t.Helper()
	return Start(t, g.host, nil, g.program, "-f", g.config, "-l", "debug", "-p", "--api-hosts", GoBGPAddress, "--pprof-disable")
}

// Dial connects to an address in the namespace.
func (g *GoBGP) Dial(ctx context.Context, address string) (conn net.Conn, err error) {
	err = g.host.Do(func() error {
		var dialer net.Dialer
		conn, err = dialer.DialContext(ctx, "tcp", address)
		return err
	})
	return conn, err
}

// GoBGP3 is Debian's gobgpd.
func GoBGP3(t testing.TB) string {
	t.Helper()
	return need.Tool(t, "gobgpd", "gobgpd")
}

// GoBGP4 builds gobgpd of the module tests/gobgp4, unless the user's cache has it: a minute's work.
func GoBGP4(t testing.TB) string {
	t.Helper()
	dir := gobgp4(t)
	sums, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(append(sums, runtime.Version()...))
	path := filepath.Join(cache, "weir", "gobgp4", "gobgpd-"+hex.EncodeToString(hash[:8]))
	if _, err := os.Stat(path); err == nil {
		return path
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	building := path + ".building"
	run4(t, dir, "build", "-o", building, "github.com/osrg/gobgp/v4/cmd/gobgpd")
	if err := os.Rename(building, path); err != nil { // only whole ones are found
		t.Fatal(err)
	}
	return path
}

// GoBGP4Fields returns what tests/gobgp4/fields prints about GoBGP 4's messages, by lines.
func GoBGP4Fields(t testing.TB) []string {
	t.Helper()
	return strings.Split(strings.TrimSpace(run4(t, gobgp4(t), "run", "./fields")), "\n")
}

// run4 runs the go command in the module, which needs its dependencies from the module proxy once.
func run4(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(need.Tool(t, "go", "golang-go"), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly -buildvcs=false", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		need.Missing(t, "go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

func gobgp4(t testing.TB) string {
	t.Helper()
	out, err := exec.Command(need.Tool(t, "go", "golang-go"), "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "tests", "gobgp4")
}

// Command runs a program, such as gobgp, in gobgpd's namespace and returns what it prints.
func (g *GoBGP) Command(name string, args ...string) (out []byte, err error) {
	cmd := exec.Command(name, args...)
	err = g.host.Do(func() error { // a process begins in the namespace of the thread that starts it
		out, err = cmd.CombinedOutput()
		return err
	})
	return out, err
}
