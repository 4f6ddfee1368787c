package pcapfile_test

import (
	"encoding/binary"
	"time"
)

// captured is one packet of a file to be written.
type captured struct {
	time   time.Time
	data   []byte
	length int // on the wire; 0: all of it was captured
	iface  uint32
}

func (c *captured) wire() uint32 {
	if c.length != 0 {
		return uint32(c.length)
	}
	return uint32(len(c.data))
}

// pcap writes a file of draft-ietf-opsawg-pcap section 4; unit is that of its times.
func pcap(order binary.AppendByteOrder, unit time.Duration, network uint32, packets ...captured) []byte {
	magic := uint32(0xa1b2c3d4)
	if unit == time.Nanosecond {
		magic = 0xa1b23c4d
	}
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = order.AppendUint32(b, 262144)
	b = order.AppendUint32(b, network)
	for _, p := range packets {
		b = order.AppendUint32(b, uint32(p.time.Unix()))
		b = order.AppendUint32(b, uint32(p.time.Nanosecond()/int(unit)))
		b = order.AppendUint32(b, uint32(len(p.data)))
		b = order.AppendUint32(b, p.wire())
		b = append(b, p.data...)
	}
	return b
}

// ng writes blocks of draft-ietf-opsawg-pcapng.
type ng struct {
	order binary.AppendByteOrder
	b     []byte
}

func (n *ng) block(kind uint32, body []byte) *ng {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	n.b = n.order.AppendUint32(n.b, kind)
	n.b = n.order.AppendUint32(n.b, uint32(12+len(body)))
	n.b = append(n.b, body...)
	n.b = n.order.AppendUint32(n.b, uint32(12+len(body)))
	return n
}

func (n *ng) section() *ng {
	body := n.order.AppendUint32(nil, 0x1a2b3c4d)
	body = n.order.AppendUint16(body, 1)
	body = n.order.AppendUint16(body, 0)
	return n.block(0x0a0d0d0a, n.order.AppendUint64(body, ^uint64(0)))
}

// iface describes an interface whose times are in units of 10^-digits seconds.
func (n *ng) iface(link uint16, digits byte) *ng {
	body := n.order.AppendUint16(nil, link)
	body = n.order.AppendUint16(body, 0)
	body = n.order.AppendUint32(body, 0)
	body = n.order.AppendUint16(body, 9)
	body = n.order.AppendUint16(body, 1)
	body = append(body, digits, 0, 0, 0)
	return n.block(1, append(body, 0, 0, 0, 0))
}

func (n *ng) packet(p captured, unit time.Duration) *ng {
	ticks := uint64(p.time.UnixNano() / int64(unit))
	body := n.order.AppendUint32(nil, p.iface)
	body = n.order.AppendUint32(body, uint32(ticks>>32))
	body = n.order.AppendUint32(body, uint32(ticks))
	body = n.order.AppendUint32(body, uint32(len(p.data)))
	body = n.order.AppendUint32(body, p.wire())
	return n.block(6, append(body, p.data...))
}

func (n *ng) simple(data []byte) *ng {
	return n.block(3, append(n.order.AppendUint32(nil, uint32(len(data))), data...))
}
