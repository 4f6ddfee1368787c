package rulelint

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"weir/userspace/traffic"
)

// Profile is what one kind of router, or a speaker on the way to it, can do with rules.
type Profile struct {
	Name     string // as configuration names it
	Source   string // where its limits are from
	BGP      bool   // rules travel as flow specifications; false: they run in XDP on this machine
	NextHop  bool   // it knows redirection to an address only by the route's next hop (community 0x0800); see bgp/flowspec
	MaxRules int    // 0: no limit known

	maxRulesSeverity  Severity
	maxRulesWhy       string
	noIPv6            bool
	noOffsets         bool
	maxNLRI           int                      // bytes of an NLRI without its length; 0: what FlowSpec has room for
	tcpBits           uint16                   // bits that tcp-flags may look at
	fragmentBits      uint16                   // the same of fragment
	without           []traffic.RuleActionKind // actions that it ignores
	ratesIgnored      bool                     // it reads rates and limits nothing
	rateStep          float64                  // bytes per second that rates are rounded to; below one step it drops everything
	onePort           bool                     // port does not stand beside destination-port or source-port
	onePortDirection  bool                     // destination-port does not stand beside source-port
	listsXorIntervals bool                     // a condition is a list of values or one interval
}

// Profiles returns all profiles, the general ones first.
func Profiles() []Profile {
	whole := Profile{BGP: true, tcpBits: 0xfff, fragmentBits: 0xf}
	xdp, flowspec, juniper, extreme, frr, gobgp := whole, whole, whole, whole, whole, whole

	xdp.Name, xdp.Source, xdp.BGP = "xdp", "this machine", false

	flowspec.Name, flowspec.Source = "flowspec", "RFC 8955, RFC 8956"

	juniper.Name, juniper.Source = "juniper", "Junos documentation of flow routes; \"MX301, high performance FlowSpec without compromise\" (Juniper, 2026) for the 8K terms of the fast lookup filter"
	juniper.MaxRules, juniper.maxRulesSeverity, juniper.maxRulesWhy = 8192, Warning, "the fast lookup filter takes; the others are slow"
	juniper.onePort = true

	extreme.Name, extreme.Source = "extreme-slx", "SLX-OS Layer 3 Routing Configuration Guide 20.x, \"BGP Flowspec Considerations\""
	extreme.NextHop, extreme.noIPv6 = true, true
	extreme.tcpBits = 0xff &^ (traffic.FlagECE | traffic.FlagCWR)
	extreme.fragmentBits = traffic.FragmentIs
	extreme.without = []traffic.RuleActionKind{traffic.RuleRatePackets, traffic.RuleRedirectVRF, traffic.RuleCopyIP}
	extreme.rateStep = 22000 / 8

	frr.Name, frr.Source = "frr", "FRRouting user guide, \"Flowspec\", limitations and known issues"
	frr.without = []traffic.RuleActionKind{traffic.RuleMark, traffic.RuleSample, traffic.RuleContinue, traffic.RuleCopyIP}
	frr.ratesIgnored, frr.onePortDirection, frr.listsXorIntervals = true, true, true

	gobgp.Name, gobgp.Source = "gobgp-v3", "tests of bgp/flowspec against GoBGP v3.37.0"
	gobgp.maxNLRI, gobgp.noOffsets = 238, true

	return []Profile{flowspec, xdp, juniper, extreme, frr, gobgp}
}

// ProfileByName returns the profile that configuration names so.
func ProfileByName(name string) (Profile, error) {
	var names []string
	for _, p := range Profiles() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Profile{}, fmt.Errorf("unknown router profile %q; expected one of %s", name, strings.Join(names, ", "))
}

// limits holds the rule against the profile.
func (l *linter) limits() {
	r, p := &l.rule, l.profile
	if p.BGP {
		l.carried()
	}
	if p.noIPv6 && r.Family() == 6 {
		l.add(Error, p.Name+" takes flow specifications of IPv4 only", "use a blackhole for IPv6")
	}
	if p.noOffsets && (r.DestinationOffset > 0 || r.SourceOffset > 0) {
		l.add(Error, p.Name+" does not carry IPv6 prefixes with an offset", "write the prefix from its first bit")
	}
	for _, x := range []struct {
		name      string
		masks     traffic.Masks
		supported uint16
	}{{"tcp-flags", r.TCPFlags, p.tcpBits}, {"fragment", r.Fragments, p.fragmentBits}} {
		for _, m := range x.masks {
			if beyond := m.Bits &^ x.supported; beyond != 0 {
				text := maskText(x.name, traffic.Masks{{Bits: beyond}})
				l.add(Error, fmt.Sprintf("%s does not look at %s", p.Name, text), "leave "+text+" out")
			}
		}
	}
	if p.onePort && len(r.Ports) > 0 && (len(r.DestinationPorts) > 0 || len(r.SourcePorts) > 0) {
		l.add(Error, p.Name+" takes port, or destination-port and source-port, but not both", "write destination-port and source-port")
	}
	if p.onePortDirection && len(r.DestinationPorts) > 0 && len(r.SourcePorts) > 0 {
		l.add(Error, p.Name+" does not install a rule with destination-port and source-port", "keep the one that marks the attack")
	}
	if p.listsXorIntervals {
		l.lists()
	}
	l.limitedActions()
}

