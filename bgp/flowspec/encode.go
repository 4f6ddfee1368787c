package flowspec

import (
	"net/netip"

	"weir/userspace/traffic"
)

// Component types that are not plain numbers of one or two bytes (IANA "Flow Spec Component Types").
const (
	typeDestination = 1
	typeSource      = 2
	typeProtocol    = 3
	typeICMPType    = 7
	typeICMPCode    = 8
	typeTCPFlags    = 9
	typeDSCP        = 11
	typeFragment    = 12
	typeFlowLabel   = 13
)

// Bits of an operator byte (RFC 8955 section 4.2.1). The lower three of a numeric one are traffic.Operator.
const (
	opEnd      = 0x80 // the last of the list
	opAnd      = 0x40
	opWidth    = 4 // shift of two bits: the value has 1, 2, 4 or 8 bytes
	opNumeric  = 0x07
	opNot      = 0x02 // bitmask
	opMatchAll = 0x01 // bitmask: the value's bits are all set; else any of them is
)

// component is an encoded condition of a rule.
type component struct {
	kind   byte
	body   []byte // what stands behind the type
	prefix netip.Prefix
	offset uint8
}

// components returns a canonical rule's conditions in the order of their types, as RFC 8955 section 4.2 wants them.
func components(r *traffic.Rule) []component {
	var all []component
	if r.Destination.IsValid() {
		all = append(all, component{typeDestination, prefixBody(r.Destination, r.DestinationOffset), r.Destination, r.DestinationOffset})
	}
	if r.Source.IsValid() {
		all = append(all, component{typeSource, prefixBody(r.Source, r.SourceOffset), r.Source, r.SourceOffset})
	}
	for kind := byte(typeProtocol); kind <= typeFlowLabel; kind++ {
		if terms, _ := r.Terms(kind); terms != nil && len(*terms) > 0 {
			all = append(all, component{kind: kind, body: termsBody(kind, *terms)})
		}
		if masks, _ := r.Masks(kind); masks != nil && len(*masks) > 0 {
			all = append(all, component{kind: kind, body: masksBody(kind, *masks)})
		}
	}
	return all
}

// prefixBody is length and address, or in IPv6 length, offset, and the bits between them moved to the front (RFC 8956 section 3.1).
func prefixBody(p netip.Prefix, offset uint8) []byte {
	length := p.Bits()
	if p.Addr().Is4() {
		address := p.Addr().As4()
		return append([]byte{byte(length)}, address[:(length+7)/8]...)
	}
	address := p.Addr().As16()
	pattern := make([]byte, (length-int(offset)+7)/8)
	for i := int(offset); i < length; i++ {
		if address[i/8]&(0x80>>(i%8)) != 0 {
			at := i - int(offset)
			pattern[at/8] |= 0x80 >> (at % 8)
		}
	}
	return append([]byte{byte(length), offset}, pattern...)
}

func termsBody(kind byte, terms traffic.Terms) []byte {
	var b []byte
	for i, t := range terms {
		op := byte(t.Op)
		if t.And {
			op |= opAnd
		}
		b = appendItem(b, op, t.Value, widthOf(kind, t.Value), i == len(terms)-1)
	}
	return b
}

func masksBody(kind byte, masks traffic.Masks) []byte {
	var b []byte
	for i, m := range masks {
		var op byte
		if m.And {
			op |= opAnd
		}
		if m.Not {
			op |= opNot
		}
		if !m.Any {
			op |= opMatchAll
		}
		b = appendItem(b, op, uint32(m.Bits), widthOf(kind, uint32(m.Bits)), i == len(masks)-1)
	}
	return b
}

// widthOf is the exponent of two of a value's bytes, as the RFCs recommend them: four for flow labels (RFC 8956 section 3.7), one for
// what has a byte in the packet, one or two for the others.
func widthOf(kind byte, value uint32) byte {
	switch {
	case kind == typeFlowLabel:
		return 2
	case value > 0xff:
		return 1
	}
	return 0
}

func appendItem(b []byte, op byte, value uint32, width byte, last bool) []byte {
	if last {
		op |= opEnd
	}
	b = append(b, op|width<<opWidth)
	for shift := 8 << width; shift > 0; {
		shift -= 8
		b = append(b, byte(value>>shift))
	}
	return b
}
