package netmap

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

const stamp = 1700000000250000000

// Each ring is found where the header says, the host's behind the NIC's, and only receive rings.
func TestFindRing(t *testing.T) {
	l := lay(3, 2, 1, 8, 2048)
	for _, tt := range []struct {
		number int
		host   bool
		index  int
	}{{0, false, 4}, {1, false, 5}, {0, true, 6}} {
		r := l.find(t, tt.number, tt.host)
		if r.at != l.rings[tt.index] || l.receiving(tt.number, tt.host) != tt.index {
			t.Errorf("ring %d, host %v: found at %d, want %d", tt.number, tt.host, r.at, l.rings[tt.index])
		}
		if dir := binary.NativeEndian.Uint16(l.mem[r.at+18:]); dir != 1 {
			t.Errorf("ring %d, host %v: direction %d", tt.number, tt.host, dir)
		}
		if flags := l.u32(r.at + 32); flags&2 == 0 {
			t.Errorf("ring %d, host %v: time stamps are not asked for", tt.number, tt.host)
		}
	}
}

// Frames come out in their order over many turns of a ring whose number of slots is no power of two; head and cur follow.
func TestWrapAround(t *testing.T) {
	l := lay(1, 1, 1, 7, 256)
	index := l.receiving(0, false)
	r := l.find(t, 0, false)
	sent := 0
	for round := range 50 {
		var want []seen
		for range 1 + round%6 {
			data := fmt.Sprintf("frame %d %s", sent, strings.Repeat("x", sent%200))
			if !l.deliver(index, []byte(data)) {
				t.Fatalf("round %d: no room", round)
			}
			want = append(want, seen{data, uint32(len(data)), stamp})
			sent++
		}
		got, n := r.all()
		if diff := cmp.Diff(got, want); diff != "" || n != (taken{frames: uint64(len(want))}) {
			t.Fatalf("round %d: %+v (-got +want)\n%s", round, n, diff)
		}
		if head, cur, tail := l.u32(r.at+20), l.u32(r.at+24), l.u32(r.at+28); head != tail || cur != tail {
			t.Fatalf("round %d: head %d, cur %d, tail %d", round, head, cur, tail)
		}
	}
}

// A full ring, which is one slot less than it has, is taken whole; then the kernel has room again.
func TestOverrun(t *testing.T) {
	l := lay(1, 1, 0, 8, 256)
	index := l.receiving(0, false)
	r := l.find(t, 0, false)
	for turn := range 3 {
		n := 0
		for ; l.deliver(index, []byte("frame")); n++ {
		}
		if n != 7 {
			t.Fatalf("turn %d: %d frames had room, want 7", turn, n)
		}
		if _, got := r.all(); got != (taken{frames: 7}) {
			t.Errorf("turn %d: got %+v", turn, got)
		}
	}
}

// A frame of several buffers is one frame, also across the end of the ring; what is not whole yet waits.
func TestFragments(t *testing.T) {
	l := lay(1, 1, 0, 10, 64)
	index := l.receiving(0, false)
	r := l.find(t, 0, false)
	part := func(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }
	for turn := range 20 {
		l.deliver(index, part('a', 64), part('b', 64), part('c', 10))
		l.deliver(index, part('d', 5))
		got, n := r.all()
		want := []seen{{strings.Repeat("a", 64) + strings.Repeat("b", 64) + strings.Repeat("c", 10), 138, stamp}, {"ddddd", 5, stamp}}
		if diff := cmp.Diff(got, want); diff != "" || n != (taken{frames: 2}) {
			t.Fatalf("turn %d: %+v (-got +want)\n%s", turn, n, diff)
		}
	}
	// The first two of three parts.
	at, tail := l.rings[index], int(l.u32(l.rings[index]+28))
	l.fill(index, tail, part('x', 64), true)
	l.fill(index, (tail+1)%10, part('y', 64), true)
	l.put32(at+28, uint32((tail+2)%10))
	if got, n := r.all(); len(got) != 0 || n != (taken{}) || l.u32(at+20) != uint32(tail) {
		t.Errorf("a frame that is not whole: %v, %+v, head %d", got, n, l.u32(at+20))
	}
	l.fill(index, (tail+2)%10, part('z', 1), false)
	l.put32(at+28, uint32((tail+3)%10))
	if got, _ := r.all(); len(got) != 1 || got[0].Length != 129 {
		t.Errorf("once it is whole: %v", got)
	}
}

