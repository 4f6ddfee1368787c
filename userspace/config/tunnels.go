package config

import (
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"weir/userspace/traffic"
)

// The UDP ports that are meant when none is named (IANA "Service Name and Transport Protocol Port Number Registry").
const (
	portVXLAN  = 4789
	portGENEVE = 6081
	portGTPU   = 2152
	portL2TP   = 1701
)

func (d *decoder) tunnels(t *traffic.Tunnels, at string, n *yaml.Node) {
	before := len(d.errs)
	onePort := func(dst *uint16, usual uint16) decodeFunc {
		return func(at string, n *yaml.Node) {
			var ports []uint16
			d.ports(&ports, usual, 1)(at, n)
			*dst = 0
			if len(ports) > 0 {
				*dst = ports[0]
			}
		}
	}
	var account *yaml.Node
	d.mapping(at, n,
		field{"account", func(at string, n *yaml.Node) {
			account = n
			choice(d, &t.Inner, []string{"outer", "inner"}, []bool{false, true})(at, n)
		}},
		field{"depth", d.count(&t.Depth, 1, traffic.TunnelDepth)},
		field{"mpls", d.bool(&t.MPLS)},
		field{"pppoe", d.bool(&t.PPPoE)},
		field{"gre", d.bool(&t.GRE)},
		field{"erspan", d.bool(&t.ERSPAN)},
		field{"ipip", d.bool(&t.IPIP)},
		field{"vxlan", d.ports(&t.VXLAN, portVXLAN, traffic.TunnelPorts)},
		field{"geneve", onePort(&t.GENEVE, portGENEVE)},
		field{"gtpu", onePort(&t.GTPU, portGTPU)},
		field{"l2tp", onePort(&t.L2TP, portL2TP)},
		field{"l2tpv3", d.bool(&t.L2TPv3)},
	)
	udp := append([]uint16{t.GENEVE, t.GTPU, t.L2TP}, t.VXLAN...)
	slices.Sort(udp)
	for i, port := range udp {
		if i > 0 && port > 0 && port == udp[i-1] {
			d.errorf(n, "%q: UDP port %d is that of two kinds of tunnel; expected one kind for each port", at, port)
		}
	}
	if t.Inner && !t.Any() && len(d.errs) == before {
		d.warnf(d.placeOf(account), `%q is inner, but no kind of tunnel is on: set those that your packets have, such as gre: on`, join(at, "account"))
	}
}

// ports decodes UDP ports: on for the usual one, off for none, a port, or, where there may be several, a list of them.
func (d *decoder) ports(dst *[]uint16, usual uint16, most int) decodeFunc {
	what := "on for UDP port " + strconv.Itoa(int(usual)) + ", another port, or off"
	if most > 1 {
		what = "on for UDP port " + strconv.Itoa(int(usual)) + ", another port, a list of at most " + strconv.Itoa(most) + " ports, or off"
	}
	return func(at string, n *yaml.Node) {
		items := []*yaml.Node{n}
		if n.Kind == yaml.SequenceNode && most > 1 {
			items = n.Content
		} else if on, ok := parseBool(n.Value); ok && n.Kind == yaml.ScalarNode {
			*dst = nil
			if on {
				*dst = []uint16{usual}
			}
			return
		}
		var list []uint16
		for _, item := range items {
			text, ok := d.text(at, item, what)
			if !ok {
				continue
			}
			port, err := strconv.ParseUint(text, 10, 16)
			switch {
			case err != nil || port == 0:
				d.expected(at, item, what)
			case slices.Contains(list, uint16(port)):
				d.errorf(item, "%q: port %d is listed twice", at, port)
			default:
				list = append(list, uint16(port))
			}
		}
		if len(list) > most {
			d.errorf(items[most], "%q: expected at most %d ports, got %d", at, most, len(list))
			return
		}
		slices.Sort(list)
		*dst = list
	}
}
