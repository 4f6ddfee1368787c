// Package dissecttest makes payloads for tests: of every protocol that is known what a server sends and what it is asked.
package dissecttest

import (
	"encoding/binary"
	"slices"
	"strings"

	"weir/userspace/traffic"
)

const (
	tcp = traffic.ProtoTCP
	udp = traffic.ProtoUDP
)

// cat joins what a payload is made of: strings, byte slices and numbers in network byte order.
func cat(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		case byte:
			b = append(b, p)
		case uint16:
			b = binary.BigEndian.AppendUint16(b, p)
		case uint32:
			b = binary.BigEndian.AppendUint32(b, p)
		}
	}
	return b
}

func zeros(n int) []byte { return make([]byte, n) }

// ber is an element of X.690.
func ber(tag byte, parts ...any) []byte {
	inside := cat(parts...)
	if len(inside) < 0x80 {
		return cat(tag, byte(len(inside)), inside)
	}
	return cat(tag, byte(0x82), uint16(len(inside)), inside)
}

// dns is a message with one question for example.com.
func dns(flags, answers, kind uint16) []byte {
	return cat(uint16(0x1234), flags, uint16(1), answers, uint16(0), uint16(1), "\x07example\x03com\x00", kind, uint16(1), "\xc0\x0c", kind, uint16(1), uint32(60), uint16(4), "\xc0\x00\x02\x01")
}

func netbiosMessage(flags, kind uint16) []byte {
	return cat(uint16(1), flags, uint16(1), zeros(6), "\x20CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\x00", kind, uint16(1))
}

func snmpMessage(version, pdu byte) []byte {
	return ber(0x30, ber(2, string([]byte{version})), ber(4, "public"), ber(pdu, ber(2, "\x01"), ber(2, "\x00"), ber(2, "\x46"), ber(0x30, strings.Repeat("x", 150))))
}

func cldapMessage(operation byte) []byte {
	return ber(0x30, ber(2, "\x07"), ber(operation, ber(4, ""), ber(0x30, "\x30\x00")))
}

func ikeMessage(version, exchange, flags byte) []byte {
	return cat("initiate", zeros(8), byte(1), version, exchange, flags, uint32(0), uint32(204), zeros(176))
}

func chargenLines() []byte {
	var all, lines []byte
	for c := byte(' '); c <= '~'; c++ {
		all = append(all, c)
	}
	all = append(all, all...)
	for i := range 3 {
		lines = append(append(lines, all[i:i+72]...), "\r\n"...)
	}
	return lines
}

// ClientHello is the first message of a TLS client that asks for a server by its name.
func ClientHello(host string) []byte {
	name := cat(byte(0), uint16(len(host)), host)
	server := cat(uint16(0), uint16(len(name)+2), uint16(len(name)), name)
	extensions := cat(uint16(23), uint16(0), server)
	hello := cat(uint16(0x303), strings.Repeat("r", 32), byte(0), uint16(2), uint16(0x1301), byte(1), byte(0), uint16(len(extensions)), extensions)
	handshake := cat(byte(1), byte(0), uint16(len(hello)), hello)
	return cat(byte(22), uint16(0x301), uint16(len(handshake)), handshake)
}

const raknet = "\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78"

// Payload is a payload with the ports that it travels between and what is to be found in it.
type Payload struct {
	Name                string // of the protocol
	Detail              string
	Role                string // "request", "reply" or empty
	Amplifies           bool   // servers of the protocol are used as reflectors
	Usual               bool   // a port is one of the protocol's
	Transport           uint8
	Source, Destination uint16
	Bytes               []byte
}

