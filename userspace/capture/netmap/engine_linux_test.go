package netmap

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/userspace/traffic"
)

// port1 is an engine over two rings in memory, with pipes in place of the device: a ring is ready when its pipe is, and gone when the
// pipe's other end is closed.
func port1(t *testing.T) (e *Engine, l *layout, ends []int) {
	t.Helper()
	l = lay(1, 2, 0, 64, 256)
	mem, err := unix.Mmap(-1, 0, len(l.mem), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	copy(mem, l.mem)
	l.mem = mem
	e = &Engine{
		opts: Options{Interface: "eth1", Device: filepath.Join(t.TempDir(), "netmap")}, port: port{name: "eth1", nic: true}, log: slog.New(slog.DiscardHandler),
		done: func() error { return nil },
	}
	for i := range 2 {
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, pipe[1])
		m := &member{number: i, binding: &binding{fd: pipe[0]}, ring: l.find(t, i, false)}
		if i == 0 {
			m.binding.mem = mem // unmapped once
		}
		e.rings = append(e.rings, m)
	}
	return e, l, ends
}

// Each ring's frames come from its own worker; a ring that is taken away is told, tried again, and stopping does not wait for it.
func TestEngine(t *testing.T) {
	e, l, ends := port1(t)
	restored := false
	e.done = func() error { restored = true; return nil }
	for i, text := range []string{"to ring 0", "to ring 1"} {
		l.deliver(l.receiving(i, false), []byte(text))
		l.deliver(l.receiving(i, false), []byte(text))
		if _, err := unix.Write(ends[i], []byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	type event struct {
		worker int
		text   string // empty: idle
	}
	events := make(chan event)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	send := func(v event) {
		select {
		case events <- v:
		case <-ctx.Done():
		}
	}
	go func() {
		done <- e.Run(ctx, func(worker int) func(*traffic.Frame) {
			return func(f *traffic.Frame) { send(event{worker, string(f.Data)}) }
		}, func(worker int, _ time.Time) { send(event{worker, ""}) })
	}()
	got := map[event]int{}
	for got[event{0, "to ring 0"}] < 2 || got[event{1, "to ring 1"}] < 2 || e.Stats().Received < 4 {
		got[<-events]++
	}
	if len(got) > 4 {
		t.Errorf("got %v", got)
	}
	if s := e.Stats(); s.Received != 4 || s.Dropped != 0 || s.Workers != 2 || s.Engine != "netmap" || s.Error != "" {
		t.Errorf("got %+v", s)
	}
	if err := unix.Close(ends[1]); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(e.Stats().Error, "the netmap module is not loaded") { // what a second try finds here
		<-events
	}
	cancel()
	if err := <-done; err != nil || !restored {
		t.Errorf("run: %v, promiscuous mode restored: %v", err, restored)
	}
	if err := unix.Close(ends[0]); err != nil {
		t.Fatal(err)
	}
}
