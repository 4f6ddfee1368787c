package store

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"weir/userspace/traffic"
)

// writeUntilKilled names, in the environment, the file that a helper process writes to until it is killed.
const writeUntilKilled = "WEIR_TEST_STORE"

func TestMain(m *testing.M) {
	if path := os.Getenv(writeUntilKilled); path != "" {
		os.Exit(helper(path))
	}
	os.Exit(m.Run())
}

// helper writes records for ever and prints the identifier of each one that is on disk.
func helper(path string) int {
	s, err := Open(path, Options{}, slog.New(slog.DiscardHandler))
	for i := 0; err == nil; i++ {
		r := sample(i)
		s.Put(r)
		if err = s.flush(); err == nil {
			_, err = fmt.Println(r.Attack.ID)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

var (
	at         = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	samePrefix = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
)

func sample(i int) traffic.Record {
	began := at.Add(time.Duration(i) * time.Second)
	return traffic.Record{
		Attack: traffic.Attack{
			ID:     fmt.Sprintf("20260301T120000.%03d-%04d", i/1000, i%1000),
			Target: traffic.Target{Scope: traffic.ScopePrefix, Prefix: netip.MustParsePrefix("2001:db8::/64"), Group: "web", Direction: traffic.Outgoing},
			Trip:   traffic.Trip{Metric: traffic.TCPSYNBPS, Count: 7, Window: time.Second, Value: 1.5e9, Limit: 2.5, Lower: 1.25e9, Seen: 310, Confidence: 0.95},
			Phase:  traffic.PhaseMitigated, Started: began, Detected: began.Add(time.Millisecond),
			Rate:   traffic.TwoWay{Incoming: traffic.Counts{Flows: 3}, Outgoing: traffic.Counts{Total: traffic.Count{Packets: 1<<64 - 1, Bytes: 2}}},
			Peak:   traffic.Counts{UDP: traffic.Count{Packets: 5}},
			Volume: traffic.Counts{Dropped: traffic.Count{Bytes: 6}}, Hosts: 254,
			Analysis: &traffic.Analysis{
				At: began.UTC(), Samples: 7, Normal: 8, Class: "dns_amplification", Confidence: 0.9, Vectors: []traffic.Vector{{Class: "dns_amplification", Share: 1, Evidence: []string{"a"}}},
				Patterns: []string{"pulses: b"}, Sources: "reflectors", Evidence: []string{"c"},
				Rules:  traffic.RuleSet{Rules: []traffic.MeasuredRule{{Rule: "d", Coverage: 0.99, Collateral: 0.01, Text: "e"}}, Coverage: 0.99, Collateral: 0.01},
				Router: traffic.RuleSet{Why: "f"},
			},
		},
		Ban: traffic.Ban{Since: began, Until: began.Add(time.Hour), Drop: true, Notified: true, Power: 42},
	}
}

func over(r traffic.Record) traffic.Record {
	r.Attack.Phase, r.Attack.Ended = traffic.PhaseOver, time.Now()
	return r
}

func mustOpen(t *testing.T, path string, o Options) (*Store, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	s, err := Open(path, o, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s, log
}

func mustClose(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, s *Store) []traffic.Record {
	t.Helper()
	rs, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func historyIDs(t *testing.T, s *Store, limit int) []string {
	t.Helper()
	rs, err := s.History(limit)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range rs {
		out = append(out, r.Attack.ID)
	}
	return out
}

func TestRecordsSurvive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "for", "it", "weir.db")
	s, _ := mustOpen(t, path, Options{})
	full := sample(0)
	byHand := traffic.Record{
		Attack: traffic.Attack{ID: "20260301T120000.999-0000", Target: traffic.Target{Scope: traffic.ScopeHost, Prefix: netip.MustParsePrefix("192.0.2.1/32")}, Manual: true, Phase: traffic.PhaseActive},
		Ban:    traffic.Ban{Since: at, Lifted: at, Manual: true, DryRun: true, Reason: "a \"reason\"\n"},
		Held:   "held", HeldUntil: at,
	}
	group := traffic.Record{Attack: traffic.Attack{ID: "20260301T120001.000-0000", Target: traffic.Target{Scope: traffic.ScopeGroup, Group: "all"}}}
	for _, r := range []traffic.Record{group, full, byHand, sample(5)} {
		if !s.Put(r) {
			t.Fatalf("record %s was not taken", r.Attack.ID)
		}
	}
	s.Put(over(sample(5)))
	s.Put(over(sample(6)))
	mustClose(t, s)
	if s.Put(full) {
		t.Error("a record was taken after the end")
	}

	s, _ = mustOpen(t, path, Options{})
	defer mustClose(t, s)
	if diff := cmp.Diff(load(t, s), []traffic.Record{full, byHand, group}, samePrefix); diff != "" {
		t.Errorf("active (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(historyIDs(t, s, 10), []string{sample(6).Attack.ID, sample(5).Attack.ID}); diff != "" {
		t.Errorf("history (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(historyIDs(t, s, 1), []string{sample(6).Attack.ID}); diff != "" {
		t.Errorf("history of 1 (-got +want):\n%s", diff)
	}
}

func TestActiveRecordMovesToHistory(t *testing.T) {
	s, _ := mustOpen(t, filepath.Join(t.TempDir(), "weir.db"), Options{})
	defer mustClose(t, s)
	for _, r := range []traffic.Record{sample(0), over(sample(0)), over(sample(0))} {
		s.Put(r)
		if err := s.flush(); err != nil {
			t.Fatal(err)
		}
	}
	if got := load(t, s); len(got) != 0 {
		t.Errorf("still active: %v", got)
	}
	if got := historyIDs(t, s, 10); len(got) != 1 || s.kept != 1 {
		t.Errorf("history %v, counted as %d; want one", got, s.kept)
	}
	if diff := cmp.Diff(s.Stats(), Stats{Written: 3, Batches: 3}); diff != "" {
		t.Errorf("stats (-got +want):\n%s", diff)
	}
}

func TestRunWritesAndTriesAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	synctest.Test(t, func(t *testing.T) {
		s, _ := mustOpen(t, path, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		s.Put(sample(1))
		synctest.Wait()
		if diff := cmp.Diff(s.Stats(), Stats{Written: 1, Batches: 1}); diff != "" {
			t.Errorf("stats after a record (-got +want):\n%s", diff)
		}

		if err := s.db.Close(); err != nil {
			t.Fatal(err)
		}
		s.Put(sample(2))
		synctest.Wait()
		if diff := cmp.Diff(s.Stats(), Stats{Written: 1, Batches: 1, Failed: 1, Pending: 1}); diff != "" {
			t.Errorf("stats after a failure (-got +want):\n%s", diff)
		}
		again, _ := mustOpen(t, path, Options{})
		s.writing.Lock()
		s.db = again.db
		s.writing.Unlock()
		time.Sleep(retryDelay) // the bubble's clock
		synctest.Wait()
		if diff := cmp.Diff(s.Stats(), Stats{Written: 2, Batches: 2, Failed: 1}); diff != "" {
			t.Errorf("stats after the next try (-got +want):\n%s", diff)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := load(t, s); len(got) != 2 {
			t.Errorf("%d records on disk, want 2", len(got))
		}
		mustClose(t, s)
	})
}

func TestPutIsBoundedAndKeepsTheNewest(t *testing.T) {
	s, _ := mustOpen(t, filepath.Join(t.TempDir(), "weir.db"), Options{Queue: 2})
	defer mustClose(t, s)
	newer := sample(0)
	newer.Attack.Hosts = 999
	var got []bool
	for _, r := range []traffic.Record{sample(0), sample(1), sample(2), newer, {}} {
		got = append(got, s.Put(r))
	}
	if diff := cmp.Diff(got, []bool{true, true, false, true, false}); diff != "" {
		t.Errorf("records taken (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(s.Stats(), Stats{Overflowed: 2, Pending: 2}); diff != "" {
		t.Errorf("stats (-got +want):\n%s", diff)
	}
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	if got := load(t, s); len(got) != 2 || got[0].Attack.Hosts != 999 {
		t.Errorf("on disk: %v; want two, the first one the newest", got)
	}
}

func TestPrune(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	s, _ := mustOpen(t, path, Options{Keep: 5})
	for i := range 8 {
		s.Put(over(sample(i)))
		if i%2 == 0 {
			if err := s.flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustClose(t, s)
	s, _ = mustOpen(t, path, Options{Keep: 5, KeepFor: time.Hour})
	defer mustClose(t, s)
	ids := func(numbers ...int) (out []string) {
		for _, i := range numbers {
			out = append(out, sample(i).Attack.ID)
		}
		return out
	}
	if diff := cmp.Diff(historyIDs(t, s, 10), ids(7, 6, 5, 4, 3)); diff != "" {
		t.Errorf("by number (-got +want):\n%s", diff)
	}
	for _, i := range []int{3, 4} {
		old := over(sample(i))
		old.Attack.Ended = time.Now().Add(-2 * time.Hour)
		s.Put(old)
	}
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(historyIDs(t, s, 10), ids(7, 6, 5)); diff != "" {
		t.Errorf("by age (-got +want):\n%s", diff)
	}
	if s.kept != 3 || s.Stats().Pruned != 2 {
		t.Errorf("%d kept and %d pruned, want 3 and 2", s.kept, s.Stats().Pruned)
	}
}

func TestFailedWriteIsTriedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	s, log := mustOpen(t, path, Options{})
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	s.Put(sample(0))
	for range 2 {
		if s.flush() == nil {
			t.Fatal("a closed file can be written")
		}
	}
	if diff := cmp.Diff(s.Stats(), Stats{Failed: 2, Pending: 1}); diff != "" {
		t.Errorf("stats (-got +want):\n%s", diff)
	}
	if c := strings.Count(log.String(), "store write failed"); c != 1 {
		t.Errorf("two failures wrote %d lines in the log, want 1:\n%s", c, log)
	}
	if err := s.Close(); err == nil {
		t.Error("what could not be written is lost without an error")
	}
}

func TestUnknownRecordsAreSkipped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	s, _ := mustOpen(t, path, Options{})
	s.Put(sample(0))
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	good, err := encode(&traffic.Record{})
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{
		"version":   `{"v":2,"attack":"something else entirely"}`,
		"none":      `{}`,
		"empty":     ``,
		"garbage":   "\x00\xff",
		"direction": strings.Replace(string(good), `"incoming"`, `"upwards"`, 1),
		"phase":     strings.Replace(string(good), `"suspected"`, `"phase(9)"`, 1),
		"scope":     strings.Replace(string(good), `"host"`, `"world"`, 1),
		"prefix":    strings.Replace(string(good), `"prefix":""`, `"prefix":"10.0.0.0/99"`, 1),
		"metric":    strings.Replace(string(good), `"rate"`, `"trip":{"metric":"x"},"rate"`, 1),
	}
	if err := s.db.Update(func(tx *bbolt.Tx) error {
		for key, value := range bad {
			if value == string(good) {
				t.Errorf("%s: nothing is bad about it", key)
			}
			if err := tx.Bucket(activeBucket).Put([]byte(key), []byte(value)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	s, log := mustOpen(t, path, Options{})
	defer mustClose(t, s)
	if got := load(t, s); len(got) != 1 || got[0].Attack.ID != sample(0).Attack.ID {
		t.Errorf("read %v; want the one good record", got)
	}
	if got := s.Stats().Skipped; got != uint64(len(bad)) || strings.Count(log.String(), "stored record skipped") != len(bad) {
		t.Errorf("%d skipped, want %d; log:\n%s", got, len(bad), log)
	}
	if !strings.Contains(log.String(), "unknown version 2; this program knows 1") {
		t.Errorf("the log does not name the version:\n%s", log)
	}
}

func FuzzDecode(f *testing.F) {
	r := sample(0)
	good, err := encode(&r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := decode(value)
		if err != nil {
			return
		}
		again, err := encode(&r)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if _, err := decode(again); err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, again)
		}
	})
}

// What was put before a Sync is in the file after it, without a Run.
func TestSync(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	s, _ := mustOpen(t, path, Options{})
	s.Put(sample(0))
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got.Written != 1 || got.Pending != 0 {
		t.Errorf("after Sync: %d written, %d pending; want 1 and 0", got.Written, got.Pending)
	}
}
