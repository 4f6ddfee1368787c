package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weir/loader"
	"weir/userspace/api"
	"weir/userspace/respond"
	"weir/userspace/rulelint"
	"weir/userspace/traffic"
)

// rulesFile is beside the store: rules that were put in force, so that they are in force again after a restart.
const rulesFile = "rules.json"

// keptRule is a rule as it stands in the file.
type keptRule struct {
	ID     uint64    `json:"id"`
	Rule   string    `json:"rule"`
	Shadow bool      `json:"shadow,omitempty"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"`
	Attack string    `json:"attack,omitempty"`
}

// ruleBook is the rules in force. Only the main loop uses it, once the daemon runs.
type ruleBook struct {
	path string
	list []api.AppliedRule
	last uint64 // the highest number ever given
}

func openRules(store string) (*ruleBook, error) {
	b := &ruleBook{path: filepath.Join(filepath.Dir(store), rulesFile)}
	text, err := os.ReadFile(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	var kept []keptRule
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	if err != nil {
		return nil, fmt.Errorf("read rules that were in force: %w; remove %s to begin without any", err, b.path)
	}
	for _, k := range kept {
		rule, err := traffic.ParseRule(k.Rule)
		if err != nil {
			return nil, fmt.Errorf("read rules that were in force: %s: rule %d: %w", b.path, k.ID, err)
		}
		b.list = append(b.list, api.AppliedRule{ID: k.ID, Rule: rule, Shadow: k.Shadow, Since: k.Since, Until: k.Until, Attack: k.Attack})
		b.last = max(b.last, k.ID)
	}
	return b, nil
}

// save writes the file, whole or not at all.
func (b *ruleBook) save() error {
	kept := []keptRule{}
	for _, r := range b.list {
		kept = append(kept, keptRule{r.ID, r.Rule.String(), r.Shadow, r.Since, r.Until, r.Attack})
	}
	text, err := json.MarshalIndent(kept, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(b.path), 0o750)
	}
	if err == nil {
		err = os.WriteFile(b.path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(b.path+".new", b.path)
	}
	if err != nil {
		return fmt.Errorf("keep rules: %w", err)
	}
	return nil
}

// expire takes out what is over; the kernel has ended it by itself.
func (b *ruleBook) expire(now time.Time) bool {
	before := len(b.list)
	b.list = slices.DeleteFunc(b.list, func(r api.AppliedRule) bool { return !r.Until.IsZero() && !now.Before(r.Until) })
	return len(b.list) < before
}

// applyRules has the kernel apply a list of rules. In a dry run and with the kill switch on, they only count.
func (e *engine) applyRules(now time.Time, list []api.AppliedRule) error {
	if e.world.plane == nil {
		return nil
	}
	var entries []loader.RuleEntry
	for _, r := range list {
		mode := loader.Enforce
		if r.Shadow || e.harmless() {
			mode = loader.Shadow
		}
		entries = append(entries, loader.RuleEntry{Rule: r.Rule, Mode: mode, Until: r.Until, ID: r.ID})
	}
	entries = append(entries, e.auto.entries(now, e.world.cfg.Mitigation.Expiry, e.harmless())...)
	return e.world.plane.SetRules(now, entries)
}

// harmless reports whether nothing is to be dropped.
func (e *engine) harmless() bool {
	m := &e.world.cfg.Mitigation
	return m.DryRun || m.KillSwitch || e.killFile
}

// reenforce is applyRules after something around the rules has changed.
func (e *engine) reenforce(now time.Time) {
	if len(e.rules.list)+len(e.auto.Rules()) == 0 {
		return
	}
	if err := e.applyRules(now, e.rules.list); err != nil {
		e.log.Error("rules are not in force", "error", err)
	}
}

// rulesNow is the rules in force with what they have done.
func (e *engine) rulesNow() (api.RuleStatus, error) {
	s := api.RuleStatus{Rules: append(slices.Clone(e.rules.list), e.auto.applied(e.world.cfg.Mitigation.Expiry)...), Shadow: e.harmless()}
	if e.world.plane == nil {
		return s, nil
	}
	hits, err := e.world.plane.RuleHits()
	if err != nil {
		return s, err
	}
	for _, h := range hits {
		for i := range s.Rules {
			if s.Rules[i].ID == h.ID {
				s.Rules[i].Hits = traffic.Count{Packets: h.Packets, Bytes: h.Bytes}
			}
		}
	}
	return s, nil
}

// rulesCounted is how many rules are in force, and how many of them only count.
func (e *engine) rulesCounted() (all, shadow int) {
	for _, r := range e.rules.list {
		if all++; r.Shadow || e.harmless() {
			shadow++
		}
	}
	for _, a := range e.auto.Rules() {
		if a.Purpose == respond.Count {
			continue
		}
		if all++; a.Shadow || e.harmless() {
			shadow++
		}
	}
	return all, shadow
}

// addRules puts rules in force behind those that are.
func (e *engine) addRules(now time.Time, o api.RuleOrder) ([]api.AppliedRule, error) {
	if e.world.plane == nil {
		return nil, api.Refused(errors.New("add rules: no interface has XDP, which is what applies them"))
	}
	rules := o.Rules
	if o.Attack != "" {
		var err error
		if rules, err = e.found(o.Attack); err != nil {
			return nil, err
		}
	}
	added := make([]api.AppliedRule, 0, len(rules))
	for _, r := range rules {
		if why := e.refusesRule(&r); why != "" {
			return nil, api.Refused(fmt.Errorf("rule %s: %s", r.String(), why))
		}
		a := api.AppliedRule{ID: e.rules.last + uint64(len(added)) + 1, Rule: r, Shadow: o.Shadow, Since: now, Attack: o.Attack}
		if o.Period > 0 {
			a.Until = now.Add(o.Period)
		}
		added = append(added, a)
	}
	if err := e.change(now, append(slices.Clone(e.rules.list), added...)); err != nil {
		return nil, err
	}
	e.rules.last += uint64(len(added))
	return added, nil
}

// found is the rules that an attack's analysis has found.
func (e *engine) found(attack string) (rules []traffic.Rule, err error) {
	for _, r := range e.manager.Attacks() {
		if r.Attack.ID != attack {
			continue
		}
		if r.Attack.Analysis == nil || len(r.Attack.Analysis.Rules.Rules) == 0 {
			return nil, api.Refused(fmt.Errorf("attack %s: no rules against it are known", attack))
		}
		for _, m := range r.Attack.Analysis.Rules.Rules {
			rule, err := traffic.ParseRule(m.Rule)
			if err != nil {
				return nil, err
			}
			rules = append(rules, rule)
		}
		return rules, nil
	}
	return nil, api.NotFound(fmt.Errorf("attack %s: there is none", attack))
}

// refusesRule says why a rule must not be in force; "": it may.
func (e *engine) refusesRule(r *traffic.Rule) string {
	if !r.Destination.IsValid() && r.Source.IsValid() { // what our own hosts send
		if r.SourceOffset > 0 || !e.world.table.Contains(r.Source) {
			return "neither its destination nor its source is inside our networks"
		}
		return ""
	}
	profile, err := rulelint.ProfileByName("xdp")
	if err != nil {
		return err.Error()
	}
	var reasons []string
	for _, f := range rulelint.Lint(*r, profile, e.world.table.Contains) {
		if f.Severity == rulelint.Error {
			reasons = append(reasons, f.Reason+"; "+f.Remedy)
		}
	}
	return strings.Join(reasons, "; ")
}

// deleteRules takes rules out of force. Automatic ones stay out for as long as their attack lasts.
func (e *engine) deleteRules(now time.Time, ids []uint64, all bool) (gone []api.AppliedRule, err error) {
	var stay []api.AppliedRule
	for _, r := range e.rules.list {
		if all || slices.Contains(ids, r.ID) {
			gone = append(gone, r)
		} else {
			stay = append(stay, r)
		}
	}
	automatic := e.auto.applied(e.world.cfg.Mitigation.Expiry)
	for _, r := range automatic {
		if all || slices.Contains(ids, r.ID) {
			gone = append(gone, r)
		}
	}
	for _, id := range ids {
		if !slices.ContainsFunc(gone, func(r api.AppliedRule) bool { return r.ID == id }) {
			return nil, api.NotFound(fmt.Errorf("rule %d: there is none; `weir rules list` lists them", id))
		}
	}
	e.auto.Remove(ids, all)
	return gone, e.change(now, stay)
}

// change makes a list the one in force: in the kernel first, which may refuse it, then on disk.
func (e *engine) change(now time.Time, list []api.AppliedRule) error {
	if err := e.applyRules(now, list); err != nil {
		return api.Refused(err)
	}
	e.rules.list = list
	return e.rules.save()
}
