package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// told is what the demo's JSON lines have in common.
type told struct {
	Event   string
	Seconds float64
	Text    string
}

func parseLines(t *testing.T, output string) []told {
	t.Helper()
	var events []told
	for line := range strings.Lines(output) {
		var e told
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		events = append(events, e)
	}
	return events
}

// turningPoints leaves out what is told again and again.
func turningPoints(events []told) (names []string) {
	for _, e := range events {
		if e.Event != "traffic" && e.Event != "setup" && e.Event != "mode" {
			names = append(names, e.Event)
		}
	}
	return names
}

var wholeStory = []string{"attack", "detected", "dropped", "attack_stopped", "ended", "released", "summary"}

func TestUserSpaceStory(t *testing.T) {
	var out bytes.Buffer
	got, err := Run(t.Context(), Options{Out: &out, JSON: true, UserSpace: true})
	if err != nil {
		t.Fatal(err)
	}
	events := parseLines(t, out.String())
	if diff := cmp.Diff(turningPoints(events), wholeStory); diff != "" {
		t.Errorf("turning points (-got +want):\n%s", diff)
	}
	if events[0].Event != "mode" || !strings.Contains(events[0].Text, "user-space path") {
		t.Errorf("the story begins with %+v and does not say which path it takes", events[0])
	}
	for i, e := range events[1 : len(events)-1] {
		if e.Seconds < events[i].Seconds && i > 0 {
			t.Errorf("event %+v goes back in time", e)
		}
	}
	// At 200,000 packets/s, 20,000 packets are there after 100 ms; the next reading sees more, and the drop follows at once.
	// What leaks is what was sent until then.
	if got.DetectedMS < 100 || got.DetectedMS > 120 || got.DroppedMS < got.DetectedMS || got.DroppedMS > 120 {
		t.Errorf("detected after %v ms, dropped after %v ms; want 100 to 120", got.DetectedMS, got.DroppedMS)
	}
	if want := uint64(got.DroppedMS * captureAttackPPS / 1000); got.LeakedPackets != want {
		t.Errorf("%d packets leaked, want %d", got.LeakedPackets, want)
	}
	want := Summary{
		Event: "summary", Passed: true, DetectedMS: got.DetectedMS, DroppedMS: got.DroppedMS, LeakedPackets: got.LeakedPackets,
		AttackPPS: captureAttackPPS, VictimOK: true,
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("summary (-got +want):\n%s", diff)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var last Summary
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(last, want); diff != "" {
		t.Errorf("last line (-got +want):\n%s", diff)
	}
}

func TestUserSpaceStoryEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if _, err := Run(ctx, Options{Out: &out, JSON: true, UserSpace: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	for _, e := range parseLines(t, out.String()) {
		if e.Event == "summary" {
			t.Error("a story that was cut off has a summary")
		}
	}
}

// TestStoryKeepsItsOrder brings what was done before what it follows from, and everything twice.
func TestStoryKeepsItsOrder(t *testing.T) {
	var out bytes.Buffer
	s := story{teller: newTeller(Options{Out: &out, JSON: true}), scene: newScene()}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s.first = at
	var counts []int
	for i, turn := range []turn{turnDropped, turnDropped, turnDetected, turnReleased, turnDetected, turnEnded} {
		s.take(turning{turn: turn, at: at.Add(time.Duration(i) * time.Millisecond)})
		counts = append(counts, strings.Count(out.String(), "\n"))
	}
	if diff := cmp.Diff(counts, []int{0, 0, 2, 2, 2, 4}); diff != "" {
		t.Errorf("lines told (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(turningPoints(parseLines(t, out.String())), []string{"detected", "dropped", "ended", "released"}); diff != "" {
		t.Errorf("turning points (-got +want):\n%s", diff)
	}
	if got := [...]float64{s.since(turnDetected), s.since(turnDropped), s.since(turnEnded), s.since(turnReleased)}; got != [...]float64{2, 0, 5, 3} {
		t.Errorf("milliseconds after the first packet: got %v, want the first of each kind", got)
	}
}

// TestStoryWithRouter is over when the router has been told of the end, too.
func TestStoryWithRouter(t *testing.T) {
	var out bytes.Buffer
	s := story{teller: newTeller(Options{Out: &out, JSON: true}), scene: newScene(), router: true}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s.first = at
	for i, turn := range []turn{turnAnnounced, turnDetected, turnDropped, turnWithdrawn, turnEnded, turnReleased} {
		if s.over() {
			t.Errorf("over before turning point %d", i)
		}
		s.take(turning{turn: turn, at: at.Add(time.Duration(i) * time.Millisecond)})
	}
	if !s.over() {
		t.Error("not over in the end")
	}
	events := parseLines(t, out.String())
	if diff := cmp.Diff(turningPoints(events), []string{"detected", "dropped", "announced", "ended", "released", "withdrawn"}); diff != "" {
		t.Errorf("turning points (-got +want):\n%s", diff)
	}
	const want = "the blackhole 203.0.113.10/32 with community 65535:666 is in the router's table, -1.0 ms after detection"
	if events[2].Text != want {
		t.Errorf("got %q, want %q", events[2].Text, want)
	}
}

// TestSummaryJudges takes one thing at a time away from a story that passes.
func TestSummaryJudges(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	good := func() *story {
		return &story{first: began, at: [turnCount]time.Time{
			turnDetected: began.Add(10 * time.Millisecond), turnDropped: began.Add(11 * time.Millisecond),
			turnEnded: began.Add(time.Second), turnReleased: began.Add(2 * time.Second),
		}}
	}
	milli := func(ms float64) *float64 { return &ms }
	withRouter := func(announced, withdrawn time.Duration) func(*story) {
		return func(s *story) {
			s.router = true
			if announced > 0 {
				s.at[turnAnnounced] = began.Add(announced)
			}
			if withdrawn > 0 {
				s.at[turnWithdrawn] = began.Add(withdrawn)
			}
		}
	}
	tests := []struct {
		name         string
		mutate       func(*story)
		sent, leaked uint64
		ok           bool
		want         Summary
	}{
		{"good", func(*story) {}, 1000, 10, true, Summary{Passed: true, DetectedMS: 10, DroppedMS: 11, LeakedPackets: 10, AttackPPS: 5, VictimOK: true}},
		{"never detected", func(s *story) { s.at[turnDetected], s.at[turnDropped] = time.Time{}, time.Time{} }, 1000, 10, true,
			Summary{DetectedMS: -1, DroppedMS: -1, LeakedPackets: 10, AttackPPS: 5, VictimOK: true}},
		{"announced and withdrawn", withRouter(15*time.Millisecond, time.Minute), 1000, 10, true,
			Summary{Passed: true, DetectedMS: 10, DroppedMS: 11, LeakedPackets: 10, AttackPPS: 5, VictimOK: true, BGPMS: milli(5)}},
		{"never announced", withRouter(0, 0), 1000, 10, true,
			Summary{DetectedMS: 10, DroppedMS: 11, LeakedPackets: 10, AttackPPS: 5, VictimOK: true, BGPMS: milli(-1)}},
		{"never withdrawn", withRouter(15*time.Millisecond, 0), 1000, 10, true,
			Summary{DetectedMS: 10, DroppedMS: 11, LeakedPackets: 10, AttackPPS: 5, VictimOK: true, BGPMS: milli(5)}},
		{"never dropped", func(s *story) { s.at[turnDropped] = time.Time{} }, 1000, 10, true,
			Summary{DetectedMS: 10, DroppedMS: -1, LeakedPackets: 10, AttackPPS: 5, VictimOK: true}},
		{"never released", func(s *story) { s.at[turnReleased] = time.Time{} }, 1000, 10, true,
			Summary{DetectedMS: 10, DroppedMS: 11, LeakedPackets: 10, AttackPPS: 5, VictimOK: true}},
		{"leaked too much", func(*story) {}, 1000, 251, true, Summary{DetectedMS: 10, DroppedMS: 11, LeakedPackets: 251, AttackPPS: 5, VictimOK: true}},
		{"not served", func(*story) {}, 1000, 10, false, Summary{DetectedMS: 10, DroppedMS: 11, LeakedPackets: 10, AttackPPS: 5}},
		{"no attack", func(*story) {}, 0, 0, true, Summary{DetectedMS: 10, DroppedMS: 11, AttackPPS: 5, VictimOK: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := good()
			tt.mutate(s)
			if diff := cmp.Diff(s.summary(tt.sent, tt.leaked, 5, tt.ok), tt.want); diff != "" {
				t.Errorf("summary (-got +want):\n%s", diff)
			}
		})
	}
}
