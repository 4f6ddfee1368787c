package config

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// parseASN reads an AS number, plain or as two halves with a dot (RFC 5396). Those that no AS may have are none: 0 (RFC 7607),
// AS_TRANS (RFC 6793) and the last of 16 and of 32 bits (RFC 7300).
func parseASN(text string) (uint32, bool) {
	number, err := strconv.ParseUint(text, 10, 32)
	if high, low, dot := strings.Cut(text, "."); dot {
		h, highErr := strconv.ParseUint(high, 10, 16)
		l, lowErr := strconv.ParseUint(low, 10, 16)
		number, err = h<<16|l, highErr
		if err == nil {
			err = lowErr
		}
	}
	switch number {
	case 0, 23456, math.MaxUint16, math.MaxUint32:
		return 0, false
	}
	return uint32(number), err == nil
}

// parseParts reads numbers of the given bits with colons between them.
func parseParts(text string, bits ...int) ([]uint32, bool) {
	words := strings.Split(text, ":")
	if len(words) != len(bits) {
		return nil, false
	}
	parts := make([]uint32, len(bits))
	for i, word := range words {
		value, err := strconv.ParseUint(word, 10, bits[i])
		if err != nil {
			return nil, false
		}
		parts[i] = uint32(value)
	}
	return parts, true
}

// parseCommunity reads a community (RFC 1997): AS:VALUE, or one of the well-known names (IANA "BGP Well-known Communities").
func parseCommunity(text string) (uint32, bool) {
	switch text {
	case "blackhole": // RFC 7999
		return 0xFFFF029A, true
	case "no-export":
		return 0xFFFFFF01, true
	case "no-advertise":
		return 0xFFFFFF02, true
	case "no-export-subconfed":
		return 0xFFFFFF03, true
	case "no-peer": // RFC 3765
		return 0xFFFFFF04, true
	}
	parts, ok := parseParts(text, 16, 16)
	if !ok {
		return 0, false
	}
	return parts[0]<<16 | parts[1], true
}

// parseLargeCommunity reads a large community (RFC 8092): AS:VALUE:VALUE.
func parseLargeCommunity(text string) ([3]uint32, bool) {
	parts, ok := parseParts(text, 32, 32, 32)
	if !ok {
		return [3]uint32{}, false
	}
	return [3]uint32(parts), true
}

// parseExtendedCommunity reads a route target "rt:" or route origin "soo:" (RFC 4360 sections 4 and 5, RFC 5668) with AS:VALUE or
// ADDRESS:VALUE, or any extended community as 0x and 16 hexadecimal digits.
func parseExtendedCommunity(text string) (c [8]byte, ok bool) {
	if digits, raw := strings.CutPrefix(text, "0x"); raw {
		if len(digits) != hex.EncodedLen(len(c)) {
			return c, false
		}
		_, err := hex.Decode(c[:], []byte(digits))
		return c, err == nil
	}
	kind, value, _ := strings.Cut(text, ":")
	switch kind {
	case "rt":
		c[1] = 2
	case "soo":
		c[1] = 3
	default:
		return c, false
	}
	administrator, assigned, _ := strings.Cut(value, ":")
	if addr, err := netip.ParseAddr(administrator); err == nil && addr.Is4() {
		low, err := strconv.ParseUint(assigned, 10, 16)
		four := addr.As4()
		c[0] = 1
		copy(c[2:], four[:])
		binary.BigEndian.PutUint16(c[6:], uint16(low))
		return c, err == nil
	}
	if parts, ok := parseParts(value, 16, 32); ok {
		binary.BigEndian.PutUint16(c[2:], uint16(parts[0]))
		binary.BigEndian.PutUint32(c[4:], parts[1])
		return c, true
	}
	parts, ok := parseParts(value, 32, 16)
	if ok {
		c[0] = 2
		binary.BigEndian.PutUint32(c[2:], parts[0])
		binary.BigEndian.PutUint16(c[6:], uint16(parts[1]))
	}
	return c, ok
}