// More parts than any frame has are given up, and what follows is read.
func TestEndlessFrame(t *testing.T) {
	l := lay(1, 1, 0, 200, 64)
	index := l.receiving(0, false)
	r := l.find(t, 0, false)
	parts := make([][]byte, fragmentsMost+1)
	for i := range parts {
		parts[i] = []byte("part")
	}
	l.deliver(index, parts...)
	l.deliver(index, []byte("next"))
	got, n := r.all()
	if n.broken != 1 || len(got) == 0 || got[len(got)-1].Data != "next" {
		t.Errorf("got %v, %+v", got, n)
	}
}

// A full ring that does not hold one whole frame would wait for ever: it is given up.
func TestFrameLargerThanRing(t *testing.T) {
	l := lay(1, 1, 0, 8, 64)
	index := l.receiving(0, false)
	r := l.find(t, 0, false)
	at := l.rings[index]
	for s := range 7 {
		l.fill(index, s, []byte("part"), true)
	}
	l.put32(at+28, 7)
	if got, n := r.all(); len(got) != 0 || n != (taken{broken: 1}) || l.u32(at+20) != 7 {
		t.Errorf("got %v, %+v, head %d", got, n, l.u32(at+20))
	}
	l.deliver(index, []byte("next"))
	if got, _ := r.all(); len(got) != 1 || got[0].Data != "next" {
		t.Errorf("behind it: got %v", got)
	}
}

// A slot may say where in its buffer the frame begins.
func TestOffset(t *testing.T) {
	l := lay(1, 1, 0, 8, 256)
	index := l.receiving(0, false)
	binary.NativeEndian.PutUint64(l.mem[l.rings[index]+56:], 0xff) // offset_mask
	r := l.find(t, 0, false)
	l.deliver(index, []byte("0123456789"))
	s := l.slot(index, 0)
	binary.NativeEndian.PutUint16(l.mem[s+4:], 6)
	binary.NativeEndian.PutUint64(l.mem[s+8:], 0xabcd00000004) // what is above the mask is somebody else's
	if got, _ := r.all(); len(got) != 1 || got[0].Data != "456789" {
		t.Errorf("got %v", got)
	}
}

// Indices and lengths that cannot be are counted, and never followed.
func TestCorrupt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(l *layout, at, slot int)
		want   taken
	}{
		{"tail outside", func(l *layout, at, _ int) { l.put32(at+28, 8) }, taken{broken: 1}},
		{"tail far outside", func(l *layout, at, _ int) { l.put32(at+28, 0xffffffff) }, taken{broken: 1}},
		{"head outside", func(l *layout, at, _ int) { l.put32(at+20, 8) }, taken{broken: 1}},
		{"buffer outside", func(l *layout, _, s int) { l.put32(s, 0xffffffff) }, taken{frames: 1, broken: 1}},
		{"buffer behind the last", func(l *layout, _, s int) { l.put32(s, uint32((len(l.mem)-l.buffers)/l.bytes)) }, taken{frames: 1, broken: 1}},
		{"longer than a buffer", func(l *layout, _, s int) { binary.NativeEndian.PutUint16(l.mem[s+4:], 257) }, taken{frames: 1, broken: 1}},
		{"a part outside", func(l *layout, _, s int) {
			l.put32(s, 0xffffffff)
			binary.NativeEndian.PutUint16(l.mem[s+6:], 0x20)
		}, taken{broken: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := lay(1, 1, 0, 8, 256)
			index := l.receiving(0, false)
			r := l.find(t, 0, false)
			l.deliver(index, []byte("first"))
			l.deliver(index, []byte("second"))
			tt.damage(l, r.at, l.slot(index, 0))
			if got, n := r.all(); n != tt.want {
				t.Errorf("got %+v %v, want %+v", n, got, tt.want)
			}
		})
	}
}

func TestFindRingRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		number int
		host   bool
		damage func(l *layout)
		want   string
	}{
		{"no such ring", 2, false, func(*layout) {}, "no ring 2; there are 2"},
		{"no such host ring", 1, true, func(*layout) {}, "no ring 1; there are 1"},
		{"negative", -1, false, func(*layout) {}, "no ring -1"},
		{"interface outside", 0, false, func(l *layout) { l.offset = int64(len(l.mem)) - 8 }, "the interface lies at"},
		{"interface before", 0, false, func(l *layout) { l.offset = -8 }, "the interface lies at -8"},
		{"more rings than room", 1 << 28, false, func(l *layout) { l.put32(int(l.offset)+28, 0xffffffff) }, "the offset of ring"},
		{"ring outside", 0, false, func(l *layout) { l.point(0, int64(len(l.mem))) }, "lies at"},
		{"ring before", 0, false, func(l *layout) { l.point(0, -1<<40) }, "lies at"},
		{"ring at an odd place", 0, false, func(l *layout) { l.point(0, 4097) }, "lies at"},
		{"no slots", 0, false, func(l *layout) { l.put32(l.rings[l.receiving(0, false)]+8, 0) }, "has 0 slots"},
		{"too many slots", 0, false, func(l *layout) { l.put32(l.rings[l.receiving(0, false)]+8, 0xffffffff) }, "slots of 2048 bytes, which the region does not hold"},
		{"no bytes", 0, false, func(l *layout) { l.put32(l.rings[l.receiving(0, false)]+12, 0) }, "slots of 0 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := lay(2, 2, 1, 8, 2048)
			tt.damage(l)
			if _, err := findRing(l.mem, l.offset, tt.number, tt.host); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// point has a receive ring lie elsewhere.
func (l *layout) point(number int, at int64) {
	binary.NativeEndian.PutUint64(l.mem[int(l.offset)+56+8*l.receiving(number, false):], uint64(at))
}

// FuzzRing puts anything at all into the memory: reading stays inside of it, and ends.
func FuzzRing(f *testing.F) {
	f.Add([]byte{}, uint16(0), uint32(3), uint32(0))
	f.Add([]byte{2, 0, 0, 0, 64, 0, 0x20, 0}, uint16(256), uint32(7), uint32(2))
	f.Add(bytes.Repeat([]byte{0xff}, 64), uint16(0), uint32(1), uint32(0))
	f.Fuzz(func(t *testing.T, data []byte, at uint16, tail, head uint32) {
		l := lay(1, 1, 1, 100, 64)
		index := l.receiving(0, false)
		for _, p := range []string{"first", "second", "third"} {
			l.deliver(index, []byte(p))
		}
		copy(l.mem[min(int(l.offset)+int(at), len(l.mem)):], data)
		l.put32(l.rings[index]+20, head)
		l.put32(l.rings[index]+28, tail)
		r, err := findRing(l.mem, l.offset, 0, false)
		if err != nil {
			return
		}
		before := l.mem.u32(r.at + ringHead)
		var frame traffic.Frame
		n := r.take(&frame, func(f *traffic.Frame) {
			if int(f.Length) != len(f.Data) || len(f.Data) > fragmentsMost*int(r.bytes) {
				t.Fatalf("%d bytes of %d", len(f.Data), f.Length)
			}
		})
		if n.frames+n.broken > uint64(r.slots) {
			t.Fatalf("%+v of %d slots", n, r.slots)
		}
		if got := l.mem.u32(r.at + ringHead); got >= r.slots && before < r.slots {
			t.Fatalf("head %d of %d slots", got, r.slots)
		}
	})
}

func BenchmarkRing(b *testing.B) {
	const slots = 1025
	l := lay(1, 1, 0, slots, 2048)
	index := l.receiving(0, false)
	r, err := findRing(l.mem, l.offset, 0, false)
	if err != nil {
		b.Fatal(err)
	}
	for s := range slots {
		l.fill(index, s, make([]byte, 60), false)
	}
	var f traffic.Frame
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += slots - 1 {
		l.put32(r.at+28, (l.u32(r.at+20)+slots-1)%slots)
		if n := r.take(&f, func(*traffic.Frame) {}); n.frames != slots-1 {
			b.Fatalf("took %d", n.frames)
		}
	}
}
