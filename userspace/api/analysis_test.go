package api

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"weir/userspace/api/weirpb"
	"weir/userspace/traffic"
)

func TestAnalysisOut(t *testing.T) {
	rule := traffic.MeasuredRule{Rule: "r", Coverage: 0.9, Collateral: 0.1, Text: "t"}
	ruleOut := &weirpb.MeasuredRule{Rule: "r", Coverage: 0.9, Collateral: 0.1, Text: "t"}
	r := traffic.Record{Attack: traffic.Attack{Analysis: &traffic.Analysis{
		Samples: 3, Normal: 4, Class: "c", Confidence: 0.5, Vectors: []traffic.Vector{{Class: "v", Share: 0.25, Confidence: 0.75, Evidence: []string{"e"}}},
		Patterns: []string{"p"}, Sources: "forged", Evidence: []string{"f"},
		Rules: traffic.RuleSet{Rules: []traffic.MeasuredRule{rule}, Coverage: 0.8}, Router: traffic.RuleSet{Left: []traffic.MeasuredRule{rule}, Collateral: 0.2, Why: "w"},
	}}}
	want := &weirpb.Analysis{
		Samples: 3, NormalSamples: 4, Class: "c", Confidence: 0.5, Vectors: []*weirpb.Vector{{Class: "v", Share: 0.25, Confidence: 0.75, Evidence: []string{"e"}}},
		Patterns: []string{"p"}, Sources: "forged", Evidence: []string{"f"},
		Rules: &weirpb.RuleSet{Rules: []*weirpb.MeasuredRule{ruleOut}, Coverage: 0.8}, RouterRules: &weirpb.RuleSet{Left: []*weirpb.MeasuredRule{ruleOut}, Collateral: 0.2, Why: "w"},
	}
	if diff := cmp.Diff(attackOut(&r).GetAnalysis(), want, protocmp.Transform()); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	if attackOut(&traffic.Record{}).GetAnalysis() != nil {
		t.Error("an attack that was not analyzed has an analysis")
	}
}
