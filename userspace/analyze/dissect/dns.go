package dissect

import (
	"encoding/binary"
	"strconv"
)

const dnsHeader = 12

// dnsTypes are the query types (IANA "Resource Record (RR) TYPEs") that attacks and resolvers use; the others are told by number.
var dnsTypes = map[uint16]string{
	1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 35: "NAPTR", 43: "DS", 46: "RRSIG",
	47: "NSEC", 48: "DNSKEY", 50: "NSEC3", 52: "TLSA", 64: "SVCB", 65: "HTTPS", 99: "SPF", 252: "AXFR", 255: "ANY", 257: "CAA",
}

// dnsMessage follows RFC 1035 section 4.1: a header, and one question whose type names what was asked for; multicast DNS answers without one.
func dnsMessage(b []byte) (string, Role, bool) {
	if len(b) < dnsHeader {
		return "", Unknown, false
	}
	flags := binary.BigEndian.Uint16(b[2:])
	questions, answers := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	authorities, additional := binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:])
	opcode, rcode := flags>>11&0xf, flags&0xf
	role, word := Request, "query"
	if flags&0x8000 != 0 {
		role, word = Reply, "response"
	}
	const most = 512 // records of a kind: more do not fit
	switch {
	case opcode > 5 || opcode == 3, flags&0x40 != 0, rcode > 11:
		return "", Unknown, false
	case questions > 16, questions+answers == 0, answers > most, authorities > most, additional > most:
		return "", Unknown, false
	case role == Request && (rcode != 0 || questions == 0):
		return "", Unknown, false
	}
	kind, ok := dnsQuestion(b[dnsHeader:])
	if !ok {
		return "", Unknown, false
	}
	return word + " " + kind, role, true
}

// dnsQuestion reads a name, a type and a class; of a record, they stand in the same place.
func dnsQuestion(b []byte) (string, bool) {
	for length := 0; ; {
		if len(b) == 0 {
			return "", false
		}
		n := int(b[0])
		if n >= 0xc0 && length > 0 { // a pointer ends a name; one that begins with it points nowhere
			n, b = 0, b[1:]
		}
		if length += n + 1; n > 63 || length > 255 || len(b) < n+1 {
			return "", false
		}
		for _, c := range b[1 : n+1] {
			if c < '!' || c > '~' {
				return "", false
			}
		}
		if b = b[n+1:]; n == 0 {
			break
		}
	}
	if len(b) < 4 {
		return "", false
	}
	kind, class := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])&0x7fff // multicast DNS uses the highest bit
	if kind == 0 || class != 1 && class != 3 && class != 4 && class != 254 && class != 255 {
		return "", false
	}
	if name, known := dnsTypes[kind]; known {
		return name, true
	}
	return "type " + strconv.Itoa(int(kind)), true
}

// dnsStream is dnsMessage behind the length that TCP needs (RFC 1035 section 4.2.2).
func dnsStream(b []byte) (string, Role, bool) {
	if len(b) < 2+dnsHeader || int(binary.BigEndian.Uint16(b)) < dnsHeader {
		return "", Unknown, false
	}
	return dnsMessage(b[2:])
}

// netbios follows RFC 1002 section 4.2: a DNS header, and a name of 32 letters from A to P.
func netbios(b []byte) (string, Role, bool) {
	const name = 32
	if len(b) < dnsHeader+1+name+1+4 || b[dnsHeader] != name || b[dnsHeader+1+name] != 0 {
		return "", Unknown, false
	}
	for _, c := range b[dnsHeader+1 : dnsHeader+1+name] {
		if c < 'A' || c > 'P' {
			return "", Unknown, false
		}
	}
	role, word := Request, " query"
	if b[2]&0x80 != 0 {
		role, word = Reply, " response"
	}
	switch binary.BigEndian.Uint16(b[dnsHeader+name+2:]) {
	case 0x20:
		return "name" + word, role, true
	case 0x21:
		return "node status" + word, role, true
	}
	return "", Unknown, false
}
