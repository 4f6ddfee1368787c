package export_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/export"
	"weir/userspace/traffic"
)

// timed is a sink that sends what it is told three seconds later, at a time of its own.
type timed struct {
	*fake
	due time.Time
}

func (s *timed) Tell(ctx context.Context, changes []traffic.Change) error {
	if err := s.fake.Tell(ctx, changes); err != nil {
		return err
	}
	s.due = time.Time{}
	if len(changes) > 0 {
		s.due = time.Now().Add(3 * time.Second)
	}
	return nil
}

func (s *timed) Due() time.Time { return s.due }

// TestTimed: a sink that waits for its time is called then, and again after a failure, also when nothing else happens.
func TestTimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &timed{fake: newFake()}
		r := export.New("timed", sink, export.Options{BackoffFirst: 2 * time.Second, BackoffLast: 2 * time.Second}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		r.Tell(traffic.Change{Record: traffic.Record{Attack: traffic.Attack{ID: "a"}}})
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"0s tell a", "3s tell "}, sink.take()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		r.Tell(traffic.Change{Record: traffic.Record{Attack: traffic.Attack{ID: "b"}}})
		time.Sleep(time.Second)
		sink.answers(errors.New("away"))
		time.Sleep(3 * time.Second)
		sink.answers(nil)
		time.Sleep(time.Minute)
		if calls := sink.take(); len(calls) != 3 {
			t.Errorf("got %q, want b, a failure, and another call", calls)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestAwaits: of a store that is away for long no snapshot is made that would be replaced before it is back; each is counted as lost all the same.
func TestAwaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		r, _, stop := start(t, f, export.Options{Every: 10 * time.Second, BackoffFirst: 40 * time.Second})
		defer stop()
		if !r.Awaits(time.Now()) {
			t.Error("a store that was never called awaits nothing")
		}
		f.answers(errors.New("away"))
		r.Push(snapshot("1"))
		synctest.Wait()
		for away := time.Duration(0); away < 9*time.Second; away += time.Second { // the pause is half of the backoff at least
			if r.Awaits(time.Now()) {
				t.Errorf("%s after the failure a snapshot is awaited", away)
			}
			time.Sleep(time.Second)
		}
		r.Push(snapshot("2"))
		r.Miss()
		if s := r.Stats(); s.Lost.Snapshots != 2 || s.Waiting.Snapshots != 0 {
			t.Errorf("lost %d snapshots with %d waiting, want 2 and 0", s.Lost.Snapshots, s.Waiting.Snapshots)
		}
		f.answers(nil)
		time.Sleep(31 * time.Second) // the whole backoff
		if !r.Awaits(time.Now()) {
			t.Error("when the store may be called again, no snapshot is awaited")
		}
		f.take()
		r.Push(snapshot("3"))
		synctest.Wait()
		if calls := f.take(); len(calls) != 1 || !strings.HasSuffix(calls[0], "push 3") {
			t.Errorf("calls in the end: %q, want one push of 3", calls)
		}
	})
}
