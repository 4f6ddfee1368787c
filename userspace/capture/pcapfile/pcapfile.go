// Package pcapfile reads frames from pcap and pcapng files.
package pcapfile

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Frame is one captured frame. Its data is valid until the next one is read.
type Frame struct {
	// Time is when it was captured. A simple packet block has no time: it gets that of the frame before it.
	Time time.Time
	// Length is the frame's length on the wire in bytes, without check sequence and without what the capture put in front of it. A
	// Linux cooked frame counts 14 bytes for the Ethernet header that it stands for.
	Length uint32
	// Data is what was captured of it: an Ethernet frame, or with IP set, a packet from its IPv4 or IPv6 header on (empty when
	// the capture says that it is neither).
	Data []byte
	IP   bool
}

// Reader reads the frames of one file. One goroutine uses it.
type Reader struct {
	name   string
	file   io.Closer // nil when the caller has it
	source *source
	packet func() ([]byte, gopacket.CaptureInfo, error)
	link   layers.LinkType // pcap: of all frames
	ng     bool            // link types are per interface
	fcs    int             // pcap: bytes of check sequence at the end of each frame
	count  uint64
	size   int64
	last   time.Time
	err    error // sticky: a broken file stays broken
}

// Open opens a pcap file (both byte orders, microseconds or nanoseconds) or a pcapng file, also one compressed by gzip. Errors name
// the file.
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
	p := &Reader{name: name, source: &source{r: r}, last: time.Unix(0, 0).UTC()}
	if err := p.begin(); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the file ends within its header")
		}
		return nil, fmt.Errorf("read capture %s: %w", name, err)
	}
	return p, nil
}

// Magic numbers, as the first four bytes of a file have them in big-endian order.
const (
	magicGzip   = 0x1f8b // the first two bytes
	magicNg     = 0x0a0d0d0a
	magicMicro  = 0xa1b2c3d4
	magicNano   = 0xa1b23c4d
	magicMicroL = 0xd4c3b2a1
	magicNanoL  = 0x4d3cb2a1

	headerBytes = 24 // of a pcap file
)

func (r *Reader) begin() error {
	in := bufio.NewReaderSize(r.source, 1<<16)
	if magic, err := in.Peek(2); err == nil && binary.BigEndian.Uint16(magic) == magicGzip {
		unzip, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("decompress: %w", err)
		}
		r.source = &source{r: unzip, below: r.source}
		in = bufio.NewReaderSize(r.source, 1<<16)
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
func (r *Reader) Next(f *Frame) error {
	if r.err == nil {
		r.err = r.next(f)
	}
	return r.err
}

func (r *Reader) next(f *Frame) error {
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
		r.last = info.Timestamp
	}
	f.Time = r.last
	r.strip(f, data, info.Length)
	return nil
}

// cause says what an error of the decoder means. The end of the file is only in order between two packets, and where the stream
// itself has ended in order.
func (r *Reader) cause(err error, info gopacket.CaptureInfo) error {
	if broken := r.source.failure(); broken != nil {
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

// Close closes the file that Open opened.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("close capture: %w", err)
	}
	return nil
}

// source counts what is read through it and remembers why it ended: decoders take some errors for the end of the file.
type source struct {
	r     io.Reader
	below *source // what r decompresses
	read  int64
	err   error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	s.read += int64(n)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (s *source) bottom() *source {
	if s.below != nil {
		return s.below
	}
	return s
}

// failure is why the stream ended other than in order, nil when it did not. An error of the file comes before one of what
// could not be decompressed for it.
func (s *source) failure() error {
	switch {
	case s.bottom().err != nil:
		return s.bottom().err
	case s.err == io.ErrUnexpectedEOF:
		return errors.New("the compressed file ends within it")
	case s.err != nil:
		return fmt.Errorf("decompress: %w", s.err)
	}
	return nil
}
