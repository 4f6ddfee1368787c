package bgp

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// noticeNames has the names of NOTIFICATION codes and subcodes (RFC 4271 section 4.5, RFC 4486, RFC 6608, RFC 7313, RFC 8538, RFC 9003).
func noticeNames(code uint8) (name string, subcodes map[uint8]string) {
	switch code {
	case 1:
		return "Message Header Error", map[uint8]string{1: "Connection Not Synchronized", 2: "Bad Message Length", 3: "Bad Message Type"}
	case 2:
		return "OPEN Message Error", map[uint8]string{
			1: "Unsupported Version Number", 2: "Bad Peer AS", 3: "Bad BGP Identifier", 4: "Unsupported Optional Parameter",
			5: "Authentication Failure", 6: "Unacceptable Hold Time", 7: "Unsupported Capability", 8: "Role Mismatch",
		}
	case 3:
		return "UPDATE Message Error", map[uint8]string{
			1: "Malformed Attribute List", 2: "Unrecognized Well-known Attribute", 3: "Missing Well-known Attribute", 4: "Attribute Flags Error",
			5: "Attribute Length Error", 6: "Invalid ORIGIN Attribute", 7: "AS Routing Loop", 8: "Invalid NEXT_HOP Attribute",
			9: "Optional Attribute Error", 10: "Invalid Network Field", 11: "Malformed AS_PATH",
		}
	case 4:
		return "Hold Timer Expired", nil
	case 5:
		return "Finite State Machine Error", map[uint8]string{
			1: "Unexpected Message in OpenSent State", 2: "Unexpected Message in OpenConfirm State", 3: "Unexpected Message in Established State",
		}
	case 6:
		return "Cease", map[uint8]string{
			1: "Maximum Number of Prefixes Reached", 2: "Administrative Shutdown", 3: "Peer De-configured", 4: "Administrative Reset",
			5: "Connection Rejected", 6: "Other Configuration Change", 7: "Connection Collision Resolution", 8: "Out of Resources",
			9: "Hard Reset", 10: "BFD Down",
		}
	case 7:
		return "ROUTE-REFRESH Message Error", map[uint8]string{1: "Invalid Message Length"}
	case 8:
		return "Send Hold Timer Expired", nil
	}
	return fmt.Sprintf("code %d", code), nil
}

// String is the notification in words.
func (n notice) String() string {
	name, subcodes := noticeNames(n.code)
	switch s, known := subcodes[n.subcode]; {
	case known:
		name += " / " + s
	case n.subcode != 0:
		name += fmt.Sprintf(" / subcode %d", n.subcode)
	}
	if n.code == 6 && (n.subcode == 2 || n.subcode == 4) {
		if said := shutdownReason(n.data); said != "" {
			name += ": " + strconv.Quote(said)
		}
	}
	return name
}

// shutdownReason is what the peer's operator has said (RFC 9003): one octet of length and UTF-8.
func shutdownReason(data []byte) string {
	if len(data) == 0 || int(data[0]) > len(data)-1 || !utf8.Valid(data[1:1+int(data[0])]) {
		return ""
	}
	return strings.TrimSpace(string(data[1 : 1+int(data[0])]))
}

// received explains a notification that a peer has sent.
func (n notice) received(own *Config) string {
	text := "the peer sent NOTIFICATION " + n.String()
	switch {
	case n.code == 2 && n.subcode == 2:
		text += fmt.Sprintf(": it does not expect AS %d", own.AS)
	case n.code == 6 && n.subcode == 5:
		text += ": it does not know us by this address, or does not want us now"
	}
	return text
}

// sent explains a notification that GoBGP has sent to a peer; o is the peer's OPEN, if there was one.
func (n notice) sent(p *Peer, o *opening) string {
	text := "NOTIFICATION sent to the peer: " + n.String()
	switch {
	case n.code == 2 && n.subcode == 2 && o != nil:
		text += fmt.Sprintf(": the peer is AS %d, the configuration says %d", o.as, p.AS)
	case n.code == 2 && n.subcode == 3 && o != nil:
		text += fmt.Sprintf(": the peer's router ID is %s, which must not be 0.0.0.0 nor our own", o.routerID)
	case n.code == 4:
		text += ": nothing was heard of it for that long"
	}
	return text
}
