package signature

import (
	"fmt"
	"math"
	"strconv"

	"weir/userspace/traffic"
)

// Found is a rule and what it was measured to do. Shares are 0 to 1, of packets.
type Found struct {
	Rule            traffic.Rule
	Coverage        float64 // of the attack's samples
	CoverageAtLeast float64 // the same of the whole attack, with 95 % confidence
	Collateral      float64 // of normal samples
	// CollateralAtMost is the share of all normal traffic with 95 % confidence: far above Collateral when normal samples are few,
	// unless the histograms of a Baseline say that less of it can be meant.
	CollateralAtMost float64
	Text             string // "drops 99.1 % of the attack, 0.04 % of normal"
}

// Set is rules that together stop an attack.
type Set struct {
	Rules            []Found // what covers the most first
	Left             []Found // those that MaxRules had no room for, or that are not worth having
	Coverage         float64 // of Rules together, as in Found
	Collateral       float64
	CollateralAtMost float64
	// Indistinguishable: no rule stops enough of the attack at a tolerable price. Rules is empty.
	Indistinguishable bool
	Why               string // a sentence when the set falls short of what was asked for; else empty
}

// Result is what Infer found.
type Result struct {
	Set                  // for XDP
	RouterRules Set      // what FlowSpec can say: the same as Set unless that looks at payload
	Evidence    []string // sentences on what else the attack has in common, which no rule can look at
	Attack      int      // samples looked at
	Normal      int
	Ignored     int // samples of either that are not of the target, or are of the IP version that fewer of the attack's are of
}

// z is the 95 % quantile of the normal distribution, one-sided.
const z = 1.6448536269514722

// wilson returns the bounds of a share of which n samples, as good as so many independent ones, have shown share
// (Wilson, "Probable inference, the law of succession, and statistical inference", 1927).
func wilson(share, n float64) (low, high float64) {
	if n <= 0 {
		return 0, 1
	}
	share = min(max(share, 0), 1)
	middle := share + z*z/(2*n)
	spread := z * math.Sqrt(share*(1-share)/n+z*z/(4*n*n))
	whole := 1 + z*z/n
	return max(0, (middle-spread)/whole), min(1, (middle+spread)/whole)
}

// effective is how many samples of one weight are as good as these (Kish).
func (t *table) effective() float64 {
	sum, squares := 0.0, 0.0
	for _, r := range t.rates {
		sum += float64(r)
		squares += float64(r) * float64(r)
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / squares
}

// percent writes a share as "99.1 %", with as many digits as tell it from none and from all.
func percent(share float64) string {
	p := share * 100
	digits := 1
	switch {
	case p == 0 || p == 100:
		digits = 0
	case p < 1:
		digits = 2
	}
	text := strconv.FormatFloat(p, 'f', digits, 64)
	if p > 0 && text == "0.00" {
		text = "under 0.01"
	}
	if p < 100 && text == "100.0" {
		text = "over 99.9"
	}
	return text + " %"
}

// describe writes what a rule does. The bound is named where it says more than the share.
func describe(f *Found) string {
	verb := "meets"
	for _, a := range f.Rule.Actions {
		switch a.Kind {
		case traffic.RuleDiscard:
			verb = "drops"
		case traffic.RuleRateBytes, traffic.RuleRatePackets:
			verb = "limits"
		}
	}
	if f.CollateralAtMost >= 1 {
		return fmt.Sprintf("%s %s of the attack; nothing is known of normal traffic", verb, percent(f.Coverage))
	}
	text := fmt.Sprintf("%s %s of the attack, %s of normal", verb, percent(f.Coverage), percent(f.Collateral))
	if f.CollateralAtMost > f.Collateral+0.01 {
		text += fmt.Sprintf(" (at most %s, with 95 %% confidence)", percent(f.CollateralAtMost))
	}
	return text
}
