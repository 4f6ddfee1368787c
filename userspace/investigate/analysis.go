package investigate

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"weir/userspace/analyze"
	"weir/userspace/analyze/signature"
	"weir/userspace/traffic"
)

// Case is all that an analysis takes, apart from the book that goes on.
type Case struct {
	target   traffic.Target
	samples  []analyze.Seen
	normal   []analyze.Seen
	baseline *signature.Baseline
	ours     func(netip.Addr) bool

	// Background is the share of the target's packets that is ordinary traffic in all likelihood, by counters: the rate before the attack by the rate
	// now; 0: unknown. background is the same of the samples, by samples; the larger one counts.
	Background, background float64
}

// Open takes out what is known of an attack now; false when that is nothing. The case may be analyzed by another goroutine.
func (b *Book) Open(t traffic.Target) (*Case, bool) {
	a := b.attacks[side{t.Prefix, t.Direction}]
	if a == nil || len(a.samples) == 0 {
		return nil, false
	}
	c := &Case{target: a.target, samples: slices.Clone(a.samples), ours: b.ours, background: b.background(a)}
	var known *signature.Baseline
	if c.normal, known = b.ordinary(a); known != nil {
		c.baseline = b.normal.baseline(0)
		c.baseline.Merge(known) // a copy: the book's goes on
	}
	return c, true
}

// Analyze names the attack and finds rules against it. It takes up to a tenth of a second for 10,000 samples.
func (c *Case) Analyze(now time.Time) *traffic.Analysis {
	attack, familiar, share := split(c.samples, c.normal, c.target.Direction)
	normal := slices.Concat(c.normal, familiar)
	background := min(mostBackground, max(0, max(c.Background, c.background)-share)/(1-share)) // of what is left
	report := analyze.Analyze(attack, c.target.Direction, c.ours)
	usual := analyze.Analyze(c.normal, c.target.Direction, c.ours)
	report.Discount(&usual, background)
	out := &traffic.Analysis{
		At: now, Samples: len(c.samples), Normal: len(normal), Class: report.Name, Confidence: report.Confidence, Sources: string(report.Spoofing.Verdict),
	}
	for _, v := range report.Vectors {
		out.Vectors = append(out.Vectors, traffic.Vector{Class: v.Class, Share: v.Share, Confidence: v.Confidence, Evidence: v.Evidence})
	}
	for _, p := range report.Patterns {
		out.Patterns = append(out.Patterns, p.Name+": "+p.Evidence)
	}
	found := signature.Infer(c.target, attack, normal, signature.Options{Baseline: c.baseline, Background: background})
	out.Rules, out.Router = ruleSet(&found.Set), ruleSet(&found.RouterRules)
	out.Evidence = slices.Concat(report.Spoofing.Evidence, found.Evidence)
	if share > 0 {
		out.Evidence = append(out.Evidence, fmt.Sprintf("%.1f %% of the packets are of conversations from before the attack, and are not taken for part of it", 100*share))
	}
	return out
}

func ruleSet(s *signature.Set) traffic.RuleSet {
	out := traffic.RuleSet{Coverage: s.Coverage, Collateral: s.Collateral, Why: s.Why}
	measured := func(all []signature.Found) (out []traffic.MeasuredRule) {
		for _, f := range all {
			out = append(out, traffic.MeasuredRule{Rule: f.Rule.String(), Coverage: f.Coverage, Collateral: f.Collateral, Text: f.Text})
		}
		return out
	}
	out.Rules, out.Left = measured(s.Rules), measured(s.Left)
	return out
}
