package config

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
	"go.yaml.in/yaml/v3"
)

// ownNetworks is the section "networks" while it is decoded.
type ownNetworks struct {
	*Networks
	prefixes []placed
	broken   bool // an error was reported: what seems to be missing from the networks may stand in the broken part
}

// dynamic reports whether some of our addresses are known at run time only.
func (o *ownNetworks) dynamic() bool { return o.LocalAddresses || o.OpenVZ }

// empty reports whether there will never be an address of ours.
func (o *ownNetworks) empty() bool { return len(o.prefixes) == 0 && !o.dynamic() }

func (d *decoder) networks(own *ownNetworks, at string, n *yaml.Node) {
	before := len(d.errs)
	d.mapping(at, n,
		field{"prefixes", d.prefixes(&own.prefixes)},
		field{"files", d.files(&own.prefixes)},
		field{"local_addresses", d.bool(&own.LocalAddresses)},
		field{"openvz", d.bool(&own.OpenVZ)},
	)
	own.broken = len(d.errs) > before
}

// owner is who has a network first.
type owner struct {
	group string
	at    place
}

// checkGroups holds the hostgroups' networks against each other and against our own.
func (d *decoder) checkGroups(c *Config, own *ownNetworks, groups []*group) {
	covered := union(c.Networks.Prefixes)
	owners := make(map[netip.Prefix]owner)
	for _, g := range groups {
		for _, p := range g.networks {
			first, taken := owners[p.prefix]
			switch {
			case taken && first.group == g.name:
				continue
			case taken:
				d.errorAt(p.at, fmt.Sprintf("%s is in hostgroup %q and, at %s, in hostgroup %q; a network belongs to one hostgroup (parts of it may belong to others)",
					p.prefix, g.name, first.at, first.group))
				continue
			}
			owners[p.prefix] = owner{g.name, p.at}
			if !own.broken && !own.dynamic() && !covered.LookupPrefix(p.prefix) {
				d.errorAt(p.at, fmt.Sprintf(`%s of hostgroup %q is not inside your own networks; add it to "networks" or correct it`, p.prefix, g.name))
			}
		}
	}
}

// checkNeverBan warns of entries without effect: the list is of our own hosts, and people take it for one of trusted sources.
func (d *decoder) checkNeverBan(own *ownNetworks, never []placed) {
	if own.broken || own.dynamic() {
		return
	}
	ours := union(distinct(own.prefixes))
	for _, p := range never {
		if !ours.OverlapsPrefix(p.prefix) {
			d.warnf(p.at, "%s in \"never_ban\" has no effect: it is not in your own networks, and only hosts of yours are ever banned", p.prefix)
		}
	}
}

// union is the set of all addresses of the prefixes: neighbouring prefixes are merged, so a prefix is inside when all its addresses are.
func union(prefixes []netip.Prefix) *bart.Lite {
	var set bart.Lite
	for _, p := range prefixes {
		set.Insert(p)
	}
	set.Aggregate()
	return &set
}

// Member is one of our networks and the group that its hosts belong to.
type Member struct {
	Prefix netip.Prefix
	Group  int // index in Config.Hostgroups
}

// Members returns all our networks with their hostgroups, sorted, each prefix once: those of the configuration, the live ones (our own
// addresses, as far as they are known at run time), and the hostgroups' own networks inside them. For each address, the most specific
// member tells the hostgroup.
func (c *Config) Members(live []netip.Prefix) []Member {
	own := slices.Concat(c.Networks.Prefixes, live)
	var groups bart.Table[int]
	for index, g := range c.Hostgroups {
		for _, p := range g.Networks {
			groups.Insert(p, index)
		}
	}
	ours := union(own)
	members := make(map[netip.Prefix]int)
	for _, p := range own {
		index, _ := groups.LookupPrefix(p) // none: the first group, default
		members[p] = index
	}
	for p, index := range groups.All() {
		if ours.LookupPrefix(p) {
			members[p] = index
		}
	}
	all := make([]Member, 0, len(members))
	for p, index := range members {
		all = append(all, Member{p, index})
	}
	slices.SortFunc(all, func(a, b Member) int { return a.Prefix.Compare(b.Prefix) })
	return all
}
