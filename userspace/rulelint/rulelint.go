// Package rulelint says whether a traffic rule is dangerous, senseless, or more than a router can do, and what to write instead.
package rulelint

import (
	"fmt"
	"net/netip"
	"strings"

	"weir/userspace/traffic"
)

// Severity says what follows from a finding.
type Severity uint8

// The severities.
const (
	Warning Severity = iota // the rule can be used, but may not do what was meant
	Error                   // the rule must not be used
	SeverityCount
)

var severityNames = [SeverityCount]string{"warning", "error"}

// String returns the severity's name as it stands in JSON.
func (s Severity) String() string {
	if s < SeverityCount {
		return severityNames[s]
	}
	return fmt.Sprintf("severity(%d)", uint8(s))
}

// MarshalText writes the severity's name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one thing that speaks against a rule.
type Finding struct {
	Severity Severity `json:"severity"`
	Rule     string   `json:"rule"`    // its text form
	Reason   string   `json:"reason"`  // what is wrong, and why
	Remedy   string   `json:"remedy"`  // what the operator can do
	Profile  string   `json:"profile"` // the profile whose limit it is; empty: it is wrong anywhere
}

// String returns "SEVERITY: REASON; REMEDY".
func (f Finding) String() string { return f.Severity.String() + ": " + f.Reason + "; " + f.Remedy }

// Refused reports whether a finding forbids the rule.
func Refused(findings []Finding) bool {
	for _, f := range findings {
		if f.Severity == Error {
			return true
		}
	}
	return false
}

// Lint returns what speaks against a rule for routers of a profile, the general first. ours says whether a prefix lies wholly inside
// our own networks.
func Lint(r traffic.Rule, p Profile, ours func(netip.Prefix) bool) []Finding {
	l := &linter{rule: r.Canonical(), profile: &p, ours: ours}
	l.text = l.rule.String()
	if err := r.Validate(); err != nil {
		l.add(Error, "the rule is not valid: "+err.Error(), "correct it")
		return l.found
	}
	l.scope()
	l.conditions()
	l.lengths()
	l.layers()
	l.actions()
	l.general = len(l.found)
	l.limits()
	for i := l.general; i < len(l.found); i++ {
		l.found[i].Profile = p.Name
	}
	return l.found
}

// LintAll lints rules that are to be in force together: each, that no two match the same, and their number.
func LintAll(rules []traffic.Rule, p Profile, ours func(netip.Prefix) bool) []Finding {
	var found []Finding
	seen := map[string]string{}
	for _, r := range rules {
		found = append(found, Lint(r, p, ours)...)
		text := r.String()
		match, _, _ := strings.Cut(text, " then ")
		if before, twice := seen[match]; twice {
			found = append(found, Finding{Severity: Error, Rule: text, Reason: fmt.Sprintf("it matches the same as %q, and the later announcement would replace the earlier", before), Remedy: "keep one of the two"})
		}
		seen[match] = text
	}
	if p.MaxRules > 0 && len(rules) > p.MaxRules {
		found = append(found, Finding{Severity: p.maxRulesSeverity, Profile: p.Name, Reason: fmt.Sprintf("%d rules are more than the %d that %s", len(rules), p.MaxRules, p.maxRulesWhy), Remedy: "aggregate rules, or blackhole their targets"})
	}
	return found
}

// linter collects findings about one rule.
type linter struct {
	rule    traffic.Rule
	text    string
	profile *Profile
	ours    func(netip.Prefix) bool
	found   []Finding
	general int // findings that are no matter of the profile
}

func (l *linter) add(s Severity, reason, remedy string) {
	l.found = append(l.found, Finding{Severity: s, Rule: l.text, Reason: reason, Remedy: remedy})
}

// scope looks at where the rule applies.
func (l *linter) scope() {
	d := l.rule.Destination
	switch {
	case l.matchesAll():
		l.add(Error, "it matches every packet", "name a destination inside our networks and what the attack looks like")
	case !d.IsValid():
		l.add(Error, "it has no destination, so it applies to everybody's traffic", "add the destination under attack")
	case l.rule.DestinationOffset > 0:
		l.add(Error, fmt.Sprintf("its destination leaves out the first %d bits of the address, so it applies to addresses that are not ours", l.rule.DestinationOffset), "write the destination without an offset")
	case !l.ours(d):
		l.add(Error, fmt.Sprintf("destination %s is not inside our networks", d), "correct the destination, or add its network to networks")
	case l.stops() && l.onlyDestination():
		l.add(Warning, fmt.Sprintf("it stops everything to %s, as a blackhole would", d), "add what the attack looks like (protocol, ports, length), or use a blackhole")
	}
}

// matchesAll reports whether the rule, IP version aside, leaves no packet out.
func (l *linter) matchesAll() bool {
	r := &l.rule
	if r.Destination.IsValid() && r.Destination.Bits() > 0 || r.Source.IsValid() && r.Source.Bits() > 0 || len(r.Payload) > 0 {
		return false
	}
	all := true
	r.EachTerms(func(c traffic.Condition, t traffic.Terms, largest uint32) {
		words, _ := l.implied(c.Name)
		all = all && words == "" && reach(t, largest) == always
	})
	r.EachMasks(func(c traffic.Condition, m traffic.Masks, bits uint16) {
		words, _ := l.implied(c.Name)
		all = all && words == "" && l.maskReach(c, m, bits) == always
	})
	return all
}

// onlyDestination reports whether nothing but the destination says which packets are meant.
func (l *linter) onlyDestination() bool {
	alone := l.rule
	alone.Destination, alone.DestinationOffset = netip.Prefix{}, 0
	test := linter{rule: alone}
	return test.matchesAll()
}

// stops reports whether packets do not arrive.
func (l *linter) stops() bool { return l.has(traffic.RuleDiscard) }

func (l *linter) has(kind traffic.RuleActionKind) bool {
	for _, a := range l.rule.Actions {
		if a.Kind == kind {
			return true
		}
	}
	return false
}
