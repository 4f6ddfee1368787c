package snabb

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/tests/need"
	"weir/userspace/traffic"
)

// fakeProgram is a program that stands for snabb: a plain LuaJIT with fakes of Snabb's core modules, which are in testdata/snabb. What
// it runs is the script that Weir brings along.
func fakeProgram(t testing.TB) string {
	t.Helper()
	need.Root(t)
	luajit := need.Tool(t, "luajit", "luajit")
	run, err := filepath.Abs(filepath.Join("testdata", "snabb", "run.lua"))
	if err != nil {
		t.Fatal(err)
	}
	return program(t, fmt.Sprintf("exec %s %s \"$@\"", luajit, run))
}

// program writes a shell script.
func program(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "snabb")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// running is an engine at work.
type running struct {
	*Engine
	t      testing.TB
	cancel context.CancelFunc
	done   chan error

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each frame and at each idle
	frames  []seen
}

func open(t testing.TB, o Options) *running {
	t.Helper()
	if o.RingBytes == 0 {
		o.RingBytes = 1 << 20
	}
	e, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, e)
}

func run(t testing.TB, e *Engine) *running {
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{Engine: e, t: t, cancel: cancel, done: make(chan error, 1), changed: make(chan struct{})}
	change := func(f func()) {
		r.mu.Lock()
		defer r.mu.Unlock()
		f()
		close(r.changed)
		r.changed = make(chan struct{})
	}
	go func() {
		r.done <- e.Run(ctx, func(worker int) func(*traffic.Frame) {
			return func(f *traffic.Frame) {
				change(func() { r.frames = append(r.frames, seen{append([]byte(nil), f.Data...), f.Length, f.Time}) })
			}
		}, func(int, time.Time) { change(func() {}) })
	}()
	t.Cleanup(func() { r.stop() })
	return r
}

// await waits until what it is told holds; it is asked after each frame, and many times a second.
func (r *running) await(what string, holds func(frames []seen, s traffic.CaptureStats) bool) {
	r.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		ok, changed, n := holds(r.frames, r.Stats()), r.changed, len(r.frames)
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-limit:
			r.t.Fatalf("waiting for %s: %d frames, %+v", what, n, r.Stats())
		}
	}
}

// stop ends the engine, and expects it to leave nothing.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("run: %v", err)
		}
		r.done <- nil
	case <-time.After(20 * time.Second):
		r.t.Error("run did not end")
	}
}

// children are the processes of the engine's group that live: those that have its ring's path in their command line.
func children(t testing.TB, ring string) (pids []int) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) || err != nil || !strings.Contains(string(text), "\x00"+ring+"\x00") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// numbered expects a frame of a length with a number in it, as apps.numbers writes it.
func numbered(t testing.TB, n int, f seen, length int) {
	t.Helper()
	if len(f.Data) != length || int(f.Length) != length || binary.NativeEndian.Uint32(f.Data) != uint32(n) || f.Data[len(f.Data)-1] != byte(n) && len(f.Data) > 4 {
		t.Fatalf("frame %d: %d bytes, begins with % x", n, len(f.Data), f.Data[:min(8, len(f.Data))])
	}
}
