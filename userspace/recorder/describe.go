package recorder

import (
	"fmt"
	"strings"
	"time"

	"weir/userspace/traffic"
)

// timeText is how times stand in comments.
const timeText = "2006-01-02 15:04:05.000 MST"

// describe is a section's comment: what is known of the attack. What matters most comes first, for it may be cut.
func describe(r *traffic.Record) string {
	a := &r.Attack
	var b strings.Builder
	fmt.Fprintf(&b, "attack %s, %s, %s, hostgroup %s\n", a.ID, a.Target, a.Target.Direction, a.Target.Group)
	fmt.Fprintf(&b, "class: %s\n", class(a))
	fmt.Fprintf(&b, "decided by: %s\n", a.Trip)
	fmt.Fprintf(&b, "phase: %s\n", a.Phase)
	rates := &a.Rate.Incoming
	if a.Target.Direction == traffic.Outgoing {
		rates = &a.Rate.Outgoing
	}
	fmt.Fprintf(&b, "rate: %s\n", perSecond(rates))
	fmt.Fprintf(&b, "peak: %s\n", perSecond(&a.Peak))
	for _, t := range []struct {
		name string
		time time.Time
	}{{"started", a.Started}, {"detected", a.Detected}, {"ended", a.Ended}} {
		if !t.time.IsZero() {
			fmt.Fprintf(&b, "%s: %s\n", t.name, t.time.Format(timeText))
		}
	}
	if a.Analysis != nil {
		for _, rule := range a.Analysis.Rules.Rules {
			fmt.Fprintf(&b, "rule: %s (%s)\n", rule.Rule, rule.Text)
		}
		if why := a.Analysis.Rules.Why; why != "" {
			fmt.Fprintf(&b, "rules: %s\n", why)
		}
	}
	return b.String()
}

// class says what kind of attack it is and how sure that is.
func class(a *traffic.Attack) string {
	if a.Analysis == nil {
		return "not known yet"
	}
	return fmt.Sprintf("%s (%.0f %% sure, from %d samples)", a.Analysis.Class, a.Analysis.Confidence*100, a.Analysis.Samples)
}

func perSecond(c *traffic.Counts) string {
	return fmt.Sprintf("%d packets/s, %.1f Mbit/s, %d flows/s", c.Total.Packets, float64(c.Total.Bytes)*8/1e6, c.Flows)
}

// news says what has changed from one record of an attack to the next, for a comment on the frame that comes then; empty: nothing much.
func news(before, now *traffic.Record) string {
	var said []string
	if before.Attack.Phase != now.Attack.Phase {
		said = append(said, fmt.Sprintf("phase: %s", now.Attack.Phase))
	}
	if is := class(&now.Attack); is != class(&before.Attack) {
		said = append(said, "class: "+is)
	}
	if rules := ruleTexts(now); rules != ruleTexts(before) {
		said = append(said, "rules: "+rules)
	}
	return strings.Join(said, "\n")
}

func ruleTexts(r *traffic.Record) string {
	if r.Attack.Analysis == nil {
		return ""
	}
	var texts []string
	for _, rule := range r.Attack.Analysis.Rules.Rules {
		texts = append(texts, rule.Rule)
	}
	return strings.Join(texts, "; ")
}
