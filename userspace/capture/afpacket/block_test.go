package afpacket

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// entry is a packet as the kernel puts it into a block.
type entry struct {
	data     []byte
	length   uint32 // 0: all of it is in data
	tag      int    // the TCI that was taken off; -1: none
	outgoing bool
	network  int    // where the network header is in data
	kind     uint8  // of offload; 0: none
	segment  uint16 // bytes of each segment's payload
}

const (
	someSecond      = 1700000000
	someNanosecond  = 123456789
	userHeadroom    = 16 // what the kernel leaves before a link header of 14 bytes
	builtFrameStart = packetHeader + offloadHeader + userHeadroom - 14
)

// block puts packets into a block of so many bytes, one behind the other and aligned, as prb_fill_curr_block of the kernel does.
func block(size int, packets ...entry) []byte {
	b := make([]byte, size)
	binary.NativeEndian.PutUint32(b[blockStatus:], statusUser)
	binary.NativeEndian.PutUint32(b[blockPackets:], uint32(len(packets)))
	binary.NativeEndian.PutUint32(b[blockFirst:], blockHeader)
	at := blockHeader
	for i, p := range packets {
		h := b[at:]
		next := (builtFrameStart + len(p.data) + 7) &^ 7
		if i < len(packets)-1 {
			binary.NativeEndian.PutUint32(h[packetNext:], uint32(next))
		}
		binary.NativeEndian.PutUint32(h[packetSeconds:], someSecond)
		binary.NativeEndian.PutUint32(h[packetNanoseconds:], someNanosecond)
		binary.NativeEndian.PutUint32(h[packetCaptured:], uint32(len(p.data)))
		binary.NativeEndian.PutUint32(h[packetLength:], max(p.length, uint32(len(p.data))))
		status := uint32(statusUser)
		if p.tag >= 0 {
			status |= statusHasVLAN
			binary.NativeEndian.PutUint32(h[packetTCI:], uint32(p.tag))
		}
		binary.NativeEndian.PutUint32(h[packetStatus:], status)
		binary.NativeEndian.PutUint16(h[packetFrame:], builtFrameStart)
		binary.NativeEndian.PutUint16(h[packetNetwork:], uint16(builtFrameStart+p.network))
		if p.outgoing {
			h[packetKind] = kindOutgoing
		}
		offload := h[builtFrameStart-offloadHeader:]
		offload[offloadKind] = p.kind
		binary.NativeEndian.PutUint16(offload[offloadSegment:], p.segment)
		copy(h[builtFrameStart:], p.data)
		at += next
	}
	return b
}

// ethernet is a frame with an IPv4 or IPv6 header and one of TCP (12 bytes of options) or UDP, followed by so many bytes of payload.
func ethernet(version int, protocol uint8, payload int, tags ...uint16) []byte {
	b := make([]byte, 12)
	for _, t := range tags {
		b = append(b, 0x81, 0, byte(t>>8), byte(t))
	}
	if version == 4 {
		b = append(b, 0x08, 0x00)
		b = append(b, append([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol}, make([]byte, 10)...)...)
	} else {
		b = append(b, 0x86, 0xdd)
		b = append(b, append([]byte{0x60, 0, 0, 0, 0, 0, protocol, 64}, make([]byte, 32)...)...)
	}
	if protocol == traffic.ProtoTCP {
		b = append(b, append(make([]byte, 12), append([]byte{0x80}, make([]byte, 19)...)...)...)
	} else {
		b = append(b, make([]byte, 8)...)
	}
	return append(b, slices.Repeat([]byte{0xab}, payload)...)
}

// read is what the reader hands over of a block.
func read(r reader, b []byte) (frames []traffic.Frame, told, broken uint64) {
	r.f.Link = r.link
	told, broken = r.block(b, func(f *traffic.Frame) {
		c := *f
		c.Data = slices.Clone(f.Data)
		frames = append(frames, c)
	})
	return frames, told, broken
}

func want(data []byte, length int, change ...func(*traffic.Frame)) traffic.Frame {
	f := traffic.Frame{Data: data, Length: uint32(length), Time: someSecond*1e9 + someNanosecond}
	for _, c := range change {
		c(&f)
	}
	return f
}

