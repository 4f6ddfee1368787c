package export_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir/userspace/export"
	"weir/userspace/traffic"
)

// fake is a sink that notes when it was given what, and answers as the test says.
type fake struct {
	mu     sync.Mutex
	from   time.Time
	calls  []string
	closed int
	answer func(ctx context.Context, call string, ids []string) error
}

func newFake() *fake { return &fake{from: time.Now()} }

func (f *fake) note(ctx context.Context, what string, ids []string) error {
	f.mu.Lock()
	call := fmt.Sprintf("%s %s %s", time.Since(f.from), what, strings.Join(ids, ","))
	f.calls = append(f.calls, call)
	answer := f.answer
	f.mu.Unlock()
	if answer == nil {
		return nil
	}
	return answer(ctx, what, ids)
}

func (f *fake) Push(ctx context.Context, s *traffic.Snapshot) error {
	return f.note(ctx, "push", []string{s.Groups[0].Name})
}

func (f *fake) Tell(ctx context.Context, changes []traffic.Change) error {
	var ids []string
	for _, c := range changes {
		ids = append(ids, c.Record.Attack.ID)
	}
	return f.note(ctx, "tell", ids)
}

func (f *fake) Flows(ctx context.Context, flows []traffic.Flow) error {
	var ids []string
	for _, fl := range flows {
		if fl.Header != nil {
			return errors.New("a header was handed on")
		}
		ids = append(ids, fmt.Sprint(fl.Packets))
	}
	return f.note(ctx, "flows", ids)
}

func (f *fake) Close() error { f.closed++; return nil }

// take returns the calls since the last take.
func (f *fake) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

// answers makes the sink answer every call with err.
func (f *fake) answers(err error) {
	f.answerBy(func(context.Context, string, []string) error { return err })
}

func (f *fake) answerBy(g func(context.Context, string, []string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = g
}

func snapshot(name string) *traffic.Snapshot {
	return &traffic.Snapshot{Groups: []traffic.GroupRate{{Name: name}}}
}

func change(id string) traffic.Change {
	return traffic.Change{Record: traffic.Record{Attack: traffic.Attack{ID: id}}}
}

func flows(from, to uint64) (records []traffic.Flow) {
	for i := from; i <= to; i++ {
		records = append(records, traffic.Flow{Packets: i, Header: []byte{1}})
	}
	return records
}

// start runs a runner over f within the bubble; stop ends it and waits.
func start(t *testing.T, f *fake, o export.Options) (r *export.Runner, log *bytes.Buffer, stop func()) {
	log = &bytes.Buffer{}
	r = export.New("store", f, o, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	synctest.Wait()
	return r, log, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if f.closed != 1 {
			t.Errorf("the sink was closed %d times", f.closed)
		}
	}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// settle compares numbers that do not depend on when the test ran.
func settle(s export.Stats) export.Stats {
	s.LastErrorAt, s.LastSuccess = time.Time{}, time.Time{}
	return s
}

func TestPushesTheNewestAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		r, _, stop := start(t, f, export.Options{Every: 10 * time.Second})
		for i := range 25 {
			r.Push(snapshot(fmt.Sprint(i)))
			time.Sleep(1100 * time.Millisecond)
		}
		synctest.Wait()
		same(t, "calls", f.take(), []string{"0s push 0", "10s push 9", "20s push 18"})
		s := r.Stats()
		same(t, "stats", settle(s), export.Stats{Name: "store", Pushes: 3, Replaced: 21, Waiting: export.Amount{Snapshots: 1}, Up: true})
		if s.LastSuccess.IsZero() {
			t.Error("the time of the last success is not known")
		}
		stop()
		same(t, "calls at the end", f.take(), []string{"27.5s push 24"})
	})
}

func TestTellsAgainUntilTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.answers(errors.New("dial store: connection refused"))
		r, log, stop := start(t, f, export.Options{BackoffFirst: time.Second, BackoffLast: 4 * time.Second})
		defer stop()
		r.Tell(change("a"))
		r.Tell(change("b"))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if n := len(f.take()); n < 5 || n > 12 {
			t.Errorf("%d calls in 20 s; want pauses of 0.5 to 1, 1 to 2, then 2 to 4 s", n)
		}
		s := r.Stats()
		if s.Up || s.LastError != "dial store: connection refused" || s.LastErrorAt.IsZero() || s.Waiting.Changes != 2 || s.Lost.Changes != 0 {
			t.Errorf("stats of a store that is away: %+v", s)
		}
		f.answers(nil)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if calls := f.take(); len(calls) == 0 || !strings.Contains(calls[0], "tell a") {
			t.Errorf("calls after it is back: %q", calls)
		}
		if s := r.Stats(); !s.Up || s.Changes != 2 || s.Waiting.Changes != 0 {
			t.Errorf("stats after it is back: %+v", s)
		}
		if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "sink answers again") {
			t.Errorf("%d lines in the log; want the first failure and the recovery:\n%s", n, log)
		}
	})
}

func TestSnapshotsAreNotPushedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.answers(errors.New("away"))
		r, _, stop := start(t, f, export.Options{Every: time.Second, BackoffFirst: 10 * time.Second, BackoffLast: 10 * time.Second})
		defer stop()
		for i := range 4 {
			r.Push(snapshot(fmt.Sprint(i)))
			time.Sleep(1100 * time.Millisecond)
		}
		synctest.Wait()
		same(t, "calls", f.take(), []string{"0s push 0"})
		same(t, "lost", r.Stats().Lost, export.Amount{Snapshots: 3}) // the first failed, the turns of two passed
		f.answers(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if calls := f.take(); len(calls) != 1 || !strings.HasSuffix(calls[0], "push 3") {
			t.Errorf("calls after the pause: %q", calls)
		}
	})
}

func TestHangingSinkIsGivenUpAfterTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.answerBy(func(ctx context.Context, _ string, _ []string) error { <-ctx.Done(); return ctx.Err() })
		r, _, stop := start(t, f, export.Options{Timeout: 3 * time.Second, Grace: 2 * time.Second, FlowQueue: 4, Queue: 2})
		r.Tell(change("a"))
		synctest.Wait()
		// Nobody waits for the sink: these return at once, and what does not fit is counted.
		before := time.Now()
		for _, id := range []string{"b", "c", "d"} {
			r.Tell(change(id))
		}
		r.Flows(flows(1, 6))
		if d := time.Since(before); d != 0 {
			t.Errorf("a hanging sink held the caller up for %v", d)
		}
		same(t, "lost", r.Stats().Lost, export.Amount{Changes: 1, Flows: 2})
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if s := r.Stats(); s.Failures != 1 || s.LastError != context.DeadlineExceeded.Error() {
			t.Errorf("stats after the timeout: %+v", s)
		}
		// At the end a call has what is left of the grace, not its whole timeout.
		before = time.Now()
		stop()
		if d := time.Since(before); d != 2*time.Second {
			t.Errorf("Run took %v to end; want the grace of 2 s", d)
		}
		r.Tell(change("late"))
		same(t, "lost in the end", r.Stats().Lost, export.Amount{Changes: 5, Flows: 6})
		same(t, "waiting in the end", r.Stats().Waiting, export.Amount{})
	})
}
