package config

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of a session's parts.
const (
	maxBGPPassword  = 80        // bytes of a TCP-MD5 key (TCP_MD5SIG_MAXKEYLEN of linux/tcp.h)
	maxRestartTime  = 4095      // seconds: 12 bits (RFC 4724 section 3)
	maxLongLived    = 1<<24 - 1 // seconds: 24 bits (RFC 9494 section 4.2)
	maxRoutesOfPeer = 1_000_000
	bgpPort         = 179
)

// bgpSection is the section "bgp" while it is decoded: where its parts are written.
type bgpSection struct {
	node         *yaml.Node
	peers        *yaml.Node
	maxRoutes    int
	namedPeers   []namedNode  // in announcements
	namedActions []namedNode  // in hostgroups
	prepends     *yaml.Node   // the first prepend that is over 0
	actions      []*yaml.Node // the names of BGP.Actions
	broken       bool
}

// namedNode is a name, where it is written, and the path of its key.
type namedNode struct {
	name string
	at   string
	node *yaml.Node
}

// bgp decodes the section before the hostgroups, whose actions name those of it.
func (d *decoder) bgp(c *Config, s *bgpSection, at string, n *yaml.Node) {
	b := &c.BGP
	before := len(d.errs)
	s.node, s.maxRoutes = n, 1000
	var exabgp, gobgp, actions *yaml.Node
	keep := func(dst **yaml.Node) decodeFunc { return func(_ string, n *yaml.Node) { *dst = n } }
	d.mapping(at, n,
		field{"router_id", d.routerID(&b.RouterID)},
		field{"as", d.asNumber(&b.AS)},
		field{"listen", d.bgpListen(&b.Listen)},
		field{"on_stop", choice(d, &b.OnStop, []string{"withdraw", "keep"}, []BGPOnStop{BGPWithdraw, BGPKeep})},
		field{"max_routes", d.count(&s.maxRoutes, 1, maxRoutesOfPeer)},
		field{"graceful_restart", d.section(
			field{"enabled", d.bool(&b.GracefulRestart.Enabled)},
			field{"time", d.seconds(&b.GracefulRestart.Time, 1, maxRestartTime)},
			field{"long_lived", d.secondsOrOff(&b.GracefulRestart.LongLived, maxLongLived)},
		)},
		field{"aggregate", d.section(
			field{"over", d.countOrOff(&b.Aggregate.Over, 1e6)},
			field{"ipv4", d.count(&b.Aggregate.IPv4, 8, 31)},
			field{"ipv6", d.count(&b.Aggregate.IPv6, 16, 127)},
		)},
		field{"peers", keep(&s.peers)},
		field{"exabgp", keep(&exabgp)},
		field{"gobgp", keep(&gobgp)},
		field{"actions", keep(&actions)},
	)
	if b.GracefulRestart.LongLived > 0 && !b.GracefulRestart.Enabled {
		d.errorf(n, `"bgp.graceful_restart.long_lived" needs "enabled": long-lived graceful restart begins where the ordinary one ends`)
	}
	if s.peers != nil {
		d.bgpPeers(b, s, join(at, "peers"), s.peers)
	}
	if exabgp != nil {
		b.ExaBGP.Families = allFamilies(s.maxRoutes)
		d.mapping(join(at, "exabgp"), exabgp,
			field{"pipe", d.path(&b.ExaBGP.Pipe, true)},
			field{"families", d.families(&b.ExaBGP.Families, s.maxRoutes)},
		)
	}
	if gobgp != nil {
		b.GoBGP.Families = allFamilies(s.maxRoutes)
		d.mapping(join(at, "gobgp"), gobgp,
			field{"address", d.serverAddress(&b.GoBGP.Address)},
			field{"families", d.families(&b.GoBGP.Families, s.maxRoutes)},
		)
	}
	if actions != nil {
		d.bgpActions(b, s, join(at, "actions"), actions)
	}
	s.broken = len(d.errs) > before
	d.checkBGP(b, s)
}

