package netmap

import (
	"bytes"
	"encoding/binary"
	"testing"

	"weir/userspace/traffic"
)

// layout is netmap's memory as the kernel lays it out for a port (net/netmap.h of API 14), and the kernel's side of its rings.
type layout struct {
	mem    memory
	offset int64 // of the netmap_if
	tx, rx int
	host   int // of each kind
	slots  int
	bytes  int // of a buffer
	// where things lie, from the beginning
	rings   []int // in the order of ring_ofs
	buffers int
}

// lay makes the memory of a port. What it does not use is 0xee: nobody may rely on it.
func lay(tx, rx, host, slots, bytesOf int) *layout {
	l := &layout{offset: 1024, tx: tx, rx: rx, host: host, slots: slots, bytes: bytesOf}
	count := tx + rx + 2*host
	ringBytes := (256 + slots*16 + 63) &^ 63
	first := 4096
	l.buffers = first + count*ringBytes
	l.mem = bytes.Repeat([]byte{0xee}, l.buffers+(count*slots+8)*bytesOf)
	u32 := func(at int, v uint32) { binary.NativeEndian.PutUint32(l.mem[at:], v) }
	u64 := func(at int, v int) { binary.NativeEndian.PutUint64(l.mem[at:], uint64(v)) }
	base := int(l.offset)
	copy(l.mem[base:], "eth1\x00")
	u32(base+16, 14)
	u32(base+24, uint32(tx))
	u32(base+28, uint32(rx))
	u32(base+36, uint32(host))
	u32(base+40, uint32(host))
	buffer := uint32(2) // netmap's 0 and 1 are its own
	for i := range count {
		at := first + i*ringBytes
		l.rings = append(l.rings, at)
		u64(base+56+8*i, at-base) // i64 ring_ofs, from the netmap_if on
		u64(at, l.buffers-at)     // i64 buf_ofs, from the ring on
		u32(at+8, uint32(slots))
		u32(at+12, uint32(bytesOf))
		binary.NativeEndian.PutUint16(l.mem[at+18:], uint16(b2i(i >= tx+host)))
		u32(at+20, 0) // head, cur, tail, flags
		u32(at+24, 0)
		u32(at+28, 0)
		u32(at+32, 0)
		u64(at+40, 1700000000) // time stamp of the last synchronization
		u64(at+48, 250000)
		u64(at+56, 0) // offset_mask: slots have no offsets
		for s := range slots {
			u32(at+256+16*s, buffer)
			buffer++
		}
	}
	return l
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// receiving is the index of a receive ring: transmit rings, host transmit rings, receive rings, host receive rings.
func (l *layout) receiving(number int, host bool) int {
	if host {
		return l.tx + l.host + l.rx + number
	}
	return l.tx + l.host + number
}

func (l *layout) u32(at int) uint32       { return binary.NativeEndian.Uint32(l.mem[at:]) }
func (l *layout) put32(at int, v uint32)  { binary.NativeEndian.PutUint32(l.mem[at:], v) }
func (l *layout) slot(ring, slot int) int { return l.rings[ring] + 256 + 16*slot }

// room is how many slots the kernel may fill: one less than are free, or a full ring would look empty.
func (l *layout) room(ring int) int {
	at := l.rings[ring]
	return (int(l.u32(at+20)) - int(l.u32(at+28)) - 1 + l.slots) % l.slots
}

// deliver does what the kernel does with one frame: parts of at most a buffer each, all but the last with NS_MOREFRAG, then tail.
func (l *layout) deliver(ring int, parts ...[]byte) bool {
	if l.room(ring) < len(parts) {
		return false
	}
	at := l.rings[ring]
	tail := int(l.u32(at + 28))
	for i, p := range parts {
		l.fill(ring, tail, p, i < len(parts)-1)
		tail = (tail + 1) % l.slots
	}
	l.put32(at+28, uint32(tail))
	return true
}

func (l *layout) fill(ring, slot int, data []byte, more bool) {
	s := l.slot(ring, slot)
	buffer := l.u32(s)
	copy(l.mem[l.buffers+int(buffer)*l.bytes:], data)
	binary.NativeEndian.PutUint16(l.mem[s+4:], uint16(len(data)))
	flags := uint16(0)
	if more {
		flags = 0x20
	}
	binary.NativeEndian.PutUint16(l.mem[s+6:], flags)
	binary.NativeEndian.PutUint64(l.mem[s+8:], 0)
}

// find opens a ring.
func (l *layout) find(t testing.TB, number int, host bool) *ring {
	t.Helper()
	r, err := findRing(l.mem, l.offset, number, host)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// seen is a frame that outlives the call.
type seen struct {
	Data   string
	Length uint32
	Time   int64
}

func (r *ring) all() (list []seen, t taken) {
	var f traffic.Frame
	t = r.take(&f, func(f *traffic.Frame) { list = append(list, seen{string(f.Data), f.Length, f.Time}) })
	return list, t
}
