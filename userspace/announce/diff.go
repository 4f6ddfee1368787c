package announce

import (
	"slices"

	"weir/userspace/traffic"
)

// Changes leads from one set of announcements to another. Whoever makes them one by one announces Added, then Changed, and withdraws Removed
// last: where a prefix takes the place of its hosts, or hosts that of their prefix, there is no moment without either.
type Changes struct {
	Added   []traffic.Announcement // in the order of the set
	Changed []traffic.Announcement // as they are now: the same prefix or rule with other attributes
	Removed []traffic.Announcement // as they were
}

// Empty reports whether nothing changes.
func (c *Changes) Empty() bool { return len(c.Added)+len(c.Changed)+len(c.Removed) == 0 }

// Diff returns what leads from the set before to the set after for the receivers of these names. An announcement that is new to some of its
// receivers and changed for others is in two lists, each with the Peers that it concerns. Of two announcements of the same to one
// receiver the one that names it counts, else the later one. Another owner is no change: it is not part of what is announced.
func Diff(before, after []traffic.Announcement, receivers []string) Changes {
	was, is := byReceiver(before, receivers), byReceiver(after, receivers)
	var c Changes
	for i := range after {
		a := &after[i]
		route := routeKey(a)
		var added, changed []string
		for _, name := range receivers {
			key := told{name, route}
			switch old := was[key]; {
			case is[key] != a:
			case old == nil:
				added = append(added, name)
			case !sameRoute(old, a):
				changed = append(changed, name)
			}
		}
		c.Added = appendFor(c.Added, a, added, receivers)
		c.Changed = appendFor(c.Changed, a, changed, receivers)
	}
	for i := range before {
		a := &before[i]
		route := routeKey(a)
		var removed []string
		for _, name := range receivers {
			if key := (told{name, route}); was[key] == a && is[key] == nil {
				removed = append(removed, name)
			}
		}
		c.Removed = appendFor(c.Removed, a, removed, receivers)
	}
	return c
}

// told is a route as one receiver knows it.
type told struct{ receiver, route string }

// routeKey is the announcement's Key whomever it is for.
func routeKey(a *traffic.Announcement) string {
	all := *a
	all.Peers = nil
	return all.Key()
}

func byReceiver(set []traffic.Announcement, receivers []string) map[told]*traffic.Announcement {
	out := make(map[told]*traffic.Announcement, len(set)*len(receivers))
	for i := range set {
		a := &set[i]
		key := routeKey(a)
		for _, name := range receivers {
			named := slices.Contains(a.Peers, name)
			other := out[told{name, key}]
			if named || len(a.Peers) == 0 && (other == nil || len(other.Peers) == 0) {
				out[told{name, key}] = a
			}
		}
	}
	return out
}

// appendFor appends an announcement for some receivers, if there are any.
func appendFor(list []traffic.Announcement, a *traffic.Announcement, names, all []string) []traffic.Announcement {
	if len(names) == 0 {
		return list
	}
	one := *a
	one.Peers = names
	if len(names) == len(all) {
		one.Peers = nil
	}
	return append(list, one)
}

// sameRoute reports whether two announcements are the same but for whom they are for, and for which attack.
func sameRoute(a, b *traffic.Announcement) bool {
	if (a.Rule == nil) != (b.Rule == nil) || a.Rule != nil && !a.Rule.Equal(*b.Rule) {
		return false
	}
	if a.Rule == nil && (a.Prefix != b.Prefix || a.NextHop != b.NextHop) {
		return false
	}
	return slices.Equal(a.Communities, b.Communities) && slices.Equal(a.LargeCommunities, b.LargeCommunities) &&
		slices.Equal(a.ExtendedCommunities, b.ExtendedCommunities) && a.Prepend == b.Prepend &&
		sameNumber(a.LocalPref, b.LocalPref) && sameNumber(a.MED, b.MED)
}

func sameNumber(a, b *uint32) bool { return a == b || a != nil && b != nil && *a == *b }

// For returns the announcements of a set that are for at least one of the named receivers, for no others by name.
func For(set []traffic.Announcement, names ...string) []traffic.Announcement {
	var out []traffic.Announcement
	for _, a := range set {
		if len(a.Peers) > 0 {
			a.Peers = slices.DeleteFunc(slices.Clone(a.Peers), func(name string) bool { return !slices.Contains(names, name) })
			if len(a.Peers) == 0 {
				continue
			}
		}
		out = append(out, a)
	}
	return out
}
