package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"weir/userspace/traffic"
)

// defaultGroup is the hostgroup of every host that no other one names, and what the others inherit from.
const defaultGroup = "default"

// maxThreshold, per second, is far beyond any link and still exact as a float64.
const maxThreshold = 1e15

// group is what a hostgroup's section holds besides its Hostgroup.
type group struct {
	name     string
	networks []placed
}

// anyThreshold reports whether something could be detected in the group.
func (g Hostgroup) anyThreshold() bool {
	for _, limits := range [][2]traffic.Limits{g.Host, g.Prefix, g.Total} {
		for direction, one := range limits {
			if g.Enabled[direction] && one.Any() {
				return true
			}
		}
	}
	return false
}

// hostgroups decodes the group default first, wherever it stands, and all others over a copy of it.
func (d *decoder) hostgroups(c *Config, s *bgpSection, at string, n *yaml.Node) []*group {
	entries := d.entries(at, n)
	var groups []*group
	for _, e := range entries {
		if e.key.Value == defaultGroup {
			groups = append(groups, d.hostgroup(&c.Hostgroups[0], s, join(at, defaultGroup), e.value))
		}
	}
	for _, e := range entries {
		if e.key.Value == defaultGroup {
			continue
		}
		if !validGroupName(e.key.Value) {
			d.errorf(e.key, "hostgroup name %q: expected 1 to 64 letters, digits, dots, dashes and underscores", e.key.Value)
			continue
		}
		h := c.Hostgroups[0]
		h.Name, h.Networks = e.key.Value, nil
		before := len(d.errs)
		g := d.hostgroup(&h, s, join(at, h.Name), e.value)
		if len(g.networks) == 0 && len(d.errs) == before {
			d.warnf(d.placeOf(e.key), "hostgroup %q has no networks: no host belongs to it", h.Name)
		}
		c.Hostgroups = append(c.Hostgroups, h)
		groups = append(groups, g)
	}
	return groups
}

// validGroupName keeps names fit for metrics, paths and command lines.
func validGroupName(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	return name != "" && len(name) <= 64 && strings.Trim(name, letters) == ""
}

func (d *decoder) hostgroup(h *Hostgroup, s *bgpSection, at string, n *yaml.Node) *group {
	g := &group{name: h.Name}
	var window *yaml.Node
	d.mapping(at, n,
		field{"networks", d.prefixes(&g.networks)},
		field{"files", d.files(&g.networks)},
		field{"enabled", d.enabled(&h.Enabled)},
		field{"thresholds", d.thresholds(&h.Host)},
		field{"prefix_thresholds", d.thresholds(&h.Prefix)},
		field{"total_thresholds", d.thresholds(&h.Total)},
		field{"window", func(at string, n *yaml.Node) {
			window = n
			d.duration(&h.Window, 100*time.Millisecond, time.Minute)(at, n)
		}},
		field{"average", d.average(&h.Average)},
		field{"clear", d.clear(&h.Clear)},
		field{"quiet", d.duration(&h.Quiet, 0, 24*time.Hour)},
		field{"actions", d.groupActions(h, s)},
		field{"ladder", d.ladder(h, s)},
		field{"ban_time", d.duration(&h.BanTime, 0, 365*24*time.Hour)},
	)
	if window != nil && h.Average > 0 {
		d.warnf(d.placeOf(window), `%q has no effect: the hostgroup has "average"; set it to off to use the window`, join(at, "window"))
	}
	d.checkWays(h, n)
	h.Networks = distinct(g.networks)
	return g
}

// enabled decodes one value for both directions, or a mapping of directions.
func (d *decoder) enabled(dst *[2]bool) decodeFunc {
	return func(at string, n *yaml.Node) {
		if n.Kind == yaml.MappingNode {
			d.mapping(at, n,
				field{traffic.Incoming.String(), d.bool(&dst[traffic.Incoming])},
				field{traffic.Outgoing.String(), d.bool(&dst[traffic.Outgoing])},
			)
			return
		}
		const what = "true, false, or a mapping of incoming and outgoing"
		if text, ok := d.text(at, n, what); ok {
			value, ok := parseBool(text)
			if !ok {
				d.expected(at, n, what)
				return
			}
			*dst = [2]bool{value, value}
		}
	}
}

