package sflow

import (
	"encoding/binary"
	"net/netip"

	"weir/userspace/traffic"
)

// reader reads XDR (RFC 4506): everything is a multiple of four bytes, in network byte order. Behind the first thing that is not there
// it reads zeros, and short says so.
type reader struct {
	b     []byte
	at    int
	short bool
}

func (r *reader) u32() uint32 {
	if len(r.b)-r.at < 4 {
		r.short, r.at = true, len(r.b)
		return 0
	}
	v := binary.BigEndian.Uint32(r.b[r.at:])
	r.at += 4
	return v
}

// bytes returns the next n bytes, and goes on behind their padding.
func (r *reader) bytes(n uint32) []byte {
	left := len(r.b) - r.at
	if int64(n) > int64(left) {
		r.short, r.at = true, len(r.b)
		return nil
	}
	b := r.b[r.at : r.at+int(n)]
	r.at += padded(int(n), left)
	return b
}

// words skips n numbers and returns the last of them, 0 when there is none.
func (r *reader) words(n uint32) uint32 {
	if int64(n)*4 > int64(len(r.b)-r.at) {
		r.short, r.at = true, len(r.b)
		return 0
	}
	if n == 0 {
		return 0
	}
	r.at += int(n) * 4
	return binary.BigEndian.Uint32(r.b[r.at-4:])
}

// address reads an address behind its type; the zero Addr where it is said to be unknown. How long one of another type is, nobody knows.
func (r *reader) address() netip.Addr {
	switch r.u32() {
	case addressNone:
		return netip.Addr{}
	case addressIPv4:
		if b := r.bytes(ipv4Bytes); b != nil {
			return netip.AddrFrom4([4]byte(b))
		}
	case addressIPv6:
		if b := r.bytes(ipv6Bytes); b != nil {
			return netip.AddrFrom16([16]byte(b)).Unmap()
		}
	}
	r.short, r.at = true, len(r.b)
	return netip.Addr{}
}

// router reads extended_router into f; false, with f as it was: it is not all there.
func (r *reader) router(f *traffic.Flow) bool {
	next, src, dst := r.address(), r.u32(), r.u32()
	if r.short {
		return false
	}
	f.SrcMask, f.DstMask = mask(src), mask(dst)
	if next.IsValid() && !next.IsUnspecified() {
		f.NextHop = next
	}
	return true
}

// mask is a prefix's length, 0 where it is none.
func mask(v uint32) uint8 {
	if v > 128 {
		return 0
	}
	return uint8(v)
}

// gateway reads extended_gateway into f: the AS that the packet is from, and the last of the path that it takes. BGP's next hop is
// told only where the router's own is not. false, with f as it was: it is not all there.
func (r *reader) gateway(f *traffic.Flow, version traffic.FlowSource) bool {
	var next netip.Addr
	if version == traffic.SFlow5 {
		next = r.address()
	}
	r.u32() // the router's own AS
	source := r.u32()
	r.u32() // the neighbour's that it is from
	last, parts := uint32(0), r.u32()
	if version == traffic.SFlow2 {
		last = r.words(parts) // ASes, without sets or sequences, and nothing behind them
	} else {
		for ; parts > 0 && !r.short; parts-- {
			r.u32() // a set or a sequence
			last = r.words(r.u32())
		}
		r.words(r.u32()) // communities
		r.u32()          // local preference
	}
	if r.short {
		return false
	}
	f.SrcAS, f.DstAS = source, last
	if !f.NextHop.IsValid() && next.IsValid() && !next.IsUnspecified() {
		f.NextHop = next
	}
	return true
}
