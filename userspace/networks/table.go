// Package networks knows our own prefixes: which hostgroup an address belongs to, and which slot its counters have.
package networks

import (
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// Network is one of our own networks and the hostgroup of its hosts.
type Network struct {
	Prefix netip.Prefix
	Group  int // index of the hostgroup in the policy; 0 is "default"
}

// Table says which addresses are ours and which hostgroup they belong to: the most specific network wins. It never changes, so any
// number of goroutines may use it.
type Table struct {
	groups bart.Table[int]
	ours   bart.Lite // the same addresses in the fewest prefixes
	never  bart.Lite
	list   []Network
}

// NewTable builds a table of our networks and of the prefixes that are never banned. Host bits are cleared; of two networks with the
// same prefix the last one counts; invalid prefixes and IPv4-mapped ones match nothing and are left out.
func NewTable(nets []Network, never []netip.Prefix) *Table {
	t := &Table{}
	for _, n := range nets {
		if usable(n.Prefix) {
			t.groups.Insert(n.Prefix.Masked(), n.Group)
			t.ours.Insert(n.Prefix.Masked())
		}
	}
	t.ours.Aggregate()
	for _, p := range never {
		if usable(p) {
			t.never.Insert(p.Masked())
		}
	}
	for prefix, group := range t.groups.AllSorted() {
		t.list = append(t.list, Network{prefix, group})
	}
	return t
}

func usable(p netip.Prefix) bool { return p.IsValid() && !p.Addr().Is4In6() }

// Group returns the hostgroup of an address; false: it is not ours.
func (t *Table) Group(addr netip.Addr) (int, bool) { return t.groups.Lookup(addr.Unmap()) }

// Covering returns the most specific of our networks that holds an address; false: it is not ours.
func (t *Table) Covering(addr netip.Addr) (netip.Prefix, bool) {
	addr = addr.Unmap()
	if !addr.IsValid() {
		return netip.Prefix{}, false
	}
	prefix, _, ok := t.groups.LookupPrefixLPM(netip.PrefixFrom(addr.WithZone(""), addr.BitLen()))
	return prefix, ok
}

// NeverBan reports whether a prefix has an address in common with the never-ban list.
func (t *Table) NeverBan(prefix netip.Prefix) bool {
	return usable(prefix) && t.never.OverlapsPrefix(prefix.Masked())
}

// Contains reports whether every address of a prefix is ours, be it by several networks together.
func (t *Table) Contains(prefix netip.Prefix) bool {
	return usable(prefix) && t.ours.LookupPrefix(prefix.Masked())
}

// Networks returns a copy of all our networks, sorted, each prefix once.
func (t *Table) Networks() []Network { return slices.Clone(t.list) }
