package pfring

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"weir/userspace/traffic"
)

// ring is the memory that the module shares with us. One goroutine reads it.
type ring struct {
	mem    []byte
	header int    // bytes of a slot before its packet
	most   uint64 // bytes of the largest slot
	slots  []byte // all of them
	lost   bool   // nobody knows where the next slot begins: the ring must be opened anew
}

// word is a counter that the module or we write while the other reads.
func word(mem []byte, at int) *uint64 { return (*uint64)(unsafe.Pointer(&mem[at : at+8][0])) }

// newRing checks a ring's own description of itself.
func newRing(mem []byte, header int) (*ring, error) {
	if len(mem) < infoBytes {
		return nil, fmt.Errorf("read PF_RING ring: %d bytes; expected %d at least", len(mem), infoBytes)
	}
	if v := binary.NativeEndian.Uint16(mem[infoVersion:]); v != flowSlotABI {
		return nil, fmt.Errorf("read PF_RING ring: slots have version %d and not %d; install pf_ring 8.x, or build Weir with the tag libpfring", v, flowSlotABI)
	}
	r := &ring{mem: mem, header: header, most: uint64(binary.NativeEndian.Uint32(mem[infoSlotMost:])), slots: mem[infoBytes:]}
	if header < shortHeader || r.most < uint64(header+magicBytes) || r.most > uint64(len(r.slots)) {
		return nil, fmt.Errorf("read PF_RING ring: slots of %d bytes with a header of %d do not fit a ring of %d", r.most, header, len(mem))
	}
	return r, nil
}

// at most so many packets in a row are read before whoever reads looks at the clock again.
const batch = 1024

// take hands over what has come, at most a batch, and says how much that was. A slot that cannot be ends the ring's use: nobody knows
// where the next one begins.
func (r *ring) take(f *traffic.Frame, see func(*traffic.Frame)) (frames, broken uint64) {
	if r.lost {
		return 0, 0
	}
	inserted := atomic.LoadUint64(word(r.mem, infoInserted))
	read, offset := *word(r.mem, ourRead), *word(r.mem, ourOffset)
	for read != inserted && frames < batch {
		next, ok := r.packet(f, offset)
		if !ok {
			r.lost = true
			return frames, min(inserted-read, uint64(len(r.slots)/r.header)) // no more than it can hold, whatever it says
		}
		see(f)
		frames++
		read, offset = read+1, next
		r.letGo(read, offset)
	}
	return frames, 0
}

// letGo tells the module what we are done with, in the order that its own library does.
func (r *ring) letGo(read, offset uint64) {
	atomic.StoreUint64(word(r.mem, ourRead), read)
	atomic.StoreUint64(word(r.mem, ourOffset), offset)
}

// packet reads the slot at an offset, and says where the next one is.
func (r *ring) packet(f *traffic.Frame, offset uint64) (next uint64, ok bool) {
	if offset > uint64(len(r.slots)) || uint64(len(r.slots))-offset < uint64(r.header+magicBytes) {
		return 0, false
	}
	slot := r.slots[offset:]
	captured := binary.NativeEndian.Uint32(slot[headCaptured:])
	if uint64(captured) > uint64(len(slot)-r.header-magicBytes) || captured > longestCapture {
		return 0, false
	}
	end := r.header + int(captured)
	if slot[end] != 0x88 || slot[end+1] != 0x88 {
		return 0, false
	}
	*f = traffic.Frame{
		Data:      slot[r.header:end],
		Length:    max(binary.NativeEndian.Uint32(slot[headLength:]), captured),
		Time:      int64(binary.NativeEndian.Uint64(slot[headTime:])),
		Interface: int32(binary.NativeEndian.Uint32(slot[headInterface:])),
	}
	if f.Time == 0 {
		f.Time = time.Now().UnixNano()
	}
	next = offset + (uint64(end)+magicBytes+7)&^7
	if next+r.most > uint64(len(r.slots)) {
		next = 0
	}
	return next, true
}

// counts are the packets that came, and those of them that found no room.
func (r *ring) counts() (packets, lost uint64) {
	return atomic.LoadUint64(word(r.mem, infoPackets)), atomic.LoadUint64(word(r.mem, infoLost))
}