// listOf decodes a list of values by parse; the list replaces the one that was there.
func listOf[T any](d *decoder, dst *[]T, most int, what string, parse func(string) (T, bool)) decodeFunc {
	return func(at string, n *yaml.Node) {
		var list []T
		items := d.items(at, n, "a list, each entry "+what)
		if len(items) > most {
			d.errorf(items[most], "%q: expected at most %d entries, got %d", at, most, len(items))
			return
		}
		for _, item := range items {
			text, ok := d.text(at, item, what)
			if !ok {
				continue
			}
			value, ok := parse(text)
			if !ok {
				d.expected(at, item, what)
				continue
			}
			list = append(list, value)
		}
		*dst = list
	}
}

// parseAddress reads an address that packets can have as a source or destination.
func parseAddress(text string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(text)
	return addr, err == nil && addr.Zone() == "" && !addr.Is4In6() && !addr.IsMulticast() && addr != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func (d *decoder) address(dst *netip.Addr) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "an address such as 192.0.2.1 or 2001:db8::1"
		if text, ok := d.text(at, n, what); ok {
			if addr, ok := parseAddress(text); ok && !addr.IsUnspecified() {
				*dst = addr
				return
			}
			d.expected(at, n, what)
		}
	}
}

func (d *decoder) routerID(dst *netip.Addr) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "an IPv4 address such as 192.0.2.1"
		if text, ok := d.text(at, n, what); ok {
			if addr, ok := parseAddress(text); ok && addr.Is4() && !addr.IsUnspecified() {
				*dst = addr
				return
			}
			d.expected(at, n, what)
		}
	}
}

func (d *decoder) asNumber(dst *uint32) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "an AS number such as 64500 or 4200000000"
		if text, ok := d.text(at, n, what); ok {
			if as, ok := parseASN(text); ok {
				*dst = as
				return
			}
			d.expected(at, n, what)
		}
	}
}

// seconds decodes a duration of whole seconds.
func (d *decoder) seconds(dst *time.Duration, least, most int) decodeFunc {
	return func(at string, n *yaml.Node) {
		before, was := len(d.errs), *dst
		d.duration(dst, time.Duration(least)*time.Second, time.Duration(most)*time.Second)(at, n)
		if len(d.errs) == before && dst.Truncate(time.Second) != *dst {
			*dst = was
			d.expected(at, n, "whole seconds")
		}
	}
}

func (d *decoder) secondsOrOff(dst *time.Duration, most int) decodeFunc {
	return func(at string, n *yaml.Node) {
		if n.Kind == yaml.ScalarNode && n.Value == "off" {
			*dst = 0
			return
		}
		d.seconds(dst, 1, most)(at, n)
	}
}

// uint32Value decodes an attribute of 32 bits.
func (d *decoder) uint32Value(dst **uint32) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "a whole number from 0 to 4294967295"
		if text, ok := d.text(at, n, what); ok {
			value, err := strconv.ParseUint(text, 10, 32)
			if err != nil {
				d.expected(at, n, what)
				return
			}
			number := uint32(value)
			*dst = &number
		}
	}
}

// families decodes what a receiver carries: a list of families, or a mapping of families and how many routes there may be of each.
func (d *decoder) families(dst *map[BGPFamily]int, most int) decodeFunc {
	var words []string
	for _, f := range bgpFamilies() {
		words = append(words, string(f))
	}
	return func(at string, n *yaml.Node) {
		families := map[BGPFamily]int{}
		before := len(d.errs)
		if n.Kind == yaml.MappingNode {
			counts := make([]int, len(words))
			var fields []field
			for i, word := range words {
				fields = append(fields, field{word, d.count(&counts[i], 1, maxRoutesOfPeer)})
			}
			d.mapping(at, n, fields...)
			for i, f := range bgpFamilies() {
				if counts[i] > 0 {
					families[f] = counts[i]
				}
			}
		} else {
			for _, item := range d.items(at, n, "a list of "+alternatives(words)) {
				var f BGPFamily
				choice(d, &f, words, bgpFamilies())(at, item)
				families[f] = most
			}
		}
		if len(d.errs) == before && len(families) == 0 {
			d.expected(at, n, "at least one of "+alternatives(words))
		}
		*dst = families
	}
}

func allFamilies(most int) map[BGPFamily]int {
	families := map[BGPFamily]int{}
	for _, f := range bgpFamilies() {
		families[f] = most
	}
	return families
}
