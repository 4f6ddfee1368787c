package config

import (
	"net/netip"
	"slices"

	"go.yaml.in/yaml/v3"

	"weir/userspace/traffic"
)

// Bounds of an action: what one BGP message takes, and what an operator could mean.
const (
	maxCommunities = 64
	maxPrepend     = 16
	maxRules       = 32
)

// What no action announces more than: even a mistake in the list of our networks reaches no further.
const (
	widestBGP4 = 8
	widestBGP6 = 16
)

// actionNames returns the names of the section "bgp.actions" in the order of the file, also of those with mistakes.
func actionNames(root *yaml.Node) []string {
	var names []string
	n := root
	for _, key := range []string{"bgp", "actions"} {
		n = valueOf(n, key)
	}
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		names = append(names, n.Content[i].Value)
	}
	return names
}

// valueOf returns the value of a mapping's key; nil: there is none.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func (d *decoder) bgpActions(b *BGP, s *bgpSection, at string, n *yaml.Node) {
	for _, e := range d.entries(at, n) {
		name := e.key.Value
		switch {
		case !validGroupName(name):
			d.errorf(e.key, "action name %q: expected 1 to 64 letters, digits, dots, dashes and underscores", name)
		case slices.Contains(reservedActions(), name):
			d.errorf(e.key, "action name %q: expected another one; hostgroups know an action of this name already", name)
		default:
			d.bgpAction(b, s, name, join(at, name), e.key, e.value)
		}
	}
}

// bgpAction decodes the kind first, because the other keys and their defaults depend on it.
func (d *decoder) bgpAction(b *BGP, s *bgpSection, name, at string, key, n *yaml.Node) {
	a := BGPAction{Name: name}
	var base BGPAnnouncement
	before := len(d.errs)
	kind := d.bgpKind(&a.Kind)
	kindNode := valueOf(n, "kind")
	if kindNode != nil {
		kind(join(at, "kind"), kindNode)
	} else if isNull(n) || n.Kind == yaml.MappingNode {
		d.errorf(key, `action %q has no "kind"; expected blackhole, divert or flowspec`, name)
	}
	if len(d.errs) > before {
		return
	}
	defaultsOf(&a, &base)
	only := func(decode decodeFunc, kinds ...BGPKind) decodeFunc {
		return func(at string, n *yaml.Node) {
			for _, k := range kinds {
				if a.Kind == k {
					decode(at, n)
					return
				}
			}
			var words []string
			for _, k := range kinds {
				words = append(words, string(k))
			}
			d.errorf(n, "%q is for kind %s only: the kind of %q is %s", at, alternatives(words), name, a.Kind)
		}
	}
	var list, rules *yaml.Node
	d.mapping(at, n, append([]field{
		{"kind", func(string, *yaml.Node) {}}, // done
		{"peers", d.receivers(&base.Peers, s)},
		{"directions", only(d.directions(&a.Directions), BGPBlackhole)},
		{"next_hop", only(d.nextHop(&base.NextHop), BGPBlackhole, BGPDivert)},
		{"length", only(d.lengths(&a.Length, true), BGPBlackhole, BGPDivert)},
		{"widest", d.lengths(&a.Widest, false)},
		{"group_prefixes", only(d.groupPrefixes(&a.GroupPrefixes), BGPDivert)},
		{"over_never_ban", only(d.bool(&a.OverNeverBan), BGPDivert)},
		{"rules", only(func(at string, n *yaml.Node) { rules = n; d.rules(&a.Rules)(at, n) }, BGPFlowSpec)},
		{"found", only(d.bool(&a.Found), BGPFlowSpec)},
		{"announcements", func(_ string, n *yaml.Node) { list = n }},
	}, d.attributes(&base, s)...)...)
	a.Announcements = []BGPAnnouncement{base}
	if list != nil {
		a.Announcements = d.announcements(&a, base, s, join(at, "announcements"), list)
	}
	if len(d.errs) > before {
		return
	}
	switch {
	case a.Kind == BGPFlowSpec && len(a.Rules) == 0 && !a.Found:
		d.errorf(orNode(rules, key), `action %q has no "rules", such as ["protocol udp source-port 53,123 then discard"], and no "found: true"`, name)
	case a.Kind == BGPDivert && !anyNextHop(a.Announcements):
		d.errorf(key, `action %q has no "next_hop": the address that packets are diverted to`, name)
	}
	for i, family := range familyKeys() {
		if a.Length[i] > 0 && a.Length[i] < a.Widest[i] {
			d.errorf(key, `action %q: "length" /%d is wider than "widest" /%d for %s, so nothing would be announced; change one of them`, name, a.Length[i], a.Widest[i], family)
		}
	}
	b.Actions = append(b.Actions, a)
	s.actions = append(s.actions, key)
}

