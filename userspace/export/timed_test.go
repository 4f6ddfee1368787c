package export_test

import (
	"context"
	"errors"
	"log/slog"
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
