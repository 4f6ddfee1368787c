package export_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/userspace/export"
	"weir/userspace/traffic"
)

func TestFlowsGatherAndAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		r, _, stop := start(t, f, export.Options{FlowQueue: 8, Gather: time.Second, BackoffFirst: time.Second, BackoffLast: time.Second})
		defer stop()
		r.Flows(flows(1, 2))
		time.Sleep(400 * time.Millisecond)
		r.Flows(flows(3, 3))
		time.Sleep(time.Second)
		same(t, "calls after gathering", f.take(), []string{"1s flows 1,2,3"})

		r.Flows(flows(4, 8)) // more than half of the queue does not wait
		synctest.Wait()
		same(t, "calls with half a queue", f.take(), []string{"1.4s flows 4,5,6,7,8"})

		f.answers(errors.New("away"))
		r.Flows(flows(10, 13))
		synctest.Wait()
		r.Flows(flows(20, 29)) // while four are to be sent again, eight have room
		same(t, "waiting", r.Stats().Waiting, export.Amount{Flows: 12})
		f.take()
		f.answers(nil)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		var sent []string
		for _, c := range f.take() {
			sent = append(sent, c[strings.Index(c, "flows"):])
		}
		same(t, "calls after it is back", sent, []string{"flows 10,11", "flows 12,13", "flows 20,21,22,23,24,25,26,27"})
		same(t, "stats", settle(r.Stats()), export.Stats{
			Name: "store", Flows: 20, Failures: 1, Lost: export.Amount{Flows: 2}, LastError: "away", Up: true,
		})
	})
}

// partly is what a sink answers that has taken all but the last few.
type partly struct {
	unsent int
	error
}

func (p partly) Unsent() int   { return p.unsent }
func (p partly) Unwrap() error { return p.error }

func TestWhatWasTakenIsNotTakenTwice(t *testing.T) {
	away, refused := errors.New("closed in between"), fmt.Errorf("bad: %w", traffic.ErrPermanent)
	for _, tt := range []struct {
		name   string
		answer []error // of the calls in turn, then nil
		want   []string
		lost   export.Amount
		sent   uint64
	}{
		{"all again", []error{away}, []string{"tell a,b,c", "tell a", "tell b,c"}, export.Amount{}, 3},
		{"the rest again", []error{fmt.Errorf("tell: %w", partly{1, away})}, []string{"tell a,b,c", "tell c"}, export.Amount{}, 3},
		{"none left", []error{partly{0, refused}}, []string{"tell a,b,c"}, export.Amount{}, 3},
		{"nonsense", []error{partly{-7, away}}, []string{"tell a,b,c"}, export.Amount{}, 3},
		{"more than all", []error{partly{9, away}}, []string{"tell a,b,c", "tell a", "tell b,c"}, export.Amount{}, 3},
		{"the refused one is known", []error{partly{2, refused}}, []string{"tell a,b,c", "tell c"}, export.Amount{Changes: 1}, 2},
		{"the refused one is found", []error{refused, nil, refused, refused}, []string{"tell a,b,c", "tell a", "tell b,c", "tell b", "tell c"}, export.Amount{Changes: 1}, 2},
		{"all refused", []error{refused, refused, refused, refused}, []string{"tell a,b,c", "tell a", "tell b", "tell c"}, export.Amount{Changes: 3}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, answers, together := newFake(), tt.answer, make(chan struct{})
				f.answerBy(func(context.Context, string, []string) error {
					<-together
					if len(answers) == 0 {
						return nil
					}
					err := answers[0]
					answers = answers[1:]
					return err
				})
				// While the first call is held up three come together.
				answers = append([]error{nil}, answers...)
				r, _, stop := start(t, f, export.Options{Timeout: time.Hour})
				defer stop()
				r.Tell(change("first"))
				synctest.Wait()
				for _, id := range []string{"a", "b", "c"} {
					r.Tell(change(id))
				}
				close(together)
				time.Sleep(time.Minute)
				synctest.Wait()
				var told []string
				for _, c := range f.take() {
					told = append(told, c[strings.Index(c, "tell"):])
				}
				same(t, "calls", told, append([]string{"tell first"}, tt.want...))
				same(t, "lost", r.Stats().Lost, tt.lost)
				same(t, "told", r.Stats().Changes, tt.sent+1)
			})
		})
	}
}

func TestRefusedFlowsAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.answers(fmt.Errorf("insert: %w", traffic.ErrPermanent))
		r, _, stop := start(t, f, export.Options{FlowQueue: 4})
		defer stop()
		r.Flows(flows(1, 2))
		synctest.Wait()
		same(t, "stats", settle(r.Stats()), export.Stats{
			Name: "store", Failures: 1, Lost: export.Amount{Flows: 2}, LastError: "insert: refused for good", Up: true,
		})
	})
}

func TestChangesWithPacketsAreBoundInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.answers(errors.New("away"))
		r, _, stop := start(t, f, export.Options{Queue: 16})
		r.Tell(change("on its way"))
		synctest.Wait()
		for i := range 16 {
			c := change(fmt.Sprint(i))
			c.Report = strings.Repeat("x", 64<<10) // 16 times 16 KiB hold no more than three of these
			r.Tell(c)
		}
		same(t, "lost", r.Stats().Lost, export.Amount{Changes: 13})
		f.answers(nil)
		f.take()
		stop()
		if calls := strings.Join(f.take(), " "); calls != "0s tell on its way 0s tell 13,14 0s tell 15" {
			t.Errorf("calls: %q; want the newest, and few after a failure", calls)
		}
	})
}

func TestLogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.answers(errors.New("away"))
		r, log, stop := start(t, f, export.Options{BackoffLast: time.Second})
		r.Tell(change("a"))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := strings.Count(log.String(), "\n"); n < 5 || n > 6 {
			t.Errorf("%d lines in five minutes; want the first and one a minute:\n%s", n, log)
		}
		stop()
		if lines := strings.Split(strings.TrimSpace(log.String()), "\n"); !strings.Contains(lines[len(lines)-1], "lost_changes=1") {
			t.Errorf("the last line does not say what was lost at the end:\n%s", log)
		}
	})
}

// closer takes nothing, and cannot be closed.
type closer struct{}

func (closer) Close() error { return errors.New("flush: disk full") }

func TestWantsWhatTheSinkHas(t *testing.T) {
	r := export.New("none", closer{}, export.Options{}, slog.New(slog.DiscardHandler))
	if s, c, f := r.Wants(); s || c || f {
		t.Errorf("Wants() = %v %v %v; want nothing", s, c, f)
	}
	r.Push(snapshot("x"))
	r.Tell(change("x"))
	r.Flows(flows(1, 2))
	same(t, "stats", r.Stats(), export.Stats{Name: "none"})
	if s, c, f := export.New("all", newFake(), export.Options{}, slog.New(slog.DiscardHandler)).Wants(); !s || !c || !f {
		t.Errorf("Wants() = %v %v %v; want all", s, c, f)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx); err == nil || err.Error() != "flush: disk full" {
		t.Errorf("Run: %v; want the error of Close", err)
	}
}

// swallow takes everything at once.
type swallow struct{}

func (swallow) Close() error                                 { return nil }
func (swallow) Tell(context.Context, []traffic.Change) error { return nil }
func (swallow) Flows(context.Context, []traffic.Flow) error  { return nil }

func running(b *testing.B) *export.Runner {
	r := export.New("bench", swallow{}, export.Options{}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	return r
}

// BenchmarkFlows is the cost per datagram of 30 records, shared by all who call.
func BenchmarkFlows(b *testing.B) {
	r, records := running(b), flows(1, 30)
	b.ReportAllocs()
	for b.Loop() {
		r.Flows(records)
	}
	s := r.Stats()
	b.ReportMetric(100*float64(s.Lost.Flows)/float64(b.N)/30, "%lost")
}

func BenchmarkTell(b *testing.B) {
	r, c := running(b), change("x")
	b.ReportAllocs()
	for b.Loop() {
		r.Tell(c)
	}
}
