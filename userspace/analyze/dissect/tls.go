package dissect

import "encoding/binary"

// tls follows RFC 8446 section 5.1; of a client's first message it says which server is asked for.
func tls(b []byte) (string, Role, bool) {
	if len(b) < 6 || b[0] < 20 || b[0] > 24 || b[1] != 3 || b[2] > 4 {
		return "", Unknown, false
	}
	if length := binary.BigEndian.Uint16(b[3:]); length == 0 || length > 1<<14+2048 {
		return "", Unknown, false
	}
	switch b[0] {
	case 20:
		return "change cipher", Unknown, true
	case 21:
		return "alert", Unknown, true
	case 23:
		return "application data", Unknown, true
	case 24:
		return "heartbeat", Unknown, true
	}
	switch b[5] {
	case 1:
		if name := serverName(b[5:]); name != "" {
			return "client hello " + name, Request, true
		}
		return "client hello", Request, true
	case 2:
		return "server hello", Reply, true
	}
	return "handshake", Unknown, true
}

// vector cuts off what a length of n bytes in front of it counts, as far as it is there, and returns what is behind it.
func vector(b []byte, n int) (inside, behind []byte) {
	if len(b) < n {
		return nil, nil
	}
	length := 0
	for _, c := range b[:n] {
		length = length<<8 | int(c)
	}
	b = b[n:]
	length = min(length, len(b))
	return b[:length], b[length:]
}

// serverName reads a client hello (RFC 8446 section 4.1.2) up to its server name extension (RFC 6066 section 3).
func serverName(b []byte) string {
	const fixed = 4 + 2 + 32 // type and length, version, random
	if len(b) < fixed {
		return ""
	}
	_, b = vector(b[fixed:], 1) // session
	_, b = vector(b, 2)         // cipher suites
	_, b = vector(b, 1)         // compression
	extensions, _ := vector(b, 2)
	for len(extensions) >= 4 {
		kind := binary.BigEndian.Uint16(extensions)
		body, rest := vector(extensions[2:], 2)
		if kind == 0 {
			names, _ := vector(body, 2)
			if len(names) == 0 || names[0] != 0 {
				return ""
			}
			name, _ := vector(names[1:], 2)
			return string(name[:min(len(name), maxDetail)])
		}
		extensions = rest
	}
	return ""
}

// dtls follows RFC 6347 section 4.1.
func dtls(b []byte) (string, Role, bool) {
	if len(b) < 14 || b[0] < 20 || b[0] > 23 || b[1] != 0xfe || b[2] != 0xff && b[2] != 0xfd {
		return "", Unknown, false
	}
	if length := binary.BigEndian.Uint16(b[11:]); length == 0 || length > 1<<14+2048 {
		return "", Unknown, false
	}
	if b[0] != 22 {
		return "record", Unknown, true
	}
	switch b[13] {
	case 1:
		return "client hello", Request, true
	case 2, 3:
		return "server hello", Reply, true
	}
	return "handshake", Unknown, true
}

// quic follows RFC 9000 section 17.2, RFC 8999 section 5.1 and RFC 9369: long headers, which open connections. Short ones look like noise.
func quic(b []byte) (string, Role, bool) {
	if len(b) < 7 || b[0]&0x80 == 0 {
		return "", Unknown, false
	}
	version := binary.BigEndian.Uint32(b[1:])
	destination := int(b[5])
	if destination > 20 || len(b) < 7+destination || b[6+destination] > 20 {
		return "", Unknown, false
	}
	kind := b[0] >> 4 & 3
	switch {
	case version == 0 && destination+int(b[6+destination]) == 0: // zeros on their own are no negotiation
		return "", Unknown, false
	case version == 0:
		return "version negotiation", Reply, (len(b)-7-destination-int(b[6+destination]))%4 == 0 || len(b) > 100
	case version == 0x6b3343cf:
		kind = (kind + 3) & 3 // version 2 counts from 1
	case version != 1 && version>>8 != 0xff0000 && version>>16 != 0x5130:
		return "", Unknown, false
	}
	if b[0]&0x40 == 0 {
		return "", Unknown, false
	}
	switch kind {
	case 0:
		return "initial", Unknown, true
	case 1:
		return "0-RTT", Request, true
	case 2:
		return "handshake", Unknown, true
	}
	return "retry", Reply, true
}

// rtp follows RFC 3550 section 5.1: version 2 without padding and contributors, and a payload type that is in use (RFC 3551 section 6).
func rtp(b []byte) (string, Role, bool) {
	const header = 12
	if len(b) < header+10 || b[0]&^0x10 != 0x80 {
		return "", Unknown, false
	}
	switch kind := b[1] & 0x7f; {
	case kind <= 18 && kind != 1 && kind != 2, kind == 26, kind >= 31 && kind <= 34, kind >= 96:
		return "media", Unknown, true
	}
	return "", Unknown, false
}
