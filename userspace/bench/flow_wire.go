package bench

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
)

// flowNetwork is whose hosts the records of the bench are about.
const flowNetwork = "198.18.0.0/16"

// The records are those of a busy border: 30 to a NetFlow v5 datagram as its format allows (1464 bytes), as many to the others as 1,400
// bytes hold.
const (
	v5Records    = 30
	v9Records    = 28
	sflowSamples = 8
	exporterBoot = 3_600_000 // ms that the exporter has been up
)

// Exported is the datagrams of one protocol: templates first, then data.
type Exported struct {
	Name    string
	Head    [][]byte // templates and what else comes once
	Data    [][]byte
	Records int // in each datagram of Data
}

// Exports makes datagrams of each protocol about random hosts.
func Exports(datagrams int) []Exported {
	source := rand.New(rand.NewPCG(1, 2))
	out := []Exported{
		{Name: "netflow5", Records: v5Records},
		{Name: "netflow9", Records: v9Records, Head: [][]byte{v9Template()}},
		{Name: "ipfix", Records: v9Records, Head: [][]byte{ipfixTemplate()}},
		{Name: "sflow5", Records: sflowSamples},
	}
	for i := range datagrams {
		sequence := uint32(i + 1)
		out[0].Data = append(out[0].Data, v5Datagram(source, sequence))
		out[1].Data = append(out[1].Data, v9Datagram(source, sequence))
		out[2].Data = append(out[2].Data, ipfixDatagram(source, sequence))
		out[3].Data = append(out[3].Data, sflowDatagram(source, sequence))
	}
	return out
}

// ours and theirs are random addresses: one host of ours, one of anybody's.
func ours(r *rand.Rand) [4]byte {
	base := netip.MustParsePrefix(flowNetwork).Addr().As4()
	binary.BigEndian.PutUint16(base[2:], uint16(r.Uint32()))
	return base
}

func theirs(r *rand.Rand) [4]byte {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], r.Uint32()&0x1fffffff|0x40000000)
	return a
}

// endpoints are what a record is about: half of them from us, half to us.
func endpoints(r *rand.Rand) (src, dst [4]byte) {
	if r.Uint32()&1 == 0 {
		return ours(r), theirs(r)
	}
	return theirs(r), ours(r)
}

// v5Datagram follows the layout that Cisco published with NetFlow version 5: a header of 24 bytes and records of 48.
func v5Datagram(r *rand.Rand, sequence uint32) []byte {
	b := binary.BigEndian.AppendUint16(nil, 5)
	b = binary.BigEndian.AppendUint16(b, v5Records)
	b = binary.BigEndian.AppendUint32(b, exporterBoot)
	b = binary.BigEndian.AppendUint32(b, flowEpoch)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, sequence*v5Records)
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint16(b, 1<<14|100) // packet sampling, one in 100
	for range v5Records {
		src, dst := endpoints(r)
		b = append(b, src[:]...)
		b = append(b, dst[:]...)
		b = append(b, 0, 0, 0, 0) // next hop
		b = binary.BigEndian.AppendUint16(b, 3)
		b = binary.BigEndian.AppendUint16(b, 4)
		b = binary.BigEndian.AppendUint32(b, 1+r.Uint32()%8)
		b = binary.BigEndian.AppendUint32(b, 64+r.Uint32()%8000)
		b = binary.BigEndian.AppendUint32(b, exporterBoot-5000+r.Uint32()%2000)
		b = binary.BigEndian.AppendUint32(b, exporterBoot-2000+r.Uint32()%2000)
		b = binary.BigEndian.AppendUint16(b, uint16(r.Uint32()))
		b = binary.BigEndian.AppendUint16(b, 443)
		b = append(b, 0, 0x1b, flowProtocol(r), 0)
		b = append(b, make([]byte, 8)...) // AS numbers, masks, padding
	}
	return b
}

func flowProtocol(r *rand.Rand) byte {
	if r.Uint32()%4 == 0 {
		return 17
	}
	return 6
}

// templateFields are the records of v9 and IPFIX: information elements and lengths (RFC 3954 section 8, RFC 5102).
func templateFields() [][2]uint16 {
	return [][2]uint16{{8, 4}, {12, 4}, {2, 4}, {1, 4}, {22, 4}, {21, 4}, {7, 2}, {11, 2}, {4, 1}, {6, 1}, {5, 1}, {61, 1}, {10, 4}, {14, 4}, {34, 4}}
}

const flowTemplate = 256

