package pcapfile_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"weir/userspace/capture/pcapfile"
	. "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

func zipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstdOf(t testing.TB, b []byte, options ...zstd.EOption) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, options...)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// many is a capture of n frames of 142 bytes, each with its number in its payload.
func many(n int) []byte {
	b := TCP4(Payload(88)).Bytes()
	file := pcap(binary.LittleEndian, time.Microsecond, 1)
	at := noon
	for i := range n {
		binary.LittleEndian.PutUint64(b[len(b)-8:], uint64(i)*0x9e3779b97f4a7c15)
		at = at.Add(time.Millisecond)
		file = append(file, pcap(binary.LittleEndian, time.Microsecond, 1, captured{time: at, data: b})[24:]...)
	}
	return file
}

// TestPieces: compressed files may consist of several streams one behind the other, and end between any two.
func TestPieces(t *testing.T) {
	const frames = 5000
	file := many(frames)
	third := len(file) / 3
	skipped := append([]byte{0x5e, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, "xyz"...)
	for name, packed := range map[string][]byte{
		"gzip":                   zipped(t, file),
		"gzip in three":          slices.Concat(zipped(t, file[:third]), zipped(t, file[third:2*third]), zipped(t, file[2*third:])),
		"zstd":                   zstdOf(t, file),
		"zstd in two":            slices.Concat(zstdOf(t, file[:third]), zstdOf(t, file[third:])),
		"zstd behind a skipped":  slices.Concat(skipped, zstdOf(t, file)),
		"zstd without checksum":  zstdOf(t, file, zstd.WithEncoderCRC(false)),
		"zstd, best":             zstdOf(t, file, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(8<<20)),
		"zstd, empty and whole":  slices.Concat(zstdOf(t, nil, zstd.WithZeroFrames(true)), zstdOf(t, file)),
		"zstd, skipped in front": slices.Concat(skipped, skipped, zstdOf(t, file)),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.pcap.z") // the name says nothing
			if err := os.WriteFile(path, packed, 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := pcapfile.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			all, err := readAll(t, r)
			if err != nil || len(all) != frames {
				t.Fatalf("got %d frames, error %v, want %d", len(all), err, frames)
			}
			for i, f := range all {
				if got := binary.LittleEndian.Uint64(f.Data[len(f.Data)-8:]); got != uint64(i)*0x9e3779b97f4a7c15 {
					t.Fatalf("frame %d is another", i)
				}
			}
			if done, size := r.Progress(); done != int64(len(packed)) || size != int64(len(packed)) {
				t.Errorf("Progress: got %d of %d, want %d of the same", done, size, len(packed))
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDamage: what is damaged is an error, and what was read before it is right.
func TestDamage(t *testing.T) {
	file := many(20000)
	whole := zstdOf(t, file)
	gzip := zipped(t, file)
	for _, tt := range []struct {
		name   string
		packed []byte
		want   string
	}{
		{"zstd cut in its middle", whole[:len(whole)/2], ": the compressed file ends within it"},
		{"zstd cut at its end", whole[:len(whole)-1], ": the compressed file ends within it"},
		{"zstd, checksum", Set(whole, len(whole)-1, whole[len(whole)-1]^1), ": decompress: CRC check failed"},
		{"zstd, one bit", Set(whole, len(whole)/2, whole[len(whole)/2]^4), ": decompress: "},
		{"zstd, rubbish behind it", append(bytes.Clone(whole), "rubbish!"...), ": decompress: "},
		{"zstd, a window of 256 GB", append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xe0}, whole[6:]...), ": decompress: window size exceeded"},
		{"gzip cut", gzip[:len(gzip)/2], ": the compressed file ends within it"},
		{"gzip, checksum", Set(gzip, len(gzip)-8, gzip[len(gzip)-8]^1), ": decompress: gzip: invalid checksum"},
		{"gzip, rubbish behind it", append(bytes.Clone(gzip), "rubbish, of more than a few bytes"...), ": decompress: gzip: invalid header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := pcapfile.New(bytes.NewReader(tt.packed), "x.pcap")
			var f traffic.Frame
			for n := 0; err == nil; n++ {
				if err = r.Next(&f); err == nil && n == 20000 {
					t.Fatal("more frames than there were")
				}
			}
			if text := err.Error(); !strings.HasPrefix(text, "read capture x.pcap: ") || !strings.Contains(text, tt.want) {
				t.Errorf("got %q, want %q in it", text, tt.want)
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	const frames = 50000
	file := many(frames)
	n := (&ng{order: binary.LittleEndian}).section().iface(1, 6)
	for range frames {
		n.packet(captured{time: noon, data: TCP4(Payload(88)).Bytes()}, time.Microsecond)
	}
	for name, file := range map[string][]byte{"pcap": file, "pcapng": n.b, "pcap.gz": zipped(b, file), "pcap.zst": zstdOf(b, file)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var f traffic.Frame
			for done := 0; done < b.N; {
				r, err := pcapfile.New(bytes.NewReader(file), "x")
				if err != nil {
					b.Fatal(err)
				}
				for ; done < b.N; done++ {
					if err := r.Next(&f); err == io.EOF {
						break
					} else if err != nil {
						b.Fatal(err)
					}
				}
				if err := r.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
