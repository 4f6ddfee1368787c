package announce

import (
	"fmt"
	"net/netip"
	"slices"

	"weir/userspace/traffic"
)

// holder is a receiver and what it has been given so far.
type holder struct {
	*Receiver
	prefixes map[netip.Prefix]bool
	rules    map[string]bool // by the rule without its actions: they are no part of what is announced
	routes   map[string]int  // by family
}

// has reports whether the receiver has another announcement of the same.
func (h *holder) has(a *traffic.Announcement, rule string) bool {
	if a.Rule != nil {
		return h.rules[rule]
	}
	return h.prefixes[a.Prefix]
}

func (h *holder) give(a *traffic.Announcement, rule, family string) {
	if a.Rule != nil {
		h.rules[rule] = true
	} else {
		h.prefixes[a.Prefix] = true
	}
	h.routes[family]++
}

// assign decides who is told what: those that come first take the places that there are.
func (m *maker) assign(wishes []wish) ([]traffic.Announcement, []Refused) {
	holders := make([]*holder, len(m.policy.Receivers))
	for i := range holders {
		holders[i] = &holder{&m.policy.Receivers[i], make(map[netip.Prefix]bool, len(wishes)), map[string]bool{}, map[string]int{}}
	}
	out := make([]traffic.Announcement, 0, len(wishes))
	for i := range wishes {
		w := &wishes[i]
		var named []string
		if len(w.to) > 1 {
			for _, to := range w.to {
				named = append(named, to.Peers...)
			}
		}
		for _, to := range w.to {
			a := traffic.Announcement{
				Communities: to.Communities, LargeCommunities: to.LargeCommunities, ExtendedCommunities: to.ExtendedCommunities,
				LocalPref: to.LocalPref, MED: to.MED, Prepend: to.Prepend, Owner: w.owner,
			}
			if w.rule != nil {
				a.Rule = w.rule
			} else {
				a.Prefix, a.NextHop = w.prefix, to.NextHop[family(w.prefix.Addr())]
			}
			if m.tell(&a, w, to.Peers, named, holders) {
				out = append(out, a)
			}
		}
	}
	return out, m.refused
}

// tell fills in who of peers (empty: of all but named) gets an announcement; false: nobody does.
func (m *maker) tell(a *traffic.Announcement, w *wish, peers, named []string, holders []*holder) bool {
	refuse := func(peer string, why Reason, detail string) {
		m.refuse(Refused{Owner: w.owner, Action: w.action, Route: a.Route(), Peer: peer, Why: why, Detail: detail})
	}
	if a.Rule == nil && (!a.NextHop.IsValid() || a.NextHop.IsUnspecified() || a.NextHop.Is4() != a.Prefix.Addr().Is4()) {
		refuse("", NoNextHop, fmt.Sprintf("there is no next hop of IPv%d for it; give one", 4+2*family(a.Prefix.Addr())))
		return false
	}
	rule := ""
	if a.Rule != nil {
		rule = a.Key() // without peers so far
	}
	route := a.Family()
	able, meant := 0, 0
	told := make([]string, 0, len(holders))
	for _, h := range holders {
		most := h.MaxRoutes[route]
		if most <= 0 {
			continue
		}
		able++
		if len(peers) > 0 && !slices.Contains(peers, h.Name) || len(peers) == 0 && slices.Contains(named, h.Name) {
			continue
		}
		meant++
		switch {
		case h.has(a, rule):
			refuse(h.Name, Conflict, "it has another announcement of the same; withdraw that, or give the hostgroup one action for this peer")
		case h.routes[route] >= most:
			refuse(h.Name, MaxRoutes, fmt.Sprintf(`it has %d routes of %s already; withdraw some, or raise its "max_routes"`, most, route))
		default:
			h.give(a, rule, route)
			told = append(told, h.Name)
		}
	}
	for _, name := range peers {
		if !slices.ContainsFunc(holders, func(h *holder) bool { return h.Name == name }) {
			refuse(name, NoReceiver, "there is no peer of this name")
		}
	}
	if meant == 0 && (len(peers) > 0 || able == 0) { // else all have an announcement of their own
		refuse("", NoReceiver, fmt.Sprintf(`nobody who is to be told carries %s; see "families" of the peers`, route))
	}
	if len(peers) > 0 || len(told) < able { // else it is for all
		a.Peers = told
	}
	return len(told) > 0
}
