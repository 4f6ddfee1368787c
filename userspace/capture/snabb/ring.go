package snabb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"weir/userspace/traffic"
)

// The ring that Snabb writes and Weir reads: one file, mapped by both. Values are in host byte order; firehose/ring.h and weir.lua have the
// same layout. Counters of the writer and of the reader stand on pages of their own. A record begins on a multiple of 8 bytes, with its
// length on the wire and how much of it follows; one that would not fit before the end is replaced by a mark, and begins anew at 0.
const (
	magic   = 0x474e495252494557 // "WEIRRING"
	version = 1

	atMagic     = 0    // u64
	atVersion   = 8    // u32
	atSize      = 16   // u64: bytes of the data, a power of two
	atWritten   = 24   // u64, the writer's: bytes written since the beginning
	atDropped   = 32   // u64, the writer's: frames that found no room
	atHeartbeat = 40   // u64, the writer's: changes several times a second
	atRead      = 4096 // u64, ours: bytes that we are done with
	dataBegin   = 2 * 4096

	recordHeader = 16         // u32 captured, u32 length, u64 time in ns since 1970, 0: unknown
	wrapMark     = 0xffffffff // in place of captured: the next record is at 0
	longest      = 10240      // bytes of a Snabb packet
)

// ring is the reader's end. One goroutine reads.
type ring struct {
	mem  []byte
	data []byte
}

func (r *ring) word(at int) *uint64 { return (*uint64)(unsafe.Pointer(&r.mem[at : at+8][0])) }

// format makes an empty ring of zeroed memory.
func format(mem []byte) (*ring, error) {
	size := len(mem) - dataBegin
	if size < 1<<16 || size&(size-1) != 0 {
		return nil, fmt.Errorf("make ring: %d bytes of data; expected a power of two from 64 KiB on", size)
	}
	binary.NativeEndian.PutUint32(mem[atVersion:], version)
	binary.NativeEndian.PutUint64(mem[atSize:], uint64(size))
	r := &ring{mem: mem, data: mem[dataBegin:]}
	atomic.StoreUint64(r.word(atMagic), magic) // last: a writer waits for it
	return r, nil
}

// attach reads a ring that somebody else has made.
func attach(mem []byte) (*ring, error) {
	if len(mem) < dataBegin {
		return nil, fmt.Errorf("attach to ring: %d bytes; expected %d at least", len(mem), dataBegin)
	}
	r := &ring{mem: mem, data: mem[dataBegin:]}
	size := binary.NativeEndian.Uint64(mem[atSize:])
	switch v := binary.NativeEndian.Uint32(mem[atVersion:]); {
	case atomic.LoadUint64(r.word(atMagic)) != magic:
		return nil, errors.New("attach to ring: not a ring of Weir's")
	case v != version:
		return nil, fmt.Errorf("attach to ring: version %d; expected %d", v, version)
	case size != uint64(len(r.data)) || size&(size-1) != 0:
		return nil, fmt.Errorf("attach to ring: it says %d bytes of data and has %d", size, len(r.data))
	}
	return r, nil
}

// skip lets go of all that is there.
func (r *ring) skip() { atomic.StoreUint64(r.word(atRead), atomic.LoadUint64(r.word(atWritten))) }

// at most so many frames in a row are read before whoever reads looks at the clock again.
const batch = 1024

// take hands over what has been written, at most a batch. A record that cannot be makes it skip all that is there.
func (r *ring) take(f *traffic.Frame, see func(*traffic.Frame)) (frames, broken uint64) {
	written := atomic.LoadUint64(r.word(atWritten))
	read := *r.word(atRead)
	for read != written && frames < batch {
		next, ok := r.record(f, read, written)
		if !ok {
			atomic.StoreUint64(r.word(atRead), written)
			return frames, broken + 1
		}
		if f.Data != nil {
			see(f)
			frames++
		}
		read = next
		atomic.StoreUint64(r.word(atRead), read)
	}
	return frames, broken
}

// record reads what stands at a count of bytes: a frame, or with f.Data nil, the mark that the next one is at the ring's beginning.
func (r *ring) record(f *traffic.Frame, read, written uint64) (next uint64, ok bool) {
	size := uint64(len(r.data))
	if written-read > size || read%8 != 0 {
		return 0, false
	}
	at := read & (size - 1)
	captured := binary.NativeEndian.Uint32(r.data[at:])
	if captured == wrapMark {
		*f = traffic.Frame{}
		next = read + size - at
		return next, written-read >= size-at
	}
	end := at + recordHeader + uint64(captured)
	next = read + recordHeader + (uint64(captured)+7)&^7
	if captured > longest || end > size || written-read < next-read {
		return 0, false
	}
	*f = traffic.Frame{
		Data:   r.data[at+recordHeader : end : end],
		Length: max(binary.NativeEndian.Uint32(r.data[at+4:]), captured),
		Time:   int64(binary.NativeEndian.Uint64(r.data[at+8:])),
	}
	if f.Time == 0 {
		f.Time = time.Now().UnixNano()
	}
	return next, true
}

// dropped is how many frames found no room; heartbeat changes while the writer lives.
func (r *ring) dropped() uint64   { return atomic.LoadUint64(r.word(atDropped)) }
func (r *ring) heartbeat() uint64 { return atomic.LoadUint64(r.word(atHeartbeat)) }
