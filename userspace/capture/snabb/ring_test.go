package snabb

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

const small = 1 << 16

// writer writes a ring as firehose/ring.h says, byte for byte.
type writer struct{ mem []byte }

func (w writer) get(at int) uint64    { return binary.NativeEndian.Uint64(w.mem[at:]) }
func (w writer) put(at int, v uint64) { binary.NativeEndian.PutUint64(w.mem[at:], v) }

// frame writes one frame, and reports whether there was room.
func (w writer) frame(data []byte, length uint32, time uint64) bool {
	size := w.get(16)
	written := w.get(24)
	need := 16 + uint64(len(data)+7)&^7
	at := written % size
	skip := uint64(0)
	if at+need > size {
		skip = size - at
	}
	if written-w.get(4096)+skip+need > size {
		w.put(32, w.get(32)+1)
		return false
	}
	if skip > 0 {
		binary.NativeEndian.PutUint32(w.mem[8192+at:], 0xffffffff)
		written += skip
		at = 0
	}
	record := w.mem[8192+at:]
	binary.NativeEndian.PutUint32(record, uint32(len(data)))
	binary.NativeEndian.PutUint32(record[4:], length)
	binary.NativeEndian.PutUint64(record[8:], time)
	copy(record[16:], data)
	w.put(24, written+need)
	return true
}

func newRing(t testing.TB, size int) (*ring, writer) {
	t.Helper()
	mem := make([]byte, 8192+size)
	r, err := format(mem)
	if err != nil {
		t.Fatal(err)
	}
	return r, writer{mem}
}

// seen is a frame that outlives the call.
type seen struct {
	Data   []byte
	Length uint32
	Time   int64
}

// all takes until nothing is left.
func (r *ring) all() (list []seen, frames, broken uint64) {
	for {
		var f traffic.Frame
		n, b := r.take(&f, func(f *traffic.Frame) { list = append(list, seen{bytes.Clone(f.Data), f.Length, f.Time}) })
		frames, broken = frames+n, broken+b
		if n+b == 0 {
			return list, frames, broken
		}
	}
}

func TestRingLayout(t *testing.T) {
	_, w := newRing(t, small)
	head := make([]byte, 48)
	copy(head, "WEIRRING")
	binary.NativeEndian.PutUint64(head, 0x474e495252494557)
	binary.NativeEndian.PutUint32(head[8:], 1)
	binary.NativeEndian.PutUint64(head[16:], small)
	if diff := cmp.Diff(w.mem[:48], head); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

// Frames of every length come out as they went in, over many turns of the ring; records that would not fit begin anew.
func TestRingTurns(t *testing.T) {
	r, w := newRing(t, small)
	marks := 0
	for i := range 2000 {
		data := bytes.Repeat([]byte{byte(i)}, i*37%longest)
		at := w.get(24) % small
		if !w.frame(data, uint32(len(data)+i%3), uint64(i+1)) {
			t.Fatalf("frame %d found no room in an empty ring", i)
		}
		if at+16+uint64(len(data)) > small {
			marks++
		}
		got, frames, broken := r.all()
		want := []seen{{data, uint32(len(data) + i%3), int64(i + 1)}}
		if diff := cmp.Diff(got, want, cmp.Transformer("empty", func(b []byte) string { return string(b) })); diff != "" || frames != 1 || broken != 0 {
			t.Fatalf("frame %d: %d frames, %d broken (-got +want)\n%s", i, frames, broken, diff)
		}
		if w.get(4096) != w.get(24) {
			t.Fatalf("frame %d: read up to %d of %d", i, w.get(4096), w.get(24))
		}
	}
	if marks < 10 {
		t.Errorf("the ring was turned with a mark %d times only", marks)
	}
}

// A full ring loses what comes, tells how much, and goes on with what comes after.
func TestRingOverrun(t *testing.T) {
	r, w := newRing(t, small)
	sent := 0
	for ; w.frame(make([]byte, 1000), 1000, 1); sent++ {
	}
	w.frame(make([]byte, 1000), 1000, 1)
	if got := r.dropped(); got != 2 {
		t.Errorf("got %d dropped, want 2", got)
	}
	if _, frames, broken := r.all(); int(frames) != sent || broken != 0 {
		t.Errorf("got %d frames and %d broken, want %d", frames, broken, sent)
	}
	w.frame([]byte("next"), 4, 1)
	if got, _, _ := r.all(); len(got) != 1 || string(got[0].Data) != "next" {
		t.Errorf("after the overrun: got %v", got)
	}
}

// Whatever a broken writer writes is counted once and skipped, and reading goes on behind it.
func TestRingBroken(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(w writer)
	}{
		{"longer than a packet", func(w writer) { binary.NativeEndian.PutUint32(w.mem[8192:], longest+1) }},
		{"behind what is written", func(w writer) { binary.NativeEndian.PutUint32(w.mem[8192:], 5000) }},
		{"mark behind what is written", func(w writer) { binary.NativeEndian.PutUint32(w.mem[8192:], wrapMark) }},
		{"more written than fits", func(w writer) { w.put(24, small+8) }},
		{"written backwards", func(w writer) { w.put(24, ^uint64(7)) }},
		{"not a multiple of 8", func(w writer) { w.put(4096, 4) }},
		{"past the end", func(w writer) { w.put(24, small+1000); w.put(4096, small-8) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, w := newRing(t, small)
			w.frame([]byte("whole"), 5, 1)
			tt.damage(w)
			if got, frames, broken := r.all(); frames != 0 || broken != 1 {
				t.Errorf("got %d frames %v and %d broken, want 1 broken", frames, got, broken)
			}
			w.put(24, (w.get(24)+7)&^7) // the writer begins anew at a place that can be
			w.put(4096, w.get(24))
			w.frame([]byte("next"), 4, 1)
			if got, _, broken := r.all(); len(got) != 1 || string(got[0].Data) != "next" || broken != 0 {
				t.Errorf("behind it: got %v, %d broken", got, broken)
			}
		})
	}
}

