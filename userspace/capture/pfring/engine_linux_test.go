package pfring

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/userspace/traffic"
)

// fakeSource is a ring in memory whose interface goes when it is told to. It stands for the module.
type fakeSource struct {
	*ring
	gone   chan struct{}
	closed *sync.WaitGroup
}

func (s *fakeSource) wait(time.Duration) error {
	select {
	case <-s.gone:
		return errors.New("the ring's interface is gone")
	default:
		return nil
	}
}
func (*fakeSource) mode() string   { return "fake" }
func (s *fakeSource) close() error { s.closed.Done(); return nil }

// Each ring's packets come from its own worker, losses add up over rings that were lost, and stopping does not wait for what is gone.
func TestEngine(t *testing.T) {
	if available, _, _ := Probe(); available {
		t.Skip("the module is loaded: opening again would find it")
	}
	var closed sync.WaitGroup
	closed.Add(2)
	e := &Engine{opts: Options{Interface: "none0"}, device: device{interfaces: []string{"none0"}, channels: allChannels}, log: slog.New(slog.DiscardHandler), mode: "fake"}
	gone := make(chan struct{})
	for i, text := range []string{"to ring 0", "to ring 1"} {
		l := lay(48, 64, 8)
		for l.insert([]byte(text), 20, stamp, int32(i)) {
		}
		s := &fakeSource{ring: l.ring(t), gone: make(chan struct{}), closed: &closed}
		if i == 1 {
			s.gone = gone
		}
		e.members = append(e.members, &member{source: s})
	}
	ctx, cancel := context.WithCancel(t.Context())
	type event struct {
		worker int
		text   string // empty: idle
	}
	events := make(chan event)
	send := func(v event) {
		select {
		case events <- v:
		case <-ctx.Done():
		}
	}
	done := make(chan error, 1)
	go func() {
		done <- e.Run(ctx, func(worker int) func(*traffic.Frame) {
			return func(f *traffic.Frame) { send(event{worker, string(f.Data)}) }
		}, func(worker int, _ time.Time) { send(event{worker, ""}) })
	}()
	got := map[event]int{}
	for e.Stats().Received < 10 || e.Stats().KernelDrop < 2 {
		got[<-events]++
	}
	if got[event{0, "to ring 1"}]+got[event{1, "to ring 0"}] > 0 {
		t.Errorf("got %v", got)
	}
	close(gone)
	for e.Stats().Error == "" || strings.Contains(e.Stats().Error, "is gone") { // until it was tried again
		<-events
	}
	if s := e.Stats(); s.KernelDrop != 2 || s.Dropped != 0 || s.Workers != 2 || !strings.Contains(s.Error, "open PF_RING: ") {
		t.Errorf("got %+v", s)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	closed.Wait()
}

func TestOpenWithoutModule(t *testing.T) {
	if available, _, _ := Probe(); available {
		t.Skip("the module is loaded")
	}
	for name, want := range map[string]string{"lo": "open PF_RING: ", "lo@64": "is no queue"} {
		if _, err := Open(Options{Interface: name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	if available, why, remedy := Probe(); available || why == "" || remedy == "" {
		t.Errorf("probe: got %v, %q, %q", available, why, remedy)
	}
}

// A cluster of our own has a number that no other process has, and takes any queue.
func TestCluster(t *testing.T) {
	if got := clusterOf(&Options{Cluster: 21, ClusterType: ClusterFiveTuple}); string(got) != "\x15\x00\x40\x00\x00\x00\x00\x00\x04\x00\x00\x00" {
		t.Errorf("got % x", got)
	}
	if got := clusterOf(&Options{Workers: 2}); len(got) != 12 || got[0]|got[1] == 0 {
		t.Errorf("got % x", got)
	}
}
