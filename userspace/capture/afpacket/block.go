package afpacket

import (
	"encoding/binary"

	"weir/userspace/traffic"
)

// Where things are in a block (struct tpacket_block_desc with struct tpacket_hdr_v1 in it, linux/if_packet.h), in bytes. All of it
// is in the machine's own byte order.
const (
	blockStatus  = 8  // whose block it is
	blockPackets = 12 // how many
	blockFirst   = 16 // where the first is
	blockHeader  = 48
)

// Where things are in a packet's header: struct tpacket3_hdr, 48 bytes, and struct sockaddr_ll behind it.
const (
	packetNext        = 0 // from this header to the next; 0: none
	packetSeconds     = 4
	packetNanoseconds = 8
	packetCaptured    = 12 // bytes from packetFrame on
	packetLength      = 16 // of the whole frame
	packetStatus      = 20
	packetFrame       = 24 // where the link header is, from this header on
	packetNetwork     = 26 // where the network header is
	packetTCI         = 32 // the VLAN tag that was taken off
	packetKind        = 48 + 10
	packetHeader      = 48 + 20
)

// From linux/if_packet.h, which other systems than Linux have not.
const (
	statusUser     = 1 << 0
	statusHasVLAN  = 1 << 4
	kindOutgoing   = 4
	vlanBytes      = 4
	offloadHeader  = 10 // struct virtio_net_hdr right before the frame
	offloadKind    = 1  // in it: VIRTIO_NET_HDR_GSO_*, 0: none
	offloadSegment = 4  // in it: payload bytes of each segment
)

// reader hands over the frames of blocks. The Frame is its own and used again and again.
type reader struct {
	link     traffic.Link
	offloads bool // a description of offloads is before each frame
	f        traffic.Frame
}

// block hands over a block's frames. What this machine has sent is left out. A header that cannot be makes the rest of the block
// unreadable: so many frames are broken.
func (r *reader) block(b []byte, see func(*traffic.Frame)) (frames, broken uint64) {
	if len(b) < blockHeader+packetHeader {
		return 0, 0
	}
	left, at := binary.NativeEndian.Uint32(b[blockPackets:]), binary.NativeEndian.Uint32(b[blockFirst:])
	left = min(left, uint32(len(b)/packetHeader)) // more have no room
	end := uint32(len(b) - packetHeader)
	for ; left > 0; left-- {
		if at > end {
			return frames, broken + uint64(left)
		}
		h := (*[packetHeader]byte)(b[at:])
		room := uint32(len(b)) - at
		start, captured := uint32(binary.NativeEndian.Uint16(h[packetFrame:])), binary.NativeEndian.Uint32(h[packetCaptured:])
		if start < packetHeader || start > room || captured > room-start {
			return frames, broken + uint64(left)
		}
		if h[packetKind] != kindOutgoing {
			frames += r.packet(h, b[at:at+start+captured], start, see)
		}
		next := binary.NativeEndian.Uint32(h[packetNext:])
		if left > 1 && (next < packetHeader || next > room) {
			return frames, broken + uint64(left) - 1
		}
		at += next
	}
	return frames, broken
}

// packet hands over one packet, which may be several frames on the wire. b holds its header and its data, which is at start.
func (r *reader) packet(h *[packetHeader]byte, b []byte, start uint32, see func(*traffic.Frame)) uint64 {
	length := binary.NativeEndian.Uint32(h[packetLength:])
	f := &r.f
	f.Data = b[start:]
	if r.link == traffic.LinkIP { // whatever the device puts before it is no header that anybody else knows
		network := uint32(binary.NativeEndian.Uint16(h[packetNetwork:]))
		if network < start || network > uint32(len(b)) || network-start > length {
			network = start
		}
		f.Data = b[network:]
		length -= network - start
	}
	f.Length = max(length, uint32(len(f.Data)))
	f.Time = int64(binary.NativeEndian.Uint32(h[packetSeconds:]))*1e9 + int64(binary.NativeEndian.Uint32(h[packetNanoseconds:]))
	f.VLAN, f.HasVLAN = 0, false
	if binary.NativeEndian.Uint32(h[packetStatus:])&statusHasVLAN != 0 {
		f.VLAN, f.HasVLAN = uint16(binary.NativeEndian.Uint32(h[packetTCI:])), true
		f.Length += vlanBytes
	}
	if r.offloads && start >= packetHeader+offloadHeader {
		offload := b[start-offloadHeader : start]
		if size := binary.NativeEndian.Uint16(offload[offloadSegment:]); offload[offloadKind] != 0 && size != 0 {
			return r.segments(uint32(size), see)
		}
	}
	see(f)
	return 1
}
