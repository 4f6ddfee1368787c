// Package pcapfile reads frames from pcap and pcapng files.
package pcapfile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"weir/userspace/traffic"
)

// Reader reads the frames of one file. One goroutine uses it.
type Reader struct {
	name   string
	file   io.Closer // nil when the caller has it
	source *source
	close  func() // lets go of what decompresses; nil: nothing
	packet func() ([]byte, gopacket.CaptureInfo, error)
	link   layers.LinkType // pcap: of all frames
	ng     bool            // link types are per interface
	fcs    int             // pcap: bytes of check sequence at the end of each frame
	count  uint64
	size   int64
	last   int64 // ns since 1970
	err    error // sticky: a broken file stays broken
}

// Open opens a pcap file (both byte orders, microseconds or nanoseconds) or a pcapng file, also one compressed by gzip or zstd. Errors
// name the file.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open capture: %w", err) // the cause names the file
	}
	r, err := New(f, path)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r.file = f
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		r.size = info.Size()
	}
	return r, nil
}

// New reads a capture from r; name stands for it in errors.
func New(r io.Reader, name string) (*Reader, error) {
	p := &Reader{name: name, source: &source{r: r}}
	if err := p.begin(); err != nil {
		broken := p.source.failure("its header")
		switch {
		case broken != nil:
			err = broken
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			err = errors.New("the file ends within its header")
		}
		return nil, errors.Join(fmt.Errorf("read capture %s: %w", name, err), p.Close())
	}
	return p, nil
}

// Magic numbers, as the first four bytes of a file have them in big-endian order.
const (
	magicNg     = 0x0a0d0d0a
	magicMicro  = 0xa1b2c3d4
	magicNano   = 0xa1b23c4d
	magicMicroL = 0xd4c3b2a1
	magicNanoL  = 0x4d3cb2a1

	headerBytes = 24 // of a pcap file
	bufferBytes = 1 << 16
)

func (r *Reader) begin() error {
	in := bufio.NewReaderSize(r.source, bufferBytes)
	unpacked, err := r.unpack(in)
	if err != nil {
		return err
	}
	if unpacked != nil {
		r.source = &source{r: unpacked, below: r.source}
		in = bufio.NewReaderSize(r.source, bufferBytes)
	}
	magic, err := in.Peek(4)
	if err != nil {
		return err
	}
	switch m := binary.BigEndian.Uint32(magic); m {
	case magicNg:
		return r.beginNg(in)
	case magicMicro, magicNano:
		return r.beginPcap(in, binary.BigEndian)
	case magicMicroL, magicNanoL:
		return r.beginPcap(in, binary.LittleEndian)
	default:
		return fmt.Errorf("it begins with %08x and so is neither a pcap nor a pcapng file; convert it with: editcap -F pcapng IN OUT", m)
	}
}

func (r *Reader) beginPcap(in *bufio.Reader, order binary.ByteOrder) error {
	header, err := in.Peek(headerBytes)
	if err != nil {
		return err
	}
	// The upper bits of the link type (draft-ietf-opsawg-pcap section 4) may say that frames end with a check sequence, counted
	// in 16-bit words.
	network := order.Uint32(header[20:])
	r.link = layers.LinkType(network & 0xffff)
	if network&(1<<26) != 0 {
		r.fcs = int(network>>28) * 2
	}
	if err := supported(r.link); err != nil {
		return err
	}
	p, err := pcapgo.NewReader(in)
	if err != nil {
		return err
	}
	r.packet = p.ZeroCopyReadPacketData
	return nil
}

func (r *Reader) beginNg(in *bufio.Reader) error {
	p, err := pcapgo.NewNgReader(in, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
	if err != nil {
		return err
	}
	r.ng = true
	r.packet = p.ZeroCopyReadPacketData
	return nil
}

// Next reads the next frame into f. It returns io.EOF behind the last one; any other error names the file and the packet that
// cannot be read, counted from 1, and is final.
//
// The frame's link is Ethernet, IP or PPP; what the capture put in front of it is taken off, from its length too. A Linux cooked
// frame is an Ethernet frame with the 14 bytes of the header that it stands for. An IP packet is empty where the capture says that
// it is something else. A simple packet block has no time: it gets that of the frame before it.
func (r *Reader) Next(f *traffic.Frame) error {
	if r.err == nil {
		r.err = r.next(f)
	}
	return r.err
}

func (r *Reader) next(f *traffic.Frame) error {
	data, info, err := r.packet()
	if err == nil {
		if r.ng {
			r.link, err = linkOf(info)
		}
		if err == nil {
			err = supported(r.link)
		}
	} else {
		err = r.cause(err, info)
	}
	switch {
	case err == io.EOF:
		return io.EOF
	case err != nil:
		return fmt.Errorf("read capture %s: packet %d: %w", r.name, r.count+1, err)
	}
	r.count++
	if !info.Timestamp.IsZero() {
		r.last = info.Timestamp.UnixNano()
	}
	*f = traffic.Frame{Time: r.last}
	r.strip(f, data, info.Length)
	return nil
}

// cause says what an error of the decoder means. The end of the file is only in order between two packets, and where the stream
// itself has ended in order.
func (r *Reader) cause(err error, info gopacket.CaptureInfo) error {
	if broken := r.source.failure("it"); broken != nil {
		return broken
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF && info.CaptureLength != 0 {
		return errors.New("the file ends within it")
	}
	return err
}

func linkOf(info gopacket.CaptureInfo) (layers.LinkType, error) {
	if len(info.AncillaryData) > 0 {
		if link, ok := info.AncillaryData[0].(layers.LinkType); ok {
			return link, nil
		}
	}
	return 0, errors.New("its interface has no link type")
}

// Name is the file's name as it was given.
func (r *Reader) Name() string { return r.name }

// Frames is how many frames have been read.
func (r *Reader) Frames() uint64 { return r.count }

// Progress is how many bytes of the file have been read, and how many there are: 0 when that is not known.
func (r *Reader) Progress() (done, size int64) { return r.source.bottom().read, r.size }

// Close lets go of everything, and closes the file that Open opened.
func (r *Reader) Close() error {
	if r.close != nil {
		r.close()
		r.close = nil
	}
	if r.file == nil {
		return nil
	}
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("close capture: %w", err)
	}
	return nil
}
