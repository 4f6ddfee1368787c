package api

import (
	"weir/userspace/api/weirpb"
	"weir/userspace/traffic"
)

func analysisOut(a *traffic.Analysis) *weirpb.Analysis {
	if a == nil {
		return nil
	}
	out := &weirpb.Analysis{
		At: timeOut(a.At), Samples: uint64(a.Samples), NormalSamples: uint64(a.Normal), Class: a.Class, Confidence: a.Confidence,
		Patterns: a.Patterns, Sources: a.Sources, Evidence: a.Evidence, Rules: ruleSetOut(&a.Rules), RouterRules: ruleSetOut(&a.Router),
	}
	for _, v := range a.Vectors {
		out.Vectors = append(out.Vectors, &weirpb.Vector{Class: v.Class, Share: v.Share, Confidence: v.Confidence, Evidence: v.Evidence})
	}
	return out
}

func ruleSetOut(s *traffic.RuleSet) *weirpb.RuleSet {
	return &weirpb.RuleSet{Rules: measuredOut(s.Rules), Left: measuredOut(s.Left), Coverage: s.Coverage, Collateral: s.Collateral, Why: s.Why}
}

func measuredOut(rules []traffic.MeasuredRule) (out []*weirpb.MeasuredRule) {
	for _, r := range rules {
		out = append(out, &weirpb.MeasuredRule{Rule: r.Rule, Coverage: r.Coverage, Collateral: r.Collateral, Text: r.Text})
	}
	return out
}