// thresholds decodes metrics for both directions, then those of each direction, which win because they are decoded later.
func (d *decoder) thresholds(dst *[2]traffic.Limits) decodeFunc {
	in, out := &dst[traffic.Incoming], &dst[traffic.Outgoing]
	return d.section(append(d.metrics(in, out),
		field{traffic.Incoming.String(), d.section(d.metrics(in)...)},
		field{traffic.Outgoing.String(), d.section(d.metrics(out)...)},
	)...)
}

// metrics is one field per metric.
func (d *decoder) metrics(limits ...*traffic.Limits) []field {
	var fields []field
	for m := range traffic.MetricCount {
		fields = append(fields, field{m.String(), d.threshold(m, limits)})
	}
	return fields
}

func (d *decoder) threshold(m traffic.Metric, limits []*traffic.Limits) decodeFunc {
	what, parse := "packets per second such as 20000, 20k or 1.5M, or off", parseRate
	switch {
	case m.Bits():
		what, parse = "Mbit/s such as 1000 or 0.5, or off", parseMegabits
	case m == traffic.FPS:
		what = "flows per second such as 3500 or 3.5k, or off"
	}
	return func(at string, n *yaml.Node) {
		text, ok := d.text(at, n, what)
		if !ok {
			return
		}
		value, ok := parse(text)
		switch {
		case text == "off":
			value = 0
		case !ok, value*m.Scale() > maxThreshold:
			d.expected(at, n, what)
			return
		}
		for _, l := range limits {
			l[m] = value * m.Scale()
		}
	}
}

// average decodes "ewma 5s" or "off".
func (d *decoder) average(dst *time.Duration) decodeFunc {
	const least, most = time.Second, 10 * time.Minute
	return func(at string, n *yaml.Node) {
		what := fmt.Sprintf(`"ewma" and a duration from %s to %s, such as "ewma 5s", or off`, formatDuration(least), formatDuration(most))
		text, ok := d.text(at, n, what)
		if !ok {
			return
		}
		if text == "off" {
			*dst = 0
			return
		}
		words := strings.Fields(text)
		if len(words) == 2 && words[0] == "ewma" {
			if value, ok := parseDuration(words[1]); ok && value >= least && value <= most {
				*dst = value
				return
			}
		}
		d.expected(at, n, what)
	}
}

func (d *decoder) clear(dst *float64) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "a number over 0, at most 1, such as 0.8, or 80%"
		if text, ok := d.text(at, n, what); ok {
			if value, ok := parseRatio(text); ok && value > 0 && value <= 1 {
				*dst = value
				return
			}
			d.expected(at, n, what)
		}
	}
}

// The actions that are no names of the section "bgp.actions".
const (
	actionDrop   = "drop"
	actionNotify = "notify"
)

// groupActions decodes the list of everything that is done; what it leaves out is not.
func (d *decoder) groupActions(h *Hostgroup, s *bgpSection) decodeFunc {
	words := append([]string{actionDrop, actionNotify}, d.actions...)
	return func(at string, n *yaml.Node) {
		what := "a list of " + strings.Replace(alternatives(words), " or ", " and ", 1)
		if isNull(n) { // unlike other lists: without a value it would be unclear whether nothing or the inherited list is meant
			d.expected(at, n, what+", or [] for none")
			return
		}
		before := len(d.errs)
		listed := map[string]bool{}
		var actions []string
		for _, item := range d.items(at, n, what) {
			text, ok := d.text(at, item, alternatives(words))
			switch {
			case !ok:
			case !slices.Contains(words, text):
				d.expected(at, item, alternatives(words))
			case listed[text]:
				d.errorf(item, "%q: %s is listed twice", at, text)
			default:
				listed[text] = true
				if text != actionDrop && text != actionNotify {
					actions = append(actions, text)
					s.namedActions = append(s.namedActions, namedNode{text, at, item})
				}
			}
		}
		if len(d.errs) == before {
			h.Drop, h.Notify, h.Actions = listed[actionDrop], listed[actionNotify], actions
		}
	}
}
