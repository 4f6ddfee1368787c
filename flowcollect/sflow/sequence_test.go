package sflow

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSequence(t *testing.T) {
	type counts struct{ Lost, Late, Duplicates, Restarts uint64 }
	for _, tt := range []struct {
		name    string
		numbers []uint32
		want    counts
	}{
		{"in order", []uint32{7, 8, 9}, counts{}},
		{"gap", []uint32{1, 5, 6}, counts{Lost: 3}},
		{"wrap", []uint32{0xfffffffe, 0xffffffff, 0, 1}, counts{}},
		{"gap over the wrap", []uint32{0xfffffffe, 2}, counts{Lost: 3}},
		{"overtaken", []uint32{1, 3, 2, 4}, counts{Late: 1}},
		{"overtaken by two, one of them lost", []uint32{1, 5, 2, 4, 6}, counts{Lost: 1, Late: 2}},
		{"twice", []uint32{1, 2, 2, 3}, counts{Duplicates: 1}},
		{"late twice", []uint32{1, 3, 2, 2}, counts{Late: 1, Duplicates: 1}},
		{"from before the first", []uint32{10, 9, 11}, counts{Duplicates: 1}},
		{"anew", []uint32{1000, 1001, 1, 2, 3}, counts{Restarts: 1}},
		{"anew, and lost since", []uint32{1000, 1, 2, 4}, counts{Lost: 1, Restarts: 1}},
		{"far ahead", []uint32{1, 1 << 30, 1<<30 + 1}, counts{Restarts: 1}},
		{"window's edge", []uint32{0, 64, 1}, counts{Lost: 62, Late: 1}},
		{"beyond the window", []uint32{0, 65, 1}, counts{Lost: 64, Restarts: 1}},
		{"always the same", []uint32{5, 5, 5}, counts{Duplicates: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var q sequence
			for _, n := range tt.numbers {
				q.take(n)
			}
			if diff := cmp.Diff(tt.want, counts{q.lost, q.late, q.duplicates, q.restarts}); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
