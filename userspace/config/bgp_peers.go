package config

import (
	"net/netip"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// bgpPeers decodes the list of peers and holds each against the others.
func (d *decoder) bgpPeers(b *BGP, s *bgpSection, at string, n *yaml.Node) {
	names, addresses := map[string]*yaml.Node{}, map[netip.Addr]*yaml.Node{}
	for _, item := range d.items(at, n, "a list of peers") {
		p := BGPPeer{
			Port: bgpPort, HoldTime: 90 * time.Second, ConnectRetry: 2 * time.Second,
			Families: map[BGPFamily]int{BGPUnicast4: s.maxRoutes, BGPUnicast6: s.maxRoutes},
		}
		before := len(d.errs)
		var name, address, keepalive, multihop, security *yaml.Node
		noting := func(dst **yaml.Node, decode decodeFunc) decodeFunc {
			return func(at string, n *yaml.Node) { *dst = n; decode(at, n) }
		}
		d.mapping(at, item,
			field{"name", noting(&name, d.bgpName(&p.Name))},
			field{"address", noting(&address, d.address(&p.Address))},
			field{"port", d.count(&p.Port, 1, 65535)},
			field{"local_address", d.address(&p.LocalAddress)},
			field{"as", d.asNumber(&p.AS)},
			field{"password", d.password(&p.Password)},
			field{"passive", d.bool(&p.Passive)},
			field{"multihop", noting(&multihop, d.countOrOff(&p.Multihop, 255))},
			field{"ttl_security", noting(&security, d.countOrOff(&p.TTLSecurity, 254))},
			field{"hold_time", d.seconds(&p.HoldTime, 3, 65535)},
			field{"keepalive", noting(&keepalive, d.seconds(&p.Keepalive, 1, 21845))},
			field{"connect_retry", d.seconds(&p.ConnectRetry, 1, 65535)},
			field{"families", d.families(&p.Families, s.maxRoutes)},
		)
		if keepalive == nil {
			p.Keepalive = (p.HoldTime / 3).Truncate(time.Second)
		}
		if len(d.errs) > before {
			continue
		}
		switch {
		case p.Name == "":
			d.errorf(item, `a peer without "name"`)
		case names[p.Name] != nil:
			d.errorf(name, "peer %q is listed twice; the first is at %s", p.Name, d.placeOf(names[p.Name]))
		case !p.Address.IsValid():
			d.errorf(item, `peer %q has no "address"`, p.Name)
		case addresses[p.Address] != nil:
			d.errorf(address, "peer address %s is listed twice; the first is at %s", p.Address, d.placeOf(addresses[p.Address]))
		case p.AS == 0:
			d.errorf(item, `peer %q has no "as"`, p.Name)
		case p.LocalAddress.IsValid() && p.LocalAddress.Is4() != p.Address.Is4():
			d.errorf(item, `peer %q: "local_address" %s and "address" %s are of different IP versions`, p.Name, p.LocalAddress, p.Address)
		case p.Keepalive >= p.HoldTime:
			d.errorf(keepalive, `peer %q: "keepalive" %s is not shorter than "hold_time" %s; expected a third of it`, p.Name, formatDuration(p.Keepalive), formatDuration(p.HoldTime))
		case p.Multihop > 0 && p.TTLSecurity > 0:
			d.errorf(later(multihop, security), `peer %q has both "multihop" and "ttl_security"; expected one of them ("ttl_security" counts hops as well)`, p.Name)
		case p.Passive && len(b.Listen) == 0:
			d.errorf(item, `peer %q is passive, but "bgp.listen" is off: nobody could open the session`, p.Name)
		default:
			names[p.Name], addresses[p.Address] = name, address
			b.Peers = append(b.Peers, p)
		}
	}
}

// later returns the node that stands further down.
func later(a, b *yaml.Node) *yaml.Node {
	if a.Line > b.Line || a.Line == b.Line && a.Column > b.Column {
		return a
	}
	return b
}

// bgpName decodes the name of a peer or an action.
func (d *decoder) bgpName(dst *string) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "a name of 1 to 64 letters, digits, dots, dashes and underscores"
		text, ok := d.text(at, n, what)
		switch {
		case !ok:
		case !validGroupName(text):
			d.expected(at, n, what)
		case text == BGPNameExaBGP || text == BGPNameGoBGP:
			d.errorf(n, "%q: the name %s is taken by the section of that name; expected another one", at, text)
		default:
			*dst = text
		}
	}
}

func (d *decoder) password(dst *string) decodeFunc {
	return func(at string, n *yaml.Node) {
		text, ok := d.text(at, n, "a password")
		switch {
		case !ok:
		case len(text) > maxBGPPassword: // the password itself stays out of messages
			d.errorf(n, "%q: expected at most %d bytes, the longest password of TCP-MD5, got %d", at, maxBGPPassword, len(text))
		case strings.ContainsRune(text, 0):
			d.errorf(n, "%q: expected a password without a zero byte", at)
		default:
			*dst = text
		}
	}
}
