package flowspec

import (
	"errors"
	"fmt"
	"math"
	"net/netip"

	"weir/userspace/traffic"
)

// errShort is for what an NLRI's end cuts off.
var errShort = errors.New("the NLRI ends within it")

// decodeComponents reads an NLRI value into a rule.
func decodeComponents(r *traffic.Rule, value []byte, ipv6 bool) error {
	last := byte(0)
	for at := 0; at < len(value); {
		kind := value[at]
		if kind <= last {
			return fmt.Errorf("component type %d at byte %d stands behind type %d; types must increase", kind, at, last)
		}
		last = kind
		size, err := decodeComponent(r, kind, value[at+1:], ipv6)
		if err != nil {
			return fmt.Errorf("component type %d at byte %d: %w", kind, at, err)
		}
		at += 1 + size
	}
	return nil
}

// decodeComponent reads what stands behind a component's type and returns its size.
func decodeComponent(r *traffic.Rule, kind byte, b []byte, ipv6 bool) (size int, err error) {
	switch kind {
	case typeDestination:
		r.Destination, r.DestinationOffset, size, err = decodePrefix(b, ipv6)
		return size, err
	case typeSource:
		r.Source, r.SourceOffset, size, err = decodePrefix(b, ipv6)
		return size, err
	case typeFlowLabel:
		if !ipv6 {
			return 0, errors.New("flow labels are of IPv6 only")
		}
	}
	if terms, largest := r.Terms(kind); terms != nil {
		return decodeItems(b, func(op byte, value uint64, width int) error {
			t, err := decodeTerm(kind, op, value, width, largest)
			*terms = append(*terms, t)
			return err
		})
	}
	if masks, all := r.Masks(kind); masks != nil {
		return decodeItems(b, func(op byte, value uint64, width int) error {
			m, err := decodeMask(kind, op, value, width, all, ipv6)
			*masks = append(*masks, m)
			return err
		})
	}
	return 0, errors.New("there is no such type")
}

func decodePrefix(b []byte, ipv6 bool) (p netip.Prefix, offset uint8, size int, err error) {
	if len(b) < 1 {
		return p, 0, 0, errShort
	}
	length := int(b[0])
	if !ipv6 {
		size = 1 + (length+7)/8
		if length > 32 {
			return p, 0, 0, fmt.Errorf("an IPv4 prefix has at most 32 bits, not %d", length)
		}
		if len(b) < size {
			return p, 0, 0, errShort
		}
		var address [4]byte
		copy(address[:], b[1:size])
		return netip.PrefixFrom(netip.AddrFrom4(address), length), 0, size, nil
	}
	if len(b) < 2 {
		return p, 0, 0, errShort
	}
	offset = b[1]
	if length > 128 || int(offset) >= length && !(length == 0 && offset == 0) {
		return p, 0, 0, fmt.Errorf("length %d does not end behind offset %d, within 128 bits", length, offset)
	}
	size = 2 + (length-int(offset)+7)/8
	if len(b) < size {
		return p, 0, 0, errShort
	}
	var address [16]byte
	for i := int(offset); i < length; i++ {
		at := i - int(offset)
		if b[2+at/8]&(0x80>>(at%8)) != 0 {
			address[i/8] |= 0x80 >> (i % 8)
		}
	}
	return netip.PrefixFrom(netip.AddrFrom16(address), length), offset, size, nil
}

// decodeItems reads operators with their values until the one that ends the list.
func decodeItems(b []byte, item func(op byte, value uint64, width int) error) (size int, err error) {
	for {
		if size >= len(b) {
			return 0, errShort
		}
		op := b[size]
		width := 1 << (op >> opWidth & 3)
		size++
		if size+width > len(b) {
			return 0, errShort
		}
		var value uint64
		for _, x := range b[size : size+width] {
			value = value<<8 | uint64(x)
		}
		size += width
		if err := item(op, value, width); err != nil {
			return 0, err
		}
		if op&opEnd != 0 {
			return size, nil
		}
	}
}

func decodeTerm(kind, op byte, value uint64, width int, largest uint32) (traffic.Term, error) {
	t := traffic.Term{And: op&opAnd != 0, Op: traffic.Operator(op & opNumeric)}
	if t.Op == traffic.True || t.Op == traffic.False {
		return t, nil
	}
	if kind == typeDSCP {
		if width != 1 {
			return t, fmt.Errorf("a DSCP has 1 byte, not %d", width)
		}
		value &= uint64(largest) // the other bits are to be treated as 0 (RFC 8955 section 4.2.2.11)
	}
	if value > uint64(largest) {
		return t, fmt.Errorf("value %d is out of range; at most %d can be met", value, largest)
	}
	t.Value = uint32(value)
	return t, nil
}

func decodeMask(kind, op byte, value uint64, width int, all uint16, ipv6 bool) (traffic.Mask, error) {
	m := traffic.Mask{And: op&opAnd != 0, Not: op&opNot != 0, Any: op&opMatchAll == 0}
	switch {
	case kind == typeFragment && width != 1:
		return m, fmt.Errorf("fragment bits have 1 byte, not %d", width)
	case kind == typeFragment:
		value &= uint64(all) // the others are to be ignored (RFC 8955 section 4.2.2.12), in IPv6 also dont-fragment (RFC 8956 section 3.6)
		if ipv6 {
			value &^= traffic.FragmentDont
		}
	case width > 2:
		return m, fmt.Errorf("TCP flags have 1 or 2 bytes, not %d", width)
	case value&^uint64(all)&math.MaxUint16 != 0:
		return m, fmt.Errorf("TCP flags 0x%x have bits of the data offset set", value)
	}
	m.Bits = uint16(value)
	return m, nil
}
