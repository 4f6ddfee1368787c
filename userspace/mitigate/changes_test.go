package mitigate

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// TestChanges follows records of one attack as they come, and tells each change once.
func TestChanges(t *testing.T) {
	is := &traffic.Analysis{Class: "syn_flood"}
	var told Told
	var last traffic.Record
	for _, step := range []struct {
		name string
		edit func(*traffic.Record)
		want []traffic.ChangeKind
	}{
		{"detected", func(r *traffic.Record) { r.Attack.Phase = traffic.PhaseActive }, []traffic.ChangeKind{traffic.ChangeStarted}},
		{"the same again", func(*traffic.Record) {}, nil},
		{"banned", func(r *traffic.Record) {
			r.Attack.Phase, r.Ban.Since, r.Ban.Response = traffic.PhaseMitigated, start, &traffic.Response{Rung: 1}
		}, []traffic.ChangeKind{traffic.ChangeBanned}},
		{"analyzed", func(r *traffic.Record) { r.Attack.Analysis = is }, []traffic.ChangeKind{traffic.ChangeDescribed}},
		{"figures alone", func(r *traffic.Record) { r.Attack.Rate.Incoming.Flows = 7 }, nil},
		{"a stronger response, another analysis", func(r *traffic.Record) {
			r.Ban.Response, r.Attack.Analysis = &traffic.Response{Rung: 2}, &traffic.Analysis{}
		}, []traffic.ChangeKind{traffic.ChangeEscalated, traffic.ChangeDescribed}},
		{"over", func(r *traffic.Record) { r.Ban.Lifted, r.Attack.Phase = start.Add(time.Hour), traffic.PhaseOver }, []traffic.ChangeKind{traffic.ChangeUnbanned, traffic.ChangeEnded}},
		{"over for long", func(*traffic.Record) {}, nil},
	} {
		r := last
		step.edit(&r)
		last = r
		var got []traffic.ChangeKind
		got, told = told.Changes(&r)
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", step.name, diff)
		}
	}
	over := traffic.Record{Attack: traffic.Attack{Phase: traffic.PhaseOver}}
	if got, _ := (Told{}).Changes(&over); len(got) > 0 {
		t.Errorf("of an attack from before the start: %v", got)
	}
}
