package dissect

import (
	"bytes"
	"encoding/binary"
)

// outOfBand begins connectionless datagrams of the Quake and Source engines.
const outOfBand = "\xff\xff\xff\xff"

// source follows Valve's "Server queries": a header of all ones, or of -2 where the answer is split, and a letter.
func source(b []byte) (string, Role, bool) {
	if hasPrefix(b, "\xfe\xff\xff\xff") && len(b) >= 10 {
		return "response, split", Reply, true
	}
	if !hasPrefix(b, outOfBand) || len(b) < 5 {
		return "", Unknown, false
	}
	switch b[4] {
	case 'T':
		return "info query", Request, hasPrefix(b[5:], "Source Engine Query")
	case 'U':
		return "players query", Request, len(b) == 9
	case 'V':
		return "rules query", Request, len(b) == 9
	case 'W', 'i':
		return "challenge query", Request, len(b) <= 9
	case 'I':
		return "info response", Reply, len(b) > 9
	case 'D':
		return "players response", Reply, len(b) > 5
	case 'E':
		return "rules response", Reply, len(b) > 6
	case 'A':
		return "challenge", Reply, len(b) == 9
	case 'm':
		return "info response", Reply, len(b) > 9 && !hasPrefix(b[4:], "map")
	}
	return "", Unknown, false
}

// quake follows the out-of-band commands of Quake 3 and of what descends from it.
func quake(b []byte) (string, Role, bool) {
	if !hasPrefix(b, outOfBand) {
		return "", Unknown, false
	}
	for _, w := range [...]string{"statusResponse", "infoResponse", "getserversResponse", "getserversExtResponse", "challengeResponse", "connectResponse", "print\n", "disconnect"} {
		if hasPrefix(b[4:], w) {
			return word([]byte(w), "\n"), Reply, true
		}
	}
	for _, w := range [...]string{"getstatus", "getinfo", "getservers", "getchallenge", "connect", "rcon", "status"} {
		if hasPrefix(b[4:], w) {
			return w, Request, true
		}
	}
	return "", Unknown, false
}

// fivem is Quake's protocol with answers that name the engine.
func fivem(b []byte) (string, Role, bool) {
	if !hasPrefix(b, outOfBand+"infoResponse") || !bytes.Contains(b, []byte("CitizenFX")) {
		return "", Unknown, false
	}
	return "infoResponse", Reply, true
}

// minecraft follows RakNet's offline messages, which carry 16 bytes that never change, and the query protocol of the Java edition.
func minecraft(b []byte) (string, Role, bool) {
	const magic = "\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78"
	if len(b) == 0 {
		return "", Unknown, false
	}
	at, detail, role := 1, "", Unknown
	switch b[0] {
	case 0x01, 0x02:
		at, detail, role = 9, "unconnected ping", Request
	case 0x1c:
		at, detail, role = 17, "unconnected pong", Reply
	case 0x05, 0x07:
		detail, role = "open connection request", Request
	case 0x06, 0x08:
		detail, role = "open connection reply", Reply
	case 0xfe:
		return "query", Request, len(b) >= 7 && b[1] == 0xfd && (b[2] == 0 || b[2] == 9)
	default:
		return "", Unknown, false
	}
	return detail, role, len(b) > at && hasPrefix(b[at:], magic)
}

// rdp follows MS-RDPEUDP section 2.2.2: the header of a datagram that opens a connection, and the sizes that it offers.
func rdp(b []byte) (string, Role, bool) {
	const syn, ack = 1, 4
	if len(b) < 16 {
		return "", Unknown, false
	}
	flags := binary.BigEndian.Uint16(b[6:])
	for _, at := range [...]int{12, 14} {
		if size := binary.BigEndian.Uint16(b[at:]); size < 1132 || size > 1232 {
			return "", Unknown, false
		}
	}
	switch {
	case flags&(syn|ack) == syn|ack:
		return "connection answer", Reply, true
	case flags&syn != 0:
		return "connection request", Request, true
	}
	return "", Unknown, false
}

// ard is the head of the management service's answer, which is 1002 bytes behind it, and of the question for it.
func ard(b []byte) (string, Role, bool) {
	switch {
	case hasPrefix(b, "\x00\x01\x03\xea"):
		return "response", Reply, true
	case hasPrefix(b, "\x00\x14\x00\x00"):
		return "query", Request, true
	}
	return "", Unknown, false
}

// dhcpDiscover is the discovery of video recorders: a header of 32 bytes with its name, and JSON.
func dhcpDiscover(b []byte) (string, Role, bool) {
	switch {
	case !hasPrefix(b, "\x20\x00\x00\x00DHIP"):
		return "", Unknown, false
	case bytes.Contains(b, []byte("DHDiscover.search")):
		return "search", Request, true
	}
	return "response", Reply, true
}

// ubiquiti is the discovery of radio devices: version 1 or 2, a command, and the length of what follows.
func ubiquiti(b []byte) (string, Role, bool) {
	if len(b) < 4 || b[0] != 1 && b[0] != 2 {
		return "", Unknown, false
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case length == 0 && len(b) == 4:
		return "query", Request, true
	case length >= 3 && length <= 1472 && len(b) >= 7 && b[4] >= 1 && b[4] <= 0x40 && int(binary.BigEndian.Uint16(b[5:])) <= length-3:
		return "response", Reply, true
	}
	return "", Unknown, false
}
