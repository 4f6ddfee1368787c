package config

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Bounds of an exporter.
const (
	maxSamplingRate = 1e9
	maxIndexes      = 4096 // interfaces or observation domains that an entry names
)

// exporters decodes the list of known exporters and holds each against the others.
func (d *decoder) exporters(f *Flows, s *flowsSection, at string, n *yaml.Node) {
	known := map[netip.Prefix]*yaml.Node{}
	for _, item := range d.items(at, n, "a list of exporters") {
		e := Exporter{Direction: ExporterBoth}
		before := len(d.errs)
		var match *yaml.Node
		only, ignored := map[uint32]*yaml.Node{}, map[uint32]*yaml.Node{}
		d.mapping(at, item,
			field{"match", func(at string, n *yaml.Node) { match = n; d.prefix(&e.Match)(at, n) }},
			field{"name", d.exporterWord(&e.Name)},
			field{"sampling_rate", d.samplingRate(&e.SamplingRate)},
			field{"interfaces", d.rates(&e.InterfaceRates, "the index of an interface, a whole number from 1 to 4294967295", 1)},
			field{"domains", d.rates(&e.DomainRates, "an observation domain, a whole number from 0 to 4294967295", 0)},
			field{"direction", choice(d, &e.Direction, []string{"ingress", "egress", "both"}, []ExporterDirection{ExporterIngress, ExporterEgress, ExporterBoth})},
			field{"only_interfaces", d.indexes(only)},
			field{"ignore_interfaces", d.indexes(ignored)},
			field{"group", d.exporterWord(&e.Group)},
		)
		for index, node := range ignored {
			if only[index] != nil {
				d.errorf(node, `interface %d is in "ignore_interfaces" and, at %s, in "only_interfaces"`, index, d.placeOf(only[index]))
			}
		}
		switch first := known[e.Match]; {
		case len(d.errs) > before:
		case match == nil:
			d.errorf(item, `an exporter without "match"; expected its address, or the prefix of several`)
		case first != nil:
			d.errorf(match, "exporter %s is listed twice; the first is at %s", e.Match, d.placeOf(first))
		default:
			known[e.Match] = match
			s.matches = append(s.matches, placed{e.Match, d.placeOf(match)})
			e.OnlyInterfaces, e.IgnoreInterfaces = slices.Sorted(maps.Keys(only)), slices.Sorted(maps.Keys(ignored))
			f.Exporters = append(f.Exporters, e)
		}
	}
}

// prefix decodes one network or address.
func (d *decoder) prefix(dst *netip.Prefix) decodeFunc {
	return func(at string, n *yaml.Node) {
		if text, ok := d.text(at, n, "a network such as 192.0.2.0/24 or 2001:db8::/32, or an address"); ok {
			prefix, err := ParsePrefix(text)
			if err != nil {
				d.errorf(n, "%q: %s", at, err)
				return
			}
			*dst = prefix
		}
	}
}

// exporterWord decodes a name that metrics and tables can hold.
func (d *decoder) exporterWord(dst *string) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "1 to 64 letters, digits, dots, dashes and underscores"
		text, ok := d.text(at, n, what)
		switch {
		case !ok:
		case !validGroupName(text):
			d.expected(at, n, what)
		default:
			*dst = text
		}
	}
}

func (d *decoder) samplingRate(dst *uint32) decodeFunc {
	return func(at string, n *yaml.Node) {
		rate := 0
		d.count(&rate, 1, maxSamplingRate)(at, n)
		*dst = uint32(rate)
	}
}

// parseIndex reads a number as routers and their SNMP agents write it.
func parseIndex(text string, least uint32) (uint32, bool) {
	value, err := strconv.ParseUint(text, 10, 32)
	return uint32(value), err == nil && uint32(value) >= least && strconv.FormatUint(value, 10) == text
}

// rates decodes a mapping from numbers to what is known of each: its sampling rate.
func (d *decoder) rates(dst *map[uint32]uint32, what string, least uint32) decodeFunc {
	return func(at string, n *yaml.Node) {
		rates := map[uint32]uint32{}
		for i, e := range d.entries(at, n) {
			index, ok := parseIndex(e.key.Value, least)
			switch {
			case i >= maxIndexes:
				d.errorf(e.key, "%q: expected at most %d entries", at, maxIndexes)
				return
			case !ok:
				d.errorf(e.key, "%q: expected %s, got %s", at, what, describe(e.key))
				continue
			}
			var rate uint32
			before := len(d.errs)
			d.mapping(join(at, e.key.Value), e.value, field{"sampling_rate", d.samplingRate(&rate)})
			if rate == 0 && len(d.errs) == before {
				d.errorf(e.key, `%q has no "sampling_rate"`, join(at, e.key.Value))
			}
			rates[index] = rate
		}
		if len(rates) > 0 {
			*dst = rates
		}
	}
}

// indexes decodes a list of interfaces by their SNMP indexes, with the places of each.
func (d *decoder) indexes(dst map[uint32]*yaml.Node) decodeFunc {
	const what = "the index of an interface, a whole number from 1 to 4294967295"
	return func(at string, n *yaml.Node) {
		items := d.items(at, n, "a list of interface indexes")
		if len(items) > maxIndexes {
			d.errorf(items[maxIndexes], "%q: expected at most %d entries, got %d", at, maxIndexes, len(items))
			return
		}
		for _, item := range items {
			text, ok := d.text(at, item, what)
			if !ok {
				continue
			}
			index, ok := parseIndex(text, 1)
			if !ok {
				d.expected(at, item, what)
				continue
			}
			dst[index] = item
		}
	}
}
