package exabgp

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/tests/routers"
	"weir/userspace/traffic"
)

// patience is for what takes no time when all is well.
const patience = 20 * time.Second

// run opens a Pipe and runs it until the test ends or stop is called, which waits for it.
func run(t *testing.T, options Options) (p *Pipe, stop func()) {
	t.Helper()
	options.Retry = 5 * time.Millisecond
	p, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx); close(done) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return p, stop
}

// commands reads a pipe as ExaBGP does.
type commands struct {
	file    *os.File
	scanner *bufio.Scanner
}

func read(t *testing.T, path string) *commands {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_SYNC, 0) // with a writing end of its own, so that it never reads an end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &commands{f, bufio.NewScanner(f)}
}

func (c *commands) next(t *testing.T, n int) []string {
	t.Helper()
	if err := c.file.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range n {
		if !c.scanner.Scan() {
			t.Fatalf("line %d of %d: %v; so far:\n%s", len(got)+1, n, c.scanner.Err(), strings.Join(got, "\n"))
		}
		got = append(got, c.scanner.Text())
	}
	return got
}

func (c *commands) want(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(c.next(t, len(want)), want); diff != "" {
		t.Fatalf("(-got +want)\n%s", diff)
	}
}

func waitFor(t *testing.T, p *Pipe, what string, done func(Stats) bool) {
	t.Helper()
	routers.Until(t, what, func() (bool, string) { s := p.Stats(); return done(s), fmt.Sprintf("%+v", s) })
}

func hosts(numbers ...int) (all []traffic.Announcement) {
	for _, n := range numbers {
		a := blackhole("203.0.113.0/32", "192.0.2.1")
		b := a.Prefix.Addr().As4()
		b[1], b[2], b[3] = byte(n>>16), byte(n>>8), byte(n)
		all = append(all, with(a, func(a *traffic.Announcement) { a.Prefix = prefix32(b) }))
	}
	return all
}

func announce(n int) string {
	return fmt.Sprintf("announce route 203.%d.%d.%d/32 next-hop 192.0.2.1 community [65001:666]", n>>16, n>>8&255, n&255)
}

func withdraw(n int) string {
	return fmt.Sprintf("withdraw route 203.%d.%d.%d/32 next-hop 192.0.2.1", n>>16, n>>8&255, n&255)
}

// A pipe without a reader takes sets without blocking; each reader gets the whole of the last one.
func TestReaders(t *testing.T) {
	path := routers.Pipe(t)
	p, _ := run(t, Options{Path: path})
	p.Apply(hosts(1, 2))
	waitFor(t, p, "a try without a reader", func(s Stats) bool { return strings.Contains(s.Error, "nobody reads it") && s.Pending == 2 })
	p.Apply(hosts(1, 3))

	first := read(t, path)
	first.want(t, announce(1), announce(3))
	p.Apply(hosts(1))
	first.want(t, withdraw(3))
	first.file.Close()
	waitFor(t, p, "the loss of the reader, by itself,", func(s Stats) bool { return !s.Reader && s.Pending == 2 })
	p.Apply(hosts(4))

	second := read(t, path)
	second.want(t, announce(4), withdraw(1), withdraw(3))
	p.Apply(hosts(4, 5))
	second.want(t, announce(5))
	waitFor(t, p, "the end of writing", func(s Stats) bool { return s.Pending == 0 })
	got := p.Stats()
	want := Stats{Reader: true, Readers: 2, Announced: 4, Withdrawn: 3, Routes: 2, Since: got.Since}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

// A reader that stops reading fills the pipe; nothing else waits for it, and it misses nothing when it goes on.
func TestStall(t *testing.T) {
	path := routers.Pipe(t)
	p, stop := run(t, Options{Path: path})
	reader := read(t, path)
	const n = 5000
	numbers := make([]int, n)
	var want []string
	for i := range numbers {
		numbers[i] = i
		want = append(want, announce(i))
	}
	p.Apply(hosts(numbers...))
	waitFor(t, p, "the stall", func(s Stats) bool { return s.Stalled && s.Pending > 0 })
	if diff := cmp.Diff(reader.next(t, n), want); diff != "" {
		t.Fatalf("(-got +want)\n%s", diff)
	}
	waitFor(t, p, "the end of the stall", func(s Stats) bool { return !s.Stalled && s.Pending == 0 })
	p.Apply(nil)
	waitFor(t, p, "another stall", func(s Stats) bool { return s.Stalled })
	stop() // which does not wait for ever either
}

func TestStop(t *testing.T) {
	for _, tt := range []struct {
		name     string
		withdraw bool
		want     []string
	}{
		{"withdraw", true, []string{withdraw(1), withdraw(2)}},
		{"keep", false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := routers.Pipe(t)
			p, stop := run(t, Options{Path: path, WithdrawAtStop: tt.withdraw})
			reader := read(t, path)
			p.Apply(hosts(1, 2))
			reader.want(t, announce(1), announce(2))
			stop()
			if _, err := reader.file.WriteString("end\n"); err != nil {
				t.Fatal(err)
			}
			reader.want(t, append(tt.want, "end")...)
		})
	}
}

func TestAdopt(t *testing.T) {
	path := routers.Pipe(t)
	p, _ := run(t, Options{Path: path})
	reader := read(t, path)
	p.Adopt(hosts(1, 2))
	p.Apply(hosts(2, 3))
	reader.want(t, announce(2), announce(3), withdraw(1))
}

func TestRefresh(t *testing.T) {
	path := routers.Pipe(t)
	p, _ := run(t, Options{Path: path, Refresh: time.Millisecond})
	reader := read(t, path)
	p.Apply(hosts(1))
	reader.want(t, announce(1), announce(1), announce(1))
}

// Lines of several writers do not mix, as long as these write as we do.
func TestWriters(t *testing.T) {
	path := routers.Pipe(t)
	reader := read(t, path)
	const n = 2000
	var want []string
	for w := range 3 {
		p, _ := run(t, Options{Path: path})
		numbers := make([]int, n)
		for i := range numbers {
			numbers[i] = w*n + i
			want = append(want, announce(w*n+i))
		}
		p.Apply(hosts(numbers...))
	}
	got := reader.next(t, 3*n)
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

func TestNoPipe(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{file: "it is not a named pipe", filepath.Join(dir, "none"): "make it by mkfifo"} {
		p, stop := run(t, Options{Path: path})
		p.Apply(hosts(1))
		waitFor(t, p, "the error", func(s Stats) bool { return strings.Contains(s.Error, want) && strings.Contains(s.Error, path) })
		stop()
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "kept" {
		t.Errorf("a file that is no pipe has become %q, %v", got, err)
	}
	if _, err := New(Options{}); err == nil || !strings.Contains(err.Error(), "no path") {
		t.Errorf("got %v, want an error about the path", err)
	}
}
