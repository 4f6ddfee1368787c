package pfring

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

const stamp = 1700000000250000123

// Packets of many lengths come out as they went in, over many turns, with the short header and with the long one.
func TestWrapAround(t *testing.T) {
	for _, header := range []int{48, 209} {
		t.Run(fmt.Sprint(header), func(t *testing.T) {
			l := lay(header, 256, 12)
			r := l.ring(t)
			sent, turns := 0, 0
			for round := range 300 {
				var want []seen
				for range 1 + round%5 {
					data := fmt.Sprintf("packet %d %s", sent, strings.Repeat("x", sent*7%200))
					before := l.get(24)
					if !l.insert([]byte(data), uint32(len(data)+sent), stamp+uint64(sent), int32(sent)) {
						t.Fatalf("round %d: no room", round)
					}
					if l.get(24) < before {
						turns++
					}
					want = append(want, seen{data, uint32(len(data) + sent), stamp + int64(sent), int32(sent)})
					sent++
				}
				got, frames, broken := r.all()
				if diff := cmp.Diff(got, want); diff != "" || frames != uint64(len(want)) || broken != 0 {
					t.Fatalf("round %d: %d packets, %d broken (-got +want)\n%s", round, frames, broken, diff)
				}
				if l.get(4096) != l.get(56) || l.get(4104) != l.get(24) {
					t.Fatalf("round %d: read %d of %d, at %d of %d", round, l.get(4096), l.get(56), l.get(4104), l.get(24))
				}
			}
			if turns < 10 {
				t.Errorf("the ring was turned %d times only", turns)
			}
		})
	}
}

// What found no room is counted by the module, and what did is read whole; then there is room again.
func TestOverrun(t *testing.T) {
	l := lay(48, 256, 16)
	r := l.ring(t)
	var sent, lost uint64
	for turn := range 5 {
		n := uint64(0)
		for ; l.insert([]byte(strings.Repeat("x", 200)), 200, stamp, 1); n++ {
		}
		lost++
		if _, frames, broken := r.all(); frames != n || broken != 0 || n < 8 {
			t.Errorf("turn %d: %d packets and %d broken of %d", turn, frames, broken, n)
		}
		sent += n + 1
	}
	if packets, dropped := r.counts(); packets != sent || dropped != lost {
		t.Errorf("counts: %d and %d, want %d and %d", packets, dropped, sent, lost)
	}
}

// A batch ends in time for whoever looks at the clock, and nothing is lost by it.
func TestBatch(t *testing.T) {
	l := lay(48, 64, 4*batch)
	r := l.ring(t)
	for range 3 * batch {
		l.insert([]byte("packet"), 6, stamp, 1)
	}
	var f traffic.Frame
	for _, want := range []uint64{batch, batch, batch, 0} {
		if got, _ := r.take(&f, func(*traffic.Frame) {}); got != want {
			t.Errorf("took %d, want %d", got, want)
		}
	}
}

// A packet without a time gets ours, and is on the wire at least as long as it was captured.
func TestMends(t *testing.T) {
	l := lay(48, 256, 8)
	r := l.ring(t)
	l.insert([]byte("packet"), 2, 0, 1)
	if got, _, _ := r.all(); len(got) != 1 || got[0].Time == 0 || got[0].Length != 6 {
		t.Errorf("got %+v", got)
	}
}

