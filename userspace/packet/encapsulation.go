package packet

import (
	"encoding/binary"

	"weir/userspace/traffic"
)

// IP protocol numbers of tunnels (IANA).
const (
	protoIPv4 = 4
	protoIPv6 = 41
	protoGRE  = 47
	protoL2TP = 115
)

// GRE flags (RFC 2784, 2890) and ethertypes that mean something only in tunnels.
const (
	greChecksum   = 0x8000
	greRouting    = 0x4000 // RFC 1701, which nobody may send any more
	greKey        = 0x2000
	greSequence   = 0x1000
	greVersion    = 0x0007
	etherLeast    = 0x0600
	etherBridged  = 0x6558 // transparent Ethernet bridging
	etherERSPAN   = 0x88be // types I and II
	etherERSPAN3  = 0x22eb
	erspan2Bytes  = 8
	erspan3Bytes  = 12
	erspanSubtype = 8 // bytes of the platform's own part
)

// openPPPoE follows RFC 2516 section 4: version 1, type 1, code 0, session, length.
func openPPPoE(b []byte) (content, []byte, traffic.Reason) {
	if len(b) < 6 {
		return 0, nil, traffic.ReasonShortTunnel
	}
	if b[0] != 0x11 || b[1] != 0 {
		return 0, nil, traffic.ReasonNotIP
	}
	return ppp, b[6:], traffic.ReasonOK
}

func (t *Parser) openGRE(b []byte) (content, []byte, traffic.Reason) {
	if len(b) < 4 {
		return 0, nil, traffic.ReasonShortTunnel
	}
	flags, ethertype := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if flags&(greRouting|greVersion) != 0 {
		return 0, nil, traffic.ReasonNotIP
	}
	header := 4
	for _, flag := range [...]uint16{greChecksum, greKey, greSequence} {
		if flags&flag != 0 {
			header += 4
		}
	}
	if len(b) < header {
		return 0, nil, traffic.ReasonShortTunnel
	}
	b = b[header:]
	switch {
	case ethertype == etherERSPAN || ethertype == etherERSPAN3:
		if !t.tunnels.ERSPAN {
			return 0, nil, traffic.ReasonNotIP
		}
		if ethertype == etherERSPAN && flags&greSequence == 0 { // type I has no header of its own
			return ethernet, b, traffic.ReasonOK
		}
		return openERSPAN(ethertype, b)
	case !t.tunnels.GRE:
		return 0, nil, traffic.ReasonNotIP
	}
	return carried(ethertype, b)
}

// carried is what a header names by an ethertype. Those that are lengths of frames are nobody's.
func carried(ethertype uint16, b []byte) (content, []byte, traffic.Reason) {
	switch {
	case ethertype == etherBridged:
		return ethernet, b, traffic.ReasonOK
	case ethertype < etherLeast:
		return 0, nil, traffic.ReasonNotIP
	}
	return content(ethertype), b, traffic.ReasonOK
}

// openERSPAN follows draft-foschiano-erspan-03 sections 4.2 and 4.3.
func openERSPAN(ethertype uint16, b []byte) (content, []byte, traffic.Reason) {
	version, header := byte(1), erspan2Bytes
	if ethertype == etherERSPAN3 {
		version, header = 2, erspan3Bytes
	}
	if len(b) < header {
		return 0, nil, traffic.ReasonShortTunnel
	}
	if b[0]>>4 != version {
		return 0, nil, traffic.ReasonNotIP
	}
	if version == 1 {
		return ethernet, b[header:], traffic.ReasonOK
	}
	frame := b[10] >> 2 & 0x1f // what was mirrored: 0 Ethernet, 2 IP
	if b[11]&1 != 0 {
		header += erspanSubtype
	}
	if len(b) < header {
		return 0, nil, traffic.ReasonShortTunnel
	}
	switch b = b[header:]; frame {
	case 0:
		return ethernet, b, traffic.ReasonOK
	case 2:
		return anyIP, b, traffic.ReasonOK
	}
	return 0, nil, traffic.ReasonNotIP
}

// openVXLAN follows RFC 7348 section 5, and the next protocol of draft-ietf-nvo3-vxlan-gpe where the header names one.
func openVXLAN(b []byte) (content, []byte, traffic.Reason) {
	if len(b) < 8 {
		return 0, nil, traffic.ReasonShortTunnel
	}
	flags, next := b[0], b[3]
	b = b[8:]
	switch {
	case flags&0x08 == 0: // no valid network identifier
	case flags&0x04 == 0 || next == 3:
		return ethernet, b, traffic.ReasonOK
	case next == 1:
		return etherIPv4, b, traffic.ReasonOK
	case next == 2:
		return etherIPv6, b, traffic.ReasonOK
	}
	return 0, nil, traffic.ReasonNotIP
}

// openGENEVE follows RFC 8926 section 3.4. Control packets are not looked into.
func openGENEVE(b []byte) (content, []byte, traffic.Reason) {
	if len(b) < 8 {
		return 0, nil, traffic.ReasonShortTunnel
	}
	if b[0]>>6 != 0 || b[1]&0x80 != 0 {
		return 0, nil, traffic.ReasonNotIP
	}
	ethertype, header := binary.BigEndian.Uint16(b[2:]), 8+int(b[0]&0x3f)*4
	if len(b) < header {
		return 0, nil, traffic.ReasonShortTunnel
	}
	return carried(ethertype, b[header:])
}

