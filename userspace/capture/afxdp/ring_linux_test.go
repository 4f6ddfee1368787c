package afxdp

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"weir/userspace/lab"
	"weir/userspace/packet"
	"weir/userspace/traffic"
)

// memory is rings as the kernel lays them out, and the kernel's part in moving them.
type memory struct {
	reader
	words [6]uint32
}

// newMemory makes rings whose counters are about to wrap around.
func newMemory(frames int) *memory {
	m := &memory{}
	const start = ^uint32(0) - 2
	for i := range m.words {
		m.words[i] = start
	}
	m.words[2], m.words[5] = 0, 0
	m.reader = reader{
		buffers: make([]byte, frames*chunk),
		fill:    queue[uint64]{&m.words[0], &m.words[1], &m.words[2], make([]uint64, frames)},
		receive: queue[unix.XDPDesc]{&m.words[3], &m.words[4], &m.words[5], make([]unix.XDPDesc, frames)},
	}
	m.supply()
	return m
}

// free is how many buffers the kernel has.
func (m *memory) free() int { return int(*m.fill.producer - *m.fill.consumer) }

// arrive has the kernel write one buffer.
func (m *memory) arrive(data []byte, more bool) {
	at := *m.fill.consumer
	address := m.fill.entries[at&uint32(len(m.fill.entries)-1)] + 256
	atomic.StoreUint32(m.fill.consumer, at+1)
	copy(m.buffers[address:], data)
	m.describe(unix.XDPDesc{Addr: address, Len: uint32(len(data))}, more)
}

func (m *memory) describe(d unix.XDPDesc, more bool) {
	if more {
		d.Options = unix.XDP_PKT_CONTD
	}
	at := *m.receive.producer
	m.receive.entries[at&uint32(len(m.receive.entries)-1)] = d
	atomic.StoreUint32(m.receive.producer, at+1)
}

func TestReader(t *testing.T) {
	type result struct {
		Data   string
		Length uint32
		Time   int64
	}
	m := newMemory(64)
	var got []result
	take := func() (frames, broken uint64) {
		return m.take(77, func(f *traffic.Frame) { got = append(got, result{string(f.Data), f.Length, f.Time}) })
	}
	if m.ready() || m.free() != 64 {
		t.Fatalf("at first: ready %v, %d buffers free", m.ready(), m.free())
	}
	for round := range 10 { // more than once around, by way of the largest number
		got = nil
		m.arrive([]byte("one"), false)
		m.arrive([]byte("two, "), true)
		m.arrive([]byte("three, "), true)
		if !m.ready() {
			t.Fatal("not ready")
		}
		if frames, broken := take(); frames != 1 || broken != 0 || m.free() != 63 { // the beginning is still held
			t.Fatalf("round %d: got %d frames, %d broken, %d buffers free", round, frames, broken, m.free())
		}
		m.arrive([]byte("four"), false)
		m.describe(unix.XDPDesc{Addr: uint64(len(m.buffers)), Len: 10}, false)    // behind the end
		m.describe(unix.XDPDesc{Addr: chunk - 2, Len: 10}, true)                  // over a buffer's end
		m.describe(unix.XDPDesc{Addr: uint64(len(m.buffers)) + 1, Len: 1}, false) // and its rest
		if frames, broken := take(); frames != 1 || broken != 2 || m.ready() {
			t.Fatalf("round %d: got %d frames, %d broken, ready %v", round, frames, broken, m.ready())
		}
		want := []result{{"one", 3, 77}, {"two, ", 16, 77}}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Fatalf("round %d (-got +want)\n%s", round, diff)
		}
		if m.free() != 64 {
			t.Fatalf("round %d: %d of 64 buffers free", round, m.free())
		}
	}
	back := slices.Clone(m.fill.entries)
	slices.Sort(back)
	for i, address := range back {
		if address != uint64(i*chunk) {
			t.Fatalf("buffer %d came back as %d", i, address)
		}
	}
}

// A batch is all that is taken before buffers go back.
func TestBatch(t *testing.T) {
	m := newMemory(256)
	for range 200 {
		m.arrive([]byte("frame"), false)
	}
	for _, want := range []uint64{64, 64, 64, 8, 0} {
		if frames, _ := m.take(0, func(*traffic.Frame) {}); frames != want {
			t.Errorf("got %d frames, want %d", frames, want)
		}
	}
}

func TestHungry(t *testing.T) {
	m := newMemory(64)
	if m.hungry() {
		t.Error("hungry at first")
	}
	*m.fill.flags = unix.XDP_RING_NEED_WAKEUP
	if !m.hungry() {
		t.Error("not hungry")
	}
}

func udp(b *testing.B) []byte {
	f := lab.Frame{Src: netip.MustParseAddr("198.51.100.1"), Dst: netip.MustParseAddr("203.0.113.1"), Protocol: traffic.ProtoUDP, SrcPort: 9, DstPort: 53, Length: 100}
	data, err := f.Bytes()
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// One frame: out of the ring, parsed, and its buffer given back.
func BenchmarkTake(b *testing.B) {
	m := newMemory(4096)
	data := udp(b)
	for range 4096 { // the whole ring
		m.arrive(data, false)
	}
	var p traffic.Packet
	var bad int
	see := func(f *traffic.Frame) {
		if packet.Parse(f.Data, f.Length, &p) != traffic.ReasonOK {
			bad++
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += batch {
		if frames, broken := m.take(0, see); frames != batch || broken > 0 {
			b.Fatalf("got %d frames, %d broken", frames, broken)
		}
		atomic.AddUint32(m.fill.consumer, batch) // the kernel takes the buffers and fills them with the same again
		atomic.AddUint32(m.receive.producer, batch)
	}
	if bad > 0 {
		b.Fatalf("%d frames cannot be parsed", bad)
	}
}
