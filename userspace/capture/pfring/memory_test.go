package pfring

import (
	"bytes"
	"encoding/binary"
	"testing"

	"weir/userspace/traffic"
)

// layout is a ring as the pf_ring module lays it out (linux/pf_ring.h of PF_RING 8.9), and the module's side of it.
type layout struct {
	mem    []byte
	header int // bytes before each packet
	most   int // bytes of the largest slot
}

// lay makes an empty ring. What the module does not write is 0xee: nobody may rely on it.
func lay(header, captured, slots int) *layout {
	l := &layout{header: header, most: (header + captured + 2 + 7) &^ 7}
	total := 8192 + slots*l.most
	l.mem = bytes.Repeat([]byte{0xee}, total)
	clear(l.mem[:72])
	clear(l.mem[4096:4112])
	binary.NativeEndian.PutUint16(l.mem, 21)                    // version
	binary.NativeEndian.PutUint16(l.mem[2:], 1)                 // sample_rate
	binary.NativeEndian.PutUint32(l.mem[4:], uint32(slots))     // min_num_slots
	binary.NativeEndian.PutUint32(l.mem[8:], uint32(l.most))    // slot_len
	binary.NativeEndian.PutUint32(l.mem[12:], uint32(captured)) // data_len
	l.put(16, uint64(total))
	return l
}

func (l *layout) get(at int) uint64    { return binary.NativeEndian.Uint64(l.mem[at:]) }
func (l *layout) put(at int, v uint64) { binary.NativeEndian.PutUint64(l.mem[at:], v) }

// full does what the module does to find out whether there is room (check_free_ring_slot of pf_ring.c).
func (l *layout) full() bool {
	insert, remove, slot := l.get(24), l.get(4104), uint64(l.most)
	switch {
	case insert == remove:
		return l.get(56)-l.get(4096) >= uint64(binary.NativeEndian.Uint32(l.mem[4:]))
	case insert < remove:
		return remove-insert < 2*slot
	}
	return uint64(len(l.mem)-8192)-insert < 3*slot && remove == 0
}

// insert does what the module does with one packet (copy_data_to_ring and get_next_slot_offset of pf_ring.c).
func (l *layout) insert(data []byte, length uint32, stamp uint64, device int32) bool {
	insert := l.get(24)
	l.put(40, l.get(40)+1) // tot_pkts
	if l.full() {
		l.put(48, l.get(48)+1) // tot_lost
		return false
	}
	slot := l.mem[8192+insert:]
	for i := range l.header {
		slot[i] = 0xee
	}
	binary.NativeEndian.PutUint64(slot, stamp/1e9)
	binary.NativeEndian.PutUint64(slot[8:], stamp%1e9/1e3)
	binary.NativeEndian.PutUint32(slot[16:], uint32(len(data)))
	binary.NativeEndian.PutUint32(slot[20:], length)
	binary.NativeEndian.PutUint64(slot[24:], stamp)
	binary.NativeEndian.PutUint32(slot[40:], uint32(device))
	copy(slot[l.header:], data)
	slot[l.header+len(data)], slot[l.header+len(data)+1] = 0x88, 0x88
	next := insert + uint64(l.header+len(data)+2+7)&^7
	if next+uint64(l.most) > uint64(len(l.mem)-8192) {
		next = 0
	}
	l.put(24, next)
	l.put(56, l.get(56)+1) // tot_insert
	return true
}

func (l *layout) ring(t testing.TB) *ring {
	t.Helper()
	r, err := newRing(l.mem, l.header)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// seen is a packet that outlives the call.
type seen struct {
	Data      string
	Length    uint32
	Time      int64
	Interface int32
}

// all takes until nothing is left.
func (r *ring) all() (list []seen, frames, broken uint64) {
	var f traffic.Frame
	for {
		n, b := r.take(&f, func(f *traffic.Frame) { list = append(list, seen{string(f.Data), f.Length, f.Time, f.Interface}) })
		frames, broken = frames+n, broken+b
		if n+b == 0 {
			return list, frames, broken
		}
	}
}
