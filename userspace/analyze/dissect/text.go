package dissect

import (
	"bytes"
)

// hasPrefix is strings.HasPrefix for bytes, without a copy.
func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

// isText reports whether all of b is printable ASCII, tabs and line ends, and there is some.
func isText(b []byte) bool {
	for _, c := range b {
		if (c < ' ' || c > '~') && c != '\r' && c != '\n' && c != '\t' {
			return false
		}
	}
	return len(b) > 0
}

// word is b up to the first of the bytes in stop.
func word(b []byte, stop string) string {
	if i := bytes.IndexAny(b, stop); i >= 0 {
		b = b[:i]
	}
	return string(b[:min(len(b), maxDetail)])
}

// ssdp follows the UPnP Device Architecture section 1.2: HTTP without a body, in datagrams.
func ssdp(b []byte) (string, Role, bool) {
	switch {
	case hasPrefix(b, "M-SEARCH * HTTP/1."):
		return "M-SEARCH", Request, true
	case hasPrefix(b, "NOTIFY * HTTP/1."):
		return "NOTIFY", Reply, true
	case hasPrefix(b, "HTTP/1.") && len(b) > 8 && b[8] == ' ':
		return "response", Reply, true
	}
	return "", Unknown, false
}

// plex is what media servers answer to a search for them: SSDP with a content type of their own.
func plex(b []byte) (string, Role, bool) {
	if !hasPrefix(b, "HTTP/1.") || !bytes.Contains(b, []byte("plex/media-")) {
		return "", Unknown, false
	}
	return "response", Reply, true
}

// wsDiscovery follows the OASIS standard's SOAP over UDP: XML with an envelope.
func wsDiscovery(b []byte) (string, Role, bool) {
	switch {
	case !hasPrefix(b, "<") || !bytes.Contains(b, []byte("Envelope")) && !bytes.Contains(b, []byte("ws/2005/04/discovery")):
		return "", Unknown, false
	case bytes.Contains(b, []byte("ProbeMatch")), bytes.Contains(b, []byte("Fault")):
		return "response", Reply, true
	case bytes.Contains(b, []byte("Probe")):
		return "probe", Request, true
	}
	return "message", Unknown, true
}

// jenkins is the XML by which a server tells of itself.
func jenkins(b []byte) (string, Role, bool) { return "response", Reply, hasPrefix(b, "<hudson>") }

// sip follows RFC 3261 section 7: a method or the version begins the first line.
func sip(b []byte) (string, Role, bool) {
	if hasPrefix(b, "SIP/2.0 ") {
		return "response " + word(b[8:], "\r\n"), Reply, true
	}
	for _, method := range [...]string{"INVITE", "REGISTER", "OPTIONS", "ACK", "BYE", "CANCEL", "SUBSCRIBE", "NOTIFY", "MESSAGE", "PUBLISH", "INFO"} {
		if hasPrefix(b, method) && (hasPrefix(b[len(method):], " sip:") || hasPrefix(b[len(method):], " sips:") || hasPrefix(b[len(method):], " tel:")) {
			return method, Request, true
		}
	}
	return "", Unknown, false
}

// http follows RFC 9112 sections 3 and 4, and names the host that is asked.
func http(b []byte) (string, Role, bool) {
	if hasPrefix(b, "HTTP/1.") || hasPrefix(b, "HTTP/2") {
		return "response", Reply, true
	}
	if hasPrefix(b, "PRI * HTTP/2.0") {
		return "version 2", Request, true
	}
	for _, method := range [...]string{"GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE", "PATCH", "CONNECT", "TRACE"} {
		if !hasPrefix(b, method) || !hasPrefix(b[len(method):], " ") {
			continue
		}
		if _, host, found := bytes.Cut(b, []byte("\r\nHost: ")); found {
			return method + " " + word(host, "\r\n"), Request, true
		}
		return method, Request, true
	}
	return "", Unknown, false
}

// ssh follows RFC 4253 section 4.2.
func ssh(b []byte) (string, Role, bool) {
	if !hasPrefix(b, "SSH-2.0-") && !hasPrefix(b, "SSH-1.") {
		return "", Unknown, false
	}
	return word(b, "\r\n"), Unknown, true
}

// chargen follows RFC 864: lines in which each printable character is followed by the next one.
func chargen(b []byte) (string, Role, bool) {
	const least = 16
	follows, pairs := 0, 0
	for i := 1; i < len(b); i++ {
		last, c := b[i-1], b[i]
		switch {
		case c == '\r' || c == '\n' || last == '\n':
			continue
		case c < ' ' || c > '~':
			return "", Unknown, false
		case c == last+1 || last == '~' && (c == ' ' || c == '!'):
			follows++
		}
		pairs++
	}
	return "characters", Reply, follows >= least && follows*10 >= pairs*9
}

// qotd follows RFC 865: a short text, which only its port makes a quote.
func qotd(b []byte) (string, Role, bool) {
	return "text", Unknown, len(b) >= 12 && isText(b) && bytes.IndexByte(b, ' ') > 0
}

// bittorrentDHT follows BEP 5 and BEP 15: dictionaries of queries and answers, and trackers' connections.
func bittorrentDHT(b []byte) (string, Role, bool) {
	switch {
	case hasPrefix(b, "d1:ad2:id20:"):
		return "DHT query", Request, true
	case hasPrefix(b, "d1:rd2:id20:"), hasPrefix(b, "d2:ip") && bytes.Contains(b, []byte("1:rd2:id20:")):
		return "DHT response", Reply, true
	case hasPrefix(b, "d1:eli"):
		return "DHT error", Reply, true
	case hasPrefix(b, "\x00\x00\x04\x17\x27\x10\x19\x80\x00\x00\x00\x00"):
		return "tracker connect", Request, true
	}
	return "", Unknown, false
}

// bittorrentPeer follows BEP 3.
func bittorrentPeer(b []byte) (string, Role, bool) {
	return "handshake", Unknown, hasPrefix(b, "\x13BitTorrent protocol")
}