// Where a slot cannot be read, nobody knows where the next one begins: all that is there is counted, and the ring opened anew.
func TestCorrupt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(l *layout)
	}{
		{"longer than the ring", func(l *layout) { binary.NativeEndian.PutUint32(l.mem[8192+16:], 0xffffffff) }},
		{"longer than any", func(l *layout) { binary.NativeEndian.PutUint32(l.mem[8192+16:], longestCapture+1) }},
		{"no magic", func(l *layout) { l.mem[8192+48+5] = 0 }},
		{"half a magic", func(l *layout) { l.mem[8192+48+6] = 0 }},
		{"offset outside", func(l *layout) { l.put(4104, uint64(len(l.mem))) }},
		{"offset far outside", func(l *layout) { l.put(4104, ^uint64(7)) }},
		{"offset at the end", func(l *layout) { l.put(4104, uint64(len(l.mem)-8192-8)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := lay(48, 256, 8)
			r := l.ring(t)
			l.insert([]byte("first"), 5, stamp, 1)
			l.insert([]byte("second"), 6, stamp, 1)
			tt.damage(l)
			if got, frames, broken := r.all(); frames != 0 || broken != 2 {
				t.Errorf("got %v, %d broken; want 2", got, broken)
			}
			l.insert([]byte("next"), 4, stamp, 1)
			if got, _, _ := r.all(); len(got) != 0 || !r.lost {
				t.Errorf("behind it: got %v; the ring is to be opened anew: %v", got, r.lost)
			}
		})
	}
}

func TestNewRingRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header int
		damage func(l *layout)
		want   string
	}{
		{"short", 48, func(l *layout) { l.mem = l.mem[:4096] }, "4096 bytes; expected 8192 at least"},
		{"other version", 48, func(l *layout) { binary.NativeEndian.PutUint16(l.mem, 20) }, "slots have version 20 and not 21; install pf_ring 8.x"},
		{"header too short", 47, func(*layout) {}, "with a header of 47"},
		{"no room for a packet", 48, func(l *layout) { binary.NativeEndian.PutUint32(l.mem[8:], 49) }, "slots of 49 bytes"},
		{"slot larger than the ring", 48, func(l *layout) { binary.NativeEndian.PutUint32(l.mem[8:], 1<<30) }, "do not fit a ring"},
	} {
		l := lay(48, 256, 8)
		tt.damage(l)
		if _, err := newRing(l.mem, tt.header); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

// FuzzRing puts anything at all into a ring: reading stays inside of it, and ends.
func FuzzRing(f *testing.F) {
	f.Add([]byte{}, uint16(0), uint64(3), uint64(0), uint64(0))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, uint16(16), uint64(1<<40), uint64(0), uint64(0))
	f.Add([]byte{1, 0, 0, 0}, uint16(16), uint64(0), uint64(5), uint64(96))
	f.Fuzz(func(t *testing.T, data []byte, at uint16, inserted, read, offset uint64) {
		l := lay(48, 64, 64)
		for range 5 {
			l.insert([]byte("a packet"), 8, stamp, 1)
		}
		copy(l.mem[8192+int(at)%(len(l.mem)-8192):], data)
		l.put(56, inserted)
		l.put(4096, read)
		l.put(4104, offset)
		r := l.ring(t)
		var frame traffic.Frame
		for range 8 {
			frames, broken := r.take(&frame, func(f *traffic.Frame) {
				if len(f.Data) > longestCapture || int(f.Length) < len(f.Data) || len(f.Data) > len(l.mem) {
					t.Fatalf("%d bytes of %d", len(f.Data), f.Length)
				}
			})
			if frames > batch {
				t.Fatalf("%d packets at once", frames)
			}
			if frames+broken == 0 && l.get(4096) != inserted && !r.lost {
				t.Fatalf("reading stopped at %d of %d", l.get(4096), inserted)
			}
			if broken > uint64(len(l.mem)) {
				t.Fatalf("%d broken", broken)
			}
		}
	})
}

func BenchmarkRing(b *testing.B) {
	l := lay(48, 64, 2*batch)
	r := l.ring(b)
	data := make([]byte, 60)
	var f traffic.Frame
	b.ReportAllocs()
	for i := 0; i < b.N; i += batch {
		b.StopTimer()
		for range batch {
			l.insert(data, 60, stamp, 1)
		}
		b.StartTimer()
		if n, _ := r.take(&f, func(*traffic.Frame) {}); n != batch {
			b.Fatalf("took %d", n)
		}
	}
}
