package graphite

import (
	"encoding/binary"
	"io"
	"math"
	"net/netip"
	"strconv"

	"weir/userspace/traffic"
)

const (
	// A datagram that fits into one Ethernet frame behind most tunnels.
	mostDatagram = 1400
	// Half of what the receiver of pickles takes at most where nobody has changed that; and enough for a write to be worth its cost.
	mostBuffer = 64 << 10
)

// What a list of (path, (time, value)) is made of in protocol 2 of Python's pickle (Lib/pickletools.py describes each).
const (
	pickleStart   = "\x80\x02](" // PROTO 2, EMPTY_LIST, MARK
	pickleEnd     = "e."         // APPENDS, STOP
	pickleUnicode = 'X'          // length as 4 bytes, the lowest first, and UTF-8
	pickleInt     = 'J'          // int32, the lowest byte first
	pickleLong    = '\x8a'       // length as 1 byte, and so many of a number in two's complement, the lowest first
	pickleTuple2  = '\x86'       // of the two on top
	pickleHead    = 4            // the length in front of each, the highest byte first
)

// writer makes points out of paths and values and writes them when there are enough. The first error stays, and nothing is written after it.
type writer struct {
	out      io.Writer
	protocol string
	prefix0  string
	time     int64
	stamp    []byte // the time as it stands at the end of a line
	most     int
	name     []byte // the path so far
	buffer   []byte // the points so far
	err      error
}

func (w *writer) begin(o Options, out io.Writer, unix int64) {
	w.out, w.protocol, w.prefix0, w.time, w.err = out, o.Protocol, o.Prefix, unix, nil
	w.stamp = append(strconv.AppendInt(append(w.stamp[:0], ' '), unix, 10), '\n')
	w.most = mostBuffer
	if w.protocol == UDP {
		w.most = mostDatagram
	}
	w.buffer = w.buffer[:0]
}

// path starts a new path below the prefix.
func (w *writer) path(kind string) { w.name = append(append(w.name[:0], w.prefix0...), kind...) }

func (w *writer) more(node string) { w.name = append(w.name, node...) }

func (w *writer) direction(d int) {
	w.name = append(append(w.name, '.'), traffic.Direction(d).String()...)
}

// mark is where the path ends now; back cuts it there.
func (w *writer) mark() int     { return len(w.name) }
func (w *writer) back(mark int) { w.name = w.name[:mark] }

// prefix appends an address as one node, with its length where asked.
func (w *writer) prefix(p netip.Prefix, length bool) {
	start := len(w.name)
	w.name = p.Addr().AppendTo(w.name)
	for i := start; i < len(w.name); i++ {
		if c := w.name[i]; c == '.' || c == ':' {
			w.name[i] = '_'
		}
	}
	if length {
		w.name = strconv.AppendInt(append(w.name, '_'), int64(p.Bits()), 10)
	}
}

// point writes a value of what the path names.
func (w *writer) point(field string, value uint64) {
	before := len(w.buffer)
	w.encode(field, value)
	end := 0
	if w.protocol == Pickle {
		end = len(pickleEnd)
	}
	if len(w.buffer)+end <= w.most || before == 0 {
		return
	}
	// This one is too much: what was there before it goes out, and it starts the next.
	w.flush(before)
	w.buffer = w.buffer[:0]
	w.encode(field, value)
}

func (w *writer) encode(field string, value uint64) {
	if w.protocol == Pickle {
		if len(w.buffer) == 0 {
			w.buffer = append(append(w.buffer, 0, 0, 0, 0), pickleStart...)
		}
		w.buffer = append(w.buffer, pickleUnicode)
		w.buffer = binary.LittleEndian.AppendUint32(w.buffer, uint32(len(w.name)+1+len(field)))
		w.buffer = append(append(append(w.buffer, w.name...), '.'), field...)
		w.buffer = appendPickled(w.buffer, uint64(max(w.time, 0)))
		w.buffer = appendPickled(w.buffer, value)
		w.buffer = append(w.buffer, pickleTuple2, pickleTuple2)
		return
	}
	w.buffer = append(append(append(w.buffer, w.name...), '.'), field...)
	w.buffer = strconv.AppendUint(append(w.buffer, ' '), value, 10)
	w.buffer = append(w.buffer, w.stamp...)
}

// appendPickled appends a number that is not negative.
func appendPickled(b []byte, n uint64) []byte {
	if n <= math.MaxInt32 {
		return binary.LittleEndian.AppendUint32(append(b, pickleInt), uint32(n))
	}
	if n <= math.MaxInt64 {
		return binary.LittleEndian.AppendUint64(append(b, pickleLong, 8), n)
	}
	// The highest bit would be a sign: there is one byte more for it.
	return append(binary.LittleEndian.AppendUint64(append(b, pickleLong, 9), n), 0)
}

// flush writes the first n bytes of the buffer.
func (w *writer) flush(n int) {
	if n == 0 || w.err != nil {
		return
	}
	b := w.buffer[:n]
	if w.protocol == Pickle {
		b = append(b, pickleEnd...)
		binary.BigEndian.PutUint32(b, uint32(len(b)-pickleHead))
		w.buffer = b[:n]
	}
	_, w.err = w.out.Write(b)
}

// end writes what is left.
func (w *writer) end() error {
	w.flush(len(w.buffer))
	return w.err
}