func templateSet(id uint16) []byte {
	fields := templateFields()
	b := binary.BigEndian.AppendUint16(nil, id)
	b = binary.BigEndian.AppendUint16(b, uint16(8+4*len(fields)))
	b = binary.BigEndian.AppendUint16(b, flowTemplate)
	b = binary.BigEndian.AppendUint16(b, uint16(len(fields)))
	for _, f := range fields {
		b = binary.BigEndian.AppendUint16(b, f[0])
		b = binary.BigEndian.AppendUint16(b, f[1])
	}
	return b
}

func dataSet(r *rand.Rand) []byte {
	b := binary.BigEndian.AppendUint16(nil, flowTemplate)
	b = append(b, 0, 0)
	for range v9Records {
		src, dst := endpoints(r)
		b = append(b, src[:]...)
		b = append(b, dst[:]...)
		b = binary.BigEndian.AppendUint32(b, 1+r.Uint32()%8)
		b = binary.BigEndian.AppendUint32(b, 64+r.Uint32()%8000)
		b = binary.BigEndian.AppendUint32(b, exporterBoot-5000+r.Uint32()%2000)
		b = binary.BigEndian.AppendUint32(b, exporterBoot-2000+r.Uint32()%2000)
		b = binary.BigEndian.AppendUint16(b, uint16(r.Uint32()))
		b = binary.BigEndian.AppendUint16(b, 443)
		b = append(b, flowProtocol(r), 0x1b, 0, 0)
		b = binary.BigEndian.AppendUint32(b, 3)
		b = binary.BigEndian.AppendUint32(b, 4)
		b = binary.BigEndian.AppendUint32(b, 100)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

func v9Header(count uint16, sequence uint32) []byte {
	b := binary.BigEndian.AppendUint16(nil, 9)
	b = binary.BigEndian.AppendUint16(b, count)
	b = binary.BigEndian.AppendUint32(b, exporterBoot)
	b = binary.BigEndian.AppendUint32(b, flowEpoch)
	b = binary.BigEndian.AppendUint32(b, sequence)
	return binary.BigEndian.AppendUint32(b, 7)
}

func v9Template() []byte { return append(v9Header(1, 0), templateSet(0)...) }

func v9Datagram(r *rand.Rand, sequence uint32) []byte {
	return append(v9Header(v9Records, sequence), dataSet(r)...)
}

// ipfixMessage puts the header of RFC 7011 section 3.1 before a set.
func ipfixMessage(set []byte, sequence uint32) []byte {
	b := binary.BigEndian.AppendUint16(nil, 10)
	b = binary.BigEndian.AppendUint16(b, uint16(16+len(set)))
	b = binary.BigEndian.AppendUint32(b, flowEpoch)
	b = binary.BigEndian.AppendUint32(b, sequence)
	b = binary.BigEndian.AppendUint32(b, 7)
	return append(b, set...)
}

func ipfixTemplate() []byte { return ipfixMessage(templateSet(2), 0) }

func ipfixDatagram(r *rand.Rand, sequence uint32) []byte {
	return ipfixMessage(dataSet(r), (sequence-1)*v9Records)
}

// sflowDatagram follows sflow_version_5.txt: flow samples with a raw packet header of 128 bytes each.
func sflowDatagram(r *rand.Rand, sequence uint32) []byte {
	const headerBytes = 128
	word := binary.BigEndian.AppendUint32
	b := word(nil, 5)
	b = append(word(b, 1), 192, 0, 2, 1) // the agent's IPv4 address
	b = word(word(word(b, 0), sequence), exporterBoot)
	b = word(b, sflowSamples)
	for i := range sflowSamples {
		b = word(word(b, 1), 32+8+16+headerBytes) // flow sample, its length
		number := sequence*sflowSamples + uint32(i)
		b = word(word(word(word(b, number), 3), 1000), number*1000)
		b = word(word(word(word(b, 0), 3), 4), 1) // drops, input, output, one record
		b = word(word(b, 1), 16+headerBytes)      // raw packet header
		b = word(word(word(word(b, 1), 1000), 4), headerBytes)
		b = append(b, sampledFrame(r, headerBytes)...)
	}
	return b
}

// sampledFrame is the beginning of a frame of 1,000 bytes.
func sampledFrame(r *rand.Rand, length int) []byte {
	src, dst := endpoints(r)
	f := make([]byte, 12, length)
	f = append(f, 8, 0, 0x45, 0)
	f = binary.BigEndian.AppendUint16(f, 982)
	f = append(f, 0, 0, 0x40, 0, 64, flowProtocol(r), 0, 0)
	f = append(f, src[:]...)
	f = append(f, dst[:]...)
	f = binary.BigEndian.AppendUint16(f, uint16(r.Uint32()))
	f = binary.BigEndian.AppendUint16(f, 443)
	f = append(f, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10)
	return f[:length]
}
