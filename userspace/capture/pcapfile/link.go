package pcapfile

import (
	"encoding/binary"
	"fmt"

	"github.com/gopacket/gopacket/layers"
)

// Link types (www.tcpdump.org/linktypes.html). Raw IP has had three numbers.
const (
	linkNull     = 0
	linkEthernet = 1
	linkRawBSD   = 12
	linkRawOBSD  = 14
	linkRaw      = 101
	linkLoop     = 108
	linkCooked   = 113
	linkIPv4     = 228
	linkIPv6     = 229
	linkCooked2  = 276
)

// Lengths of headers in bytes.
const (
	ethernetBytes = 14
	nullBytes     = 4
	cookedBytes   = 16
	cooked2Bytes  = 20
)

func supported(link layers.LinkType) error {
	switch link {
	case linkNull, linkEthernet, linkRawBSD, linkRawOBSD, linkRaw, linkLoop, linkCooked, linkIPv4, linkIPv6, linkCooked2:
		return nil
	}
	return fmt.Errorf("link type %d (%s) is not supported; expected Ethernet, raw IP, Linux cooked or loopback", uint16(link), link)
}

// strip turns what was captured into an Ethernet frame or IP packet.
func (r *Reader) strip(f *Frame, data []byte, length int) {
	f.IP = false
	switch r.link {
	case linkEthernet:
		length -= r.fcs
		data = data[:min(len(data), max(length, 0))]
	case linkCooked:
		// Bytes 2 to 15 are as long as an Ethernet header and end with the ethertype as it does.
		data, length = cut(data, length, cookedBytes-ethernetBytes)
	case linkCooked2:
		data, length = cooked2(data, length)
	case linkNull, linkLoop:
		f.IP = true
		if !isIP(data) {
			data = data[:0]
		}
		data, length = cut(data, length, nullBytes)
	default:
		f.IP = true
	}
	f.Data, f.Length = data, uint32(max(length, 0))
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
