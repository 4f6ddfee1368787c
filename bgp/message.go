package bgp

import (
	"encoding/binary"
	"fmt"
	"io"
)

// BGP message types and sizes (RFC 4271 section 4.1, RFC 2918).
const (
	typeOpen         = 1
	typeUpdate       = 2
	typeNotification = 3
	typeKeepAlive    = 4
	typeRefresh      = 5

	headerBytes  = 19
	messageBytes = 4096 // the largest; extended messages (RFC 8654) are never agreed on
	markerBytes  = 16
)

// notice is a NOTIFICATION message: what one side says before it hangs up (RFC 4271 section 4.5).
type notice struct {
	code, subcode uint8
	data          []byte
}

// refusal is what the relay itself finds wrong with a peer's message: the notice that the peer is sent, and the same in words.
type refusal struct {
	notice
	reason string
}

func (r *refusal) Error() string { return r.reason }

func refuse(code, subcode uint8, data []byte, format string, args ...any) error {
	return &refusal{notice{code, subcode, data}, fmt.Sprintf(format, args...)}
}

// message makes a whole message, header included.
func message(kind uint8, body []byte) []byte {
	m := make([]byte, headerBytes, headerBytes+len(body))
	for i := range markerBytes {
		m[i] = 0xff
	}
	binary.BigEndian.PutUint16(m[16:], uint16(headerBytes+len(body)))
	m[18] = kind
	return append(m, body...)
}

func (n *notice) message() []byte {
	return message(typeNotification, append([]byte{n.code, n.subcode}, n.data...))
}

// parseNotice reads the body of a NOTIFICATION; a body that is too short is that of code 0, which does not exist.
func parseNotice(body []byte) notice {
	if len(body) < 2 {
		return notice{}
	}
	return notice{body[0], body[1], body[2:]}
}

// readMessage reads the next message into buf, which holds messageBytes, and returns it whole. Errors about the header are
// refusals (RFC 4271 section 6.1); io.EOF is an end between two messages.
func readMessage(r io.Reader, buf []byte) (m []byte, err error) {
	header := buf[:headerBytes]
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	for _, b := range header[:markerBytes] {
		if b != 0xff {
			return nil, refuse(1, 1, nil, "message header without its marker")
		}
	}
	size, kind := binary.BigEndian.Uint16(header[16:]), header[18]
	least, most := uint16(headerBytes), uint16(messageBytes)
	switch kind {
	case typeOpen:
		least += 10
	case typeUpdate:
		least += 4
	case typeNotification:
		least += 2
	case typeKeepAlive:
		most = headerBytes
	case typeRefresh:
		least += 4
	default:
		return nil, refuse(1, 3, header[18:19], "message of unknown type %d", kind)
	}
	if size < least || size > most {
		return nil, refuse(1, 2, header[16:18], "message of type %d with impossible length %d", kind, size)
	}
	if _, err := io.ReadFull(r, buf[headerBytes:size]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return buf[:size], nil
}

// updateFault says what is wrong with the body of an UPDATE as far as its lengths tell (RFC 4271 section 6.3), or nothing.
func updateFault(body []byte) string {
	withdrawn := int(binary.BigEndian.Uint16(body))
	if 2+withdrawn+2 > len(body) {
		return "withdrawn routes run past its end"
	}
	attributes := body[2+withdrawn:]
	length := int(binary.BigEndian.Uint16(attributes))
	attributes = attributes[2:]
	if length > len(attributes) {
		return "path attributes run past its end"
	}
	prefixes := attributes[length:]
	for attributes = attributes[:length]; len(attributes) > 0; {
		head := 3
		if attributes[0]&0x10 != 0 { // extended length
			head = 4
		}
		if len(attributes) < head {
			return "a path attribute is cut off"
		}
		size := int(attributes[2])
		if head == 4 {
			size = int(binary.BigEndian.Uint16(attributes[2:]))
		}
		if head+size > len(attributes) {
			return "a path attribute runs past the others' end"
		}
		attributes = attributes[head+size:]
	}
	for _, list := range [][]byte{body[2 : 2+withdrawn], prefixes} {
		if !prefixList(list) {
			return "a prefix is malformed"
		}
	}
	return ""
}

// prefixList reports whether b is a list of IPv4 prefixes (RFC 4271 section 4.3).
func prefixList(b []byte) bool {
	for len(b) > 0 {
		size := 1 + (int(b[0])+7)/8
		if b[0] > 32 || size > len(b) {
			return false
		}
		b = b[size:]
	}
	return true
}
