package packettest

import (
	"encoding/binary"
	"slices"
)

// VLAN puts a tag around what the frame has so far: the last one given is the outermost.
func VLAN(kind, id uint16) Mutation {
	return func(f *Frame) { f.VLANs = slices.Insert(f.VLANs, 0, Tag{Type: kind, ID: id}) }
}

// MPLS puts n labels in front of the IP header.
func MPLS(n int) Mutation { return func(f *Frame) { f.Labels = n } }

// Ethertype claims another network protocol.
func Ethertype(t uint16) Mutation { return func(f *Frame) { f.EtherType = t } }

// Options adds n bytes of IPv4 options (no operation, RFC 791 section 3.1); n is a multiple of 4, at most 40.
func Options(n int) Mutation {
	return func(f *Frame) { f.Options = slices.Repeat([]byte{1}, n) }
}

// Fragmented4 sets the IPv4 header's fragment flags and its offset in units of 8 bytes.
func Fragmented4(field uint16) Mutation { return func(f *Frame) { f.Fragment = field } }

// Fragmented6 adds a fragment header (RFC 8200 section 4.5) with the offset in units of 8 bytes.
func Fragmented6(offset uint16, more bool) Mutation {
	body := make([]byte, 7)
	binary.BigEndian.PutUint16(body[1:], offset<<3)
	if more {
		body[2] |= 1
	}
	return Header(FragmentV6, body)
}

// Extended adds n extension headers of a kind, each of the given length in bytes: a multiple of 8, for AH of 4 and at least 8.
func Extended(kind uint8, n, length int) Mutation {
	body := make([]byte, length-1)
	switch kind {
	case FragmentV6:
	case AH:
		body[0] = byte(length/4 - 2)
	default:
		body[0] = byte(length/8 - 1)
	}
	return func(f *Frame) {
		for range n {
			Header(kind, body)(f)
		}
	}
}

// Header adds one extension header behind those that are there: what follows its next-header byte, right or wrong.
func Header(kind uint8, body []byte) Mutation {
	return func(f *Frame) { f.Extensions = append(slices.Clip(f.Extensions), Extension{Type: kind, Body: body}) }
}

// Upper sets the upper-layer protocol; one that the builder does not know has no header.
func Upper(protocol uint8) Mutation {
	return func(f *Frame) {
		f.Protocol = protocol
		f.SrcPort, f.DstPort, f.TCPFlags = 0, 0, 0
	}
}

// Flags sets the TCP flags.
func Flags(flags uint8) Mutation { return func(f *Frame) { f.TCPFlags = flags } }

// Payload sets how many bytes follow the transport header.
func Payload(n int) Mutation { return func(f *Frame) { f.Payload = make([]byte, n) } }

// Cut returns the first n bytes of an encoded frame, in memory of their own, so that reading behind them is found out.
func Cut(frame []byte, n int) []byte {
	cut := make([]byte, n)
	copy(cut, frame)
	return cut
}

// Set returns a copy of an encoded frame with other bytes at an offset.
func Set(frame []byte, at int, bytes ...byte) []byte {
	changed := slices.Clone(frame)
	copy(changed[at:], bytes)
	return changed
}
