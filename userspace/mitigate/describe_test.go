package mitigate

import (
	"testing"

	"weir/userspace/traffic"
)

// TestDescribe: what an attack is made of is recorded with it, and of nobody else.
func TestDescribe(t *testing.T) {
	m := New(testPolicy())
	is := &traffic.Analysis{Class: "syn_flood"}
	if steps := m.Describe(start, victim, is); len(steps) != 0 {
		t.Errorf("nobody is attacked: got %v", steps)
	}
	m.Handle(start, traffic.Event{Kind: traffic.EventStarted, Target: victim, At: start, Started: start, Hosts: 1}, traffic.TwoWay{})
	steps := m.Describe(start, victim, is)
	if len(steps) != 1 || steps[0].Kind != StepRecord || steps[0].Attack.Analysis != is {
		t.Errorf("got %v, want one record with the analysis", steps)
	}
	if got := m.Attacks()[0].Attack.Analysis; got != is {
		t.Errorf("the attack's analysis: %v", got)
	}
	if steps := m.Describe(start, another, is); len(steps) != 0 {
		t.Errorf("another: got %v", steps)
	}
}
