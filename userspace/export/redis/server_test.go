package redis

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"weir/tests/need"
)

// free returns a port of this machine that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// start runs Debian's server and returns its address; it ends with the test. asker is how a test may ask it whether it is there.
func start(t *testing.T, asker redis.UniversalOptions, args ...string) string {
	t.Helper()
	port := free(t)
	return run(t, server(t, port, args...), port, asker)
}

// startAt runs Debian's server on a port.
func startAt(t *testing.T, port string) { run(t, server(t, port), port, redis.UniversalOptions{}) }

func server(t *testing.T, port string, args ...string) *exec.Cmd {
	t.Helper()
	program := need.Tool(t, "redis-server", "redis-server")
	return exec.Command(program, append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "", "--appendonly", "no"}, args...)...)
}

// startSentinel runs a sentinel that knows a master of the name "weir".
func startSentinel(t *testing.T, master string) string {
	t.Helper()
	program := need.Tool(t, "redis-server", "redis-server")
	port := free(t)
	_, masterPort, err := net.SplitHostPort(master)
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	write(t, conf, fmt.Sprintf("port %s\nbind 127.0.0.1\nsentinel monitor weir 127.0.0.1 %s 1\n", port, masterPort))
	return run(t, exec.Command(program, conf, "--sentinel"), port, redis.UniversalOptions{})
}

func run(t *testing.T, cmd *exec.Cmd, port string, asker redis.UniversalOptions) string {
	t.Helper()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Error("the server ended by itself")
		}
		if t.Failed() {
			t.Logf("the server said:\n%s", log.String())
		}
	})
	address := net.JoinHostPort("127.0.0.1", port)
	asker.Addrs, asker.MaxRetries = []string{address}, -1
	client := redis.NewUniversalClient(&asker)
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := client.Ping(ctx).Err()
		if err == nil {
			return address
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the server does not answer: %v\n%s", err, log.String())
		}
	}
}
