package dissect

import (
	"bytes"
	"encoding/binary"
)

// ntp follows RFC 5905 section 7.3 for time, RFC 9327 section 2 for mode 6, and ntpd's ntp_request.h for mode 7, whose monlist is the classic.
func ntp(b []byte) (string, Role, bool) {
	if len(b) < 4 || b[0]>>3&7 == 0 || b[0]>>3&7 > 4 {
		return "", Unknown, false
	}
	switch mode := b[0] & 7; {
	case mode == 7 && b[0]>>3&7 == 2 && (b[2] == 0 || b[2] == 2 || b[2] == 3):
		role := Request
		if b[0]&0x80 != 0 {
			role = Reply
		}
		if b[3] == 20 || b[3] == 42 {
			return "mode 7 monlist", role, true
		}
		return "mode 7", role, true
	case mode == 6 && len(b) >= 12 && b[0]>>6 == 0 && (b[1]&0x1f <= 12 || b[1]&0x1f == 31):
		role := Request
		if b[1]&0x80 != 0 {
			role = Reply
		}
		if b[1]&0x1f == 2 {
			return "mode 6 readvar", role, true
		}
		return "mode 6", role, true
	case mode >= 1 && mode <= 5 && len(b) >= 48 && b[1] <= 16:
		switch mode {
		case 3:
			return "time", Request, true
		case 4:
			return "time", Reply, true
		}
		return "time", Unknown, true
	}
	return "", Unknown, false
}

// element reads the head of a BER element (X.690) with a definite length and returns its contents as far as they are there, and what follows.
func element(b []byte, tag byte) (contents, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != tag {
		return nil, nil, false
	}
	length := int(b[1])
	b = b[2:]
	if length >= 0x80 {
		n := length & 0x7f
		if n == 0 || n > 4 || len(b) < n {
			return nil, nil, false
		}
		length = 0
		for _, c := range b[:n] {
			length = length<<8 | int(c)
		}
		if b = b[n:]; length < 0 || length > 1<<16 {
			return nil, nil, false
		}
	}
	length = min(length, len(b))
	return b[:length], b[length:], true
}

// snmp follows RFC 3416 section 3 and RFC 1157 for versions 1 and 2c, RFC 3412 section 6 for version 3, which hides what it asks.
func snmp(b []byte) (string, Role, bool) {
	const integer, octets, sequence = 2, 4, 0x30
	message, _, ok := element(b, sequence)
	if !ok {
		return "", Unknown, false
	}
	version, rest, ok := element(message, integer)
	if !ok || len(version) != 1 {
		return "", Unknown, false
	}
	if version[0] == 3 {
		header, _, ok := element(rest, sequence)
		if _, _, number := element(header, integer); !ok || !number {
			return "", Unknown, false
		}
		return "version 3", Unknown, true
	}
	community, rest, ok := element(rest, octets)
	if !ok || version[0] > 1 || len(community) > 64 || len(rest) == 0 {
		return "", Unknown, false
	}
	switch rest[0] {
	case 0xa0:
		return "GetRequest", Request, true
	case 0xa1:
		return "GetNextRequest", Request, true
	case 0xa2:
		return "GetResponse", Reply, true
	case 0xa3:
		return "SetRequest", Request, true
	case 0xa5:
		return "GetBulkRequest", Request, true
	case 0xa4, 0xa6, 0xa7, 0xa8:
		return "notification", Unknown, true
	}
	return "", Unknown, false
}

// cldap follows RFC 4511 section 4.1.1 in one datagram (MS-ADTS section 6.3.3).
func cldap(b []byte) (string, Role, bool) {
	message, _, ok := element(b, 0x30)
	if !ok {
		return "", Unknown, false
	}
	id, rest, ok := element(message, 2)
	if !ok || len(id) == 0 || len(id) > 4 || len(rest) == 0 {
		return "", Unknown, false
	}
	switch rest[0] {
	case 0x63:
		return "searchRequest", Request, true
	case 0x64, 0x65:
		return "searchResult", Reply, true
	}
	return "", Unknown, false
}

