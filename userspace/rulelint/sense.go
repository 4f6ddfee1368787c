package rulelint

import (
	"fmt"
	"slices"
	"strings"

	"weir/userspace/traffic"
)

// MaxLength is the longest IP packet that any usual link carries: the jumbo frames of switches.
const MaxLength = 9216

// extent says for how many of its values a condition holds.
type extent uint8

const (
	never extent = iota
	sometimes
	always
)

// reach looks at terms where they can change: at their values and beside them, and at both ends.
func reach(terms traffic.Terms, largest uint32) extent {
	hits, tries := 0, 0
	try := func(v uint32) {
		if v <= largest {
			tries++
			if terms.Match(v) {
				hits++
			}
		}
	}
	try(0)
	try(largest)
	for _, t := range terms {
		if t.Value > 0 {
			try(t.Value - 1)
		}
		try(t.Value)
		try(t.Value + 1)
	}
	return of(hits, tries)
}

func of(hits, tries int) extent {
	switch hits {
	case 0:
		return never
	case tries:
		return always
	}
	return sometimes
}

// fragmentStates are the bits that a packet can have (RFC 8955 section 4.2.2.12): whole, first, middle, last.
func fragmentStates(family int) []uint16 {
	states := []uint16{0, traffic.FragmentFirst, traffic.FragmentIs, traffic.FragmentIs | traffic.FragmentLast}
	if family != 6 {
		for _, s := range states[:len(states):len(states)] {
			states = append(states, s|traffic.FragmentDont)
		}
	}
	return states
}

// maskReach tries all bits that a packet can have.
func (l *linter) maskReach(c traffic.Condition, masks traffic.Masks, all uint16) extent {
	hits, tries := 0, 0
	try := func(bits uint16) {
		tries++
		if masks.Match(bits) {
			hits++
		}
	}
	if c.Name == "fragment" {
		for _, bits := range fragmentStates(l.rule.Family()) {
			try(bits)
		}
		return of(hits, tries)
	}
	for bits := range int(all) + 1 {
		try(uint16(bits))
	}
	return of(hits, tries)
}

// conditions finds those that hold for nothing or for everything.
func (l *linter) conditions() {
	report := func(c traffic.Condition, e extent) {
		switch e {
		case never:
			l.add(Error, "no packet can meet its "+c.Name, "correct it: a comma means or, & means and")
		case always:
			if words, remedy := l.implied(c.Name); words != "" {
				l.add(Warning, "every "+words+" packet meets its "+c.Name, remedy)
				return
			}
			l.add(Warning, "every packet meets its "+c.Name+", which costs the router and changes nothing", "leave it out")
		}
	}
	l.rule.EachTerms(func(c traffic.Condition, t traffic.Terms, largest uint32) {
		if c.Name == "length" && l.oddLengths() != nil { // lengths says more
			return
		}
		report(c, reach(t, largest))
	})
	l.rule.EachMasks(func(c traffic.Condition, m traffic.Masks, all uint16) { report(c, l.maskReach(c, m, all)) })
}

// implied says which protocols' packets alone a condition looks at, and how to say just that; "": it looks at all packets.
func (l *linter) implied(condition string) (words, remedy string) {
	for _, n := range l.needs() {
		if n.name == condition && n.protocols != nil {
			return n.words, "write protocol " + strings.ReplaceAll(strings.ToLower(n.words), " or ", ",") + " instead"
		}
	}
	return "", ""
}

// headerLength is the length of the shortest IP packet of the rule's version.
func (l *linter) headerLength() uint32 {
	if l.rule.Family() == 6 {
		return 40
	}
	return 20
}

// oddLengths returns the terms of the length that ask for packets that do not exist: rules with such lengths, made by a machine that
// misread an attack, have taken whole networks down.
func (l *linter) oddLengths() traffic.Terms {
	var odd traffic.Terms
	shortest := l.headerLength()
	for _, t := range l.rule.Lengths {
		long, short := false, false
		switch t.Op {
		case traffic.Equal:
			long, short = t.Value > MaxLength, t.Value < shortest
		case traffic.Greater:
			long = t.Value >= MaxLength
		case traffic.GreaterOrEqual:
			long = t.Value > MaxLength
		case traffic.Less:
			short = t.Value <= shortest
		case traffic.LessOrEqual:
			short = t.Value < shortest
		}
		if long || short {
			odd = append(odd, t)
		}
	}
	return odd
}

func (l *linter) lengths() {
	remedy := fmt.Sprintf("correct the length: IP packets have %d to %d bytes", l.headerLength(), MaxLength)
	for _, t := range l.oddLengths() {
		t.And = false
		text, _, _ := strings.Cut(traffic.Rule{Lengths: traffic.Terms{t}}.String(), " then")
		l.add(Error, fmt.Sprintf("no packet has %s", text), remedy)
	}
	if len(l.rule.Lengths) == 0 || l.oddLengths() != nil || reach(l.rule.Lengths, 0xffff) == never {
		return
	}
	for length := l.headerLength(); length <= MaxLength; length++ {
		if l.rule.Lengths.Match(length) {
			return
		}
	}
	l.add(Error, "no packet can meet its length", remedy)
}

