package afxdp

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/userspace/traffic"
)

// chunk is how many bytes a buffer has. The kernel leaves the first 256 of them free.
const chunk = 4096

// queue is one of the two rings of a socket that matter here, as the kernel maps it (Documentation/networking/af_xdp.rst): of
// descriptors E, and two counters that wrap around, one moved by us and one by the kernel.
type queue[E uint64 | unix.XDPDesc] struct {
	producer, consumer, flags *uint32
	entries                   []E // a power of two of them
}

// mapQueue finds a ring's parts in its memory.
func mapQueue[E uint64 | unix.XDPDesc](memory []byte, at *unix.XDPRingOffset, entries int) queue[E] {
	word := func(offset uint64) *uint32 { return (*uint32)(unsafe.Pointer(&memory[offset])) }
	return queue[E]{
		producer: word(at.Producer), consumer: word(at.Consumer), flags: word(at.Flags),
		entries: unsafe.Slice((*E)(unsafe.Pointer(&memory[at.Desc])), entries),
	}
}

// reader takes frames out of the receive ring, and gives their buffers back by the fill ring, which never overflows since it has
// room for all of them.
type reader struct {
	buffers []byte // the memory that frames lie in, chunk by chunk
	fill    queue[uint64]
	receive queue[unix.XDPDesc]
	frame   traffic.Frame
	partly  bool   // the descriptors of a frame are not all there yet
	broken  bool   // the frame in the making has a descriptor that points nowhere
	first   uint64 // buffer of the frame's beginning, given back with the frame
	held    bool
}

// batch is how many frames are taken before their buffers go back: few enough that the kernel never waits for them.
const batch = 64

// supply gives all buffers to the kernel, which must be done once.
func (r *reader) supply() {
	for i := range len(r.buffers) / chunk {
		r.give(uint64(i * chunk))
	}
}

// give puts a buffer into the fill ring. The store of the counter comes after that of the entry, for the kernel too.
func (r *reader) give(address uint64) {
	at := *r.fill.producer // ours alone
	r.fill.entries[at&uint32(len(r.fill.entries)-1)] = address &^ (chunk - 1)
	atomic.StoreUint32(r.fill.producer, at+1)
}

// hungry says whether the kernel wants to be woken to look at the fill ring.
func (r *reader) hungry() bool {
	return atomic.LoadUint32(r.fill.flags)&unix.XDP_RING_NEED_WAKEUP != 0
}

// ready says whether there is something to take.
func (r *reader) ready() bool {
	return atomic.LoadUint32(r.receive.producer) != *r.receive.consumer
}

// take hands over the frames of at most one batch of descriptors. What a frame has beyond its first buffer is counted in its length only.
func (r *reader) take(now int64, see func(*traffic.Frame)) (frames, broken uint64) {
	at := *r.receive.consumer // ours alone
	end := at + min(atomic.LoadUint32(r.receive.producer)-at, batch)
	f := &r.frame
	for ; at != end; at++ {
		d := &r.receive.entries[at&uint32(len(r.receive.entries)-1)]
		address, length, more := d.Addr, d.Len, d.Options&unix.XDP_PKT_CONTD != 0
		inside := address < uint64(len(r.buffers)) && uint64(length) <= chunk-address%chunk
		if !inside {
			r.broken = true
		}
		switch {
		case r.partly:
			f.Length += length
			if inside {
				r.give(address)
			}
		case inside:
			f.Data, f.Length = r.buffers[address:][:length:length], length
			r.first, r.held = address, true
		}
		if r.partly = more; more {
			continue
		}
		if r.broken {
			broken++
		} else {
			f.Time = now
			see(f)
			frames++
		}
		if r.held {
			r.give(r.first)
		}
		f.Data, r.broken, r.held = nil, false, false
	}
	atomic.StoreUint32(r.receive.consumer, at)
	return frames, broken
}
