package traffic

import (
	"errors"
	"fmt"
)

// Bounds of Tunnels: what the program in the kernel has room for.
const (
	TunnelPorts = 4 // of VXLAN
	TunnelDepth = 8
)

// Tunnels says which packets within packets are looked into, and whose addresses count. The zero value looks into none.
//
// With Inner, a packet counts for the innermost addresses that can be read, else for the outermost. What is around the outermost
// addresses, PPPoE and pseudo-wires, is looked through either way; GRE and all kinds that are themselves carried in IP matter only
// with Inner.
type Tunnels struct {
	MPLS   bool     // pseudo-wires: Ethernet in MPLS, with and without control word (RFC 4448); IP in MPLS is read in any case
	PPPoE  bool     // sessions (RFC 2516)
	GRE    bool     // whatever has an ethertype, and Ethernet, in GRE, with keys, checksums and sequence numbers (RFC 2784, 2890)
	ERSPAN bool     // types I, II and III in GRE
	IPIP   bool     // IPv4 and IPv6 in IPv4 and IPv6 (RFC 2003, 2473, 4213)
	VXLAN  []uint16 // UDP ports, at most TunnelPorts; empty: off (RFC 7348)
	GENEVE uint16   // UDP port; 0: off (RFC 8926)
	GTPU   uint16   // UDP port; 0: off (3GPP TS 29.281)
	L2TP   uint16   // version 2 with PPP: UDP port; 0: off (RFC 2661)
	L2TPv3 bool     // Ethernet over IP, and over the UDP port of L2TP if there is one (RFC 3931)
	Inner  bool     // count for the innermost addresses, not for the outermost
	Depth  int      // tunnels within each other, 1 to TunnelDepth; 0 where none is looked into
}

// Any reports whether some kind is on.
func (t *Tunnels) Any() bool {
	return t.MPLS || t.PPPoE || t.GRE || t.ERSPAN || t.IPIP || len(t.VXLAN) > 0 || t.GENEVE > 0 || t.GTPU > 0 || t.L2TP > 0 || t.L2TPv3
}

// Check returns what is wrong with the bounds, or nil.
func (t *Tunnels) Check() error {
	switch {
	case len(t.VXLAN) > TunnelPorts:
		return fmt.Errorf("look into tunnels: %d VXLAN ports; give at most %d", len(t.VXLAN), TunnelPorts)
	case t.Depth < 0 || t.Depth > TunnelDepth:
		return fmt.Errorf("look into tunnels: depth %d; give 1 to %d", t.Depth, TunnelDepth)
	case t.Any() && t.Depth == 0:
		return errors.New("look into tunnels: no depth; give 1 or more")
	}
	return nil
}

// Effective is t without what makes no difference: kinds that are carried in IP, unless inner addresses count. When none is left, it is the zero value.
func (t *Tunnels) Effective() Tunnels {
	e := *t
	if !t.Inner {
		e = Tunnels{MPLS: t.MPLS, PPPoE: t.PPPoE, Depth: t.Depth}
	}
	if !e.Any() {
		return Tunnels{}
	}
	return e
}
