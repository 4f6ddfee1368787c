package lab

import (
	"fmt"
	"net/netip"
)

// Spread says how an address changes from packet to packet.
type Spread uint8

// The values are enum spread of bpf/flood.c.
const (
	Fixed  Spread = iota // as it stands in the frame
	Random               // uniformly out of the prefix
	Sweep                // one after the other through the prefix, at most its last 2^32 addresses
)

// Addresses says which addresses packets carry.
type Addresses struct {
	Spread Spread
	Prefix netip.Prefix // of the frame's family; unused when Fixed
}

// FloodOptions describes a stream of packets.
type FloodOptions struct {
	Frame        Frame     // the template
	Sources      Addresses // zero: the frame's own
	Destinations Addresses
	SrcPorts     uint16 // bits of the source port that are random: 0 none, 0xffff all
	DstPorts     uint16
	Seed         uint64 // of the generator; 0 is replaced by a constant, so equal options make equal streams

	Host      *Host  // namespace that the packets start in; nil: for Bench only
	Interface string // interface of Host that they leave by; its peer must run NAPI, as Link sees to
}

func (o *FloodOptions) check() error {
	for name, a := range map[string]Addresses{"sources": o.Sources, "destinations": o.Destinations} {
		if a.Spread > Sweep {
			return fmt.Errorf("unknown spread %d of %s", a.Spread, name)
		}
		if a.Spread != Fixed && (!a.Prefix.IsValid() || a.Prefix.Addr().Is4() != o.Frame.Src.Is4()) {
			return fmt.Errorf("prefix %s of %s is not of the frame's family", a.Prefix, name)
		}
	}
	if (o.Host == nil) != (o.Interface == "") {
		return fmt.Errorf("host and interface belong together: set both, or neither for a benchmark")
	}
	return nil
}
