package pcapfile

import (
	"encoding/binary"
	"fmt"

	"github.com/gopacket/gopacket/layers"

	"weir/userspace/traffic"
)

// Link types (www.tcpdump.org/linktypes.html). Raw IP has had three numbers.
const (
	linkNull       = 0
	linkEthernet   = 1
	linkPPP        = 9
	linkRawBSD     = 12
	linkRawOBSD    = 14
	linkPPPSerial  = 50 // always with address and control bytes; or Cisco's framing, told by the address
	linkPPPoE      = 51 // behind the Ethernet header
	linkRaw        = 101
	linkCiscoHDLC  = 104
	linkLoop       = 108
	linkCooked     = 113
	linkPPPWithDir = 204 // behind a byte that says in which direction
	linkIPv4       = 228
	linkIPv6       = 229
	linkCooked2    = 276
)

// Lengths of headers in bytes.
const (
	ethernetBytes  = 14
	nullBytes      = 4
	cookedBytes    = 16
	cooked2Bytes   = 20
	pppoeBytes     = 6
	directionBytes = 1
	ciscoBytes     = 4
)

func supported(link layers.LinkType) error {
	switch link {
	case linkNull, linkEthernet, linkPPP, linkRawBSD, linkRawOBSD, linkPPPSerial, linkPPPoE, linkRaw, linkCiscoHDLC, linkLoop, linkCooked,
		linkPPPWithDir, linkIPv4, linkIPv6, linkCooked2:
		return nil
	}
	return fmt.Errorf("link type %d (%s) is not supported; expected Ethernet, raw IP, Linux cooked, loopback or PPP", uint16(link), link)
}

// strip takes off what the capture has put in front of a frame, so that it begins as its link type says: Ethernet (also what Linux has
// cooked, which stands for it), an IP packet, or PPP.
func (r *Reader) strip(f *traffic.Frame, data []byte, length int) {
	if r.fcs > 0 {
		length -= r.fcs
		data = data[:min(len(data), max(length, 0))]
	}
	f.Link = traffic.LinkIP
	switch r.link {
	case linkEthernet:
		f.Link = traffic.LinkEthernet
	case linkCooked:
		// Bytes 2 to 15 are as long as an Ethernet header and end with the ethertype as it does.
		f.Link = traffic.LinkEthernet
		data, length = cut(data, length, cookedBytes-ethernetBytes)
	case linkCooked2:
		f.Link = traffic.LinkEthernet
		data, length = cooked2(data, length)
	case linkNull, linkLoop:
		if !isIP(data) {
			data = data[:0]
		}
		data, length = cut(data, length, nullBytes)
	case linkPPPSerial:
		if len(data) > 0 && isCisco(data[0]) {
			data, length = cisco(data, length)
			break
		}
		f.Link = traffic.LinkPPP
	case linkPPP:
		f.Link = traffic.LinkPPP
	case linkPPPWithDir:
		f.Link = traffic.LinkPPP
		data, length = cut(data, length, directionBytes)
	case linkPPPoE:
		f.Link = traffic.LinkPPP
		if len(data) > 1 && data[1] != 0 { // a message of discovery: it carries no packet
			data = data[:0]
		}
		data, length = cut(data, length, pppoeBytes)
	case linkCiscoHDLC:
		data, length = cisco(data, length)
	}
	f.Data, f.Length = data, uint32(max(length, 0))
}

// isCisco reports whether a frame on a serial line begins with an address of Cisco's framing: to one station or to all.
func isCisco(address byte) bool { return address == 0x0f || address == 0x8f }

// cisco takes off Cisco's HDLC header (RFC 1547 section 4.3.1): address, control, ethertype.
func cisco(data []byte, length int) ([]byte, int) {
	if len(data) < ciscoBytes {
		return data[:0], length - ciscoBytes
	}
	if ethertype := binary.BigEndian.Uint16(data[2:]); ethertype != 0x0800 && ethertype != 0x86dd {
		data = data[:0]
	}
	return cut(data, length, ciscoBytes)
}

// cut takes n bytes off the front of a frame, of which fewer may be there.
func cut(data []byte, length, n int) ([]byte, int) {
	return data[min(n, len(data)):], length - n
}

// cooked2 puts the ethertype, which the second version has at the front of its header, at the end of it: where it is in an
// Ethernet header. The buffer is the decoder's own and is filled anew for each packet.
func cooked2(data []byte, length int) ([]byte, int) {
	if len(data) >= cooked2Bytes {
		copy(data[cooked2Bytes-2:], data[:2])
	} else {
		data = data[:0]
	}
	return cut(data, length, cooked2Bytes-ethernetBytes)
}

// isIP reports whether the protocol family in front of a loopback frame is IPv4 or IPv6, whose number differs among systems. The
// number is in the byte order of the machine that captured it, and all of them are below 256.
func isIP(data []byte) bool {
	if len(data) < nullBytes {
		return false
	}
	family := binary.LittleEndian.Uint32(data)
	if family > 0xff {
		family = binary.BigEndian.Uint32(data)
	}
	switch family {
	case 2, 10, 24, 28, 30: // AF_INET everywhere; AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, macOS
		return true
	}
	return false
}
