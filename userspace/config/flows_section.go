package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"weir/userspace/traffic"
)

// Bounds of the section "flows".
const (
	maxFlowListen    = 64
	maxFlowWorkers   = 1024
	maxReceiveBuffer = 1e9 // what the kernel doubles for its own use is a C int
	maxExporters     = 1e6
	maxTemplates     = 65536 // ids of one observation domain
	maxFlowRules     = 1024
)

// flowsSection is the section "flows" while it is decoded: where its parts are written.
type flowsSection struct {
	node, templates *yaml.Node
	allow           []placed
	matches         []placed // of the exporters
	listens         bool     // something is to listen, though maybe with a mistake
	broken          bool
}

func (d *decoder) flows(c *Config, s *flowsSection, at string, n *yaml.Node) {
	f := &c.Flows
	before := len(d.errs)
	s.node = n
	listening := func(dst *[]netip.AddrPort) decodeFunc {
		return func(at string, n *yaml.Node) {
			s.listens = s.listens || !isNull(n) && len(n.Content) > 0
			d.listenList(dst)(at, n)
		}
	}
	d.mapping(at, n,
		field{"listen", listening(&f.Listen)},
		field{"tcp", listening(&f.TCP)},
		field{"workers", d.countOr("auto", &f.Workers, maxFlowWorkers)},
		field{"receive_buffer", d.size(&f.ReceiveBuffer, 1e6, maxReceiveBuffer)},
		field{"allow", d.prefixes(&s.allow)},
		field{"max_exporters", d.count(&f.MaxExporters, 1, maxExporters)},
		field{"max_templates", d.count(&f.MaxTemplates, 1, maxTemplates)},
		field{"template_life", d.duration(&f.TemplateLife, time.Minute, 30*24*time.Hour)},
		field{"templates", func(at string, n *yaml.Node) { s.templates = n; d.path(&f.Templates, true)(at, n) }},
		field{"spread", d.bool(&f.Spread)},
		field{"use_agent_address", d.bool(&f.UseAgentAddress)},
		field{"kafka", d.flowKafka(&f.Kafka)},
		field{"exporters", func(at string, n *yaml.Node) { d.exporters(f, s, at, n) }},
		field{"filters", d.section(
			field{"script", d.filterScript(&f.Filters.Script)},
			field{"timeout", d.duration(&f.Filters.Timeout, time.Millisecond, time.Second)},
			field{"rules", d.flowRules(&f.Filters.Rules)},
		)},
	)
	f.Allow = distinct(s.allow)
	s.broken = len(d.errs) > before
}

// checkFlows completes the section when the others are known, and warns of what has no effect.
func (d *decoder) checkFlows(c *Config, s *flowsSection) {
	if s.templates == nil {
		c.Flows.Templates = filepath.Join(filepath.Dir(c.Store.Path), templatesFile)
	}
	if s.node == nil || s.broken {
		return
	}
	switch {
	case !c.Flows.Collects():
		if len(s.node.Content) > 0 && !c.Flows.Measures() {
			d.warnf(d.placeOf(s.node), `"flows" has neither "listen" nor "tcp": no flow records are received`)
		}
		return
	case len(c.Flows.Allow) == 0:
		d.warnf(d.placeOf(s.node), `"flows.allow" is empty: records are taken from everybody who can reach the port, also forged ones; list your routers' addresses`)
		return
	}
	allowed := union(c.Flows.Allow)
	for _, m := range s.matches {
		if !allowed.OverlapsPrefix(m.prefix) {
			d.warnf(m.at, `exporter %s has no effect: it is not in "flows.allow"`, m.prefix)
		}
	}
}

// listenAddresses reads an address and port, or a port alone for all addresses of both IP versions; nil: text is neither.
func listenAddresses(text string) []netip.AddrPort {
	texts := []string{text}
	if strings.HasPrefix(text, ":") {
		texts = []string{"0.0.0.0" + text, "[::]" + text}
	}
	var list []netip.AddrPort
	for _, one := range texts {
		a, err := netip.ParseAddrPort(one)
		if err != nil || a.Addr().Zone() != "" || a.Addr().Is4In6() || a.Port() == 0 {
			return nil
		}
		list = append(list, a)
	}
	return list
}

// listenList decodes the addresses that sockets are opened on; each entry may have another port.
func (d *decoder) listenList(dst *[]netip.AddrPort) decodeFunc {
	const what = "an address and port such as 192.0.2.9:2055, [2001:db8::9]:6343, or :2055 for all addresses"
	return func(at string, n *yaml.Node) {
		items := d.items(at, n, "a list, each entry "+what)
		if len(items) > maxFlowListen {
			d.errorf(items[maxFlowListen], "%q: expected at most %d entries, got %d", at, maxFlowListen, len(items))
			return
		}
		for _, item := range items {
			text, ok := d.text(at, item, what)
			if !ok {
				continue
			}
			list := listenAddresses(text)
			if list == nil {
				d.expected(at, item, what)
				continue
			}
			for _, a := range list {
				if slices.Contains(*dst, a) {
					d.errorf(item, "%q: %s is listed twice", at, a)
				}
			}
			*dst = append(*dst, list...)
		}
	}
}

// filterScript decodes the path of a filter. One that cannot be read is no error here: whoever compiles it says what is wrong with it.
func (d *decoder) filterScript(dst *string) decodeFunc {
	return func(at string, n *yaml.Node) {
		d.path(dst, true)(at, n)
		if *dst == "" || d.stat == nil {
			return
		}
		switch info, err := d.stat(*dst); {
		case err != nil:
			d.warnf(d.placeOf(n), "%q: cannot read %s: %s", at, *dst, cause(err))
		case info.IsDir():
			d.warnf(d.placeOf(n), "%q: cannot read %s: it is a folder", at, *dst)
		}
	}
}

// flowRules decodes the rules that decide about flow records.
func (d *decoder) flowRules(dst *[]traffic.Rule) decodeFunc {
	const what = `a rule such as "source 192.0.2.0/24 then discard"`
	return func(at string, n *yaml.Node) {
		items := d.items(at, n, "a list of rules")
		if len(items) > maxFlowRules {
			d.errorf(items[maxFlowRules], "%q: expected at most %d rules, got %d", at, maxFlowRules, len(items))
			return
		}
		for _, item := range items {
			text, ok := d.text(at, item, what)
			if !ok {
				continue
			}
			rule, err := parseFlowRule(text)
			if err != nil {
				d.errorf(item, "%q: %s", at, err)
				continue
			}
			*dst = append(*dst, rule)
		}
	}
}

// parseFlowRule reads a rule and refuses what a flow record does not tell and what cannot be done to one.
func parseFlowRule(text string) (traffic.Rule, error) {
	rule, err := traffic.ParseRule(text)
	switch {
	case err != nil:
		return traffic.Rule{}, err
	case len(rule.Payload) > 0:
		return traffic.Rule{}, errors.New(`flow records hold no payload; leave "payload" out`)
	case len(rule.FlowLabels) > 0:
		return traffic.Rule{}, errors.New(`flow records hold no flow label; leave "flow-label" out`)
	}
	for _, a := range rule.Actions {
		if a.Kind != traffic.RuleDiscard && a.Kind != traffic.RuleAccept {
			return traffic.Rule{}, fmt.Errorf("a flow record can be kept or left out, and nothing else; expected discard or accept, got %s", a.Kind)
		}
	}
	return rule, nil
}
