package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"weir/userspace/traffic"
)

func familyKeys() [2]string { return [2]string{"ipv4", "ipv6"} }

// byFamily is a mapping of the two IP versions.
func (d *decoder) byFamily(decode func(family int) decodeFunc) decodeFunc {
	keys := familyKeys()
	return d.section(field{keys[0], decode(0)}, field{keys[1], decode(1)})
}

// nextHop decodes a next hop per IP version; off: targets of this version are not announced.
func (d *decoder) nextHop(dst *[2]netip.Addr) decodeFunc {
	return d.byFamily(func(family int) decodeFunc {
		what := []string{"an IPv4 address such as 192.0.2.1, or off", `an IPv6 address such as "100::1", or off`}[family]
		return func(at string, n *yaml.Node) {
			text, ok := d.text(at, n, what)
			if !ok {
				return
			}
			addr, ok := parseAddress(text)
			switch {
			case text == "off":
				dst[family] = netip.Addr{}
			case ok && addr.Is4() == (family == 0) && !addr.IsUnspecified() && !addr.IsLoopback():
				dst[family] = addr
			default:
				d.expected(at, n, what)
			}
		}
	})
}

// lengths decodes a prefix length per IP version.
func (d *decoder) lengths(dst *[2]int, network bool) decodeFunc {
	return d.byFamily(func(family int) decodeFunc {
		least, most := []int{widestBGP4, widestBGP6}[family], []int{32, 128}[family]
		return func(at string, n *yaml.Node) {
			if network && n.Kind == yaml.ScalarNode && n.Value == "network" {
				dst[family] = BGPLengthNetwork
				return
			}
			d.count(&dst[family], least, most)(at, n)
		}
	})
}

// directions decodes the list of those that an action is for.
func (d *decoder) directions(dst *[2]bool) decodeFunc {
	const what = "a list of incoming and outgoing, at least one of them"
	return func(at string, n *yaml.Node) {
		var list [2]bool
		before := len(d.errs)
		for _, item := range d.items(at, n, what) {
			var direction traffic.Direction
			choice(d, &direction, []string{traffic.Incoming.String(), traffic.Outgoing.String()}, []traffic.Direction{traffic.Incoming, traffic.Outgoing})(at, item)
			list[direction] = true
		}
		if len(d.errs) == before && list == [2]bool{} {
			d.expected(at, n, what)
		}
		*dst = list
	}
}

func (d *decoder) groupPrefixes(dst *[]netip.Prefix) decodeFunc {
	return func(at string, n *yaml.Node) {
		var list []placed
		d.prefixes(&list)(at, n)
		*dst = distinct(list)
	}
}

// rules decodes templates of FlowSpec rules: whoever is attacked becomes their destination.
func (d *decoder) rules(dst *[]traffic.Rule) decodeFunc {
	const what = `a rule such as "protocol udp source-port 53,123 then discard"`
	return func(at string, n *yaml.Node) {
		items := d.items(at, n, "a list of rules")
		if len(items) > maxRules {
			d.errorf(items[maxRules], "%q: expected at most %d rules, got %d", at, maxRules, len(items))
			return
		}
		for _, item := range items {
			text, ok := d.text(at, item, what)
			if !ok {
				continue
			}
			rule, err := parseTemplate(text)
			if err != nil {
				d.errorf(item, "%q: %s", at, err)
				continue
			}
			*dst = append(*dst, rule)
		}
	}
}

// parseTemplate reads a rule without its destination. Its Version says which targets it is for when they must be of one IP version.
func parseTemplate(text string) (traffic.Rule, error) {
	if slices.Contains(strings.Fields(text), "destination") {
		return traffic.Rule{}, errors.New(`a rule of an action has no destination of its own, because that is whoever is attacked; leave "destination" out`)
	}
	var template traffic.Rule
	var failed error
	versions := 0
	for _, target := range []string{"192.0.2.1/32", "2001:db8::1/128"} {
		before := "destination " + target + " "
		rule, err := traffic.ParseRule(before + text)
		var wrong *traffic.RuleError
		switch {
		case err == nil:
			versions++
			template = rule
		case failed == nil && errors.As(err, &wrong): // the column is to be that of what the operator wrote
			failed = fmt.Errorf("column %d: %s", max(1, wrong.Column-len(before)), wrong.Message)
		}
	}
	if versions == 0 {
		return traffic.Rule{}, failed
	}
	if len(template.Payload) > 0 {
		return traffic.Rule{}, errors.New(`routers know no payload; leave "payload" out`)
	}
	if versions == 1 {
		template.Version = uint8(template.Family())
	}
	template.Destination = netip.Prefix{}
	return template, nil
}