// memcached follows protocol.txt, "UDP protocol": a header of request, sequence, datagrams and a reserved 0, then text.
func memcached(b []byte) (string, Role, bool) {
	const header = 8
	if len(b) <= header || b[6] != 0 || b[7] != 0 {
		return "", Unknown, false
	}
	for _, word := range [...]string{"VALUE ", "STAT ", "END\r\n", "VERSION ", "ERROR\r\n", "STORED\r\n"} {
		if hasPrefix(b[header:], word) {
			return "response", Reply, true
		}
	}
	for _, word := range [...]string{"get ", "gets ", "stats", "set ", "version", "add "} {
		if hasPrefix(b[header:], word) {
			return word[:len(bytes.TrimRight([]byte(word), " "))], Request, true
		}
	}
	return "", Unknown, false
}

// memcachedContinued is a later datagram of a long answer: only its header tells.
func memcachedContinued(b []byte) (string, Role, bool) {
	const header = 8
	if len(b) <= header || b[6] != 0 || b[7] != 0 {
		return "", Unknown, false
	}
	sequence, total := binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint16(b[4:])
	return "response, continued", Reply, sequence > 0 && sequence < total
}

// portmap follows RFC 5531 section 9 with program 100000 (RFC 1833).
func portmap(b []byte) (string, Role, bool) {
	if len(b) < 24 || binary.BigEndian.Uint64(b[4:]) != 2 || binary.BigEndian.Uint32(b[12:]) != 100000 {
		return "", Unknown, false
	}
	if version := binary.BigEndian.Uint32(b[16:]); version < 2 || version > 4 {
		return "", Unknown, false
	}
	if binary.BigEndian.Uint32(b[20:]) == 4 {
		return "dump", Request, true
	}
	return "call", Request, true
}

// portmapReply is an accepted reply: type 1, state 0, and a verifier of flavour 0 without body.
func portmapReply(b []byte) (string, Role, bool) {
	if len(b) < 24 || binary.BigEndian.Uint32(b[4:]) != 1 {
		return "", Unknown, false
	}
	for _, c := range b[8:20] {
		if c != 0 {
			return "", Unknown, false
		}
	}
	return "reply", Reply, binary.BigEndian.Uint32(b[20:]) <= 5
}

// ripv1 follows RFC 1058 section 3.1.
func ripv1(b []byte) (string, Role, bool) {
	if len(b) < 8 || b[1] != 1 || b[2] != 0 || b[3] != 0 || b[4] != 0 || b[6] != 0 || b[7] != 0 {
		return "", Unknown, false
	}
	switch {
	case b[0] == 1 && (b[5] == 0 || b[5] == 2):
		return "request", Request, true
	case b[0] == 2 && b[5] == 2:
		return "response", Reply, true
	}
	return "", Unknown, false
}

// tftp follows RFC 1350 section 5 where the first bytes are enough: requests with a mode, the first block, errors with text.
func tftp(b []byte) (string, Role, bool) {
	if len(b) < 5 || b[0] != 0 {
		return "", Unknown, false
	}
	switch code := binary.BigEndian.Uint16(b[2:]); {
	case b[1] == 1 || b[1] == 2:
		name, rest, found := bytes.Cut(b[2:], []byte{0})
		mode, _, _ := bytes.Cut(rest, []byte{0})
		if m := string(bytes.ToLower(mode[:min(len(mode), 8)])); !found || !isText(name) || m != "octet" && m != "netascii" {
			return "", Unknown, false
		}
		return "request", Request, true
	case b[1] == 3 && code == 1:
		return "data", Reply, true
	case b[1] == 5 && code <= 8 && isText(bytes.TrimRight(b[4:], "\x00")):
		return "error", Reply, true
	}
	return "", Unknown, false
}

// tftpLater is what comes from TFTP's port and is neither a request nor the first block.
func tftpLater(b []byte) (string, Role, bool) {
	switch {
	case len(b) < 4 || b[0] != 0:
	case b[1] == 3:
		return "data", Reply, true
	case b[1] == 4 && len(b) == 4, b[1] == 6:
		return "acknowledgement", Unknown, true
	}
	return "", Unknown, false
}