func maskText(name string, m traffic.Masks) string {
	r := traffic.Rule{TCPFlags: m}
	if name == "fragment" {
		r = traffic.Rule{Fragments: m}
	}
	text, _, _ := strings.Cut(r.String(), " then")
	return text
}

// carried finds what no flow specification can say.
func (l *linter) carried() {
	r, p := &l.rule, l.profile
	if len(r.Payload) > 0 {
		l.add(Error, "BGP cannot carry payload bytes", "leave payload out, or use the rule in XDP only")
	}
	if r.Family() == 0 {
		l.add(Error, "a flow specification is for one IP version, and nothing says which", "add a prefix, or family ipv4 or family ipv6")
	}
	room := 4095
	if p.maxNLRI > 0 {
		room = p.maxNLRI
	}
	if n := size(r); n > room {
		l.add(Error, fmt.Sprintf("it takes %d bytes, and %s carries %d", n, p.Name, room), "split its longest list into two rules, or write intervals")
	}
}

// size is the number of bytes of a rule's NLRI without its length (RFC 8955 section 4.2).
func size(r *traffic.Rule) int {
	n := 0
	if d := r.Destination; d.IsValid() {
		n += prefixSize(d.Addr().Is6(), d.Bits(), int(r.DestinationOffset))
	}
	if s := r.Source; s.IsValid() {
		n += prefixSize(s.Addr().Is6(), s.Bits(), int(r.SourceOffset))
	}
	item := func(c traffic.Condition, value uint32) int {
		switch {
		case c.Name == "flow-label":
			return 5
		case value > 0xff:
			return 3
		}
		return 2
	}
	r.EachTerms(func(c traffic.Condition, terms traffic.Terms, _ uint32) {
		n++
		for _, t := range terms {
			n += item(c, t.Value)
		}
	})
	r.EachMasks(func(c traffic.Condition, masks traffic.Masks, _ uint16) {
		n++
		for _, m := range masks {
			n += item(c, uint32(m.Bits))
		}
	})
	return n
}

func prefixSize(ipv6 bool, bits, offset int) int {
	if ipv6 {
		return 3 + (bits-offset+7)/8
	}
	return 2 + (bits+7)/8
}

// lists finds conditions that mix values and intervals.
func (l *linter) lists() {
	l.rule.EachTerms(func(c traffic.Condition, terms traffic.Terms, _ uint32) {
		values, intervals := 0, 0
		for _, t := range terms {
			switch {
			case t.Op == traffic.Equal:
				values++
			case !t.And:
				intervals++
			}
		}
		if intervals > 1 || intervals == 1 && values > 0 {
			l.add(Error, fmt.Sprintf("%s does not install a rule whose %s is more than a list of values or one interval", l.profile.Name, c.Name), "write one rule for each interval")
		}
	})
}

func (l *linter) limitedActions() {
	p := l.profile
	for _, a := range l.rule.Actions {
		for _, kind := range p.without {
			if a.Kind == kind {
				l.add(Error, fmt.Sprintf("%s does not know the action %s", p.Name, a.Kind), "choose another action")
			}
		}
		limit := a.Kind == traffic.RuleRateBytes || a.Kind == traffic.RuleRatePackets
		if limit && p.ratesIgnored {
			l.add(Error, p.Name+" does not limit rates", "choose discard or a redirection")
		}
		if a.Kind != traffic.RuleRateBytes || p.rateStep == 0 {
			continue
		}
		steps := float64(a.Rate) / p.rateStep
		switch step := strconv.FormatFloat(p.rateStep, 'f', -1, 64); {
		case steps < 1:
			l.add(Error, fmt.Sprintf("%s drops everything below %s bytes/s", p.Name, step), "choose at least rate-bytes "+step+", or discard")
		case steps != math.Trunc(steps):
			nearest := strconv.FormatFloat(math.Trunc(steps)*p.rateStep, 'f', -1, 64)
			l.add(Warning, fmt.Sprintf("%s rounds rates to multiples of %s bytes/s", p.Name, step), "choose rate-bytes "+nearest)
		}
	}
}
