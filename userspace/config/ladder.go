package config

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"weir/userspace/traffic"
)

// maxRungs bounds a ladder: each rung is one thing more that an operator has to foresee.
const maxRungs = 16

// Rung is one response of a ladder, and when it is taken.
type Rung struct {
	Drop         bool // the target's packets, all of them, in the kernel
	Notify       bool // run the script when an attack first comes to such a rung
	Rules        traffic.RuleUse
	LimitPackets uint64 // that XDP lets through to the target in a second; 0: all
	LimitBytes   uint64 // of frames, in a second; 0: all
	Challenge    traffic.Challenge
	Actions      []string // what BGP announces: names of BGP.Actions, in the file's order

	Over    float64        // taken when more than so many times a threshold passes on the rung below ...
	After   time.Duration  // ... for so long
	AtOnce  traffic.Limits // taken at once when more than one of these passes, per second; 0: not for this metric
	Classes []string       // patterns of the classes of attacks that it is for, as path.Match has them; none: all
	Hold    time.Duration  // calm for so long, the rung below is tried
}

// Probe is how it is tried whether a response is needed any more.
type Probe struct {
	Look time.Duration // how long is looked at what passes without it
	Most time.Duration // it is held twice as long when it was needed again, at most so long
}

// The responses of a ladder beside drop, notify and names of the section "bgp.actions".
const (
	responseShadow       = "shadow"
	responseFilter       = "filter"
	responseLimit        = "limit"
	responseAuthenticate = "authenticate"
)

// reservedActions are words that no action of "bgp.actions" may be called.
func reservedActions() []string {
	return []string{actionDrop, actionNotify, responseShadow, responseFilter, responseLimit, responseAuthenticate}
}

// ladder decodes the list of responses, the weakest first.
func (d *decoder) ladder(h *Hostgroup, s *bgpSection) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = `a list of responses, the weakest first, such as [{do: [notify, shadow]}, {do: [filter], after: 5s}]`
		if isNull(n) {
			d.expected(at, n, what+", or [] for none")
			return
		}
		items := d.items(at, n, what)
		if len(items) > maxRungs {
			d.errorf(items[maxRungs], "%q: more than %d rungs", at, maxRungs)
			return
		}
		var rungs []Rung
		for i, item := range items {
			r := Rung{Over: 1, After: 3 * time.Second, Hold: time.Minute}
			path := fmt.Sprintf("%s[%d]", at, i)
			do := valueOf(item, "do")
			d.mapping(path, item,
				field{"do", d.responses(&r, s)},
				field{"over", d.times(&r.Over)},
				field{"after", d.duration(&r.After, 0, 24*time.Hour)},
				field{"at_once", d.section(d.metrics(&r.AtOnce)...)},
				field{"classes", d.classes(&r.Classes)},
				field{"hold", d.duration(&r.Hold, time.Second, 7*24*time.Hour)},
			)
			if do == nil && item.Kind == yaml.MappingNode {
				d.errorf(item, `%q has no "do", such as [filter, notify]`, path)
			}
			rungs = append(rungs, r)
		}
		h.Ladder = rungs
	}
}

// responses decodes everything that is in force on a rung.
func (d *decoder) responses(r *Rung, s *bgpSection) decodeFunc {
	words := append([]string{actionDrop, actionNotify, responseShadow, responseFilter, `"limit" and a rate such as "limit 50k pps" or "limit 100 mbps"`,
		responseAuthenticate, `"authenticate replies"`, `"authenticate all"`}, d.actions...)
	return func(at string, n *yaml.Node) {
		what := alternatives(words)
		if isNull(n) {
			d.expected(at, n, "a list of "+what)
			return
		}
		listed := map[string]bool{}
		for _, item := range d.items(at, n, "a list of "+what) {
			text, ok := d.text(at, item, what)
			if !ok {
				continue
			}
			parts := strings.Fields(text)
			if !r.add(parts) {
				if len(parts) != 1 || !slices.Contains(d.actions, text) {
					d.expected(at, item, what)
					continue
				}
				r.Actions = append(r.Actions, text)
				s.namedActions = append(s.namedActions, namedNode{text, at, item})
			}
			kind := parts[0]
			if kind == responseShadow {
				kind = responseFilter
			} else if kind == responseLimit {
				kind += parts[2]
			}
			if listed[kind] {
				d.errorf(item, "%q: %s beside another one of its kind", at, text)
			}
			listed[kind] = true
		}
	}
}

// add takes up a response by its words; false: it is none of those.
func (r *Rung) add(words []string) bool {
	switch strings.Join(words, " ") {
	case actionDrop:
		r.Drop = true
	case actionNotify:
		r.Notify = true
	case responseShadow:
		r.Rules = traffic.RulesShadow
	case responseFilter:
		r.Rules = traffic.RulesEnforce
	case responseAuthenticate, responseAuthenticate + " syn":
		r.Challenge = traffic.ChallengeSYN
	case responseAuthenticate + " replies":
		r.Challenge = traffic.ChallengeReplies
	case responseAuthenticate + " all":
		r.Challenge = traffic.ChallengeAll
	default:
		if len(words) != 3 || words[0] != responseLimit {
			return false
		}
		switch words[2] {
		case "pps":
			rate, ok := parseRate(words[1])
			r.LimitPackets = uint64(rate)
			return ok && rate >= 1 && rate <= maxThreshold
		case "mbps":
			rate, ok := parseMegabits(words[1])
			r.LimitBytes = uint64(rate * 1e6 / 8)
			return ok && rate > 0 && rate*1e6 <= maxThreshold
		}
		return false
	}
	return true
}

// times decodes how many times something is.
func (d *decoder) times(dst *float64) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "how many times the threshold, from 0.1 to 1000, such as 1.5"
		text, ok := d.text(at, n, what)
		if !ok {
			return
		}
		value, ok := parseNumber(text, []unit{{"", 1}})
		if !ok || value < 0.1 || value > 1000 {
			d.expected(at, n, what)
			return
		}
		*dst = value
	}
}

// classes decodes patterns of the names of classes.
func (d *decoder) classes(dst *[]string) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = `classes of attacks such as syn_flood or "*_amplification"`
		*dst = nil
		for _, item := range d.items(at, n, "a list of "+what) {
			text, ok := d.text(at, item, what)
			if !ok {
				continue
			}
			if _, err := path.Match(text, ""); err != nil || text == "" {
				d.expected(at, item, what)
				continue
			}
			*dst = append(*dst, text)
		}
	}
}

// checkWays finds a hostgroup that is given both ways of saying what is done, and lets the one that it is given win over the one that it inherits.
func (d *decoder) checkWays(h *Hostgroup, n *yaml.Node) {
	actions, ladder := valueOf(n, "actions"), valueOf(n, "ladder")
	switch {
	case actions != nil && ladder != nil && len(h.Ladder) > 0:
		d.errorf(ladder, `"ladder" beside "actions" at %s; expected one of them: a ladder's rungs say all that is done`, d.placeOf(actions))
	case actions != nil:
		h.Ladder = nil
	}
}
