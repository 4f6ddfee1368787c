package afpacket

import (
	"encoding/binary"

	"weir/userspace/traffic"
)

// segments hands over a packet that the kernel has put together from several frames (generic receive offload), or that a virtual
// interface has not taken apart: once for each frame that is on a wire, as long as it is there. size is each one's payload in bytes.
// Within a tunnel, the inner headers are counted once only.
func (r *reader) segments(size uint32, see func(*traffic.Frame)) (frames uint64) {
	f := &r.f
	headers := headerBytes(f.Data, f.Link)
	if f.HasVLAN {
		headers += vlanBytes
	}
	if headers >= f.Length {
		see(f)
		return 1
	}
	payload := f.Length - headers
	for ; payload > 0; frames++ {
		part := min(payload, size)
		f.Length = headers + part
		f.Data = f.Data[:min(len(f.Data), int(f.Length))]
		see(f)
		payload -= part
	}
	return frames
}

// headerBytes is how many bytes of a frame are headers up to that of TCP or UDP, or as far as they are known.
func headerBytes(b []byte, link traffic.Link) uint32 {
	at, version := 0, 0
	if link == traffic.LinkEthernet {
		at = 14
		for len(b) >= at {
			switch binary.BigEndian.Uint16(b[at-2:]) {
			case 0x8100, 0x88a8: // a tag within the frame
				at += vlanBytes
				continue
			case 0x0800:
				version = 4
			case 0x86dd:
				version = 6
			}
			break
		}
	} else if len(b) > 0 {
		version = int(b[0] >> 4)
	}
	protocol := uint8(0)
	switch {
	case version == 4 && len(b) >= at+20:
		protocol = b[at+9]
		at += int(b[at]&0xf) * 4
	case version == 6 && len(b) >= at+40:
		protocol = b[at+6]
		at += 40
	}
	switch {
	case protocol == traffic.ProtoTCP && len(b) >= at+20:
		at += int(b[at+12]>>4) * 4
	case protocol == traffic.ProtoUDP:
		at += 8
	}
	return uint32(at)
}