// gtpuExtensions is how many extension headers of GTP-U are walked over; 5G has one or two.
const gtpuExtensions = 4

// openGTPU follows 3GPP TS 29.281 section 5: version 1, GTP and no GTP', and a user's packet (G-PDU).
func openGTPU(b []byte) (content, []byte, traffic.Reason) {
	if len(b) < 8 {
		return 0, nil, traffic.ReasonShortTunnel
	}
	flags := b[0]
	if flags>>4 != 3 || b[1] != 255 {
		return 0, nil, traffic.ReasonNotIP
	}
	b = b[8:]
	if flags&7 == 0 {
		return anyIP, b, traffic.ReasonOK
	}
	if len(b) < 4 {
		return 0, nil, traffic.ReasonShortTunnel
	}
	next := b[3]
	if b = b[4:]; flags&4 == 0 {
		next = 0
	}
	for n := 0; next != 0; n++ {
		if n == gtpuExtensions || len(b) < 4 || b[0] == 0 || len(b) < int(b[0])*4 {
			return 0, nil, traffic.ReasonShortTunnel
		}
		length := int(b[0]) * 4
		next = b[length-1]
		b = b[length:]
	}
	return anyIP, b, traffic.ReasonOK
}

// l2tpOffset is the longest offset in bytes that is believed; nobody uses any.
const l2tpOffset = 255

// openL2TP follows RFC 2661 section 3.1, and RFC 3931 section 4.1.2 for version 3 over the same port. Control messages are not looked into.
func (t *Parser) openL2TP(b []byte) (content, []byte, traffic.Reason) {
	if len(b) < 2 {
		return 0, nil, traffic.ReasonShortTunnel
	}
	flags := binary.BigEndian.Uint16(b)
	switch control, version := flags&0x8000 != 0, flags&0x0f; {
	case control:
		return 0, nil, traffic.ReasonNotIP
	case version == 3 && t.tunnels.L2TPv3:
		if len(b) < 4 {
			return 0, nil, traffic.ReasonShortTunnel
		}
		return openL2TPv3(b[4:])
	case version != 2:
		return 0, nil, traffic.ReasonNotIP
	}
	header := 6            // flags, tunnel, session
	if flags&0x4000 != 0 { // length
		header += 2
	}
	if flags&0x0800 != 0 { // sequence numbers
		header += 4
	}
	if flags&0x0200 != 0 { // offset
		header += 2
		if len(b) < header {
			return 0, nil, traffic.ReasonShortTunnel
		}
		offset := int(binary.BigEndian.Uint16(b[header-2:]))
		if offset > l2tpOffset {
			return 0, nil, traffic.ReasonShortTunnel
		}
		header += offset
	}
	if len(b) < header {
		return 0, nil, traffic.ReasonShortTunnel
	}
	return ppp, b[header:], traffic.ReasonOK
}

// openL2TPv3 follows RFC 3931 section 4.1 from the session on. Between it and the Ethernet frame stand a cookie of 0, 4 or 8 bytes and a
// sublayer of 0 or 4, as the two ends have agreed: where the frame begins is found by what looks like one. Session 0 is control.
func openL2TPv3(b []byte) (content, []byte, traffic.Reason) {
	if len(b) < 4 {
		return 0, nil, traffic.ReasonShortTunnel
	}
	session := binary.BigEndian.Uint32(b)
	b = b[4:]
	for _, at := range [...]int{4, 0, 8, 12} { // what Linux does first
		if session != 0 && looksLikeEthernet(b, at) {
			return ethernet, b[at:], traffic.ReasonOK
		}
	}
	return 0, nil, traffic.ReasonNotIP
}

// looksLikeEthernet reports whether an Ethernet header at an offset of b would carry something that may be there.
func looksLikeEthernet(b []byte, at int) bool {
	if len(b) < at+ethernetBytes+1 {
		return false
	}
	first := b[at+ethernetBytes] >> 4
	switch binary.BigEndian.Uint16(b[at+12:]) {
	case etherIPv4:
		return first == 4
	case etherIPv6:
		return first == 6
	case etherVLAN, etherQinQ, etherQinQOld, etherMPLS, etherMPLSMany, etherARP, etherRARP, etherDiscovery, etherPPPoE:
		return true
	}
	return false
}

// skipControlWord tells what is behind an MPLS label stack, which nothing in the packet says: an Ethernet frame, with or without a control
// word before it (RFC 4385), or not. A first nibble of 0 may be that of a control word or of an address of 48 bits; 4 or 6 may be such
// an address' too, when there cannot be an IP packet. left is how many bytes the packet has on the wire from b on.
//
// Where a VLAN tag is in the frame, a mistake of 4 bytes ends at the same IP header.
func skipControlWord(b []byte, left int) ([]byte, bool) {
	const controlWord = 4
	switch {
	case len(b) > 0 && b[0]>>4 == 0 && looksLikeEthernet(b, controlWord):
		return b[controlWord:], true
	case !looksLikeEthernet(b, 0) || mayBeIP(b, left):
		return nil, false
	}
	return b, true
}

// mayBeIP reports whether an IP header in the first 15 bytes of b or more would be possible in a packet of left bytes.
func mayBeIP(b []byte, left int) bool {
	switch b[0] >> 4 {
	case 4:
		header, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
		return header >= ipv4Bytes && total >= header && total <= left
	case 6:
		return ipv6Bytes+int(binary.BigEndian.Uint16(b[4:])) <= left
	}
	return false
}
