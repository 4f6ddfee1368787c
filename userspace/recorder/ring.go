// Package recorder keeps what attacks were made of: the beginnings of sampled frames in a ring in memory, always, and from there, for
// each attack, a capture file and a record on disk.
//
// The ring is also the queue between those who sample and the Keeper that writes: Add copies a frame into it and never waits for a
// disk, and an attack's capture begins with frames that came before the attack was detected. When the disk is slower than the ring
// turns, frames are lost and counted, and nothing else happens.
package recorder

import (
	"encoding/binary"
	"iter"
	"math"
	"net/netip"
	"sync"
	"time"

	"weir/userspace/traffic"
)

// DefaultRingBytes is how large a ring is when nobody says.
const DefaultRingBytes = 8 << 20

const (
	minRingBytes = 64 << 10
	headBytes    = 64 // in front of each frame's bytes in the ring
	align        = 8
)

// Frame is the beginning of one sampled frame and whose it is.
type Frame struct {
	traffic.Sample
	Link     traffic.Link
	To, From netip.Addr // of the IP packet that counts: with tunnels, the one inside

	data [traffic.SampleBytes]byte
}

// Ring holds the newest frames in a fixed number of bytes. Its methods may be called by any goroutine.
type Ring struct {
	mu     sync.Mutex
	buffer []byte
	oldest cursor // of what is kept
	end    cursor // behind the newest
	empty  uint64
}

// cursor is a place in the ring.
type cursor struct {
	at    uint64 // bytes since the ring was made; its place in the buffer is the remainder
	frame uint64 // frames since the ring was made
}

// RingStats is a snapshot of a ring's counters.
type RingStats struct {
	Bytes int    // its size
	Added uint64 // frames since it was made
	Kept  uint64 // of these, in it now
	Empty uint64 // samples without a byte, which are not kept
}

// NewRing returns a ring of so many bytes, 0 meaning DefaultRingBytes, and no fewer than 64 KiB. A frame takes 64 bytes and what is kept of it.
func NewRing(bytes int) *Ring {
	if bytes <= 0 {
		bytes = DefaultRingBytes
	}
	return &Ring{buffer: make([]byte, max(bytes, minRingBytes)/align*align)}
}

// Stats returns the counters as they are now.
func (r *Ring) Stats() RingStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return RingStats{Bytes: len(r.buffer), Added: r.end.frame, Kept: r.end.frame - r.oldest.frame, Empty: r.empty}
}

// Add copies a sample into the ring, at most traffic.SampleBytes of it, in place of the oldest ones. It allocates nothing.
// A sample that has more bytes than it says the frame had is as long as they are.
func (r *Ring) Add(s *traffic.Sample, link traffic.Link, to, from netip.Addr) {
	data := s.Data[:min(len(s.Data), traffic.SampleBytes)]
	size := (headBytes + len(data) + align - 1) / align * align
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(data) == 0 {
		r.empty++
		return
	}
	if left := r.left(r.end.at); left < size {
		// A frame is kept in one piece: what is too little at the end is left out, and says so by a size of 0.
		r.makeRoom(left)
		binary.NativeEndian.PutUint32(r.buffer[len(r.buffer)-left:], 0)
		r.end.at += uint64(left)
	}
	r.makeRoom(size)
	b := r.buffer[len(r.buffer)-r.left(r.end.at):][:size]
	length := uint32(min(len(s.Data), math.MaxInt32))
	binary.NativeEndian.PutUint32(b, uint32(size))
	binary.NativeEndian.PutUint32(b[4:], max(s.Length, length))
	binary.NativeEndian.PutUint64(b[8:], nanoseconds(s.Time))
	binary.NativeEndian.PutUint32(b[16:], s.Rate)
	binary.NativeEndian.PutUint32(b[20:], kernelIndex(s.Interface))
	binary.NativeEndian.PutUint16(b[24:], uint16(len(data)))
	b[26], b[27] = byte(link), family(to)|family(from)<<4
	putAddress(b[32:48], to)
	putAddress(b[48:64], from)
	copy(b[headBytes:], data)
	r.end.at += uint64(size)
	r.end.frame++
}

// left is how many bytes there are from a place to the buffer's end.
func (r *Ring) left(at uint64) int { return len(r.buffer) - int(at%uint64(len(r.buffer))) }

// makeRoom forgets the oldest frames until there is room for size bytes more.
func (r *Ring) makeRoom(size int) {
	for r.end.at+uint64(size)-r.oldest.at > uint64(len(r.buffer)) {
		r.step(&r.oldest)
	}
}

