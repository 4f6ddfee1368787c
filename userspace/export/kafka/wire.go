package kafka

import (
	"math"
	"net/netip"

	"google.golang.org/protobuf/encoding/protowire"
)

// Appending one field of a message. As proto3 has it, a value of zero is not written.

func appendUint(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendBool(b []byte, field protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return appendUint(b, field, 1)
}

func appendDouble(b []byte, field protowire.Number, v float64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), math.Float64bits(v))
}

// appendString writes text of any origin; a reader of proto3 refuses the whole message for text that is not UTF-8.
func appendString(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), valid(s))
}

// appendAddress writes 4 or 16 bytes; the zero Addr is none.
func appendAddress(b []byte, field protowire.Number, a netip.Addr) []byte {
	switch {
	case a.Is4():
		four := a.As4()
		return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), four[:])
	case a.Is6():
		sixteen := a.As16()
		return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), sixteen[:])
	}
	return b
}

// open begins a message within a message, whose length is not yet known; shut puts it in. A length of one byte, which most have, is
// left room for, so that only a long message is moved.
func open(b []byte, field protowire.Number) (grown []byte, at int) {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return append(b, 0), len(b)
}

func shut(b []byte, at int) []byte {
	length := len(b) - at - 1
	more := protowire.SizeVarint(uint64(length)) - 1
	if more > 0 {
		var room [9]byte
		b = append(b, room[:more]...)
		copy(b[at+1+more:], b[at+1:len(b)-more])
	}
	protowire.AppendVarint(b[:at], uint64(length))
	return b
}