// ike follows RFC 7296 section 3.1 and RFC 2408 section 3.1, with or without the marker of RFC 3948 section 2.2 before it.
func ike(b []byte) (string, Role, bool) {
	const header = 28
	if len(b) > 4 && binary.BigEndian.Uint32(b) == 0 {
		b = b[4:]
	}
	if len(b) < header || binary.BigEndian.Uint64(b) == 0 {
		return "", Unknown, false
	}
	if length := binary.BigEndian.Uint32(b[24:]); length < header || length > 1<<16-1 {
		return "", Unknown, false
	}
	switch exchange, flags := b[18], b[19]; {
	case b[17] == 0x10 && flags&^7 == 0 && b[16] <= 20:
		switch {
		case exchange == 2:
			return "version 1 main mode", Unknown, true
		case exchange == 4:
			return "version 1 aggressive mode", Unknown, true
		case exchange <= 6 || exchange == 32 || exchange == 33:
			return "version 1", Unknown, true
		}
	case b[17]>>4 == 2 && exchange >= 34 && exchange <= 44 && flags&^0x38 == 0:
		role := Request
		if flags&0x20 != 0 {
			role = Reply
		}
		return "version 2", role, true
	}
	return "", Unknown, false
}

// l2tp follows RFC 2661 sections 3.1 and 4.1: control messages, whose first attribute is their type.
func l2tp(b []byte) (string, Role, bool) {
	if len(b) < 12 || b[0]&^1 != 0xc8 || b[1]&0xf != 2 && b[1]&0xf != 3 {
		return "", Unknown, false
	}
	if length := binary.BigEndian.Uint16(b[2:]); length < 12 {
		return "", Unknown, false
	}
	if len(b) < 20 || b[18] != 0 {
		return "control", Unknown, true
	}
	switch b[19] {
	case 1:
		return "start request", Request, true
	case 2:
		return "start reply", Reply, true
	case 4:
		return "stop notification", Reply, true
	}
	return "control", Unknown, true
}

// bacnet follows ANSI/ASHRAE 135 annex J.2: BACnet/IP, a function, a length, and a network message of version 1.
func bacnet(b []byte) (string, Role, bool) {
	if len(b) < 6 || b[0] != 0x81 || b[1] > 0x0c || int(binary.BigEndian.Uint16(b[2:])) < 4 {
		return "", Unknown, false
	}
	if b[1] < 0x09 {
		return "function", Unknown, true
	}
	if b[4] != 1 {
		return "", Unknown, false
	}
	return "network message", Unknown, true
}

// stun follows RFC 8489 section 5.
func stun(b []byte) (string, Role, bool) {
	if len(b) < 20 || b[0]&0xc0 != 0 || b[3]&3 != 0 || binary.BigEndian.Uint32(b[4:]) != 0x2112a442 {
		return "", Unknown, false
	}
	switch binary.BigEndian.Uint16(b) & 0x0110 {
	case 0x0000:
		return "request", Request, true
	case 0x0100:
		return "success", Reply, true
	case 0x0110:
		return "error", Reply, true
	}
	return "indication", Unknown, true
}

// coap follows RFC 7252 section 3.
func coap(b []byte) (string, Role, bool) {
	if len(b) < 4 || b[0]>>6 != 1 || b[0]&0xf > 8 {
		return "", Unknown, false
	}
	switch class, code := b[1]>>5, b[1]&0x1f; {
	case class == 0 && code >= 1 && code <= 7:
		return "request", Request, true
	case class == 2 && code <= 5 || class == 2 && code == 31, class == 4 && code <= 15, class == 5 && code <= 5:
		return "response", Reply, true
	}
	return "", Unknown, false
}

// openvpn follows the OpenVPN protocol's opcodes (ssl_pkt.h): the resets that open a session, which servers answer and repeat.
func openvpn(b []byte) (string, Role, bool) {
	if len(b) < 14 {
		return "", Unknown, false
	}
	switch b[0] >> 3 {
	case 7, 10:
		return "client reset", Request, b[0]&7 == 0
	case 8:
		return "server reset", Reply, b[0]&7 == 0
	case 4, 5:
		return "control", Unknown, true
	}
	return "", Unknown, false
}