func TestBlock(t *testing.T) {
	plain, small := ethernet(4, traffic.ProtoUDP, 100), ethernet(4, traffic.ProtoUDP, 1)
	tagged := func(f *traffic.Frame) { f.VLAN, f.HasVLAN = 0xa123, true }
	ip := func(f *traffic.Frame) { f.Link = traffic.LinkIP }
	for _, tt := range []struct {
		name    string
		reader  reader
		packets []entry
		want    []traffic.Frame
	}{
		{"none", reader{}, nil, nil},
		{"some", reader{}, []entry{{data: plain, tag: -1}, {data: small, tag: -1}, {data: plain, tag: -1}},
			[]traffic.Frame{want(plain, 142), want(small, 43), want(plain, 142)}},
		{"cut off by the snap length", reader{}, []entry{{data: plain[:60], length: 9014, tag: -1}}, []traffic.Frame{want(plain[:60], 9014)}},
		{"a tag taken off", reader{}, []entry{{data: plain, tag: 0xa123}}, []traffic.Frame{want(plain, 146, tagged)}},
		{"sent by this machine", reader{}, []entry{{data: plain, tag: -1, outgoing: true}, {data: small, tag: -1}}, []traffic.Frame{want(small, 43)}},
		{"a tunnel's device", reader{link: traffic.LinkIP}, []entry{{data: plain, length: 1000, tag: -1, network: 14}}, []traffic.Frame{want(plain[14:], 986, ip)}},
		{"a tunnel's device without a header", reader{link: traffic.LinkIP}, []entry{{data: plain[14:], tag: -1}}, []traffic.Frame{want(plain[14:], 128, ip)}},
		{"a network header that cannot be", reader{link: traffic.LinkIP}, []entry{{data: plain[14:], tag: -1, network: 1000}}, []traffic.Frame{want(plain[14:], 128, ip)}},
		{"offload without our having asked", reader{}, []entry{{data: plain, length: 3000, tag: -1, kind: 1, segment: 1000}}, []traffic.Frame{want(plain, 3000)}},
		{"no offload", reader{offloads: true}, []entry{{data: plain, tag: -1, segment: 10}}, []traffic.Frame{want(plain, 142)}},
		{"offload of no size", reader{offloads: true}, []entry{{data: plain, tag: -1, kind: 1}}, []traffic.Frame{want(plain, 142)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, told, broken := read(tt.reader, block(4096, tt.packets...))
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("frames (-got +want)\n%s", diff)
			}
			if told != uint64(len(tt.want)) || broken != 0 {
				t.Errorf("got %d frames told and %d broken, want %d and 0", told, broken, len(tt.want))
			}
		})
	}
}

// What was put together is handed over as the frames that it was, with their headers.
func TestSegments(t *testing.T) {
	for _, tt := range []struct {
		name   string
		link   traffic.Link
		packet entry
		want   []uint32
	}{
		{"TCP", 0, entry{data: ethernet(4, traffic.ProtoTCP, 100), length: 66 + 3000, tag: -1, kind: 1, segment: 1448}, []uint32{1514, 1514, 170}},
		{"a full last one", 0, entry{data: ethernet(4, traffic.ProtoTCP, 100), length: 66 + 2896, tag: -1, kind: 1, segment: 1448}, []uint32{1514, 1514}},
		{"IPv6", 0, entry{data: ethernet(6, traffic.ProtoTCP, 100), length: 86 + 1429, tag: -1, kind: 4, segment: 1428}, []uint32{1514, 87}},
		{"UDP", 0, entry{data: ethernet(4, traffic.ProtoUDP, 100), length: 42 + 2500, tag: -1, kind: 5, segment: 1000}, []uint32{1042, 1042, 542}},
		{"a tag inside", 0, entry{data: ethernet(4, traffic.ProtoTCP, 100, 7), length: 70 + 2000, tag: -1, kind: 1, segment: 1448}, []uint32{1518, 622}},
		{"a tag taken off", 0, entry{data: ethernet(4, traffic.ProtoTCP, 100), length: 66 + 2000, tag: 7, kind: 1, segment: 1448}, []uint32{1518, 622}},
		{"a tunnel's device", traffic.LinkIP, entry{data: ethernet(4, traffic.ProtoTCP, 100)[14:], length: 52 + 2000, tag: -1, kind: 1, segment: 1448}, []uint32{1500, 604}},
		{"headers cut off", 0, entry{data: ethernet(4, traffic.ProtoTCP, 0)[:40], length: 66 + 2000, tag: -1, kind: 1, segment: 1448}, []uint32{34 + 1448, 34 + 584}},
		{"nothing but headers", 0, entry{data: ethernet(4, traffic.ProtoTCP, 0), tag: -1, kind: 1, segment: 1448}, []uint32{66}},
		{"an Ethernet header cut off", 0, entry{data: make([]byte, 5), length: 3000, tag: -1, kind: 1, segment: 1448}, []uint32{1462, 1462, 104}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			frames, told, broken := read(reader{link: tt.link, offloads: true}, block(4096, tt.packet))
			var got []uint32
			for _, f := range frames {
				got = append(got, f.Length)
				if len(f.Data) > int(f.Length) {
					t.Errorf("%d bytes of data in a frame of %d", len(f.Data), f.Length)
				}
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("lengths (-got +want)\n%s", diff)
			}
			if told != uint64(len(tt.want)) || broken != 0 {
				t.Errorf("got %d frames told and %d broken", told, broken)
			}
		})
	}
}

