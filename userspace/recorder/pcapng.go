package recorder

import (
	"encoding/binary"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"weir/userspace/traffic"
)

// Blocks and options of draft-ietf-opsawg-pcapng. All numbers are little endian, all options and frames are filled up to 4 bytes.
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockStatistics = 5
	blockPacket     = 6

	byteOrderMagic = 0x1a2b3c4d

	optionEnd             = 0
	optionComment         = 1
	optionSectionOS       = 3
	optionSectionProgram  = 4
	optionInterfaceName   = 2
	optionInterfaceDigits = 9 // of the fraction of a second that times are counted in
	optionStatsBegan      = 2
	optionStatsEnded      = 3
	optionStatsReceived   = 4
	optionStatsDropped    = 5
)

const (
	blockFrame = 12 // a block's type and its length, twice

	// A section's comment has its place and its length, so that it can be written again when more is known of the attack: only text
	// changes then, and a crash in the middle of it leaves a file that can be read.
	sectionCommentAt    = 28
	sectionCommentBytes = 2048

	packetCommentBytes = 512
	nameBytes          = 64
)

// block begins a block behind b; finish ends it, given where it began.
func block(b []byte, kind uint32) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, kind), 0)
}

func finish(b []byte, at int) []byte {
	length := uint32(len(b) - at + 4)
	binary.LittleEndian.PutUint32(b[at+4:], length)
	return binary.LittleEndian.AppendUint32(b, length)
}

// fill adds what is missing up to a multiple of 4.
func fill(b []byte, length int) []byte {
	return append(b, make([]byte, (4-length%4)%4)...)
}

func option[T string | []byte](b []byte, code uint16, value T) []byte {
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	return fill(append(b, value...), len(value))
}

func numberOption(b []byte, code uint16, value uint64) []byte {
	return option(b, code, binary.LittleEndian.AppendUint64(nil, value))
}

// timeOption writes a time as its halves, the high one first.
func timeOption(b []byte, code uint16, t time.Time) []byte {
	return option(b, code, appendTime(nil, t))
}

func appendTime(b []byte, t time.Time) []byte {
	ns := nanoseconds(t)
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, uint32(ns>>32)), uint32(ns))
}

// appendSection begins a section. Its length is left open, for it goes on as the attack does.
func appendSection(b []byte, comment, system string) []byte {
	at := len(b)
	b = block(b, blockSection)
	b = binary.LittleEndian.AppendUint32(b, byteOrderMagic)
	b = append(b, 1, 0, 0, 0) // version 1.0
	b = binary.LittleEndian.AppendUint64(b, 1<<64-1)
	b = option(b, optionComment, sectionComment(comment))
	b = option(b, optionSectionOS, system)
	b = option(b, optionSectionProgram, "Weir")
	return finish(option(b, optionEnd, ""), at)
}

// sectionComment is a comment as long as its place.
func sectionComment(text string) []byte {
	text = printable(text, sectionCommentBytes)
	return append([]byte(text), strings.Repeat(" ", sectionCommentBytes-len(text))...)
}

// appendInterface describes an interface. All have the same snapshot length: libpcap refuses a file where they differ.
func appendInterface(b []byte, name string, link traffic.Link) []byte {
	at := len(b)
	b = block(b, blockInterface)
	b = binary.LittleEndian.AppendUint16(b, linkType(link))
	b = append(b, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, traffic.SampleBytes)
	b = option(b, optionInterfaceName, printable(name, nameBytes))
	b = option(b, optionInterfaceDigits, []byte{9})
	return finish(option(b, optionEnd, ""), at)
}

// appendPacket writes a frame of the section's so-manieth interface, and a comment unless it is empty.
func appendPacket(b []byte, number uint32, f *Frame, comment string) []byte {
	at := len(b)
	b = block(b, blockPacket)
	b = binary.LittleEndian.AppendUint32(b, number)
	b = appendTime(b, f.Time)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Data)))
	b = binary.LittleEndian.AppendUint32(b, f.Length)
	b = fill(append(b, f.Data...), len(f.Data))
	if comment != "" {
		b = option(option(b, optionComment, printable(comment, packetCommentBytes)), optionEnd, "")
	}
	return finish(b, at)
}

// appendStatistics says how many frames there were on an interface and how many of them were not written.
func appendStatistics(b []byte, number uint32, began, ended time.Time, seen, left uint64) []byte {
	at := len(b)
	b = block(b, blockStatistics)
	b = binary.LittleEndian.AppendUint32(b, number)
	b = appendTime(b, ended)
	b = timeOption(b, optionStatsBegan, began)
	b = timeOption(b, optionStatsEnded, ended)
	b = numberOption(b, optionStatsReceived, seen)
	b = numberOption(b, optionStatsDropped, left)
	return finish(option(b, optionEnd, ""), at)
}

// linkType is a link's number at www.tcpdump.org/linktypes.html.
func linkType(l traffic.Link) uint16 {
	switch l {
	case traffic.LinkEthernet:
		return 1
	case traffic.LinkIP:
		return 101
	case traffic.LinkPPP:
		return 9
	case traffic.LinkMPLS:
		return 219
	case traffic.LinkSLL:
		return 113
	case traffic.LinkSLL2:
		return 276
	case traffic.LinkNull:
		return 0
	}
	return 147 // the first of those for private use
}

// printable is text that can be shown on a terminal, cut to so many bytes between two characters.
func printable(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) <= most {
		return text
	}
	for !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}