// need is a condition that only packets of some protocols can meet (RFC 8955 section 4.2.2).
type need struct {
	set       bool
	name      string
	protocols []uint32
	words     string
}

func (l *linter) needs() []need {
	r := &l.rule
	icmp, name := []uint32{traffic.ProtoICMP, traffic.ProtoICMPv6}, "ICMP"
	switch r.Family() {
	case 4:
		icmp = icmp[:1]
	case 6:
		icmp, name = icmp[1:], "ICMPv6"
	}
	transport := []uint32{traffic.ProtoTCP, traffic.ProtoUDP}
	return []need{
		{len(r.Ports) > 0, "port", transport, "TCP or UDP"},
		{len(r.DestinationPorts) > 0, "destination-port", transport, "TCP or UDP"},
		{len(r.SourcePorts) > 0, "source-port", transport, "TCP or UDP"},
		{len(r.ICMPTypes) > 0, "icmp-type", icmp, name},
		{len(r.ICMPCodes) > 0, "icmp-code", icmp, name},
		{len(r.TCPFlags) > 0, "tcp-flags", transport[:1], "TCP"},
		{len(r.Payload) > 0, "payload", nil, ""},
	}
}

// layers finds conditions that no packet meets together.
func (l *linter) layers() {
	later := l.onlyLaterFragments()
	var possible []uint32 // protocols that meet the needs so far; nil: any
	for _, n := range l.needs() {
		if !n.set {
			continue
		}
		if later {
			l.add(Error, fmt.Sprintf("its fragment asks for fragments behind the first, and those have no transport header for %s to look at", n.name), "write two rules: one by "+n.name+", one by fragment")
		}
		if n.protocols == nil {
			continue
		}
		possible = slices.DeleteFunc(slices.Clone(n.protocols), func(p uint32) bool {
			return possible != nil && !slices.Contains(possible, p) || !l.rule.Protocols.Match(p)
		})
		if len(possible) == 0 {
			l.add(Error, fmt.Sprintf("only %s has what %s looks at, and the rule's other conditions leave %s out", n.words, n.name, n.words), "leave "+n.name+" out, or correct protocol")
			return
		}
	}
	switch family := l.rule.Family(); {
	case family == 4 && l.names(traffic.ProtoICMPv6):
		l.add(Warning, "its protocol names icmpv6, which does not belong to IPv4", "write icmp")
	case family == 6 && l.names(traffic.ProtoICMP):
		l.add(Warning, "its protocol names icmp, which does not belong to IPv6", "write icmpv6")
	}
}

// names reports whether the protocol is compared with a number for equality.
func (l *linter) names(protocol uint32) bool {
	for _, t := range l.rule.Protocols {
		if t.Op == traffic.Equal && t.Value == protocol {
			return true
		}
	}
	return false
}

// onlyLaterFragments reports whether the rule leaves whole packets and first fragments out.
func (l *linter) onlyLaterFragments() bool {
	if len(l.rule.Fragments) == 0 || l.maskReach(traffic.Condition{Name: "fragment"}, l.rule.Fragments, 0xf) == never {
		return false
	}
	for _, bits := range fragmentStates(l.rule.Family()) {
		if bits&traffic.FragmentIs == 0 && l.rule.Fragments.Match(bits) {
			return false
		}
	}
	return true
}

// actions finds those that undo each other.
func (l *linter) actions() {
	for _, a := range l.rule.Actions {
		switch a.Kind {
		case traffic.RuleRatePackets, traffic.RuleMark, traffic.RuleRedirectVRF, traffic.RuleRedirectIP, traffic.RuleContinue:
			if l.stops() {
				l.add(Warning, fmt.Sprintf("what is discarded cannot also be subject to %s", a.Kind), "leave one of the two out")
			}
		}
		if a.Kind != traffic.RuleRedirectIP && a.Kind != traffic.RuleCopyIP {
			continue
		}
		switch d := l.rule.Destination; {
		case d.IsValid() && l.rule.DestinationOffset == 0 && d.Contains(a.Address):
			l.add(Error, fmt.Sprintf("it sends packets to %s, which the rule itself matches: a loop", a.Address), "choose an address outside "+d.String())
		case l.rule.Family() == 4 && a.Address.Is6() || l.rule.Family() == 6 && a.Address.Is4():
			l.add(Warning, fmt.Sprintf("it sends IPv%d packets to %s, which few routers can do", l.rule.Family(), a.Address), fmt.Sprintf("choose an IPv%d address", l.rule.Family()))
		}
	}
}