// A header that cannot be costs itself and what is behind it, and nothing before it.
func TestBrokenBlock(t *testing.T) {
	data := ethernet(4, traffic.ProtoUDP, 100)
	const size = 4096
	second := blockHeader + (builtFrameStart+len(data)+7)&^7
	for _, tt := range []struct {
		name         string
		at           int
		value        uint32
		told, broken uint64
	}{
		{"more packets than there are", blockPackets, 5, 3, 2},
		{"packets without end", blockPackets, 1<<32 - 1, 3, size/packetHeader - 3},
		{"the first beyond the block", blockFirst, size, 0, 3},
		{"the first at the block's last byte", blockFirst, size - 1, 0, 3},
		{"the next beyond the block", second + packetNext, size, 2, 1},
		{"the next wraps around", second + packetNext, 1<<32 - 8, 2, 1},
		{"the next is the same", second + packetNext, 8, 2, 1},
		{"no next, and there must be one", second + packetNext, 0, 2, 1},
		{"more captured than the block holds", second + packetCaptured, size, 1, 2},
		{"captured wraps around", second + packetCaptured, 1<<32 - 1, 1, 2},
		{"data before the header's end", second + packetFrame, packetHeader - 1, 1, 2},
		{"data beyond the block", second + packetFrame, 0xffff, 1, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := block(size, entry{data: data, tag: -1}, entry{data: data, tag: -1}, entry{data: data, tag: -1})
			binary.NativeEndian.PutUint32(b[tt.at:], tt.value)
			frames, told, broken := read(reader{}, b)
			if told != tt.told || broken != tt.broken || len(frames) != int(tt.told) {
				t.Errorf("got %d frames told, %d handed over, %d broken; want %d and %d", told, len(frames), broken, tt.told, tt.broken)
			}
		})
	}
	if _, told, broken := read(reader{}, make([]byte, blockHeader)); told != 0 || broken != 0 {
		t.Errorf("a block without room: %d told, %d broken", told, broken)
	}
}

// Whatever is in a block: frames lie within it, and each is at least as long as what was captured of it.
func FuzzBlock(f *testing.F) {
	tcp := entry{data: ethernet(4, traffic.ProtoTCP, 100), length: 3000, tag: 5, kind: 1, segment: 1448}
	f.Add(block(1024, tcp, entry{data: ethernet(6, traffic.ProtoUDP, 10), tag: -1}), true, false)
	f.Add(block(1024, entry{data: ethernet(4, traffic.ProtoUDP, 10)[14:], tag: -1, outgoing: true}, tcp), false, true)
	f.Fuzz(func(t *testing.T, b []byte, offloads, ip bool) {
		if len(b) > 1<<16 || len(b) >= blockHeader && binary.NativeEndian.Uint32(b[blockPackets:]) > 1<<10 {
			t.Skip("more than there is time for")
		}
		r := reader{offloads: offloads}
		if ip {
			r.link = traffic.LinkIP
		}
		seen := uint64(0)
		told, _ := r.block(slices.Clip(b), func(f *traffic.Frame) {
			seen++
			if int(f.Length) < len(f.Data) || len(f.Data) > len(b) {
				t.Fatalf("%d bytes of data in a frame of %d", len(f.Data), f.Length)
			}
		})
		if told != seen {
			t.Errorf("%d frames told, %d handed over", told, seen)
		}
	})
}

func TestBlockDoesNotAllocate(t *testing.T) {
	b := block(4096, entry{data: ethernet(4, traffic.ProtoTCP, 100), length: 3000, tag: 5, kind: 1, segment: 1448}, entry{data: ethernet(6, traffic.ProtoUDP, 10), tag: -1})
	r, frames := reader{offloads: true}, 0
	see := func(*traffic.Frame) { frames++ }
	if n := testing.AllocsPerRun(100, func() { r.block(b, see) }); n != 0 || frames == 0 {
		t.Errorf("%v allocations for a block, %d frames", n, frames)
	}
}
