package sflow

import (
	"encoding/binary"

	"weir/userspace/traffic"
)

// Protocols of sampled headers (enum header_protocol).
const (
	headerEthernet = 1
	headerPPP      = 7
	headerIPv4     = 11
	headerIPv6     = 12
	headerMPLS     = 13
	headerPOS      = 14 // PPP over SONET, RFC 2615
)

// rawHeader reads the content of a sampled_header, and reports whether it has a packet's addresses.
func (s *Session) rawHeader(f *traffic.Flow, b []byte) bool {
	size := binary.BigEndian.Uint32(b[12:])
	return s.header(f, binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), b[rawBytes:rawBytes+size])
}

// header reads the beginning of a packet that was length bytes long, stripped of which are not there.
func (s *Session) header(f *traffic.Flow, protocol, length, stripped uint32, header []byte) bool {
	var link traffic.Link
	switch protocol {
	case headerEthernet:
		link = traffic.LinkEthernet
	case headerPPP, headerPOS:
		link = traffic.LinkPPP
	case headerIPv4, headerIPv6:
		link = traffic.LinkIP
	case headerMPLS:
		link = traffic.LinkMPLS
	default:
		return false
	}
	if s.opts.Frame == nil {
		return false
	}
	outer := look(link, header)
	if link == traffic.LinkEthernet {
		length = withoutFCS(length, stripped, outer.length)
	}
	length = max(length, uint32(len(header)))
	if s.opts.Frame(link, header, length, &f.Packet) != traffic.ReasonOK {
		f.Packet = traffic.Packet{}
		return false
	}
	f.Bytes, f.Header, f.Link, f.TOS = uint64(length), header, link, outer.tos
	if f.VLAN == 0 {
		f.VLAN = outer.vlan
	}
	return true
}

// seen is what a header says of its packet beside addresses and ports.
type seen struct {
	length uint32 // of the frame up to the end of its IP packet, without FCS; 0: it does not say
	vlan   uint16 // of the outermost tag
	tos    uint8
}

// Ethertypes (IEEE 802 numbers).
const (
	etherIPv4    = 0x0800
	etherIPv6    = 0x86dd
	etherVLAN    = 0x8100
	etherQinQ    = 0x88a8
	etherQinQOld = 0x9100
)

// look reads it; nothing of a header that begins with neither Ethernet nor IP.
func look(link traffic.Link, b []byte) (s seen) {
	at := 0
	switch link {
	case traffic.LinkEthernet:
		const most = 14 + 3*4
		for at = 14; at <= most && at <= len(b); at += 4 {
			kind := binary.BigEndian.Uint16(b[at-2:])
			if kind == etherIPv4 || kind == etherIPv6 {
				break
			}
			if kind != etherVLAN && kind != etherQinQ && kind != etherQinQOld || at+4 > len(b) {
				return s
			}
			if at == 14 {
				s.vlan = vlan(uint32(binary.BigEndian.Uint16(b[at:]) & 0xfff))
			}
		}
	case traffic.LinkIP:
	default:
		return s
	}
	if len(b) < at+6 {
		return s
	}
	switch b[at] >> 4 {
	case 4:
		s.tos = b[at+1]
		s.length = uint32(binary.BigEndian.Uint16(b[at+2:]))
	case 6:
		s.tos = b[at]<<4 | b[at+1]>>4
		if s.length = uint32(binary.BigEndian.Uint16(b[at+4:])); s.length > 0 {
			s.length += 40
		}
	}
	if s.length > 0 { // 0: a packet larger than 64 KiB
		s.length += uint32(at)
	}
	return s
}

// withoutFCS is the length of an Ethernet frame without its check sequence. By the specification an agent counts it in the length, and
// among the bytes stripped. But some say so and do not count it (Open vSwitch and whoever reads packets from Linux), and others count it
// and do not say so. So where the header tells how long the frame has to be, that decides; a frame of 60 bytes is the shortest that
// Ethernet has, without FCS.
func withoutFCS(length, stripped, seen uint32) uint32 {
	const fcs, shortest = 4, 60
	switch {
	case seen > 0 && length >= seen+fcs && length != shortest, seen == 0 && stripped >= fcs && length > fcs:
		return length - fcs
	}
	return length
}