// Payloads returns them all, sorted by what is in them.
func Payloads() []Payload {
	const high = 40000
	var list []Payload
	add := func(transport uint8, source, destination uint16, name, detail, role string, parts ...any) {
		amplifies := transport == udp || name == "chargen" || name == "qotd" || name == "dns"
		list = append(list, Payload{name, detail, role, amplifies, true, transport, source, destination, cat(parts...)})
	}
	reply := func(port uint16, name, detail string, parts ...any) {
		add(udp, port, high, name, detail, "reply", parts...)
	}
	request := func(port uint16, name, detail string, parts ...any) {
		add(udp, high, port, name, detail, "request", parts...)
	}
	for kind, name := range map[uint16]string{255: "ANY", 46: "RRSIG", 16: "TXT", 48: "DNSKEY", 1: "A", 999: "type 999"} {
		reply(53, "dns", "response "+name, dns(0x8180, 20, kind))
		request(53, "dns", "query "+name, dns(0x0100, 0, kind))
	}
	add(tcp, high, 53, "dns", "query A", "request", uint16(40), dns(0x0100, 0, 1))
	reply(5353, "mdns", "response PTR", uint16(0), uint16(0x8400), uint16(0), uint16(9), zeros(4), "\x05_http\x04_tcp\x05local\x00", uint16(12), uint16(0x8001), zeros(20))
	reply(137, "netbios", "node status response", netbiosMessage(0x8400, 0x21))
	request(137, "netbios", "name query", netbiosMessage(0x0110, 0x20))
	reply(123, "ntp", "mode 7 monlist", "\xd7\x00\x03\x2a\x00\x06\x00\x48", zeros(432))
	request(123, "ntp", "mode 7 monlist", "\x17\x00\x03\x2a", zeros(4))
	reply(123, "ntp", "mode 6 readvar", "\x16\x82\x00\x01", zeros(4), uint32(100), "version=\"ntpd 4.2\"")
	reply(123, "ntp", "time", "\x24\x02\x06\xec", zeros(44))
	request(123, "ntp", "time", "\x23\x00\x06\xec", zeros(44))
	reply(161, "snmp", "GetResponse", snmpMessage(1, 0xa2))
	request(161, "snmp", "GetBulkRequest", snmpMessage(1, 0xa5))
	reply(161, "snmp", "version 3", ber(0x30, ber(2, "\x03"), ber(0x30, ber(2, "\x01"), ber(2, "\x05\xc0")), ber(4, "x")))
	reply(389, "cldap", "searchResult", cldapMessage(0x64))
	request(389, "cldap", "searchRequest", cldapMessage(0x63))
	reply(1900, "ssdp", "response", "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: upnp:rootdevice\r\n")
	request(1900, "ssdp", "M-SEARCH", "M-SEARCH * HTTP/1.1\r\nMAN: \"ssdp:discover\"\r\nST: ssdp:all\r\n")
	reply(32414, "plex", "response", "HTTP/1.0 200 OK\r\nContent-Type: plex/media-server\r\nName: box\r\n")
	request(32414, "plex", "M-SEARCH", "M-SEARCH * HTTP/1.1\r\n\r\n")
	reply(11211, "memcached", "response", zeros(4), uint16(700), zeros(2), "VALUE a 0 1048576\r\n", strings.Repeat("a", 100))
	reply(11211, "memcached", "response, continued", uint16(1), uint16(5), uint16(700), uint16(0), strings.Repeat("a", 100))
	request(11211, "memcached", "stats", zeros(5), byte(1), zeros(2), "stats\r\n")
	reply(19, "chargen", "characters", chargenLines())
	add(tcp, 19, high, "chargen", "characters", "reply", chargenLines())
	reply(17, "qotd", "text", "\"We have more to fear from the bungling of the incompetent.\" (Someone)\r\n")
	add(tcp, 17, high, "qotd", "text", "reply", "A quote of some words.\r\n")
	request(111, "portmap", "dump", uint32(7), uint32(0), uint32(2), uint32(100000), uint32(2), uint32(4), zeros(16))
	reply(111, "portmap", "reply", uint32(7), uint32(1), zeros(16), uint32(1), uint32(100000), uint32(4), uint32(6))
	reply(520, "ripv1", "response", "\x02\x01\x00\x00\x00\x02\x00\x00\x0a\x00\x00\x00", zeros(8), uint32(1))
	request(520, "ripv1", "request", "\x01\x01\x00\x00\x00\x00\x00\x00", zeros(12), uint32(16))
	request(69, "tftp", "request", "\x00\x01boot.img\x00octet\x00")
	reply(69, "tftp", "data", uint16(3), uint16(1), strings.Repeat("z", 200))
	reply(69, "tftp", "data", uint16(3), uint16(9), strings.Repeat("z", 200))
	reply(69, "tftp", "error", uint16(5), uint16(1), "File not found\x00")
	add(udp, 4500, high, "ike", "version 1 main mode", "reply", zeros(4), ikeMessage(0x10, 2, 0))
	reply(500, "ike", "version 2", ikeMessage(0x20, 34, 0x20))
	request(500, "ike", "version 2", ikeMessage(0x20, 34, 0x08))
	reply(1701, "l2tp", "start reply", "\xc8\x02", uint16(120), zeros(8), "\x80\x08\x00\x00\x00\x00\x00\x02", zeros(90))
	request(1701, "l2tp", "start request", "\xc8\x02", uint16(60), zeros(8), "\x80\x08\x00\x00\x00\x00\x00\x01", zeros(40))
	reply(47808, "bacnet", "network message", "\x81\x0a\x00\x40\x01\x00\x30\x01\x0e", zeros(50))
	reply(3478, "stun", "success", "\x01\x01\x00\x58\x21\x12\xa4\x42", zeros(100))
	request(3478, "stun", "request", "\x00\x01\x00\x00\x21\x12\xa4\x42", zeros(12))
	reply(3702, "ws_discovery", "response", "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"soap\"><s:Body><d:ProbeMatches>")
	request(3702, "ws_discovery", "probe", "<?xml version=\"1.0\"?><e:Envelope><e:Body><d:Probe/>")
	reply(5683, "coap", "response", "\x60\x45\x12\x34\xff</a>,</b>")
	request(5683, "coap", "request", "\x40\x01\x12\x34\xbb.well-known\x04core")
	reply(1194, "openvpn", "server reset", "\x40session1\x01\x00\x00\x00\x00session2\x00\x00\x00\x00")
	request(1194, "openvpn", "client reset", "\x38session1\x00\x00\x00\x00\x00")
	reply(3389, "rdp", "connection answer", uint32(7), uint16(64), uint16(5), uint32(99), uint16(1232), uint16(1232), zeros(150))
	request(3389, "rdp", "connection request", "\xff\xff\xff\xff", uint16(64), uint16(1), uint32(99), uint16(1232), uint16(1132), zeros(150))
	reply(3283, "ard", "response", "\x00\x01\x03\xea\x31", zeros(100))
	request(3283, "ard", "query", "\x00\x14\x00\x00")
	reply(33848, "jenkins", "response", "<hudson><version>2.200</version>")
	reply(37810, "dhcpdiscover", "response", "\x20\x00\x00\x00DHIP", zeros(24), "{\"mac\":\"00\",\"method\":\"client.notifyDevInfo\"}")
	request(37810, "dhcpdiscover", "search", "\x20\x00\x00\x00DHIP", zeros(24), "{\"method\":\"DHDiscover.search\"}")
	reply(10001, "ubiquiti", "response", "\x01\x00\x00\x8d\x02\x00\x0a\x04\x18\xd6\x00\x00\x01\xc0\x00\x02\x01", zeros(60))
	request(10001, "ubiquiti", "query", "\x01\x00\x00\x00")
	reply(27015, "source", "info response", "\xff\xff\xff\xffI\x11A server\x00de_dust\x00")
	reply(27015, "source", "response, split", "\xfe\xff\xff\xff\x01\x00\x00\x00\x02\x00", zeros(40))
	request(27015, "source", "info query", "\xff\xff\xff\xffTSource Engine Query\x00")
	reply(27960, "quake", "statusResponse", "\xff\xff\xff\xffstatusResponse\n\\sv_maxclients\\16")
	request(27960, "quake", "getstatus", "\xff\xff\xff\xffgetstatus\n")
	reply(30120, "fivem", "infoResponse", "\xff\xff\xff\xffinfoResponse\n\\gamename\\CitizenFX\\clients\\3")
	request(30120, "fivem", "getinfo", "\xff\xff\xff\xffgetinfo xyz")
	reply(19132, "minecraft", "unconnected pong", "\x1c", zeros(16), raknet, "\x00\x10MCPE;A server;")
	request(19132, "minecraft", "unconnected ping", "\x01", zeros(8), raknet, zeros(8))
	reply(5060, "sip", "response 200 OK", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x\r\n")
	request(5060, "sip", "INVITE", "INVITE sip:a@example.com SIP/2.0\r\n")
	add(tcp, high, 5060, "sip", "REGISTER", "request", "REGISTER sip:example.com SIP/2.0\r\n")
	reply(443, "quic", "version negotiation", "\x80\x00\x00\x00\x00\x08destinat\x00", uint32(1))
	request(443, "quic", "initial", "\xc3", uint32(1), "\x08destinat\x00\x00\x44\x9e", zeros(60))
	request(443, "quic", "initial", "\xd3", uint32(0x6b3343cf), "\x08destinat\x00\x00\x44\x9e", zeros(60))
	reply(443, "quic", "retry", "\xf0", uint32(1), "\x00\x08sourceid", zeros(60))
	reply(443, "dtls", "server hello", "\x16\xfe\xff", zeros(8), uint16(40), byte(3), zeros(40))
	request(6881, "bittorrent", "DHT query", "d1:ad2:id20:abcdefghij0123456789e1:q4:ping")
	reply(6881, "bittorrent", "DHT response", "d1:rd2:id20:abcdefghij0123456789e1:t2:aa")
	add(tcp, high, 6881, "bittorrent", "handshake", "request", "\x13BitTorrent protocol", zeros(8))
	add(tcp, high, 80, "http", "GET www.example.com", "request", "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
	add(tcp, 80, high, "http", "response", "reply", "HTTP/1.1 200 OK\r\n")
	add(tcp, high, 443, "tls", "client hello www.example.com", "request", ClientHello("www.example.com"))
	add(tcp, high, 443, "tls", "application data", "request", "\x17\x03\x03\x04\x00", zeros(80))
	add(tcp, 22, high, "ssh", "SSH-2.0-OpenSSH_9.6", "reply", "SSH-2.0-OpenSSH_9.6\r\n")
	list = append(list, Payload{"rtp", "media", "", false, false, udp, 16384, 30000, cat("\x80\x00\x12\x34", uint32(160), uint32(9), strings.Repeat("\xd5", 160))})
	slices.SortStableFunc(list, func(a, b Payload) int {
		return strings.Compare(a.Name+" "+a.Detail+" "+a.Role, b.Name+" "+b.Detail+" "+b.Role)
	})
	return list
}
