package afpacket

import (
	"encoding/binary"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/userspace/packet"
	"weir/userspace/traffic"
)

// Where things are is what the kernel's header says, as golang.org/x/sys/unix has it.
func TestOffsets(t *testing.T) {
	var b unix.TpacketBlockDesc
	var v unix.TpacketHdrV1
	var h unix.Tpacket3Hdr
	var a unix.RawSockaddrLinklayer
	inBlock := int(unsafe.Sizeof(b.Version) + unsafe.Sizeof(b.To_priv)) // the union is bytes there
	for name, pair := range map[string][2]int{
		"block_status":      {blockStatus, inBlock + int(unsafe.Offsetof(v.Block_status))},
		"num_pkts":          {blockPackets, inBlock + int(unsafe.Offsetof(v.Num_pkts))},
		"offset_to_1st_pkt": {blockFirst, inBlock + int(unsafe.Offsetof(v.Offset_to_first_pkt))},
		"block header":      {blockHeader, inBlock + int(unsafe.Sizeof(v))},
		"tp_next_offset":    {packetNext, int(unsafe.Offsetof(h.Next_offset))},
		"tp_sec":            {packetSeconds, int(unsafe.Offsetof(h.Sec))},
		"tp_nsec":           {packetNanoseconds, int(unsafe.Offsetof(h.Nsec))},
		"tp_snaplen":        {packetCaptured, int(unsafe.Offsetof(h.Snaplen))},
		"tp_len":            {packetLength, int(unsafe.Offsetof(h.Len))},
		"tp_status":         {packetStatus, int(unsafe.Offsetof(h.Status))},
		"tp_mac":            {packetFrame, int(unsafe.Offsetof(h.Mac))},
		"tp_net":            {packetNetwork, int(unsafe.Offsetof(h.Net))},
		"tp_vlan_tci":       {packetTCI, int(unsafe.Offsetof(h.Hv1) + unsafe.Offsetof(h.Hv1.Vlan_tci))},
		"sll_pkttype":       {packetKind, unix.SizeofTpacket3Hdr + int(unsafe.Offsetof(a.Pkttype))},
		"packet header":     {packetHeader, unix.SizeofTpacket3Hdr + unix.SizeofSockaddrLinklayer},
		"TP_STATUS_USER":    {statusUser, unix.TP_STATUS_USER},
		"TP_STATUS_VLAN":    {statusHasVLAN, unix.TP_STATUS_VLAN_VALID},
		"PACKET_OUTGOING":   {kindOutgoing, unix.PACKET_OUTGOING},
		"FANOUT_HASH":       {int(FanoutHash), unix.PACKET_FANOUT_HASH},
		"FANOUT_LB":         {int(FanoutLB), unix.PACKET_FANOUT_LB},
		"FANOUT_CPU":        {int(FanoutCPU), unix.PACKET_FANOUT_CPU},
		"FANOUT_ROLLOVER":   {int(FanoutRollover), unix.PACKET_FANOUT_ROLLOVER},
		"FANOUT_RND":        {int(FanoutRandom), unix.PACKET_FANOUT_RND},
		"FANOUT_QM":         {int(FanoutQueueMapping), unix.PACKET_FANOUT_QM},
		"BPF_LD_W_ABS":      {opLoadWord, unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		"BPF_JMP_JGE_K":     {opJumpAtLeast, unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K},
		"BPF_RET_K":         {opReturn, unix.BPF_RET | unix.BPF_K},
		"BPF_MAXINSNS":      {maxInstruction, unix.BPF_MAXINSNS},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: we have %d, the kernel %d", name, pair[0], pair[1])
		}
	}
}

// The ring is as large as the default one, which is more than processors cache.
const (
	benchBlocks    = defaultBlocks
	benchBlockSize = defaultBlockSize
	benchSnap      = defaultSnapLength
)

// benchRing is blocks as a flood of frames of 256 captured bytes fills them, and how many frames are in each.
func benchRing() (blocks [][]byte, each int) {
	each = (benchBlockSize - blockHeader) / ((builtFrameStart + benchSnap + 7) &^ 7)
	list := slices.Repeat([]entry{{data: ethernet(4, traffic.ProtoUDP, benchSnap-42), length: 1000, tag: -1}}, each)
	for range benchBlocks {
		blocks = append(blocks, block(benchBlockSize, list...))
	}
	return blocks, each
}

// BenchmarkFrame is what a frame costs in user space, by steps: the floor is one look at each frame's header and first byte, which is
// the way to memory; then the engine; then the parser as well.
func BenchmarkFrame(b *testing.B) {
	blocks, each := benchRing()
	var p traffic.Packet
	sum := uint64(0)
	r := reader{offloads: true}
	for _, step := range []struct {
		name string
		read func(block []byte)
	}{
		{"floor", func(block []byte) { sum += floor(block) }},
		{"engine", func(block []byte) { r.block(block, func(f *traffic.Frame) { sum += uint64(f.Length) }) }},
		{"engine_and_parser", func(block []byte) {
			r.block(block, func(f *traffic.Frame) {
				if packet.Parse(f.Data, f.Length, &p) == traffic.ReasonOK {
					sum++
				}
			})
		}},
	} {
		for place, n := range map[string]int{"memory": len(blocks), "cache": 1} { // of the processor
			b.Run(step.name+"/"+place, func(b *testing.B) {
				b.ReportAllocs()
				for done, i := 0, 0; done < b.N; done, i = done+each, i+1 {
					step.read(blocks[i%n])
				}
			})
		}
	}
	if sum == 0 {
		b.Fatal("nothing was read")
	}
}

// floor reads the chain of headers and one byte of each frame.
func floor(block []byte) (sum uint64) {
	at := binary.NativeEndian.Uint32(block[blockFirst:])
	for range binary.NativeEndian.Uint32(block[blockPackets:]) {
		h := block[at:]
		sum += uint64(h[binary.NativeEndian.Uint16(h[packetFrame:])])
		at += binary.NativeEndian.Uint32(h[packetNext:])
	}
	return sum
}

// BenchmarkRing is the same over a ring that the kernel has filled from a veth.
func BenchmarkRing(b *testing.B) {
	w := newWire(b, 0)
	e := w.open(Options{Workers: 1, Blocks: benchBlocks, BlockSize: benchBlockSize})
	defer func() {
		if err := e.release(); err != nil {
			b.Error(err)
		}
	}()
	s := e.group.sources[0]
	var p traffic.Packet
	good := uint64(0)
	see := func(f *traffic.Frame) {
		if packet.Parse(f.Data, f.Length, &p) == traffic.ReasonOK {
			good++
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for done := uint64(0); done < uint64(b.N); {
		b.StopTimer()
		n := min(uint64(b.N)-done, 100000)
		w.send(frame(300), 0, n, 0xffff)
		if err := s.wait(1e9); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		for got := uint64(0); got < n; {
			frames, _, ok := s.take(see)
			got += frames
			if ok {
				continue
			}
			if lost, err := s.drops(); err != nil || lost > 0 {
				b.Fatalf("%d frames lost: %v", lost, err)
			}
			if err := s.wait(wait); err != nil {
				b.Fatal(err)
			}
		}
		done += n
	}
	if good < uint64(b.N) {
		b.Fatalf("%d good packets of %d", good, b.N)
	}
}
