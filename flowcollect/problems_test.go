package flowcollect

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestProblems(t *testing.T) {
	now := at(3600)
	for _, tt := range []struct {
		name   string
		change func(*ExporterState)
		want   []string // what each sentence holds
	}{
		{"nothing wrong", func(*ExporterState) {}, nil},
		{"silent", func(s *ExporterState) { s.LastSeen, s.Recent.Errors = now.Add(-301*time.Second), 1 }, []string{"nothing has come for 5m1s"}},
		{"not silent yet", func(s *ExporterState) { s.LastSeen = now.Add(-300 * time.Second) }, nil},
		{"unreadable", func(s *ExporterState) { s.Recent.Errors, s.LastError = 3, "byte 4: what" }, []string{"3 of its datagrams could not be read; the last: byte 4: what"}},
		{"withheld", func(s *ExporterState) { s.Recent.Withheld = 9 }, []string{"nobody says how: 9 of them"}},
		{"withheld long ago", func(s *ExporterState) { s.Withheld = 9 }, nil},
		{"misrated", func(s *ExporterState) { s.Misrated = &Misrated{3, 1000, 4000.4} }, []string{"interface 3 says that it samples 1 in 1000; by its own count of packets it is 1 in 4000"}},
		{"twice", func(s *ExporterState) { s.Twice = &InterfacePair{1, 2} }, []string{"from interface 1 to 2 is told both"}},
		{"loss", func(s *ExporterState) { s.Recent.Lost, s.LostPercent = 12, 0.11 }, []string{"0.11 % of what it sent was lost (12 by the gaps"}},
		{"hardly any loss", func(s *ExporterState) { s.Recent.Lost, s.LostPercent = 12, 0.1 }, nil},
		{"agent loses samples", func(s *ExporterState) { s.Recent.Drops = 5 }, []string{"it has lost 5 samples"}},
		{"templates missing", func(s *ExporterState) { s.WaitingSets, s.Templates = 4, 0 }, []string{"4 data sets wait for one, 0 were given up"}},
		{"some templates missing", func(s *ExporterState) { s.WaitingSets, s.Templates = 4, 1 }, nil},
		{"templates late", func(s *ExporterState) { s.Recent.GivenUp, s.Templates = 2, 1 }, []string{"0 data sets wait for one, 2 were given up"}},
		{"templates change", func(s *ExporterState) { s.Recent.Collisions = 4 }, []string{"to and fro 4 times"}},
		{"clock ahead", func(s *ExporterState) { s.ClockOffset = 6 * time.Second }, []string{"off by 6s"}},
		{"clock behind", func(s *ExporterState) { s.ClockOffset = -time.Hour }, []string{"off by -1h0m0s"}},
		{"clock nearly right", func(s *ExporterState) { s.ClockOffset = -5 * time.Second }, nil},
		{"active timeout", func(s *ExporterState) { s.ActiveTimeout = 30 * time.Minute }, []string{"only every 30m0s"}},
		{"times", func(s *ExporterState) { s.Recent.Records, s.Recent.BadTimes = 1000, 11 }, []string{"11 records have impossible times"}},
		{"a few times", func(s *ExporterState) { s.Recent.Records, s.Recent.BadTimes = 1000, 10 }, nil},
		{"several", func(s *ExporterState) { s.Recent.Errors, s.Recent.Withheld, s.ClockOffset = 1, 1, time.Minute },
			[]string{"could not be read", "nobody says how", "its clock"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := ExporterState{LastSeen: now}
			tt.change(&s)
			got := problems(&s, now)
			if len(got) != len(tt.want) {
				t.Fatalf("got %+v, want %q", got, tt.want)
			}
			for i, p := range got {
				if !strings.Contains(p.Sentence, tt.want[i]) {
					t.Errorf("got %q, want %q in it", p.Sentence, tt.want[i])
				}
				if p.Remedy == "" || strings.HasSuffix(p.Sentence, ".") {
					t.Errorf("%q, remedy %q", p.Sentence, p.Remedy)
				}
			}
		})
	}
}

// What was wrong is no problem any more when it is over; counters stay.
func TestRecent(t *testing.T) {
	b := newBed(t, Options{})
	tell := func(seconds int, sequence uint32) {
		b.take(memberA, at(seconds), exported(at(seconds), netflow5(sequence, 0, one{})))
		b.tick(at(seconds))
	}
	tell(0, 0)
	tell(1, 100) // 99 are lost
	s := b.only(at(1))
	want := Recent{Over: time.Second, Datagrams: 2, Records: 2, Lost: 99, Due: 101}
	if diff := cmp.Diff(want, s.Recent); diff != "" {
		t.Errorf("recently (-want +got):\n%s", diff)
	}
	if s.LostPercent < 98.0 || s.LostPercent > 98.1 || len(s.Problems) != 1 {
		t.Errorf("lost %.2f %%, problems %+v", s.LostPercent, s.Problems)
	}
	for n := range 15 {
		tell(60*(n+1), uint32(101+n))
		s = b.only(at(60 * (n + 1)))
		if recent := s.Recent.Over < 10*time.Minute && n < 8; (s.Recent.Lost == 99) != recent && n != 8 && n != 9 {
			t.Errorf("after %d minutes, of the last %s: lost %d", n+1, s.Recent.Over, s.Recent.Lost)
		}
		if s.Recent.Over > 2*turnEvery+sweepEvery {
			t.Errorf("recent is the last %s", s.Recent.Over)
		}
	}
	if s.Lost != 99 || s.LostPercent != 0 || len(s.Problems) != 0 || s.Datagrams != 17 {
		t.Errorf("at the end: lost %d (%.2f %%), datagrams %d, problems %+v", s.Lost, s.LostPercent, s.Datagrams, s.Problems)
	}
}

// A data source that says another rate than it has is found out by its count of packets.
func TestMisrated(t *testing.T) {
	for _, tt := range []struct {
		name string
		said uint32
		want bool
	}{{"as it says", 1000, false}, {"ten times as much", 10_000, true}, {"a tenth", 100, true}} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, Options{})
			for n := range uint32(300) {
				b.take(memberA, at(int(n)), sflow5Of(memberA, n+1, tt.said, (n+1)*1000, one{input: 3, output: 4}))
			}
			s := b.only(at(300))
			if got := s.Misrated != nil; got != tt.want {
				t.Errorf("misrated: %+v, want %t", s.Misrated, tt.want)
			}
		})
	}
}
