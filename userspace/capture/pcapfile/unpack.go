package pcapfile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// How compressed files begin, in big-endian order.
const (
	magicGzip     = 0x1f8b     // RFC 1952 section 2.3.1: the first two bytes
	magicZstd     = 0x28b52ffd // RFC 8878 section 3.1.1
	magicSkip     = 0x502a4d18 // RFC 8878 section 3.1.2: a frame of zstd to be skipped; the lower four bits of the first byte may be set
	maxZstdWindow = 128 << 20  // what zstd itself takes without being told to
)

// unpack returns what decompresses a file, or nil where it is not compressed.
func (r *Reader) unpack(in *bufio.Reader) (io.Reader, error) {
	magic, err := in.Peek(4)
	if err != nil && len(magic) < 2 {
		return nil, nil // whoever reads on finds out that the file is too short
	}
	if binary.BigEndian.Uint16(magic) == magicGzip {
		unzip, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
		return unzip, nil
	}
	if len(magic) < 4 {
		return nil, nil
	}
	switch m := binary.BigEndian.Uint32(magic); {
	case m == magicZstd, m&0xf0ffffff == magicSkip:
		d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
		r.close = d.Close
		return d, nil
	case m == 0xfd377a58:
		return nil, errors.New("it is compressed by xz, which is not supported; decompress it with: xz -d FILE")
	case m>>8 == 0x425a68:
		return nil, errors.New("it is compressed by bzip2, which is not supported; decompress it with: bzip2 -d FILE")
	case m == 0x04224d18:
		return nil, errors.New("it is compressed by lz4, which is not supported; decompress it with: lz4 -d FILE")
	}
	return nil, nil
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

// failure is why the stream ended, within what, other than in order; nil when it did not. An error of the file comes before one of
// what could not be decompressed for it.
func (s *source) failure(within string) error {
	switch {
	case s.bottom().err != nil:
		return s.bottom().err
	case s.err == io.ErrUnexpectedEOF:
		return errors.New("the compressed file ends within " + within)
	case s.err != nil:
		return fmt.Errorf("decompress: %w", s.err)
	}
	return nil
}