// A length on the wire below what was captured cannot be, and a frame without a time gets ours.
func TestRingMends(t *testing.T) {
	r, w := newRing(t, small)
	w.frame([]byte("whole"), 3, 0)
	got, _, _ := r.all()
	if len(got) != 1 || got[0].Length != 5 || got[0].Time == 0 {
		t.Errorf("got %+v", got)
	}
}

func TestRingRefuses(t *testing.T) {
	if _, err := format(make([]byte, 8192+small+8)); err == nil || !strings.Contains(err.Error(), "a power of two") {
		t.Errorf("odd size: got %v", err)
	}
	for _, tt := range []struct {
		name   string
		damage func(w writer) []byte
		want   string
	}{
		{"short", func(w writer) []byte { return w.mem[:100] }, "100 bytes"},
		{"other magic", func(w writer) []byte { w.put(0, 1); return w.mem }, "not a ring of Weir's"},
		{"other version", func(w writer) []byte { binary.NativeEndian.PutUint32(w.mem[8:], 2); return w.mem }, "version 2; expected 1"},
		{"other size", func(w writer) []byte { w.put(16, 2*small); return w.mem }, "it says 131072 bytes of data and has 65536"},
		{"cut off", func(w writer) []byte { return w.mem[:8192+small/2] }, "and has 32768"},
	} {
		_, w := newRing(t, small)
		if _, err := attach(tt.damage(w)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
	_, w := newRing(t, small)
	w.frame([]byte("old"), 3, 1)
	r, err := attach(w.mem)
	if err != nil {
		t.Fatal(err)
	}
	r.skip()
	if got, _, _ := r.all(); len(got) != 0 {
		t.Errorf("what is old was handed over: %v", got)
	}
}

// FuzzRing writes anything at all into a ring: reading stays inside of it, and ends.
func FuzzRing(f *testing.F) {
	_, w := newRing(f, small)
	w.frame([]byte("a frame"), 7, 1)
	f.Add(w.mem[8192:8300], uint64(0), w.get(24))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, uint64(small-8), uint64(small+64))
	f.Add([]byte{0, 0, 0, 0}, uint64(0), ^uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, read, written uint64) {
		r, w := newRing(t, small)
		for i := range w.mem[8192:] { // what is not said lies anywhere in the ring
			if len(data) > 0 {
				w.mem[8192+i] = data[i%len(data)]
			}
		}
		w.put(4096, read)
		w.put(24, written)
		var frame traffic.Frame
		for range small/16/batch + 2 {
			frames, broken := r.take(&frame, func(f *traffic.Frame) {
				if len(f.Data) > longest || int(f.Length) < len(f.Data) || cap(f.Data) != len(f.Data) {
					t.Fatalf("%d bytes of %d with room for %d", len(f.Data), f.Length, cap(f.Data))
				}
			})
			if frames+broken == 0 {
				break
			}
		}
		if got := w.get(4096); got != written {
			t.Errorf("reading stopped at %d of %d", got, written)
		}
	})
}

func BenchmarkRing(b *testing.B) {
	r, w := newRing(b, 1<<20)
	data := make([]byte, 60)
	var f traffic.Frame
	b.ReportAllocs()
	for i := 0; i < b.N; i += batch {
		b.StopTimer()
		for range batch {
			w.frame(data, 60, 1)
		}
		b.StartTimer()
		if n, _ := r.take(&f, func(*traffic.Frame) {}); n != batch {
			b.Fatalf("took %d", n)
		}
	}
}
