package netsource

import (
	"net/netip"
	"slices"
)

// known is the set that was last reported.
type known struct {
	update   func([]netip.Prefix)
	reported bool
	prefixes []netip.Prefix
}

// is reports a set unless it is the one reported last. The first one is always reported, also when it is empty.
func (k *known) is(now []netip.Prefix) {
	if k.reported && slices.Equal(now, k.prefixes) {
		return
	}
	k.reported, k.prefixes = true, now
	k.update(slices.Clone(now))
}

// singles turns addresses into prefixes of one address each, sorted, each once.
func singles(addrs []netip.Addr) []netip.Prefix {
	prefixes := make([]netip.Prefix, 0, len(addrs))
	for _, addr := range addrs {
		addr = addr.Unmap().WithZone("")
		prefixes = append(prefixes, netip.PrefixFrom(addr, addr.BitLen()))
	}
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	return slices.Compact(prefixes)
}
