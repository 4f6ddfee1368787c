package netmap

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"

	"weir/userspace/traffic"
)

// memory is the region that netmap shares with us. What it says is the kernel's word, but every offset is checked all the same.
type memory []byte

func (m memory) u16(at int) uint16 { return binary.NativeEndian.Uint16(m[at:]) }
func (m memory) u32(at int) uint32 { return binary.NativeEndian.Uint32(m[at:]) }
func (m memory) u64(at int) uint64 { return binary.NativeEndian.Uint64(m[at:]) }

// word is a counter that the kernel and we write at the same time.
func (m memory) word(at int) *uint32 { return (*uint32)(unsafe.Pointer(&m[at : at+4][0])) }

// holds reports whether n bytes from at on lie in the region.
func (m memory) holds(at, n int64) bool { return at >= 0 && n >= 0 && at <= int64(len(m))-n }

// ring is one receive ring.
type ring struct {
	mem     memory
	at      int   // where it lies in the region
	buffers int64 // where buffer 0 lies in the region
	slots   uint32
	bytes   int64 // of a buffer
	mask    uint64
	joined  []byte // a frame that lies in several buffers
}

// findRing locates a receive ring by its number; host rings follow those of the NIC.
func findRing(m memory, offset int64, number int, host bool) (*ring, error) {
	if !m.holds(offset, ifRings) {
		return nil, fmt.Errorf("read netmap memory: the interface lies at %d, outside of %d bytes", offset, len(m))
	}
	base := int(offset)
	tx, rx := int(m.u32(base+ifTxRings))+int(m.u32(base+ifHostTxRings)), int(m.u32(base+ifRxRings))
	most := rx
	if host {
		most = int(m.u32(base + ifHostRxRings))
	}
	if number < 0 || number >= most {
		return nil, fmt.Errorf("read netmap memory: no ring %d; there are %d", number, most)
	}
	index := tx + number
	if host {
		index += rx
	}
	entry := offset + ifRings + int64(index)*8
	if !m.holds(entry, 8) {
		return nil, fmt.Errorf("read netmap memory: the offset of ring %d lies outside of %d bytes", number, len(m))
	}
	at := offset + int64(m.u64(int(entry)))
	if !m.holds(at, ringFirst) || at%4 != 0 {
		return nil, fmt.Errorf("read netmap memory: ring %d lies at %d, outside of %d bytes", number, at, len(m))
	}
	r := &ring{mem: m, at: int(at)}
	r.slots, r.bytes = m.u32(r.at+ringSlots), int64(m.u32(r.at+ringBufBytes))
	r.buffers, r.mask = at+int64(m.u64(r.at+ringBuffers)), m.u64(r.at+ringMask)
	if r.slots == 0 || !m.holds(at+ringFirst, int64(r.slots)*slotBytes) || r.bytes == 0 {
		return nil, fmt.Errorf("read netmap memory: ring %d has %d slots of %d bytes, which the region does not hold", number, r.slots, r.bytes)
	}
	binary.NativeEndian.PutUint32(m[r.at+ringFlags:], m.u32(r.at+ringFlags)|ringStamps)
	return r, nil
}

// taken is what one look at a ring has brought.
type taken struct {
	frames uint64
	broken uint64 // slots whose buffer lies outside of the region, frames of too many parts
}

// take hands over all frames that have come, and gives their slots back: the kernel has them at the next synchronization. A frame
// whose last part is not there yet stays, unless the ring is full.
func (r *ring) take(f *traffic.Frame, see func(*traffic.Frame)) taken {
	var t taken
	head := *r.mem.word(r.at + ringHead)
	tail := atomic.LoadUint32(r.mem.word(r.at + ringTail))
	if head >= r.slots || tail >= r.slots {
		return taken{broken: 1}
	}
	f.Time = int64(r.mem.u64(r.at+ringSeconds))*1e9 + int64(r.mem.u64(r.at+ringMicros))*1e3
	for head != tail {
		next, whole, ok := r.frame(f, head, tail)
		if !whole {
			if r.after(tail) == head { // and never will be: there is no room for more
				t.broken++
				head = tail
			}
			break
		}
		if ok {
			t.frames++
			see(f)
		} else {
			t.broken++
		}
		head = next
	}
	atomic.StoreUint32(r.mem.word(r.at+ringCur), head)
	atomic.StoreUint32(r.mem.word(r.at+ringHead), head)
	return t
}

func (r *ring) after(slot uint32) uint32 {
	if slot++; slot == r.slots {
		return 0
	}
	return slot
}

// frame reads the frame that begins at slot head. It returns the slot behind it, whether all of it is there, and whether it can be read.
func (r *ring) frame(f *traffic.Frame, head, tail uint32) (next uint32, whole, ok bool) {
	data, more, ok := r.buffer(head)
	next = r.after(head)
	if !more {
		f.Data, f.Length = data, uint32(len(data))
		return next, true, ok
	}
	r.joined = append(r.joined[:0], data...)
	for parts := 1; more; parts++ {
		if next == tail {
			return head, false, false
		}
		if parts == fragmentsMost {
			return next, true, false
		}
		var good bool
		data, more, good = r.buffer(next)
		ok = ok && good
		r.joined = append(r.joined, data...)
		next = r.after(next)
	}
	f.Data, f.Length = r.joined, uint32(len(r.joined))
	return next, true, ok
}

// buffer is what a slot holds, and whether the frame goes on in the next one.
func (r *ring) buffer(slot uint32) (data []byte, more, ok bool) {
	at := r.at + ringFirst + int(slot)*slotBytes
	length := int64(r.mem.u16(at + slotLength))
	more = r.mem.u16(at+slotFlags)&slotMoreFrag != 0
	begin := r.buffers + int64(r.mem.u32(at+slotBuffer))*r.bytes + int64(r.mem.u64(at+slotPtr)&r.mask)
	if length > r.bytes || !r.mem.holds(begin, length) {
		return nil, more, false
	}
	return r.mem[begin : begin+length], more, true
}
