package traffic

import (
	"net/netip"
	"strconv"
	"strings"
)

// maskOffset clears the bits of a prefix that are not compared: those behind its length and, in IPv6, those before the offset.
func maskOffset(p netip.Prefix, offset uint8) (netip.Prefix, uint8) {
	if !p.IsValid() {
		return netip.Prefix{}, 0
	}
	if p = p.Masked(); offset == 0 || !p.Addr().Is6() {
		return p, offset
	}
	b := p.Addr().As16()
	for i := range b {
		switch left := int(offset) - i*8; {
		case left >= 8:
			b[i] = 0
		case left > 0:
			b[i] &= 0xff >> left
		}
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), p.Bits()), offset
}

// formatPrefix writes ADDRESS/LENGTH, or ADDRESS/OFFSET-LENGTH (RFC 8956 section 3.1).
func formatPrefix(p netip.Prefix, offset uint8) string {
	if offset == 0 {
		return p.String()
	}
	return p.Addr().String() + "/" + strconv.Itoa(int(offset)) + "-" + strconv.Itoa(p.Bits())
}

// parsePrefix is the inverse of formatPrefix; a bare address is the prefix of that address alone. A problem is returned with its place
// in text, in bytes.
func parsePrefix(text string) (p netip.Prefix, offset uint8, at int, problem string) {
	address, lengths, slash := strings.Cut(text, "/")
	addr, err := netip.ParseAddr(address)
	switch {
	case err != nil:
		return p, 0, 0, quote(address) + " is not an address; expected a prefix such as 192.0.2.7/32, 2001:db8::/48, or ::7/64-128 without the first 64 bits"
	case addr.Zone() != "":
		return p, 0, len(address) - len(addr.Zone()) - 1, "an address in a rule has no zone; leave out %" + addr.Zone()
	case addr.Is4In6():
		return p, 0, 0, address + " is an IPv4 address in IPv6 notation; write " + addr.Unmap().String()
	case !slash:
		return netip.PrefixFrom(addr, addr.BitLen()), 0, 0, ""
	}
	at = len(address) + 1
	length := lengths
	if from, to, found := strings.Cut(lengths, "-"); found {
		if addr.Is4() {
			return p, 0, at, "IPv4 prefixes have no offset; expected a length such as 32"
		}
		o, ok := parseNumber(from, 127)
		if !ok {
			return p, 0, at, quote(from) + " is not an offset; expected 0 to 127"
		}
		offset, length, at = uint8(o), to, at+len(from)+1
	}
	bits, ok := parseNumber(length, uint32(addr.BitLen()))
	if !ok {
		return p, 0, at, quote(length) + " is not a prefix length; expected 0 to " + strconv.Itoa(addr.BitLen())
	}
	if offset > 0 && uint32(offset) >= bits {
		return p, 0, at, "length " + length + " ends before offset " + strconv.Itoa(int(offset)) + "; a prefix compares at least one bit"
	}
	p = netip.PrefixFrom(addr, int(bits))
	if masked, _ := maskOffset(p, offset); masked != p {
		return p, 0, 0, text + " has bits set that are not compared; did you mean " + formatPrefix(masked, offset) + "?"
	}
	return p, offset, 0, ""
}
