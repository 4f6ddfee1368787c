// Package dissect says what the payload of a packet is, by its bytes.
package dissect

import (
	"slices"

	"weir/userspace/traffic"
)

// Role is a payload's part in a conversation.
type Role uint8

// Where the bytes do not say which, the ports do.
const (
	Unknown Role = iota
	Request
	Reply
)

var roleNames = [...]string{"", "request", "reply"}

// String returns the role as a word, empty where it is not known.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return ""
}

// Found is what a payload is.
type Found struct {
	Name   string // of the protocol, such as "dns" or "ws_discovery"
	Detail string // what it says, such as "response ANY", printable and at most maxDetail bytes; may be empty
	Role   Role
	// Usual: a port is one that the protocol is known for. Amplifies: servers of the protocol are used as reflectors.
	Usual, Amplifies bool
}

// maxDetail bounds what a hostile payload can put into a report, in bytes.
const maxDetail = 80

// check reads a payload's first bytes, of which any number may be missing, and says what it tells.
type check func(b []byte) (detail string, role Role, ok bool)

// dissector is a row of the table.
type dissector struct {
	name      string
	transport uint8
	ports     []uint16
	anywhere  bool // the bytes are enough on any port; false: they prove the protocol only together with its port
	amplifies bool
	check     check
}

const (
	tcp = traffic.ProtoTCP
	udp = traffic.ProtoUDP
)

// table lists all that is known. The first row that fits wins: those whose format is part of another's stand before it.
var table = [...]dissector{
	{"mdns", udp, []uint16{5353}, false, true, dnsMessage},
	{"netbios", udp, []uint16{137}, true, true, netbios},
	{"dns", udp, []uint16{53}, true, true, dnsMessage},
	{"dns", tcp, []uint16{53}, false, true, dnsStream},
	{"ntp", udp, []uint16{123}, false, true, ntp},
	{"snmp", udp, []uint16{161, 162}, true, true, snmp},
	{"cldap", udp, []uint16{389}, true, true, cldap},
	{"plex", udp, []uint16{32410, 32412, 32413, 32414}, true, true, plex},
	{"plex", udp, []uint16{32410, 32412, 32413, 32414}, false, true, ssdp},
	{"ssdp", udp, []uint16{1900}, true, true, ssdp},
	{"memcached", udp, []uint16{11211}, true, true, memcached},
	{"memcached", udp, []uint16{11211}, false, true, memcachedContinued},
	{"chargen", udp, []uint16{19}, true, true, chargen},
	{"chargen", tcp, []uint16{19}, false, true, chargen},
	{"portmap", udp, []uint16{111}, true, true, portmap},
	{"portmap", udp, []uint16{111}, false, true, portmapReply},
	{"ripv1", udp, []uint16{520}, false, true, ripv1},
	{"tftp", udp, []uint16{69}, true, true, tftp},
	{"tftp", udp, []uint16{69}, false, true, tftpLater},
	{"ike", udp, []uint16{500, 4500}, true, true, ike},
	{"l2tp", udp, []uint16{1701}, false, true, l2tp},
	{"bacnet", udp, []uint16{47808}, false, true, bacnet},
	{"stun", udp, []uint16{3478, 3479, 8088, 19302}, true, true, stun},
	{"ws_discovery", udp, []uint16{3702}, true, true, wsDiscovery},
	{"coap", udp, []uint16{5683}, false, true, coap},
	{"openvpn", udp, []uint16{1194}, false, true, openvpn},
	{"rdp", udp, []uint16{3389}, false, true, rdp},
	{"ard", udp, []uint16{3283}, false, true, ard},
	{"jenkins", udp, []uint16{33848}, true, true, jenkins},
	{"dhcpdiscover", udp, []uint16{37810}, true, true, dhcpDiscover},
	{"ubiquiti", udp, []uint16{10001}, false, true, ubiquiti},
	{"source", udp, []uint16{27005, 27015, 27016, 27017}, true, true, source},
	{"fivem", udp, []uint16{30120}, true, true, fivem},
	{"fivem", udp, []uint16{30120}, false, true, quake},
	{"quake", udp, []uint16{27960, 28960, 20810}, true, true, quake},
	{"minecraft", udp, []uint16{19132, 19133, 25565}, true, true, minecraft},
	{"sip", udp, []uint16{5060}, true, true, sip},
	{"sip", tcp, []uint16{5060}, true, false, sip},
	{"quic", udp, []uint16{443}, true, true, quic},
	{"dtls", udp, []uint16{443, 4433}, true, true, dtls},
	{"bittorrent", udp, []uint16{6881}, true, true, bittorrentDHT},
	{"bittorrent", tcp, []uint16{6881}, true, false, bittorrentPeer},
	{"http", tcp, []uint16{80, 8080}, true, false, http},
	{"tls", tcp, []uint16{443}, true, false, tls},
	{"ssh", tcp, []uint16{22}, true, false, ssh},
	{"qotd", udp, []uint16{17}, false, true, qotd},
	{"qotd", tcp, []uint16{17}, false, true, qotd},
	{"rtp", udp, nil, true, false, rtp},
}

// Names lists the protocols that can be found, sorted.
func Names() []string {
	var names []string
	for _, d := range table {
		names = append(names, d.name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Payload says what the payload of a TCP or UDP packet is. It reads payload alone, of which the end may be missing, first as the protocols
// that the ports are known for, then as all others whose bytes are enough. False: nothing known, or nothing there.
func Payload(transport uint8, source, destination uint16, payload []byte) (Found, bool) {
	if len(payload) == 0 {
		return Found{}, false
	}
	for _, usual := range [...]bool{true, false} {
		for i := range table {
			d := table[i]
			from, to := slices.Contains(d.ports, source), slices.Contains(d.ports, destination)
			if d.transport != transport || (from || to) != usual || !usual && !d.anywhere {
				continue
			}
			detail, role, ok := d.check(payload)
			if !ok {
				continue
			}
			switch {
			case role != Unknown || from == to:
			case from:
				role = Reply
			default:
				role = Request
			}
			return Found{Name: d.name, Detail: printable(detail), Role: role, Usual: usual, Amplifies: d.amplifies}, true
		}
	}
	return Found{}, false
}

// ByPort says what a port of a reflector stands for, for packets whose payload nobody has seen. Nothing proves it.
func ByPort(transport uint8, source uint16) (name string, ok bool) {
	for i := range table {
		if d := table[i]; d.transport == transport && d.amplifies && slices.Contains(d.ports, source) {
			return d.name, true
		}
	}
	return "", false
}

// printable returns text with all but printable ASCII replaced, cut to maxDetail bytes. Text that is already so is not copied.
func printable(text string) string {
	text = text[:min(len(text), maxDetail)]
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			b := []byte(text)
			for i, c := range b {
				if c < ' ' || c > '~' {
					b[i] = '.'
				}
			}
			return string(b)
		}
	}
	return text
}