// step moves a cursor that is in front of the end over what is there: a frame, or the gap at the buffer's end.
func (r *Ring) step(c *cursor) {
	left := r.left(c.at)
	size := binary.NativeEndian.Uint32(r.buffer[len(r.buffer)-left:])
	if size == 0 {
		c.at += uint64(left)
		return
	}
	c.at += uint64(size)
	c.frame++
}

// bounds are the oldest frame's place and the one behind the newest.
func (r *Ring) bounds() (oldest, end cursor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.oldest, r.end
}

// next copies the frame at c, or if that is gone the oldest, into f and moves c behind it. It reports how many frames are gone
// since c was there, and whether there was a frame at all.
func (r *Ring) next(c *cursor, f *Frame) (missed uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.at < r.oldest.at {
		missed = r.oldest.frame - c.frame
		*c = r.oldest
	}
	for c.at < r.end.at {
		b := r.buffer[len(r.buffer)-r.left(c.at):]
		r.step(c)
		if binary.NativeEndian.Uint32(b) != 0 {
			f.decode(b)
			return missed, true
		}
	}
	return missed, false
}

// Of returns the frames that make up a target's traffic, in its direction, from since on and as far as they are kept, in the order of
// their arrival. A frame is valid until the next one. Those that come after the call are not among them. Of a hostgroup there are none:
// which addresses it has is not known here, see Matching.
func (r *Ring) Of(t traffic.Target, since time.Time) iter.Seq[*Frame] {
	return r.Matching(func(f *Frame) bool { return matches(&t, f, nil) }, since)
}

// Matching is Of for any choice of frames.
func (r *Ring) Matching(match func(*Frame) bool, since time.Time) iter.Seq[*Frame] {
	oldest, end := r.bounds()
	return func(yield func(*Frame) bool) {
		f, c := new(Frame), oldest
		for c.frame < end.frame {
			if _, ok := r.next(&c, f); !ok || c.frame > end.frame {
				return
			}
			if !f.Time.Before(since) && match(f) && !yield(f) {
				return
			}
		}
	}
}

// matches reports whether a frame is of a target's traffic. group names the hostgroup of an address and may be nil.
func matches(t *traffic.Target, f *Frame, group func(netip.Addr) string) bool {
	ours := f.To
	if t.Direction == traffic.Outgoing {
		ours = f.From
	}
	if t.Scope == traffic.ScopeGroup {
		return group != nil && ours.IsValid() && group(ours) == t.Group
	}
	return t.Prefix.Contains(ours)
}

func (f *Frame) decode(b []byte) {
	n := copy(f.data[:], b[headBytes:][:binary.NativeEndian.Uint16(b[24:])])
	f.Sample = traffic.Sample{
		Time:      time.Unix(0, int64(binary.NativeEndian.Uint64(b[8:]))),
		Interface: int(binary.NativeEndian.Uint32(b[20:])),
		Rate:      binary.NativeEndian.Uint32(b[16:]),
		Length:    binary.NativeEndian.Uint32(b[4:]),
		Data:      f.data[:n],
	}
	f.Link = traffic.Link(b[26])
	f.To, f.From = address(b[32:48], b[27]&0xf), address(b[48:64], b[27]>>4)
}

// nanoseconds since 1970; 0 for what is earlier or too late to be written in 63 bits.
func nanoseconds(t time.Time) uint64 {
	if s := t.Unix(); s < 0 || s >= math.MaxInt64/int64(time.Second) {
		return 0
	}
	return uint64(t.UnixNano())
}

// kernelIndex is an interface's number as it fits into the ring; 0 (unknown) if it is none that a kernel gives.
func kernelIndex(i int) uint32 {
	if i < 0 || i > math.MaxInt32 {
		return 0
	}
	return uint32(i)
}

func family(a netip.Addr) byte {
	switch {
	case a.Is4():
		return 4
	case a.Is6():
		return 6
	}
	return 0
}

func putAddress(b []byte, a netip.Addr) {
	if a.IsValid() {
		bytes := a.As16()
		copy(b, bytes[:])
	}
}

func address(b []byte, family byte) netip.Addr {
	switch family {
	case 4:
		return netip.AddrFrom16([16]byte(b)).Unmap()
	case 6:
		return netip.AddrFrom16([16]byte(b))
	}
	return netip.Addr{}
}
