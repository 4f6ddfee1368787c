package announce

import (
	"fmt"
	"net/netip"

	"weir/userspace/traffic"
)

// guard says why a prefix must not be announced for a target; nil: it may.
func (m *maker) guard(a *Action, target, prefix netip.Prefix) *Refused {
	switch why := m.guardPrefix(prefix, a.Widest, a.Kind == Divert && a.OverNeverBan); {
	case why != nil:
		return why
	case target.IsValid() && m.guards.NeverBan(target): // although its surroundings may be announced
		return refused(prefix.String(), NeverBan, fmt.Sprintf("%s is on the never-ban list; take it off the list to have it announced", target))
	}
	return nil
}

// guardPrefix is what everything announced must pass, by whatever way it comes.
func (m *maker) guardPrefix(prefix netip.Prefix, widest [2]int, overNeverBan bool) *Refused {
	if !prefix.IsValid() || prefix.Addr().Is4In6() || prefix != prefix.Masked() {
		return refused(prefix.String(), NotOurs, "it is not a network; give a prefix without host bits")
	}
	shortest := max(widest[family(prefix.Addr())], [2]int{WidestIPv4, WidestIPv6}[family(prefix.Addr())])
	switch {
	case prefix.Bits() < shortest:
		return refused(prefix.String(), TooWide, fmt.Sprintf(`it is wider than /%d, the widest that may be announced; see "widest" of the action`, shortest))
	case !m.guards.Contains(prefix):
		return refused(prefix.String(), NotOurs, `it is not wholly inside our own networks; announce a part that is, or add it to "networks"`)
	case !overNeverBan && m.guards.NeverBan(prefix):
		return refused(prefix.String(), NeverBan, "an address of it is on the never-ban list; announce a part without it, or take it off the list")
	}
	return nil
}

// guardRule checks a rule whose destination has passed guardPrefix.
func (m *maker) guardRule(r *traffic.Rule) *Refused {
	detail := ""
	switch err := r.Validate(); {
	case err != nil:
		detail = err.Error()
	case r.DestinationOffset != 0: // the first bits would not be compared: the rule would match hosts of others
		detail = "its destination has an offset, so it matches hosts that are not ours; leave the offset out"
	case len(r.Payload) > 0:
		detail = "routers know no payload; leave it out"
	default:
		return nil
	}
	return refused(r.String(), BadRule, detail)
}

// guardSpelled checks an announcement that somebody wrote down as a whole.
func (m *maker) guardSpelled(a traffic.Announcement) *Refused {
	prefix := a.Prefix
	if a.Rule != nil {
		prefix = a.Rule.Destination
		if !prefix.IsValid() {
			return byHand(a, refused(a.Route(), BadRule, "it has no destination, so it matches hosts that are not ours; give one inside our own networks"))
		}
		if why := m.guardRule(a.Rule); why != nil {
			return byHand(a, why)
		}
	}
	if why := m.guardPrefix(prefix, [2]int{}, false); why != nil {
		return byHand(a, why)
	}
	return nil
}

func refused(route string, why Reason, detail string) *Refused {
	return &Refused{Route: route, Why: why, Detail: detail}
}

func byHand(a traffic.Announcement, r *Refused) *Refused {
	r.Owner = Manual
	if a.Rule != nil || a.Prefix.IsValid() {
		r.Route = a.Route()
	}
	return r
}