func orNode(n, other *yaml.Node) *yaml.Node {
	if n != nil {
		return n
	}
	return other
}

// defaultsOf sets what an action of a kind is unless the file says otherwise.
func defaultsOf(a *BGPAction, base *BGPAnnouncement) {
	a.Directions = [2]bool{traffic.Incoming: true}
	a.Length, a.Widest = [2]int{32, 128}, [2]int{widestBGP4, widestBGP6}
	switch a.Kind {
	case BGPBlackhole:
		a.Directions[traffic.Outgoing] = true
		a.Widest = [2]int{24, 48}
		// RFC 7999 asks for both communities; 192.0.2.1 is what routers have their discard route for by convention, 100::1 is of RFC 6666.
		base.Communities = []uint32{0xFFFF029A, 0xFFFFFF01}
		base.NextHop = [2]netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 1}), netip.AddrFrom16([16]byte{0: 1, 15: 1})}
	case BGPDivert:
		a.Length = [2]int{24, 48}
	}
}

func (d *decoder) bgpKind(dst *BGPKind) decodeFunc {
	return choice(d, dst, []string{"blackhole", "divert", "flowspec"}, []BGPKind{BGPBlackhole, BGPDivert, BGPFlowSpec})
}

func anyNextHop(list []BGPAnnouncement) bool {
	for _, one := range list {
		if one.NextHop[0].IsValid() || one.NextHop[1].IsValid() {
			return true
		}
	}
	return false
}

// attributes is one field per path attribute.
func (d *decoder) attributes(dst *BGPAnnouncement, s *bgpSection) []field {
	return []field{
		{"communities", listOf(d, &dst.Communities, maxCommunities, "a community such as 64500:666, blackhole or no-export", parseCommunity)},
		{"large_communities", listOf(d, &dst.LargeCommunities, maxCommunities, "a large community such as 64500:666:1", parseLargeCommunity)},
		{"extended_communities", listOf(d, &dst.ExtendedCommunities, maxCommunities,
			"an extended community such as rt:64500:100, soo:192.0.2.1:100 or 0x0002fbf400000064", parseExtendedCommunity)},
		{"local_pref", d.uint32Value(&dst.LocalPref)},
		{"med", d.uint32Value(&dst.MED)},
		{"prepend", func(at string, n *yaml.Node) {
			d.count(&dst.Prepend, 0, maxPrepend)(at, n)
			if dst.Prepend > 0 && s.prepends == nil {
				s.prepends = n
			}
		}},
	}
}

// announcements decodes the list of those that an action makes at a time, for different peers; what an entry leaves out is as in the action.
func (d *decoder) announcements(a *BGPAction, base BGPAnnouncement, s *bgpSection, at string, n *yaml.Node) []BGPAnnouncement {
	var all []BGPAnnouncement
	taken := map[string]*yaml.Node{}
	var general *yaml.Node
	items := d.items(at, n, "a list of announcements")
	for _, item := range items {
		one := base
		peers := valueOf(item, "peers")
		fields := []field{{"peers", d.receivers(&one.Peers, s)}}
		if a.Kind != BGPFlowSpec {
			fields = append(fields, field{"next_hop", d.nextHop(&one.NextHop)})
		}
		d.mapping(at, item, append(fields, d.attributes(&one, s)...)...)
		if len(one.Peers) == 0 && general != nil {
			d.errorf(item, `%q: a second announcement for all peers; the first is at %s; expected "peers" in all but one`, at, d.placeOf(general))
		} else if len(one.Peers) == 0 {
			general = item
		}
		for _, p := range one.Peers {
			if first := taken[p]; first != nil && first != item {
				d.errorf(orNode(peers, item), "%q: peer %s has another announcement of this action at %s; a peer can have one", at, p, d.placeOf(first))
			}
			taken[p] = item
		}
		all = append(all, one)
	}
	if len(items) == 0 && (isNull(n) || n.Kind == yaml.SequenceNode) {
		d.expected(at, n, "at least one announcement")
	}
	return all
}

// receivers decodes who gets an announcement; whether they are there is known when the section is complete.
func (d *decoder) receivers(dst *[]string, s *bgpSection) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "the name of a peer"
		var list []string
		for _, item := range d.items(at, n, "a list of the names of peers") {
			name, ok := d.text(at, item, what)
			if !ok {
				continue
			}
			for _, other := range list {
				if other == name {
					d.errorf(item, "%q: %s is listed twice", at, name)
				}
			}
			list = append(list, name)
			s.namedPeers = append(s.namedPeers, namedNode{name, at, item})
		}
		*dst = list
	}
}
