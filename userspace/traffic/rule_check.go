package traffic

import (
	"errors"
	"fmt"
	"net/netip"
)

// problem is what is wrong with a rule: in which condition or action (its word in the text form; "": the rule as a whole), and what.
type problem struct {
	where, what string
}

// Validate returns what is wrong with a rule against RFC 8955 and RFC 8956, or nil: values out of range, mixed IP versions, nothing to
// match or to do. It does not say whether a rule is wise: package rulelint does.
func (r Rule) Validate() error {
	p, bad := r.firstProblem()
	switch {
	case !bad:
		return nil
	case p.where == "":
		return errors.New(p.what)
	}
	return fmt.Errorf("%s: %s", p.where, p.what)
}

func (r *Rule) firstProblem() (problem, bool) {
	for _, check := range []func(*Rule) problem{checkPrefixes, checkFamily, checkTerms, checkPayload, checkActions} {
		if p := check(r); p.what != "" {
			return p, true
		}
	}
	return problem{}, false
}

func checkPrefixes(r *Rule) problem {
	for _, x := range []struct {
		name   string
		prefix netip.Prefix
		offset uint8
	}{{"destination", r.Destination, r.DestinationOffset}, {"source", r.Source, r.SourceOffset}} {
		p := x.prefix
		switch {
		case p == (netip.Prefix{}) && x.offset != 0:
			return problem{x.name, "an offset needs a prefix"}
		case p == (netip.Prefix{}):
			continue
		case !p.IsValid():
			return problem{x.name, fmt.Sprintf("%s is not a prefix", p)}
		case p.Addr().Is4In6():
			return problem{x.name, fmt.Sprintf("%s is an IPv4 prefix in IPv6 notation", p)}
		case x.offset != 0 && p.Addr().Is4():
			return problem{x.name, "IPv4 prefixes have no offset"}
		case x.offset != 0 && int(x.offset) >= p.Bits():
			return problem{x.name, fmt.Sprintf("length %d ends before offset %d; a prefix compares at least one bit", p.Bits(), x.offset)}
		}
		if masked, _ := maskOffset(p, x.offset); masked != p {
			return problem{x.name, fmt.Sprintf("%s has bits set that are not compared; did you mean %s?", formatPrefix(p, x.offset), formatPrefix(masked, x.offset))}
		}
	}
	return problem{}
}

func checkFamily(r *Rule) problem {
	if r.Version != 0 && r.Version != 4 && r.Version != 6 {
		return problem{"family", fmt.Sprintf("there is no IP version %d; expected ipv4 or ipv6", r.Version)}
	}
	if r.Destination.IsValid() && r.Source.IsValid() && r.Destination.Addr().Is4() != r.Source.Addr().Is4() {
		return problem{"source", fmt.Sprintf("source %s and destination %s are of two IP versions; write two rules", r.Source, r.Destination)}
	}
	family := r.Family()
	switch {
	case r.Version != 0 && int(r.Version) != family:
		return problem{"family", fmt.Sprintf("the rule's prefixes are IPv%d", family)}
	case family == 4 && len(r.FlowLabels) > 0:
		return problem{"flow-label", "IPv4 has no flow label; leave it out, or write IPv6 prefixes"}
	}
	for _, m := range r.Fragments {
		if family == 6 && m.Bits&FragmentDont != 0 {
			return problem{"fragment", "IPv6 has no dont-fragment bit (RFC 8956 section 3.6)"}
		}
	}
	return problem{}
}

func checkTerms(r *Rule) problem {
	anything := r.Destination.IsValid() || r.Source.IsValid() || len(r.Payload) > 0
	for _, c := range conditions() {
		if c.terms != nil {
			for i, t := range *c.terms(r) {
				anything = true
				switch {
				case t.Op > True:
					return problem{c.Name, fmt.Sprintf("there is no operator %d", uint8(t.Op))}
				case i == 0 && t.And:
					return problem{c.Name, "the first comparison has none before it to be joined with"}
				case t.Value > c.max:
					return problem{c.Name, fmt.Sprintf("%d is out of range; expected 0 to %d", t.Value, c.max)}
				}
			}
		}
		if c.masks != nil {
			for i, m := range *c.masks(r) {
				anything = true
				switch {
				case i == 0 && m.And:
					return problem{c.Name, "the first comparison has none before it to be joined with"}
				case uint32(m.Bits)&^c.max != 0:
					return problem{c.Name, fmt.Sprintf("bits 0x%x are out of range; expected 0x0 to 0x%x", m.Bits, c.max)}
				}
			}
		}
	}
	if !anything {
		return problem{"", "the rule has no condition; for all packets, write destination 0.0.0.0/0 or ::/0"}
	}
	return problem{}
}

func checkPayload(r *Rule) problem {
	for _, p := range r.Payload {
		switch {
		case len(p.Value) == 0 || len(p.Value) > MaxPayloadBytes:
			return problem{"payload", fmt.Sprintf("%d bytes cannot be compared; expected 1 to %d", len(p.Value), MaxPayloadBytes)}
		case p.Offset > MaxPayloadOffset:
			return problem{"payload", fmt.Sprintf("offset %d is out of range; expected 0 to %d", p.Offset, MaxPayloadOffset)}
		case p.Mask != "" && len(p.Mask) != len(p.Value):
			return problem{"payload", fmt.Sprintf("the mask has %d bytes and the value %d; expected as many", len(p.Mask), len(p.Value))}
		}
		if c := p.canonical(); c.Value != p.Value {
			return problem{"payload", fmt.Sprintf("%s has bits set that the mask leaves out; did you mean %s?", formatPayload([]Payload{p}), formatPayload([]Payload{c}))}
		}
	}
	return problem{}
}

func checkActions(r *Rule) problem {
	if len(r.Actions) == 0 {
		return problem{"then", "the rule has no action; expected one of " + list(ruleActionKindNames[:])}
	}
	var seen [RuleActionKindCount]bool
	for i, a := range r.Actions {
		if what := a.problem(); what != "" {
			return problem{a.Kind.String(), what}
		}
		several := a.Kind == RuleRedirectIP || a.Kind == RuleCopyIP // to several addresses: the router spreads the load
		for _, before := range r.Actions[:i] {
			if before.canonical() == a.canonical() {
				return problem{a.Kind.String(), a.String() + " stands twice"}
			}
		}
		if seen[a.Kind] && !several {
			return problem{a.Kind.String(), "a rule has one " + a.Kind.String() + ", not two"}
		}
		seen[a.Kind] = true
	}
	switch {
	case seen[RuleAccept] && len(r.Actions) > 1:
		return problem{"accept", "accept means that nothing else happens; it stands alone"}
	case seen[RuleDiscard] && seen[RuleRateBytes]:
		return problem{"rate-bytes", "discard is a rate of 0, and a rule has one rate of bytes"}
	case seen[RuleRedirectIP] && seen[RuleCopyIP]:
		return problem{"copy", "a packet is either redirected or copied; write one of the two"}
	}
	return problem{}
}
