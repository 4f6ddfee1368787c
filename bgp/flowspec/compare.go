package flowspec

import (
	"bytes"
	"cmp"

	"weir/userspace/traffic"
)

// Compare says which of two rules a router applies first (RFC 8955 section 5.1, RFC 8956 section 4): negative if a, positive if b, 0 if
// they match the same in the same words. Rules of different IP versions never meet: IPv4 comes first. Payload has no say.
func Compare(a, b traffic.Rule) int {
	if d := cmp.Compare(a.Family(), b.Family()); d != 0 {
		return d
	}
	a, b = a.Canonical(), b.Canonical()
	all, others := components(&a), components(&b)
	for i := range min(len(all), len(others)) {
		if d := compareComponents(all[i], others[i]); d != 0 {
			return d
		}
	}
	return cmp.Compare(len(others), len(all)) // what says more comes first
}

func compareComponents(a, b component) int {
	if d := cmp.Compare(a.kind, b.kind); d != 0 {
		return d
	}
	if !a.prefix.IsValid() {
		shorter := min(len(a.body), len(b.body))
		return cmp.Or(bytes.Compare(a.body[:shorter], b.body[:shorter]), cmp.Compare(len(b.body), len(a.body)))
	}
	common := min(a.prefix.Bits(), b.prefix.Bits())
	x, errX := a.prefix.Addr().Prefix(common)
	y, errY := b.prefix.Addr().Prefix(common)
	if errX != nil || errY != nil { // only prefixes that Validate refuses
		return 0
	}
	return cmp.Or(cmp.Compare(a.offset, b.offset), x.Addr().Compare(y.Addr()), cmp.Compare(b.prefix.Bits(), a.prefix.Bits()))
}