// checkBGP looks for what the parts of the section lack for each other.
func (d *decoder) checkBGP(b *BGP, s *bgpSection) {
	if s.broken { // what seems to be missing may stand in the broken part
		return
	}
	switch {
	case b.Speaks() && b.AS == 0:
		d.errorf(s.node, `"bgp.as" is missing: sessions with peers need our own AS number`)
	case s.prepends != nil && b.AS == 0:
		d.errorf(s.prepends, `"bgp.as" is missing: it is what "prepend" repeats`)
	}
	if b.Speaks() && !b.RouterID.IsValid() {
		d.errorf(s.node, `"bgp.router_id" is missing: sessions with peers need one, such as an IPv4 address of this machine`)
	}
	receivers := b.Receivers()
	for _, p := range s.namedPeers {
		if !slices.Contains(receivers, p.name) {
			d.errorf(p.node, "%q: there is no peer %q; expected %s", p.at, p.name, orNone(receivers, `a peer, and "bgp.peers" has none`))
		}
	}
	for i, a := range b.Actions {
		if families := a.families(); len(receivers) > 0 && !b.carries(a, families) {
			d.warnf(d.placeOf(s.actions[i]), `action %q reaches nobody: none of its peers has %s in "families"`, a.Name, alternatives(families))
		}
	}
}

// families names those that the action can be announced in.
func (a *BGPAction) families() []string {
	if a.Kind == BGPFlowSpec {
		return []string{string(BGPFlowSpec4), string(BGPFlowSpec6)}
	}
	return []string{string(BGPUnicast4), string(BGPUnicast6)}
}

// carries reports whether somebody whom an action tells carries one of the families.
func (b *BGP) carries(a BGPAction, families []string) bool {
	all := map[string]map[BGPFamily]int{BGPNameExaBGP: b.ExaBGP.Families, BGPNameGoBGP: b.GoBGP.Families}
	for _, p := range b.Peers {
		all[p.Name] = p.Families
	}
	for _, one := range a.Announcements {
		names := one.Peers
		if len(names) == 0 {
			names = b.Receivers()
		}
		for _, name := range names {
			for _, f := range families {
				if all[name][BGPFamily(f)] > 0 {
					return true
				}
			}
		}
	}
	return false
}

// checkBGPUse warns of actions that reach nobody.
func (d *decoder) checkBGPUse(b *BGP, s *bgpSection) {
	if len(b.Receivers()) > 0 || s.broken {
		return
	}
	for _, a := range s.namedActions {
		d.warnf(d.placeOf(a.node), `%q: %s reaches nobody: "bgp" has no peers, exabgp or gobgp`, a.at, a.name)
	}
}

func orNone(words []string, none string) string {
	if len(words) == 0 {
		return none
	}
	return alternatives(words)
}

// bgpListen decodes where peers may connect to. The speaker has one port.
func (d *decoder) bgpListen(dst *[]netip.AddrPort) decodeFunc {
	const what = "off, or a list of addresses and ports such as 192.0.2.9:179, [2001:db8::9]:179, or :179 for all addresses"
	return func(at string, n *yaml.Node) {
		if n.Kind == yaml.ScalarNode && n.Value == "off" {
			*dst = nil
			return
		}
		if isNull(n) {
			d.expected(at, n, what)
			return
		}
		*dst = nil
		for _, item := range d.items(at, n, what) {
			text, ok := d.text(at, item, what)
			if !ok {
				continue
			}
			list := listenAddresses(text)
			switch {
			case list == nil:
				d.expected(at, item, what)
			case len(*dst) > 0 && (*dst)[0].Port() != list[0].Port():
				d.errorf(item, "%q: expected port %d as in the entries before: there is one port for all addresses", at, (*dst)[0].Port())
			default:
				*dst = append(*dst, list...)
			}
		}
	}
}

// serverAddress decodes where a server listens; a name is looked up when it is connected to.
func (d *decoder) serverAddress(dst *string) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "a host and port such as 127.0.0.1:50051, or off"
		text, ok := d.text(at, n, what)
		if !ok {
			return
		}
		if text == "off" {
			*dst = ""
			return
		}
		host, port, err := net.SplitHostPort(text)
		number, portErr := strconv.ParseUint(port, 10, 16)
		if err != nil || portErr != nil || number == 0 || host == "" || strings.ContainsAny(host, " \t\r\n\x00/") {
			d.expected(at, n, what)
			return
		}
		*dst = text
	}
}
