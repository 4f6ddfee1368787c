package bgp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Capability codes (IANA "Capability Codes").
const (
	capMultiprotocol = 1  // RFC 4760
	capRouteRefresh  = 2  // RFC 2918
	capGraceful      = 64 // RFC 4724
	capFourOctetAS   = 65 // RFC 6793
	capLongLived     = 71 // RFC 9494
)

const transitionAS = 23456 // AS_TRANS of RFC 6793: the real one is in the capability

// opening is what an OPEN message says (RFC 4271 section 4.2), as far as it matters here.
type opening struct {
	version      uint8
	as           uint32
	holdTime     time.Duration
	routerID     netip.Addr
	families     []Family
	capabilities []capability
}

type capability struct {
	code  uint8
	value []byte
}

// parseOpen reads the body of an OPEN message. Errors are refusals.
func parseOpen(body []byte) (*opening, error) {
	o := &opening{
		version:  body[0],
		as:       uint32(binary.BigEndian.Uint16(body[1:])),
		holdTime: time.Duration(binary.BigEndian.Uint16(body[3:])) * time.Second,
		routerID: netip.AddrFrom4([4]byte(body[5:9])),
	}
	if o.version != 4 {
		return nil, refuse(2, 1, []byte{0, 4}, "the peer speaks BGP version %d; only 4 is known", o.version)
	}
	parameters, wide := body[10:], 1
	if body[9] == 255 && len(parameters) >= 3 && parameters[0] == 255 { // RFC 9072: lengths of two octets
		wide = 2
		if int(binary.BigEndian.Uint16(parameters[1:])) != len(parameters)-3 {
			return nil, malformedOpen()
		}
		parameters = parameters[3:]
	} else if int(body[9]) != len(parameters) {
		return nil, malformedOpen()
	}
	for len(parameters) > 0 {
		kind, value, rest, ok := cut(parameters, wide)
		if !ok {
			return nil, malformedOpen()
		}
		if kind != 2 { // capabilities (RFC 5492)
			return nil, refuse(2, 4, nil, "OPEN message with unknown optional parameter %d", kind)
		}
		for len(value) > 0 {
			var c capability
			if c.code, c.value, value, ok = cut(value, 1); !ok {
				return nil, malformedOpen()
			}
			if !o.take(c) {
				return nil, malformedOpen()
			}
		}
		parameters = rest
	}
	if !o.speaks(capMultiprotocol) {
		o.families = []Family{IPv4Unicast} // RFC 4760 section 8
	}
	return o, nil
}

func malformedOpen() error { return refuse(2, 0, nil, "malformed OPEN message") }

// cut takes a type, a length of the given number of octets and a value off the front of b.
func cut(b []byte, wide int) (kind uint8, value, rest []byte, ok bool) {
	if len(b) < 1+wide {
		return 0, nil, nil, false
	}
	size := int(b[1])
	if wide == 2 {
		size = int(binary.BigEndian.Uint16(b[1:]))
	}
	if len(b) < 1+wide+size {
		return 0, nil, nil, false
	}
	return b[0], b[1+wide : 1+wide+size], b[1+wide+size:], true
}

// take notes a capability that means something here and leaves all others out. It reports false for a malformed one.
func (o *opening) take(c capability) bool {
	v := c.value
	switch c.code {
	case capMultiprotocol:
		if len(v) != 4 {
			return false
		}
		f := familyOf(binary.BigEndian.Uint16(v), v[3])
		if f == "" {
			return true
		}
		o.families = append(o.families, f)
	case capRouteRefresh:
		if len(v) != 0 {
			return false
		}
	case capGraceful:
		if len(v) < 2 || (len(v)-2)%4 != 0 {
			return false
		}
	case capFourOctetAS:
		if len(v) != 4 {
			return false
		}
		o.as = binary.BigEndian.Uint32(v)
	case capLongLived:
		if len(v)%7 != 0 {
			return false
		}
	default:
		return true
	}
	o.capabilities = append(o.capabilities, c)
	return true
}

func (o *opening) speaks(code uint8) bool {
	for _, c := range o.capabilities {
		if c.code == code {
			return true
		}
	}
	return false
}

// message writes the opening anew, with nothing in it but what was understood. Every capability is in it once for each family:
// a peer that repeats itself is cut short before the one octet of the length overflows.
func (o *opening) message() []byte {
	body := []byte{o.version, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	as := uint16(transitionAS)
	if o.as <= 0xffff {
		as = uint16(o.as)
	}
	binary.BigEndian.PutUint16(body[1:], as)
	binary.BigEndian.PutUint16(body[3:], uint16(o.holdTime/time.Second))
	id := o.routerID.As4()
	copy(body[5:], id[:])
	for _, c := range o.capabilities {
		if len(body)-10+4+len(c.value) > 255 {
			break
		}
		body = append(body, 2, uint8(2+len(c.value)), c.code, uint8(len(c.value)))
		body = append(body, c.value...)
	}
	body[9] = uint8(len(body) - 10)
	return message(typeOpen, body)
}

// markGraceful sets, in an OPEN message of our own, the bit that says that forwarding state is kept for every family: what a
// blackhole does goes on at the peers while we are gone, whatever the reason. Without it a peer drops the old routes when the
// session comes back, before the new ones have arrived. restarting sets the bit that says that we have lost our own memory of
// the peer (RFC 4724 section 3, RFC 9494 section 3). The message is changed in place; one that cannot be read stays as it is.
func markGraceful(m []byte, restarting bool) {
	const forwarding, restart = 0x80, 0x80
	if len(m) < headerBytes+10 {
		return
	}
	parameters := m[headerBytes+10:]
	for len(parameters) > 0 {
		_, capabilities, rest, ok := cut(parameters, 1)
		if !ok {
			return
		}
		for len(capabilities) > 0 {
			code, v, others, ok := cut(capabilities, 1)
			if !ok {
				return
			}
			switch {
			case code == capGraceful && len(v) >= 2:
				if v[0] &^= restart; restarting {
					v[0] |= restart
				}
				for t := v[2:]; len(t) >= 4; t = t[4:] {
					t[3] |= forwarding
				}
			case code == capLongLived:
				for t := v; len(t) >= 7; t = t[7:] {
					t[3] |= forwarding
				}
			}
			capabilities = others
		}
		parameters = rest
	}
}
